// Bodies on GPUs, which are pieces of this process's memory here, and wires, which are queues.
#include "backend/gpu_transport.hpp"

#include <gmock/gmock.h>

#include <set>

#include "backend/clock.hpp"
#include "tests/backend/thread_transport.hpp"
#include "tests/backend/together.hpp"
#include "tests/backend/transport_contract.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::HasSubstr;
using namespace std::chrono_literals;

/// What lies between the ends of all wires, and what happened to them.
struct Cables {
  struct Cable {
    int ends = 0;
    std::int32_t gpu = -1;
    std::deque<std::vector<std::byte>> bodies;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, Cable> cables;
  std::set<std::string> ids;
  int connected = 0, disconnected = 0, aborted = 0, sending = 0;
  int aborted_alone = 0;  ///< not together with others
  bool deaf = false;    ///< the other end never connects
  bool slow_gpus = false;  ///< nothing that was begun is done
  bool broken = false;  ///< whatever was begun has failed
  bool jammed = false;  ///< sends wait until they are aborted
  bool hangs = false;   ///< nobody ever comes to disconnect the other end
  int refused = 0;      ///< how often the next sends fail
  int no_ids = 0, no_wires = 0;  ///< how often the next are not made
  Nanos slow = 0;       ///< that connecting takes
  std::function<void(std::int32_t gpu)> before_disconnect;  ///< the sender's GPU, or -1: the receiving end
};

class TestWire final : public GpuWire {
 public:
  TestWire(Cables& cables, std::string id, std::int32_t gpu) : cables_(cables), id_(std::move(id)), gpu_(gpu) {}

  void connect() override {
    std::unique_lock lock(cables_.mutex);
    auto& cable = cables_.cables[id_];
    ++cable.ends;
    cables_.changed.notify_all();
    cables_.changed.wait(lock, [&] { return aborted_ || (cable.ends == 2 && !cables_.deaf); });
    lock.unlock();
    wait_until(steady_now() + cables_.slow);
    lock.lock();
    if (aborted_) throw RunError("aborted");
    ++cables_.connected;
    connected_ = true;
  }
  void send(const Parcel& parcel, const std::shared_ptr<void>& given) override {
    std::unique_lock lock(cables_.mutex);
    EXPECT_TRUE(connected_);
    if (cables_.refused-- > 0) throw RunError("refused");
    ++cables_.sending;
    cables_.changed.wait(lock, [&] { return aborted_ || !cables_.jammed; });
    if (aborted_) throw RunError("aborted");
    EXPECT_EQ(parcel.gpu, gpu_);
    EXPECT_EQ(*std::static_pointer_cast<std::int32_t>(given), gpu_);
    const auto* const bytes = static_cast<const std::byte*>(parcel.body.get());
    cables_.cables[id_].bodies.emplace_back(bytes, bytes + parcel.bytes);
    ++begun_;
  }
  Parcel receive(std::int64_t bytes) override {
    const std::lock_guard lock(cables_.mutex);
    EXPECT_TRUE(connected_);
    auto& bodies = cables_.cables[id_].bodies;
    if (bodies.empty() || bodies.front().size() != at(bytes)) throw RunError("a receive that no send is for");
    auto body = std::make_shared<std::vector<std::byte>>(std::move(bodies.front()));
    bodies.pop_front();
    ++begun_;
    return {"", std::shared_ptr<const void>(body, body->data()), bytes, 7};
  }
  std::int64_t done() override {
    const std::lock_guard lock(cables_.mutex);
    if (cables_.broken) throw RunError("the cable is cut");
    if (cables_.slow_gpus) return 0;
    return ++asked_ % 3 == 0 ? begun_ : done_ = std::max(done_, begun_ - 1);  // the last one takes a while
  }
  /// As NCCL does it: one end waits for the other.
  void disconnect() override {
    std::unique_lock lock(cables_.mutex);
    if (cables_.before_disconnect) cables_.before_disconnect(gpu_);
    auto& cable = cables_.cables[id_];
    --cable.ends;
    cables_.changed.notify_all();
    cables_.changed.wait(lock, [&] { return cable.ends == 0 && !cables_.hangs; });
    ++cables_.disconnected;
  }
  void abort() noexcept override {
    const std::lock_guard lock(cables_.mutex);
    if (!std::exchange(aborted_, true)) {
      ++cables_.aborted;
      if (!together) ++cables_.aborted_alone;
    }
    cables_.changed.notify_all();
  }

