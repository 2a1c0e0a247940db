// Parcels over TCP, between threads that stand for processes.
#include "backend/socket_transport.hpp"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include "tests/backend/together.hpp"
#include "tests/backend/transport_contract.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::int32_t kProcesses = 3;

/// One transport per process, all connected.
std::vector<std::unique_ptr<Transport>> transports(std::int32_t processes, SocketTransportOptions options = {}) {
  Together together(processes);
  std::vector<std::unique_ptr<Transport>> all(at(processes));
  const auto failures = on_each(processes, [&](std::int32_t p) { all[at(p)] = std::make_unique<SocketTransport>(p, processes, together.gather_all(p), options); });
  EXPECT_THAT(failures, Each(""));
  return all;
}

/// Runs `check` in all processes, and closes.
void in_all(const std::function<void(contract::Peer&)>& check) {
  const auto all = transports(kProcesses);
  EXPECT_THAT(on_each(kProcesses, [&](std::int32_t p) {
    contract::Peer peer(*all[at(p)]);
    check(peer);
    all[at(p)]->close();
  }), Each(""));
}

TEST(SocketTransport, tells_who_it_is) {
  const auto all = transports(2);
  EXPECT_EQ(all[1]->name(), "TCP");
  EXPECT_EQ(all[1]->processes(), 2);
  EXPECT_EQ(all[1]->process(), 1);
}

TEST(SocketTransport, heads_and_bodies_of_all_sizes_arrive_intact) { in_all(contract::heads_and_bodies_of_all_sizes_arrive_intact); }
TEST(SocketTransport, many_threads_send_and_poll_at_once) { in_all(contract::many_threads_send_and_poll_at_once); }
TEST(SocketTransport, handlers_answer_and_pass_on) { in_all(contract::handlers_answer_and_pass_on); }
TEST(SocketTransport, each_parcel_leaves_once) {
  in_all([](contract::Peer& peer) { contract::each_parcel_leaves_once(peer); });
}
TEST(SocketTransport, a_large_body_keeps_it_busy_until_it_has_left) { in_all(contract::a_large_body_keeps_it_busy_until_it_has_left); }
TEST(SocketTransport, what_cannot_be_sent_is_refused) { in_all(contract::what_cannot_be_sent_is_refused); }
TEST(SocketTransport, what_comes_after_a_handler_threw_is_not_lost) { in_all(contract::what_comes_after_a_handler_threw_is_not_lost); }
TEST(SocketTransport, close_waits_for_what_is_under_way) { in_all(contract::close_waits_for_what_is_under_way); }

TEST(SocketTransport, close_waits_for_answers_to_what_comes_late) {
  const auto all = transports(2);
  bool answered = false;
  all[0]->set_handler([&](std::int32_t, Parcel) { answered = true; });
  all[1]->set_handler([&](std::int32_t from, Parcel) { all[1]->send(from, {"answer", nullptr, 0}, {}); });
  EXPECT_THAT(on_each(2, [&](std::int32_t p) {
    if (p == 0) std::this_thread::sleep_for(100ms);  // the other one has told its totals
    if (p == 0) all[0]->send(1, {"question", nullptr, 0}, {});
    all[at(p)]->close();
  }), Each(""));
  EXPECT_TRUE(answered);
}

TEST(SocketTransport, refuses_bodies_on_gpus) {
  const auto all = transports(2);
  Parcel parcel{"", std::make_shared<int>(), 4, 0};
  EXPECT_THROW(all[0]->send(1, std::move(parcel)), RunError);
}

