// What every transport must do, done by the one over threads, which other tests build upon.
#include "backend/transport.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "sim/core/index.hpp"
#include "tests/backend/thread_transport.hpp"
#include "tests/backend/transport_contract.hpp"

namespace bubblescope {
namespace {

using contract::Peer;

/// Calls `check` in a thread for each process; closes afterwards unless the check does.
void in_all(std::int32_t processes, const ThreadTransportOptions& options, const std::function<void(Peer&)>& check, bool closes = false) {
  const auto transports = thread_transports(processes, options);
  std::vector<std::thread> threads;
  for (const auto& transport : transports) {
    threads.emplace_back([&] {
      Peer peer(*transport);
      try {
        check(peer);
        if (!closes) transport->close();
      } catch (const std::exception& error) {
        ADD_FAILURE() << "process " << transport->process() << ": " << error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class ThreadTransport : public testing::TestWithParam<ThreadTransportOptions> {};
INSTANTIATE_TEST_SUITE_P(All, ThreadTransport,
                         testing::Values(ThreadTransportOptions{}, ThreadTransportOptions{.most_delay = 300 * kMicrosecond, .seed = 7}, ThreadTransportOptions{.copies = false}),
                         [](const auto& test) { return test.param.most_delay > 0 ? "delayed" : test.param.copies ? "copied" : "shared"; });

TEST_P(ThreadTransport, heads_and_bodies_of_all_sizes_arrive_intact) { in_all(3, GetParam(), contract::heads_and_bodies_of_all_sizes_arrive_intact); }
TEST_P(ThreadTransport, many_threads_send_and_poll_at_once) { in_all(3, GetParam(), contract::many_threads_send_and_poll_at_once); }
TEST_P(ThreadTransport, handlers_answer_and_pass_on) { in_all(3, GetParam(), contract::handlers_answer_and_pass_on); }
TEST_P(ThreadTransport, each_parcel_leaves_once) {
  in_all(2, GetParam(), [](Peer& peer) { contract::each_parcel_leaves_once(peer, GetParam().copies); });
}
TEST_P(ThreadTransport, a_large_body_keeps_it_busy_until_it_has_left) { in_all(2, GetParam(), contract::a_large_body_keeps_it_busy_until_it_has_left); }
TEST_P(ThreadTransport, what_cannot_be_sent_is_refused) { in_all(2, GetParam(), contract::what_cannot_be_sent_is_refused); }
TEST_P(ThreadTransport, what_comes_after_a_handler_threw_is_not_lost) { in_all(3, GetParam(), contract::what_comes_after_a_handler_threw_is_not_lost); }
TEST_P(ThreadTransport, close_waits_for_what_is_under_way) { in_all(4, GetParam(), contract::close_waits_for_what_is_under_way, true); }

/// The order in which 200 parcels of process 0 come to process 1.
std::vector<std::int64_t> order_of_arrival(const ThreadTransportOptions& options) {
  std::vector<std::int64_t> order;
  in_all(2, options, [&](Peer& peer) {
    for (std::int64_t number = 0; peer.process() == 0 && number < 200; ++number) peer.send(1, {.number = number, .bytes = contract::kNoBody});
    if (peer.process() != 1) return;
    for (const auto& arrival : peer.wait_for(200)) order.push_back(arrival.label.number);
  });
  return order;
}

TEST(ThreadTransportOrder, is_kept_without_delays_and_mixed_with_them) {
  std::vector<std::int64_t> sorted;
  for (std::int64_t number = 0; number < 200; ++number) sorted.push_back(number);
  EXPECT_EQ(order_of_arrival({}), sorted);
  EXPECT_NE(order_of_arrival({.most_delay = kMillisecond, .seed = 1}), sorted);
}

TEST(ThreadTransportBodies, are_copied_or_shared) {
  for (const bool copies : {true, false}) {
    const auto transports = thread_transports(2, {.copies = copies});
    const auto body = std::make_shared<int>(5);
    const void* came = nullptr;
    transports[1]->set_handler([&](std::int32_t, Parcel parcel) { came = parcel.body.get(); });
    transports[0]->send(1, {"", body, sizeof(int)}, {});
    transports[1]->poll();
    EXPECT_EQ(came != body.get(), copies);
    EXPECT_NE(came, nullptr);
  }
}

}  // namespace
}  // namespace bubblescope
