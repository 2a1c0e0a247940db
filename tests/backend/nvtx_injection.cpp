// An NVTX tool for tests, loaded through NVTX_INJECTION64_PATH as Nsight's is: keeps what it is told,
// and hands it to the test through `recorded_nvtx_events`.
#include <nvtx3/nvToolsExt.h>

#include <mutex>
#include <string>
#include <vector>

namespace {

struct State {
  std::mutex mutex;
  std::vector<std::string> domains, names, events;
};

/// Lives as long as the process: threads may end after the library's own globals.
State& state() {
  static State* all = new State;
  return *all;
}

template <class Handle>
Handle handle_of(std::vector<std::string>& list, const char* text) {
  list.emplace_back(text);
  return reinterpret_cast<Handle>(list.size());
}

const std::string& text_of(const std::vector<std::string>& list, const void* handle) { return list[reinterpret_cast<std::size_t>(handle) - 1]; }

nvtxDomainHandle_t NVTX_API create_domain(const char* name) {
  const std::lock_guard lock(state().mutex);
  return handle_of<nvtxDomainHandle_t>(state().domains, name);
}

nvtxStringHandle_t NVTX_API register_string(nvtxDomainHandle_t, const char* text) {
  const std::lock_guard lock(state().mutex);
  return handle_of<nvtxStringHandle_t>(state().names, text);
}

void NVTX_API name_category(nvtxDomainHandle_t domain, uint32_t category, const char* name) {
  const std::lock_guard lock(state().mutex);
  state().events.push_back("category " + text_of(state().domains, domain) + " " + std::to_string(category) + " " + name);
}

int NVTX_API push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* event) {
  const std::lock_guard lock(state().mutex);
  state().events.push_back("push " + text_of(state().domains, domain) + " " + text_of(state().names, event->message.registered) + " category " +
                           std::to_string(event->category) + " payload " + std::to_string(event->payload.llValue));
  return 0;
}

int NVTX_API pop(nvtxDomainHandle_t domain) {
  const std::lock_guard lock(state().mutex);
  state().events.push_back("pop " + text_of(state().domains, domain));
  return 0;
}

template <class Function>
void install(NvtxFunctionTable table, unsigned size, unsigned index, Function function) {
  if (index < size) *table[index] = reinterpret_cast<NvtxFunctionPointer>(function);
}

}  // namespace

extern "C" {

/// The events so far, one a line; the text is valid until the next call.
const char* recorded_nvtx_events() {
  static std::string text;
  const std::lock_guard lock(state().mutex);
  text.clear();
  for (const std::string& event : state().events) text += event + "\n";
  return text.c_str();
}

/// What NVTX calls when it has loaded this library.
int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr || callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0) return 0;
  install(table, size, NVTX_CBID_CORE2_DomainCreateA, create_domain);
  install(table, size, NVTX_CBID_CORE2_DomainRegisterStringA, register_string);
  install(table, size, NVTX_CBID_CORE2_DomainNameCategoryA, name_category);
  install(table, size, NVTX_CBID_CORE2_DomainRangePushEx, push);
  install(table, size, NVTX_CBID_CORE2_DomainRangePop, pop);
  return 1;
}
}
