// Parcels with bodies on GPUs: with two GPUs two threads stand for processes; with one, or none, what can be without.
#include "backend/cuda/nccl_transport.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <c10/cuda/CUDAGuard.h>
#include <gmock/gmock.h>
#include <nccl.h>

#include "backend/clock.hpp"
#include "backend/cuda/codec.hpp"
#include "backend/cuda/gpu_body.hpp"
#include "backend/gpu_transport.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/cuda/gpu.hpp"
#include "tests/backend/thread_transport.hpp"
#include "tests/backend/together.hpp"
#include "tests/backend/transport_contract.hpp"

namespace bubblescope {
namespace {

using testing::Each;

#define BUBBLESCOPE_NEEDS_TWO_GPUS() \
  if (::bubblescope::count_gpus() < 2) GTEST_SKIP() << ::bubblescope::count_gpus() << " GPUs here; NCCL connects no GPU with itself: not tested on devices"

/// The process p's messages come to GPU p.
std::vector<std::unique_ptr<Transport>> transports(ThreadTransportOptions options = {}) {
  std::vector<std::unique_ptr<Transport>> all;
  for (auto& host : thread_transports(2, options)) {
    all.push_back(nccl_transport(std::move(host), [gpu = static_cast<std::int32_t>(all.size())] { return gpu; }));
  }
  return all;
}

TEST(NcclTransport, bodies_of_the_host_pass_through) {
  const auto all = transports();
  EXPECT_EQ(all[0]->name(), "threads and NCCL");
  EXPECT_THAT(on_each(2, [&](std::int32_t p) {
    contract::Peer peer(*all[at(p)]);
    contract::heads_and_bodies_of_all_sizes_arrive_intact(peer);
    contract::what_cannot_be_sent_is_refused(peer);
    all[at(p)]->close();
  }), Each(""));
}

TEST(NcclTransport, wires_that_were_never_connected_can_be_aborted_together) {
  const auto wires = nccl_wires([] { return 0; });
  const auto one = wires->outgoing("", 0), other = wires->incoming("");
  wires->together([&] {
    one->abort();
    other->abort();
  });
}

TEST(NcclTransport, wires_that_nobody_answers_are_aborted_together_while_they_connect) {
  BUBBLESCOPE_NEEDS_GPU();
  const auto wires = nccl_wires([] { return 0; });
  const std::unique_ptr<GpuWire> all[] = {wires->outgoing(wires->new_id(), 0), wires->incoming(wires->new_id()), wires->outgoing(wires->new_id(), 0)};
  std::vector<std::thread> threads;
  for (const auto& wire : all) {
    threads.emplace_back([&wire] { EXPECT_THROW(wire->connect(), RunError); });
  }
  wait_until(steady_now() + 300 * kMillisecond);
  const Nanos begin = steady_now();
  wires->together([&] {
    for (const auto& wire : all) wire->abort();
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(steady_now() - begin, 5 * kSecond);
}

TEST(NcclTransport, one_gpu_can_make_and_abort_a_wire_that_nobody_answers) {
  BUBBLESCOPE_NEEDS_GPU();
  const auto wires = nccl_wires([] { return 0; });
  EXPECT_EQ(wires->new_id().size(), sizeof(ncclUniqueId));
  EXPECT_NE(wires->new_id(), wires->new_id());
  EXPECT_NE(wires->given(0), nullptr);
  EXPECT_THROW(wires->outgoing("too short", 0)->connect(), RunError);
  auto all = transports();
  const at::Tensor sent = at::full({1000}, 3.0, at::TensorOptions(at::kFloat).device(at::kCUDA, 0));
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[0]->send(1, {"x", body_of_tensor(sent), 4000, 0}, {});
  EXPECT_TRUE(all[0]->busy());
  const Nanos begin = steady_now();
  all[0]->abandon();
  all[0].reset();
  EXPECT_LT(steady_now() - begin, 5 * kSecond);
}

TEST(NcclTransport, tensors_cross_between_two_gpus_whole_and_in_order) {
  BUBBLESCOPE_NEEDS_TWO_GPUS();
  constexpr std::int64_t kCount = 50;
  const auto all = transports({.most_delay = kMillisecond, .seed = 5});
  const CudaCodec codec;
  Op send;
  send.kind = Kind::SEND_F;
  EXPECT_THAT(on_each(2, [&](std::int32_t p) {
    const c10::cuda::CUDAGuard device(static_cast<c10::DeviceIndex>(p));
    const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool(false, static_cast<c10::DeviceIndex>(p)));
    std::vector<at::Tensor> came;
    std::atomic<int> left = 0;
    all[at(p)]->set_handler([&](std::int32_t from, Parcel parcel) {
      EXPECT_EQ(from, 1 - p);
      EXPECT_EQ(parcel.gpu, p);
      came.push_back(*std::static_pointer_cast<at::Tensor>(codec.decode(send, std::move(parcel)).data));
    });
    for (std::int64_t i = 0; i < kCount; ++i) {
      // Made on the current stream, which the transfer must wait for.
      const auto tensor = std::make_shared<at::Tensor>(at::arange(1 + i * 100'000, at::TensorOptions(at::kDouble).device(at::kCUDA, static_cast<c10::DeviceIndex>(p))) + static_cast<double>(1000 * p + i));
      all[at(p)]->send(1 - p, codec.encode(send, {tensor, static_cast<std::int64_t>(tensor->nbytes())}), [&] { ++left; });
    }
    all[at(p)]->close();
    EXPECT_EQ(left, kCount);
    ASSERT_EQ(came.size(), at(kCount));
    for (std::int64_t i = 0; i < kCount; ++i) {
      EXPECT_EQ(came[at(i)].device().index(), p);
      const at::Tensor expected = at::arange(1 + i * 100'000, at::TensorOptions(at::kDouble)) + static_cast<double>(1000 * (1 - p) + i);
      EXPECT_TRUE(came[at(i)].cpu().equal(expected)) << i;
    }
  }), Each(""));
}

TEST(NcclTransport, a_process_that_goes_leaves_nobody_waiting) {
  BUBBLESCOPE_NEEDS_TWO_GPUS();
  auto all = transports();
  int came = 0;
  for (const auto& one : all) one->set_handler([&](std::int32_t, Parcel) { ++came; });
  const at::Tensor sent = at::full({1'000'000}, 3.0, at::TensorOptions(at::kFloat).device(at::kCUDA, 0));
  const at::Tensor back = at::full({1'000'000}, 3.0, at::TensorOptions(at::kFloat).device(at::kCUDA, 1));
  all[0]->send(1, {"x", body_of_tensor(sent), 4'000'000, 0}, {});
  all[1]->send(0, {"x", body_of_tensor(back), 4'000'000, 1}, {});
  for (const Nanos end = steady_now() + 30 * kSecond; came < 2 && steady_now() < end;) {
    all[0]->poll();
    all[1]->poll();
  }
  ASSERT_EQ(came, 2);
  all[1].reset();
  for (int i = 0; i < 20; ++i) all[0]->send(1, {"x", body_of_tensor(sent), 4'000'000, 0}, {});  // more than NCCL holds
  const Nanos begin = steady_now();
  all[0]->abandon();
  all[0].reset();
  EXPECT_LT(steady_now() - begin, 10 * kSecond);
}

}  // namespace
}  // namespace bubblescope
