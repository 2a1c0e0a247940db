// Driving CUPTI's activity API.
#include "backend/cuda/activity.hpp"

#include <array>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "backend/clock.hpp"
#include "backend/cuda/errors.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr std::size_t kBufferBytes = 8u << 20;
constexpr std::size_t kAlignment = 8;  // ACTIVITY_RECORD_ALIGNMENT of cupti_activity.h

// External ids come with the records of API calls alone, hence RUNTIME and DRIVER.
constexpr std::array kRecorded{CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_RUNTIME, CUPTI_ACTIVITY_KIND_DRIVER,
                            CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,    CUPTI_ACTIVITY_KIND_MEMCPY,  CUPTI_ACTIVITY_KIND_MEMCPY2,
                            CUPTI_ACTIVITY_KIND_MEMSET};

/// Calls that LibTorch makes by the thousand and that run nothing.
constexpr std::array kIgnoredCalls{CUPTI_RUNTIME_TRACE_CBID_cudaGetDevice_v3020, CUPTI_RUNTIME_TRACE_CBID_cudaSetDevice_v3020, CUPTI_RUNTIME_TRACE_CBID_cudaGetLastError_v3020,
                                   CUPTI_RUNTIME_TRACE_CBID_cudaPeekAtLastError_v3020, CUPTI_RUNTIME_TRACE_CBID_cudaStreamIsCapturing_v10000,
                                   CUPTI_RUNTIME_TRACE_CBID_cudaEventQuery_v3020};

/// CUPTI's callbacks have no argument of ours, so where they put records is known to the whole process.
struct Collector {
  std::mutex mutex;
  bool recording = false;
  bool registered = false;
  ActivityRecords records;
  std::string failure;  ///< of a callback, which cannot throw
};

Collector& collector() {
  static Collector& one = *new Collector;  // never destroyed: CUPTI's thread ends after us
  return one;
}

std::uint64_t CUPTIAPI timestamp() { return static_cast<std::uint64_t>(steady_now()); }

void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(kAlignment, kBufferBytes));  // null: CUPTI counts what it drops
  *size = *buffer == nullptr ? 0 : kBufferBytes;
  *most_records = 0;  // as many as there is room for
}

/// On CUPTI's own thread, or on one that flushes.
void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid) {
  const std::unique_ptr<std::uint8_t, decltype(&std::free)> owned(buffer, &std::free);
  Collector& to = collector();
  const std::lock_guard lock(to.mutex);
  if (!to.recording || valid == 0) return;
  try {
    CUpti_Activity* record = nullptr;
    CUptiResult status = CUPTI_SUCCESS;
    while ((status = cuptiActivityGetNextRecord(buffer, valid, &record)) == CUPTI_SUCCESS) to.records.add(*record);
    // The rest is incomplete, which a forced flush brings, too.
    if (status != CUPTI_ERROR_MAX_LIMIT_REACHED && status != CUPTI_ERROR_INVALID_KIND) check_cupti(status, "cuptiActivityGetNextRecord");
  } catch (const std::exception& error) {
    to.failure = error.what();
  }
}

void disable_all() noexcept {
  for (const CUpti_ActivityKind kind : kRecorded) cuptiActivityDisable(kind);
}

class CudaActivity : public KernelActivity {
 public:
  CudaActivity() {
    Collector& to = collector();
    {
      const std::lock_guard lock(to.mutex);
      if (to.recording) throw RunError("kernels are being recorded already");
      if (!to.registered) {
        check_cupti(cuptiActivityRegisterTimestampCallback(timestamp), "cuptiActivityRegisterTimestampCallback");
        check_cupti(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "cuptiActivityRegisterCallbacks");
        to.registered = true;
      }
      to.records = {};
      to.failure.clear();
      to.recording = true;
    }
    try {
      std::size_t before = 0;  // counted from here on
      cuptiActivityGetNumDroppedRecords(nullptr, 0, &before);
      for (const CUpti_ActivityKind kind : kRecorded) check_cupti(cuptiActivityEnable(kind), "cuptiActivityEnable");
      for (const CUpti_CallbackId call : kIgnoredCalls) check_cupti(cuptiActivityEnableRuntimeApi(call, 0), "cuptiActivityEnableRuntimeApi");
    } catch (...) {
      stop();
      throw;
    }
  }
  ~CudaActivity() override { stop(); }

