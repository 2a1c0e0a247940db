// What every transport refuses to send.
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "backend/transport.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

/// Throws RunError where nothing may be sent to process `to`.
inline void check_receiver(const Transport& transport, std::int32_t to) {
  if (to < 0 || to >= transport.processes() || to == transport.process()) {
    throw RunError(fmt::format("process {} of {} sends to process {}; expected another one of them", transport.process(), transport.processes(), to));
  }
}

/// Throws RunError where `parcel` may not be sent to process `to`.
inline void check_parcel(const Transport& transport, std::int32_t to, const Parcel& parcel) {
  check_receiver(transport, to);
  const auto head = static_cast<std::int64_t>(parcel.head.size());
  if (head > Transport::kMostHead) throw RunError(fmt::format("the head of a parcel has {} bytes; at most {} are sent", head, Transport::kMostHead));
  if (parcel.bytes < 0 || (parcel.bytes > 0 && !parcel.body)) throw RunError(fmt::format("a parcel has no body, but {} bytes of it", parcel.bytes));
  if (parcel.gpu >= 0) throw RunError(fmt::format("the body of a parcel lies on GPU {}; {} sends what lies in the host's memory", parcel.gpu, transport.name()));
}

}  // namespace bubblescope
