// Payloads without data: their size is all there is.
#include "backend/payload_codec.hpp"

#include "backend/fields.hpp"

namespace bubblescope {

Parcel PayloadCodec::encode(const Op&, const Payload& payload) const { return {FieldsOut().add(payload.bytes).take(), nullptr, 0}; }

Payload PayloadCodec::decode(const Op&, Parcel parcel) const { return {nullptr, FieldsIn(parcel.head).get<std::int64_t>()}; }

const PayloadCodec& Backend::codec() const {
  static const PayloadCodec sizes_alone;
  return sizes_alone;
}

}  // namespace bubblescope