  void begin(OpIndex op) override { check_cupti(cuptiActivityPushExternalCorrelationId(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0, static_cast<std::uint64_t>(op)), "cuptiActivityPushExternalCorrelationId"); }
  void end() noexcept override {
    // Fails where nothing was pushed alone.
    cuptiActivityPopExternalCorrelationId(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0, nullptr);
  }

  KernelRecords take() override {
    // All that was issued is done, so every record is complete.
    check_cupti(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "cuptiActivityFlushAll");
    std::size_t dropped = 0;
    check_cupti(cuptiActivityGetNumDroppedRecords(nullptr, 0, &dropped), "cuptiActivityGetNumDroppedRecords");
    Collector& from = collector();
    const std::lock_guard lock(from.mutex);
    if (!from.failure.empty()) throw RunError(std::exchange(from.failure, {}));
    return std::exchange(from.records, {}).join(static_cast<std::int64_t>(dropped));
  }

 private:
  static void stop() noexcept {
    disable_all();
    cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);  // nothing of this recording comes into the next one's
    const std::lock_guard lock(collector().mutex);
    collector().recording = false;
    collector().records = {};
  }
};

const char* copy_name(std::uint8_t kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD: return "copy host to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH: return "copy device to host";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOD: return "copy on the device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_PTOP: return "copy device to device";
    default: return "copy";
  }
}

/// The records are packed, so nothing refers into them.
template <class Record>
Record as(const CUpti_Activity& record) {
  return reinterpret_cast<const Record&>(record);
}

}  // namespace

std::int32_t ActivityRecords::number_of(const std::string& name) {
  const auto [known, added] = numbers_.try_emplace(name, static_cast<std::int32_t>(names_.size()));
  if (added) names_.push_back(name);
  return known->second;
}

void ActivityRecords::add(const CUpti_Activity& record) {
  const auto add_copy = [this](const char* name, const auto& copy) {
    done_.push_back({copy.correlationId, number_of(name), copy.start, copy.end, static_cast<std::int64_t>(copy.bytes)});
  };
  switch (record.kind) {
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: {
      const auto external = as<CUpti_ActivityExternalCorrelation>(record);
      if (external.externalKind == CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0) ops_[external.correlationId] = static_cast<OpIndex>(external.externalId);
      break;
    }
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto kernel = as<CUpti_ActivityKernel10>(record);
      const char* symbol = kernel.name == nullptr ? "" : kernel.name;
      auto known = symbols_.find(symbol);
      if (known == symbols_.end()) known = symbols_.emplace(symbol, number_of(kernel_name(symbol))).first;
      done_.push_back({kernel.correlationId, known->second, kernel.start, kernel.end, -1});
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto copy = as<CUpti_ActivityMemcpy6>(record);
      add_copy(copy_name(copy.copyKind), copy);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY2: add_copy(copy_name(CUPTI_ACTIVITY_MEMCPY_KIND_PTOP), as<CUpti_ActivityMemcpyPtoP4>(record)); break;
    case CUPTI_ACTIVITY_KIND_MEMSET: add_copy("fill", as<CUpti_ActivityMemset4>(record)); break;
    default: break;
  }
}

KernelRecords ActivityRecords::join(std::int64_t dropped) const {
  KernelRecords joined;
  joined.names = names_;
  joined.lost = dropped;
  for (const Done& done : done_) {
    const auto op = ops_.find(done.correlation);
    if (op == ops_.end() || done.start == 0 || done.end < done.start) {
      ++joined.lost;
      continue;
    }
    joined.records.push_back({op->second, done.name, static_cast<Nanos>(done.start), static_cast<Nanos>(done.end), done.bytes});
  }
  return joined;
}

std::unique_ptr<KernelActivity> cuda_kernel_activity() { return std::make_unique<CudaActivity>(); }

}  // namespace bubblescope
