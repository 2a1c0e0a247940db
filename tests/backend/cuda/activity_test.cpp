// CUPTI's records, and a recording on a GPU.
#include "backend/cuda/activity.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "backend/clock.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

/// A record such as CUPTI delivers it: `fill` sets what it holds besides its kind.
template <class Record, class Fill>
void add(ActivityRecords& records, CUpti_ActivityKind kind, Fill fill) {
  Record record;
  std::memset(&record, 0, sizeof record);
  record.kind = kind;
  fill(record);
  std::vector<std::uint64_t> buffer((sizeof record + 7) / 8);  // aligned as CUPTI's
  std::memcpy(buffer.data(), &record, sizeof record);
  records.add(*reinterpret_cast<const CUpti_Activity*>(buffer.data()));
}

void call_of(ActivityRecords& records, std::uint32_t correlation, std::uint64_t op, CUpti_ExternalCorrelationKind kind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0) {
  add<CUpti_ActivityExternalCorrelation>(records, CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, [&](auto& record) {
    record.externalKind = kind;
    record.externalId = op;
    record.correlationId = correlation;
  });
}

void kernel(ActivityRecords& records, std::uint32_t correlation, const char* name, std::uint64_t start, std::uint64_t end) {
  add<CUpti_ActivityKernel10>(records, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, [&](auto& record) {
    record.correlationId = correlation;
    record.name = name;
    record.start = start;
    record.end = end;
  });
}

TEST(CudaActivity, a_kernel_belongs_to_the_op_whose_call_launched_it_whichever_record_comes_first) {
  ActivityRecords records;
  call_of(records, 7, 3);
  kernel(records, 8, "_ZN2at6native4kernILi4EEEvi", 100, 200);
  kernel(records, 7, "plain", 300, 310);
  call_of(records, 8, 0);
  call_of(records, 8, 99, CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM1);  // somebody else's
  const KernelRecords joined = records.join(0);
  ASSERT_EQ(joined.records.size(), 2u);
  EXPECT_EQ(joined.lost, 0);
  EXPECT_EQ(joined.records[0].op, 0);
  EXPECT_EQ(joined.names[static_cast<std::size_t>(joined.records[0].name)], "kern<4>");
  EXPECT_EQ(joined.records[0].start, 100);
  EXPECT_EQ(joined.records[0].end, 200);
  EXPECT_EQ(joined.records[0].bytes, -1);
  EXPECT_EQ(joined.records[1].op, 3);
}

TEST(CudaActivity, all_kernels_of_a_graph_belong_to_the_op_that_launched_it) {
  ActivityRecords records;
  call_of(records, 5, 12);
  for (std::uint64_t i = 0; i < 3; ++i) kernel(records, 5, "node", 10 + i, 11 + i);
  const KernelRecords joined = records.join(0);
  ASSERT_EQ(joined.records.size(), 3u);
  for (const KernelRecord& record : joined.records) EXPECT_EQ(record.op, 12);
  EXPECT_EQ(joined.names.size(), 1u);
}

TEST(CudaActivity, copies_and_fills_have_bytes) {
  ActivityRecords records;
  call_of(records, 1, 4);
  const auto fill = [](auto& record) {
    record.correlationId = 1;
    record.start = 10;
    record.end = 20;
    record.bytes = 4096;
  };
  add<CUpti_ActivityMemcpy6>(records, CUPTI_ACTIVITY_KIND_MEMCPY, [&](auto& record) {
    fill(record);
    record.copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
  });
  add<CUpti_ActivityMemcpyPtoP4>(records, CUPTI_ACTIVITY_KIND_MEMCPY2, fill);
  add<CUpti_ActivityMemset4>(records, CUPTI_ACTIVITY_KIND_MEMSET, fill);
  const KernelRecords joined = records.join(0);
  ASSERT_EQ(joined.records.size(), 3u);
  EXPECT_EQ(joined.names, (std::vector<std::string>{"copy host to device", "copy device to device", "fill"}));
  for (const KernelRecord& record : joined.records) {
    EXPECT_EQ(record.op, 4);
    EXPECT_EQ(record.bytes, 4096);
    EXPECT_EQ(record.end - record.start, 10);
  }
}

TEST(CudaActivity, what_has_no_op_or_no_time_is_lost_and_counted_with_what_was_dropped) {
  ActivityRecords records;
  call_of(records, 1, 4);
  kernel(records, 1, "good", 10, 20);
  kernel(records, 2, "of no op", 10, 20);
  kernel(records, 1, "without times", 0, 0);
  const KernelRecords joined = records.join(5);
  EXPECT_EQ(joined.records.size(), 1u);
  EXPECT_EQ(joined.lost, 7);
}

TEST(CudaActivity, records_copies_of_the_op_on_the_steady_clock) {
  BUBBLESCOPE_NEEDS_GPU();
  void* memory = nullptr;
  std::array<char, 1 << 16> host{};
  ASSERT_EQ(cudaMalloc(&memory, host.size()), cudaSuccess);
  for (int recording = 0; recording < 2; ++recording) {
    const auto activity = cuda_kernel_activity();
    EXPECT_THROW(cuda_kernel_activity(), RunError);
    const Nanos before = steady_now();
    for (OpIndex op = 0; op < 3; ++op) {
      const KernelScope scope(activity.get(), op);
      cudaMemcpy(memory, host.data(), host.size(), cudaMemcpyHostToDevice);
      cudaMemset(memory, 0, host.size());
    }
    cudaDeviceSynchronize();
    const Nanos after = steady_now();
    const KernelRecords found = activity->take();
    EXPECT_EQ(found.lost, 0);
    std::array<int, 3> copies{};
    for (const KernelRecord& record : found.records) {
      // Two clocks: to 100 us.
      EXPECT_GE(record.start, before - 100 * kMicrosecond);
      EXPECT_LE(record.end, after + 100 * kMicrosecond);
      ++copies.at(static_cast<std::size_t>(record.op));
    }
    EXPECT_EQ(copies, (std::array<int, 3>{2, 2, 2}));
  }
  cudaFree(memory);
}

}  // namespace
}  // namespace bubblescope
