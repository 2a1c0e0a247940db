// The transport over MPI does what every transport must. All processes of mpirun run all tests, in the order written here;
// the last one closes the transport.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include "backend/mpi_loader.hpp"
#include "tests/backend/transport_contract.hpp"

namespace bubblescope {
namespace {

contract::Peer* peer = nullptr;

TEST(MpiTransport, knows_its_place) {
  EXPECT_EQ(peer->transport.name(), "MPI");
  const auto launch = launched();
  ASSERT_TRUE(launch);
  EXPECT_EQ(peer->process(), launch->process);
  EXPECT_EQ(peer->processes(), launch->processes);
}

TEST(MpiTransport, heads_and_bodies_of_all_sizes_arrive_intact) { contract::heads_and_bodies_of_all_sizes_arrive_intact(*peer); }
TEST(MpiTransport, many_threads_send_and_poll_at_once) { contract::many_threads_send_and_poll_at_once(*peer); }
TEST(MpiTransport, handlers_answer_and_pass_on) { contract::handlers_answer_and_pass_on(*peer); }
TEST(MpiTransport, each_parcel_leaves_once) { contract::each_parcel_leaves_once(*peer); }
TEST(MpiTransport, a_large_body_keeps_it_busy_until_it_has_left) { contract::a_large_body_keeps_it_busy_until_it_has_left(*peer); }
TEST(MpiTransport, what_cannot_be_sent_is_refused) { contract::what_cannot_be_sent_is_refused(*peer); }

/// Between the first two processes.
void one_body_arrives(std::int64_t bytes, std::shared_ptr<const void> body, const std::function<bool(const contract::Arrival&)>& good) {
  if (peer->process() == 0) peer->send(1, {.number = 3, .bytes = bytes}, std::move(body));
  if (peer->process() == 1) {
    const auto came = peer->wait_for(1);
    EXPECT_EQ(came[0].label.bytes, bytes);
    EXPECT_TRUE(good(came[0]));
  }
  peer->barrier();
}

TEST(MpiTransport, a_body_of_more_than_is_sent_as_bytes_arrives) {
  const std::int64_t bytes = (std::int64_t{70} << 20) + 5;  // blocks of 1 MiB and a rest
  one_body_arrives(bytes, peer->process() == 0 ? contract::body_of(3, bytes) : nullptr, [](const auto& arrival) { return arrival.intact; });
}

TEST(MpiTransport, a_body_of_more_than_an_int_counts_arrives) {
  if (std::getenv("BUBBLESCOPE_HUGE_TESTS") == nullptr) GTEST_SKIP() << "takes 5 GiB of memory; BUBBLESCOPE_HUGE_TESTS=1 runs it";
  const std::int64_t bytes = (std::int64_t{2} << 30) + 5;
  one_body_arrives(bytes, peer->process() == 0 ? contract::body_of(3, bytes) : nullptr, [](const auto& arrival) { return arrival.intact; });
}

TEST(MpiTransport, what_comes_after_a_handler_threw_is_not_lost) { contract::what_comes_after_a_handler_threw_is_not_lost(*peer); }

TEST(MpiTransport, close_waits_for_what_is_under_way) { contract::close_waits_for_what_is_under_way(*peer); }

/// Process 0 prints everything, the others only what failed.
class Failures : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "process %d: %s:%d: %s\n", peer->process(), result.file_name() != nullptr ? result.file_name() : "?", result.line_number(), result.message());
  }
};

int run() {
  const auto transport = load_mpi();
  contract::Peer self(*transport);
  peer = &self;
  if (transport->process() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Failures);
  }
  // Who has failed leaves, without closing, and mpirun ends the others.
  testing::GTEST_FLAG(fail_fast) = true;
  const int failed = RUN_ALL_TESTS();
  if (failed == 0) transport->close();  // where the last test was left out
  return failed;
}

}  // namespace
}  // namespace bubblescope

/// For all in this program: what MPI leaks can only be told apart (leaks.supp) while the library it is of stays loaded.
extern "C" int dlclose(void*) noexcept { return 0; }

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    return bubblescope::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpi-tests: %s\n", error.what());
    return 1;
  }
}