  static inline thread_local bool together = false;  ///< what this thread aborts

 private:
  Cables& cables_;
  std::string id_;
  std::int32_t gpu_;
  bool connected_ = false, aborted_ = false;
  std::int64_t begun_ = 0, done_ = 0, asked_ = 0;
};

class TestWires final : public GpuWires {
 public:
  TestWires(Cables& cables, std::int32_t process) : cables_(cables), process_(process) {}
  std::string name() const override { return "cables"; }
  std::string new_id() override {
    const std::lock_guard lock(cables_.mutex);
    if (cables_.no_ids-- > 0) throw RunError("no id");
    return *cables_.ids.insert(std::to_string(process_) + "-" + std::to_string(cables_.ids.size())).first;
  }
  std::unique_ptr<GpuWire> outgoing(const std::string& id, std::int32_t gpu) override {
    const std::lock_guard lock(cables_.mutex);
    if (cables_.no_wires-- > 0) throw RunError("no wire");
    return std::make_unique<TestWire>(cables_, id, gpu);
  }
  std::unique_ptr<GpuWire> incoming(const std::string& id) override { return std::make_unique<TestWire>(cables_, id, -1); }
  std::shared_ptr<void> given(std::int32_t gpu) override { return std::make_shared<std::int32_t>(gpu); }
  void together(const std::function<void()>& work) override {
    TestWire::together = true;
    work();
    TestWire::together = false;
  }

