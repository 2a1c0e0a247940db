// How payloads cross from process to process: what a backend puts into them only it knows.
#pragma once

#include "backend/backend.hpp"
#include "backend/transport.hpp"

namespace bubblescope {

/// Makes parcels of payloads and back. Called from any thread, several at a time.
class PayloadCodec {
 public:
  virtual ~PayloadCodec() = default;
  /// `op`: the SEND whose output it is, or the collective it was contributed to. The parcel's head is short
  /// (at most 2 KiB); its body is read after this returns, and kept by the parcel.
  virtual Parcel encode(const Op& op, const Payload& payload) const;
  /// Throws RunError where the parcel is not what `encode` makes.
  virtual Payload decode(const Op& op, Parcel parcel) const;
};

}  // namespace bubblescope