TEST(SocketTransport, parcels_between_two_processes_keep_their_order) {
  const auto all = transports(2);
  std::vector<int> came;
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[1]->set_handler([&](std::int32_t, Parcel parcel) { came.push_back(FieldsIn(parcel.head).get<int>()); });
  constexpr int kCount = 300;
  for (int i = 0; i < kCount; ++i) {
    const std::int64_t bytes = i % 3 == 0 ? 300'000 : 0;
    all[0]->send(1, {FieldsOut().add(i).take(), contract::body_of(i, bytes), bytes});
  }
  for (const auto end = std::chrono::steady_clock::now() + 20s; came.size() < kCount && std::chrono::steady_clock::now() < end;) {
    all[0]->poll();
    all[1]->poll();
  }
  ASSERT_EQ(came.size(), at(kCount));
  for (int i = 0; i < kCount; ++i) EXPECT_EQ(came[at(i)], i);
}

/// Polls until it throws; what it says then.
std::string polled_to_death(Transport& transport) {
  try {
    for (const auto end = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < end;) transport.poll();
  } catch (const RunError& error) {
    return error.what();
  }
  return "";
}

TEST(SocketTransport, a_process_that_is_gone_is_an_error_that_names_it) {
  auto all = transports(3);
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[2].reset();
  EXPECT_THAT(polled_to_death(*all[0]), HasSubstr("process 2"));
  // What is sent to it from then on goes nowhere.
  for (int i = 0; i < 100; ++i) all[0]->send(2, {"", contract::body_of(0, 100'000), 100'000});
  EXPECT_FALSE(all[0]->busy());
}

// As where the system has no memory for it: the connection itself is in order.
TEST(SocketTransport, what_cannot_be_sent_is_an_error_where_it_is_polled) {
  const auto all = transports(2);
  all[0]->set_handler([](std::int32_t, Parcel) {});
  void* const unreadable = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(unreadable, MAP_FAILED);
  all[0]->send(1, {"", std::shared_ptr<const void>(unreadable, [](const void*) {}), 4096});
  EXPECT_FALSE(all[0]->busy());
  EXPECT_EQ(polled_to_death(*all[0]), "the connection to process 1 is broken: Bad address");
  munmap(unreadable, 4096);
}

TEST(SocketTransport, closing_with_a_process_that_does_not_come_is_an_error_after_a_while) {
  const auto all = transports(2, {.close_patience = 300ms});
  all[0]->set_handler([](std::int32_t, Parcel) {});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(all[0]->close(), RunError);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
}

TEST(SocketTransport, closing_with_a_process_that_is_gone_is_an_error) {
  auto all = transports(2);
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[1].reset();
  EXPECT_THROW(all[0]->close(), RunError);
}

TEST(SocketTransport, nonsense_is_an_error_that_names_who_sent_it) {
  Together together(2);
  std::unique_ptr<SocketTransport> transport;
  std::vector<MeshConnection> other;
  ASSERT_THAT(on_each(2, [&](std::int32_t p) {
    if (p == 0) {
      transport = std::make_unique<SocketTransport>(0, 2, together.gather_all(0));
    } else {
      other = connect_mesh(1, 2, together.gather_all(1), 20s);
    }
  }), Each(""));
  transport->set_handler([](std::int32_t, Parcel) {});
  send_all(other[0].socket, std::string(64, '\xff'), std::chrono::steady_clock::now() + 20s);
  EXPECT_THAT(polled_to_death(*transport), HasSubstr("process 1 sent something that is no parcel"));
}

TEST(SocketTransport, a_handler_that_throws_loses_nothing_that_came_after) {
  const auto all = transports(2);
  int came = 0;
  all[1]->set_handler([&](std::int32_t, Parcel) {
    if (++came == 1) throw RunError("a bad parcel");
  });
  for (int i = 0; i < 3; ++i) all[0]->send(1, {"x", nullptr, 0});
  EXPECT_THAT(polled_to_death(*all[1]), HasSubstr("a bad parcel"));
  for (const auto end = std::chrono::steady_clock::now() + 20s; came < 3 && std::chrono::steady_clock::now() < end;) all[1]->poll();
  EXPECT_EQ(came, 3);
}

}  // namespace
}  // namespace bubblescope