 private:
  Cables& cables_;
  std::int32_t process_;
};

std::vector<std::unique_ptr<GpuTransport>> transports(Cables& cables, std::int32_t processes, ThreadTransportOptions options = {}) {
  std::vector<std::unique_ptr<GpuTransport>> all;
  for (auto& host : thread_transports(processes, options)) all.push_back(std::make_unique<GpuTransport>(std::move(host), std::make_unique<TestWires>(cables, static_cast<std::int32_t>(all.size()))));
  return all;
}

const ThreadTransportOptions kMixed{.most_delay = 2 * kMillisecond, .seed = 3};

/// What every transport must do with bodies of the host, heads overtaking one another.
void in_all(const std::function<void(contract::Peer&)>& check) {
  Cables cables;
  const auto all = transports(cables, 3, kMixed);
  EXPECT_THAT(on_each(3, [&](std::int32_t p) {
    contract::Peer peer(*all[at(p)]);
    check(peer);
    all[at(p)]->close();
  }), Each(""));
  EXPECT_EQ(cables.connected, 0);
}

TEST(GpuTransport, heads_and_bodies_of_all_sizes_arrive_intact) { in_all(contract::heads_and_bodies_of_all_sizes_arrive_intact); }
TEST(GpuTransport, many_threads_send_and_poll_at_once) { in_all(contract::many_threads_send_and_poll_at_once); }
TEST(GpuTransport, handlers_answer_and_pass_on) { in_all(contract::handlers_answer_and_pass_on); }
TEST(GpuTransport, each_parcel_leaves_once) {
  in_all([](contract::Peer& peer) { contract::each_parcel_leaves_once(peer); });
}
TEST(GpuTransport, what_cannot_be_sent_is_refused) { in_all(contract::what_cannot_be_sent_is_refused); }
TEST(GpuTransport, what_comes_after_a_handler_threw_is_not_lost) { in_all(contract::what_comes_after_a_handler_threw_is_not_lost); }
TEST(GpuTransport, close_waits_for_what_is_under_way) { in_all(contract::close_waits_for_what_is_under_way); }

TEST(GpuTransport, heads_that_begin_as_its_own_do_pass) {
  Cables cables;
  const auto all = transports(cables, 2);
  std::vector<std::string> came;
  all[1]->set_handler([&](std::int32_t, Parcel parcel) { came.push_back(parcel.head); });
  for (const std::string head : {"\xb5", "\xb5\x02", "plain", ""}) all[0]->send(1, {head, nullptr, 0}, {});
  while (came.size() < 4) all[1]->poll();
  EXPECT_THAT(came, testing::ElementsAre("\xb5", "\xb5\x02", "plain", ""));
}

/// `number` on GPU `gpu`, `bytes` long.
Parcel on_gpu(std::int64_t number, std::int64_t bytes, std::int32_t gpu) { return {FieldsOut().add(number).take(), contract::body_of(number, bytes), bytes, gpu}; }

TEST(GpuTransport, bodies_on_gpus_arrive_whole_in_order_once_and_leave_once) {
  constexpr std::int32_t kProcesses = 3;
  constexpr std::int64_t kCount = 100;
  Cables cables;
  cables.slow = 5 * kMillisecond;
  const auto all = transports(cables, kProcesses, kMixed);
  EXPECT_THAT(on_each(kProcesses, [&](std::int32_t p) {
    GpuTransport& transport = *all[at(p)];
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> next;  // by process and sender's GPU
    transport.set_handler([&](std::int32_t from, Parcel parcel) {
      const auto number = FieldsIn(parcel.head).get<std::int64_t>();
      EXPECT_EQ(parcel.gpu, 7);
      EXPECT_TRUE(contract::is_body_of(parcel, {.number = number, .bytes = number % 1000 + 1}));
      auto& expected = next[{from, static_cast<std::int32_t>(number / kCount)}];
      EXPECT_EQ(number % kCount, expected++);
    });
    std::atomic<int> left = 0;
    for (std::int64_t i = 0; i < kCount; ++i) {
      for (std::int32_t gpu = 0; gpu < 2; ++gpu) {
        const std::int64_t number = gpu * kCount + i;
        for (std::int32_t to = 0; to < kProcesses; ++to) {
          if (to != p) transport.send(to, on_gpu(number, number % 1000 + 1, gpu), [&] { ++left; });
        }
      }
      transport.poll();
    }
    EXPECT_TRUE(transport.busy());
    transport.close();
    EXPECT_EQ(left, 2 * kCount * (kProcesses - 1));
    EXPECT_EQ(next.size(), at(2 * (kProcesses - 1)));
    for (const auto& [from, count] : next) EXPECT_EQ(count, kCount);
    EXPECT_FALSE(transport.busy());
  }), Each(""));
  // One wire for every directed pair and GPU of the sender, both of whose ends were told the same things.
  EXPECT_EQ(cables.ids.size(), at(2 * kProcesses * (kProcesses - 1)));
  EXPECT_EQ(cables.connected, 4 * kProcesses * (kProcesses - 1));
  EXPECT_EQ(cables.disconnected, cables.connected);
  EXPECT_EQ(cables.aborted, 0);
}

TEST(GpuTransport, nothing_has_left_or_come_before_the_gpus_are_done) {
  Cables cables;
  cables.slow_gpus = true;
  const auto all = transports(cables, 2);
  bool left = false, came = false;
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[1]->set_handler([&](std::int32_t, Parcel) { came = true; });
  all[0]->send(1, on_gpu(0, 8, 0), [&] { left = true; });
  const auto poll_for = [&](Nanos time, const auto& until) {
    for (const Nanos end = steady_now() + time; !until() && steady_now() < end;) {
      all[0]->poll();
      all[1]->poll();
    }
  };
  poll_for(200 * kMillisecond, [] { return false; });
  EXPECT_EQ(cables.connected, 2);
  EXPECT_FALSE(left || came);
  EXPECT_TRUE(all[0]->busy() && all[1]->busy());
  cables.slow_gpus = false;
  poll_for(20 * kSecond, [&] { return left && came; });
  EXPECT_TRUE(left && came);
  EXPECT_FALSE(all[0]->busy() || all[1]->busy());
}

TEST(GpuTransport, refuses_what_it_cannot_send) {
  Cables cables;
  const auto all = transports(cables, 2);
  EXPECT_THROW(all[0]->send(0, on_gpu(0, 1, 0), {}), RunError);
  EXPECT_THROW(all[0]->send(2, on_gpu(0, 1, 0), {}), RunError);
  EXPECT_THROW(all[0]->send(1, {"", nullptr, 0, 0}, {}), RunError);
  EXPECT_THROW(all[0]->send(1, {std::string(at(GpuTransport::kMostGpuHead) + 1, 'x'), contract::body_of(0, 1), 1, 0}, {}), RunError);
  EXPECT_FALSE(all[0]->busy());
}

TEST(GpuTransport, a_longest_head_travels_with_a_body_on_a_gpu) {
  Cables cables;
  const auto all = transports(cables, 2);
  std::string came;
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[1]->set_handler([&](std::int32_t, Parcel parcel) { came = parcel.head; });
  const std::string head(at(GpuTransport::kMostGpuHead), 'x');
  all[0]->send(1, {head, contract::body_of(0, 8), 8, 0}, {});
  for (const Nanos end = steady_now() + 20 * kSecond; came.empty() && steady_now() < end;) {
    all[0]->poll();
    all[1]->poll();
  }
  EXPECT_EQ(came, head);
}

std::string polled_to_death(Transport& transport) {
  try {
    for (const Nanos end = steady_now() + 20 * kSecond; steady_now() < end;) transport.poll();
  } catch (const RunError& error) {
    return error.what();
  }
  return "";
}

TEST(GpuTransport, a_wire_that_breaks_is_an_error_that_names_both_processes) {
  Cables cables;
  const auto all = transports(cables, 2);
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[1]->set_handler([](std::int32_t, Parcel) {});
  all[0]->send(1, on_gpu(0, 8, 0), {});
  cables.broken = true;
  std::string other;
  std::thread receiver([&] { other = polled_to_death(*all[1]); });
  EXPECT_EQ(polled_to_death(*all[0]), "cables from process 0 to process 1: the cable is cut");
  receiver.join();
  EXPECT_EQ(other, "cables from process 0 to process 1: the cable is cut");
}

TEST(GpuTransport, a_wire_that_cannot_be_made_leaves_nothing_behind) {
  Cables cables;
  cables.no_ids = cables.no_wires = 1;
  auto all = transports(cables, 2);
  bool came = false;
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[1]->set_handler([&](std::int32_t, Parcel) { came = true; });
  EXPECT_THROW(all[0]->send(1, on_gpu(0, 8, 0), {}), RunError) << "no id";
  EXPECT_THROW(all[0]->send(1, on_gpu(0, 8, 0), {}), RunError) << "no wire";
  EXPECT_FALSE(all[0]->busy());
  all[0]->send(1, on_gpu(0, 8, 0), {});
  for (const Nanos end = steady_now() + 20 * kSecond; !came && steady_now() < end;) {
    all[0]->poll();
    all[1]->poll();
  }
  EXPECT_TRUE(came);
  cables.no_wires = 1;
  EXPECT_THROW(all[0]->send(1, on_gpu(0, 8, 1), {}), RunError);
  all[0]->abandon();
}

TEST(GpuTransport, abandoned_it_does_not_wait_for_who_never_connects) {
  Cables cables;
  cables.deaf = true;
  auto all = transports(cables, 2);
  all[0]->set_handler([](std::int32_t, Parcel) {});
  all[0]->send(1, on_gpu(0, 8, 0), {});
  for (int i = 0; i < 100; ++i) all[0]->poll();
  EXPECT_TRUE(all[0]->busy());
  const Nanos begin = steady_now();
  all[0]->abandon();
  EXPECT_THAT(polled_to_death(*all[0]), HasSubstr("from process 0 to process 1: aborted"));
  all[0].reset();
  EXPECT_LT(steady_now() - begin, kSecond);
  EXPECT_EQ(cables.aborted, 1);
}

/// What `cables` says now, of which wires tell on other threads.
int now(Cables& cables, int Cables::* what) {
  const std::lock_guard lock(cables.mutex);
  return cables.*what;
}

/// Polls both until `until`.
void poll_both(const std::vector<std::unique_ptr<GpuTransport>>& all, const std::function<bool()>& until) {
  for (const Nanos end = steady_now() + 20 * kSecond; !until() && steady_now() < end;) {
    all[0]->poll();
    all[1]->poll();
  }
  EXPECT_TRUE(until());
}

TEST(GpuTransport, abandoned_it_ends_all_wires_at_once) {
  Cables cables;
  auto all = transports(cables, 2);
  int came = 0;
  for (const auto& one : all) one->set_handler([&](std::int32_t, Parcel) { ++came; });
  for (std::int32_t p = 0; p < 2; ++p) {
    for (std::int32_t gpu = 0; gpu < 2; ++gpu) all[at(p)]->send(1 - p, on_gpu(0, 8, gpu), {});
  }
  poll_both(all, [&] { return came == 4; });
  all[0]->abandon();
  EXPECT_EQ(cables.aborted, 4);  // its ends
  all.clear();
  EXPECT_EQ(cables.aborted, 8);
  EXPECT_EQ(cables.aborted_alone, 0);
}

TEST(GpuTransport, abandoned_it_ends_a_send_that_waits_whoever_does_it) {
  for (const bool polls : {false, true}) {
    Cables cables;
    const auto all = transports(cables, 2);
    bool came = false;
    all[0]->set_handler([](std::int32_t, Parcel) {});
    all[1]->set_handler([&](std::int32_t, Parcel) { came = true; });
    if (!polls) {
      all[0]->send(1, on_gpu(0, 8, 0), {});
      poll_both(all, [&] { return came; });
    }
    cables.jammed = true;
    cables.sending = 0;
    if (polls) {
      all[0]->send(1, on_gpu(0, 8, 0), {});
      while (now(cables, &Cables::connected) < 2) all[1]->poll();
    }
    std::string why;
    std::thread sender([&] {
      try {
        if (!polls) all[0]->send(1, on_gpu(1, 8, 0), {});
      } catch (const RunError& error) {
        why = error.what();
      }
      if (polls) why = polled_to_death(*all[0]);
    });
    while (now(cables, &Cables::sending) == 0) std::this_thread::yield();
    all[0]->abandon();
    sender.join();
    EXPECT_EQ(why, "cables from process 0 to process 1: aborted");
  }
}

TEST(GpuTransport, a_send_that_fails_fails_every_poll) {
  for (const bool connected : {false, true}) {
    Cables cables;
    const auto all = transports(cables, 2);
    bool came = false;
    all[0]->set_handler([](std::int32_t, Parcel) {});
    all[1]->set_handler([&](std::int32_t, Parcel) { came = true; });
    const std::string expected = "cables from process 0 to process 1: refused";
    if (connected) {
      all[0]->send(1, on_gpu(0, 8, 0), {});
      poll_both(all, [&] { return came && !all[0]->busy(); });
      cables.refused = 1;
      EXPECT_THROW(all[0]->send(1, on_gpu(1, 8, 0), {}), RunError);
    } else {
      cables.refused = 1;
      all[0]->send(1, on_gpu(0, 8, 0), {});
      std::thread other([&] {
        for (const Nanos end = steady_now() + 20 * kSecond; steady_now() < end && now(cables, &Cables::connected) < 2;) all[1]->poll();
      });
      EXPECT_EQ(polled_to_death(*all[0]), expected);
      other.join();
    }
    for (int i = 0; i < 2; ++i) EXPECT_EQ(polled_to_death(*all[0]), expected);
  }
}

TEST(GpuTransport, lines_are_disconnected_before_the_host_is_closed) {
  constexpr std::int32_t kProcesses = 3;
  Cables cables;
  const auto hub = std::make_shared<ThreadHub>(kProcesses, kMixed);
  std::vector<std::unique_ptr<GpuTransport>> all;
  for (std::int32_t p = 0; p < kProcesses; ++p) all.push_back(std::make_unique<GpuTransport>(std::make_unique<ThreadTransport>(hub, p), std::make_unique<TestWires>(cables, p)));
  int early = 0;
  cables.before_disconnect = [&](std::int32_t) { early += hub->closing.load() > 1; };  // only who has no line to another one may have come there
  EXPECT_THAT(on_each(kProcesses, [&](std::int32_t p) {
    all[at(p)]->set_handler([](std::int32_t, Parcel) {});
    all[at(p)]->send((p + 1) % kProcesses, on_gpu(p, 8, 0), {});
    all[at(p)]->close();
  }), Each(""));
  EXPECT_EQ(early, 0);
  EXPECT_EQ(cables.disconnected, 2 * kProcesses);
}

TEST(GpuTransport, the_host_is_polled_while_lines_are_disconnected) {
  Cables cables;
  const auto all = transports(cables, 2);
  std::atomic<int> came = 0;
  for (const auto& one : all) one->set_handler([&](std::int32_t, Parcel) { ++came; });
  cables.before_disconnect = [&](std::int32_t gpu) {
    if (gpu < 0) return;
    all[1]->send(0, {"late", nullptr, 0}, {});
    for (const Nanos end = steady_now() + 5 * kSecond; came < 2 && steady_now() < end;) std::this_thread::yield();
    EXPECT_EQ(came, 2);
  };
  all[0]->send(1, on_gpu(0, 8, 0), {});
  EXPECT_THAT(on_each(2, [&](std::int32_t p) { all[at(p)]->close(); }), Each(""));
}

TEST(GpuTransportDeathTest, whose_lines_do_not_end_ends_the_process_in_time) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT({
    Cables cables;
    cables.hangs = true;
    const auto all = transports(cables, 2);
    on_each(2, [&](std::int32_t p) {
      all[at(p)]->set_handler([](std::int32_t, Parcel) {});
      all[at(p)]->send(1 - p, on_gpu(0, 8, 0), {});
      all[at(p)]->close();
    });
  }, testing::ExitedWithCode(EXIT_FAILURE), "cables did not end in time");
}

}  // namespace
}  // namespace bubblescope
