// NVTX ranges through the header-only NVTX v3.
#include "backend/nvtx.hpp"

#include <nvtx3/nvToolsExt.h>

namespace bubblescope {
namespace {

nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t handle = nvtxDomainCreateA("bubblescope");
  return handle;
}

std::uint32_t category(Kind kind) { return static_cast<std::uint32_t>(kind) + 1; }

}  // namespace

NvtxName nvtx_register(const std::string& name) { return nvtxDomainRegisterStringA(domain(), name.c_str()); }

void nvtx_name_categories() {
  for (int k = 0; k < kKinds; ++k) {
    const Kind kind = static_cast<Kind>(k);
    nvtxDomainNameCategoryA(domain(), category(kind), std::string(mnemonic(kind)).c_str());
  }
}

NvtxRange::NvtxRange(NvtxName name, Kind kind, std::int64_t iteration) {
  nvtxEventAttributes_t event{};
  event.version = NVTX_VERSION;
  event.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  event.category = category(kind);
  event.payloadType = NVTX_PAYLOAD_TYPE_INT64;
  event.payload.llValue = iteration;
  event.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
  event.message.registered = static_cast<nvtxStringHandle_t>(name);
  nvtxDomainRangePushEx(domain(), &event);
}

NvtxRange::~NvtxRange() { nvtxDomainRangePop(domain()); }

}  // namespace bubblescope
