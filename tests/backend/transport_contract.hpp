// What every transport must do, checked from all processes at once: each calls the same checks in the same order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/fields.hpp"
#include "backend/transport.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope::contract {

inline constexpr std::int64_t kNoBody = -1;

/// What the head of a test's parcel says.
struct Label {
  enum class Kind : std::int32_t { plain, echo, hop, barrier, bad };
  Kind kind = Kind::plain;
  std::int32_t hops = 0;    ///< of a hop: how many are left
  std::int64_t phase = 0;   ///< the check it belongs to
  std::int64_t number = 0;  ///< unique among those of a sender and check; also what its body looks like
  std::int64_t bytes = 0;   ///< of the body; kNoBody: none
};

struct Arrival {
  std::int32_t from = 0;
  Label label;
  std::size_t head = 0;  ///< bytes
  bool intact = false;   ///< the body is what the label says
};

inline std::uint64_t word(std::int64_t number, std::int64_t at) {
  return (static_cast<std::uint64_t>(number) + 1) * 0x9e3779b97f4a7c15U + static_cast<std::uint64_t>(at) * 0xbf58476d1ce4e5b9U;
}

inline std::shared_ptr<void> body_of(std::int64_t number, std::int64_t bytes) {
  if (bytes == kNoBody) return nullptr;
  auto body = std::make_shared<std::vector<std::uint64_t>>(at(bytes / 8 + 1));
  for (std::size_t i = 0; i < body->size(); ++i) (*body)[i] = word(number, static_cast<std::int64_t>(i));
  return {body, body->data()};
}

inline bool is_body_of(const Parcel& parcel, const Label& label) {
  if (label.bytes == kNoBody) return parcel.body == nullptr && parcel.bytes == 0;
  if (parcel.body == nullptr || parcel.bytes != label.bytes) return false;
  const auto* const bytes = static_cast<const std::byte*>(parcel.body.get());
  for (std::int64_t i = 0; 8 * i < parcel.bytes; ++i) {
    const std::uint64_t expected = word(label.number, i);
    if (std::memcmp(bytes + 8 * i, &expected, at(std::min<std::int64_t>(8, parcel.bytes - 8 * i))) != 0) return false;
  }
  return true;
}

/// What a handler throws at a bad parcel.
struct BadParcel : std::runtime_error {
  BadParcel() : std::runtime_error("a bad parcel") {}
};

/// A process of the check.
class Peer {
 public:
  explicit Peer(Transport& of) : transport(of) {
    of.set_handler([this](std::int32_t from, Parcel parcel) { handle(from, std::move(parcel)); });
  }

  std::int32_t processes() const { return transport.processes(); }
  std::int32_t process() const { return transport.process(); }
  std::int32_t next() const { return (process() + 1) % processes(); }
  std::int32_t previous() const { return (process() + processes() - 1) % processes(); }

  void send(std::int32_t to, Label label, std::shared_ptr<const void> body, std::function<void()> left = {}, std::size_t head = 0) {
    label.phase = phase_;
    std::string bytes = FieldsOut().add(label).take();
    bytes.resize(std::max(bytes.size(), head), 'x');
    transport.send(to, {std::move(bytes), std::move(body), std::max<std::int64_t>(label.bytes, 0)}, std::move(left));
  }
  void send(std::int32_t to, const Label& label) { send(to, label, body_of(label.number, label.bytes)); }

  /// Polls until `ready`; gives up where nothing comes.
  void wait(const std::function<bool()>& ready) {
    constexpr std::chrono::seconds kPatience{40};
    auto until = std::chrono::steady_clock::now() + kPatience;
    while (!ready()) {
      if (poll()) {
        until = std::chrono::steady_clock::now() + kPatience;
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        if (std::chrono::steady_clock::now() > until) throw std::runtime_error("waited for what does not come");
      }
    }
  }
  /// What has come of this check once that many have.
  std::vector<Arrival> wait_for(std::size_t count) {
    wait([&] { return arrivals().size() >= count; });
    return arrivals();
  }
  std::vector<Arrival> arrivals() {
    const std::lock_guard lock(mutex_);
    return came_[phase_];
  }
  /// Of the check before the last barrier.
  std::vector<Arrival> arrivals_before() {
    const std::lock_guard lock(mutex_);
    return came_[phase_ - 1];
  }
  std::int64_t thrown() const { return thrown_; }  ///< at bad parcels
  /// All are here, and the next check begins.
  void barrier() {
    for (std::int32_t p = 0; p < processes(); ++p) {
      if (p != process()) send(p, {.kind = Label::Kind::barrier, .bytes = kNoBody});
    }
    wait([&] {
      const std::lock_guard lock(mutex_);
      return barriers_[phase_] == processes() - 1;
    });
    ++phase_;
  }

  Transport& transport;

 private:
  bool poll() {
    try {
      return transport.poll();
    } catch (const BadParcel&) {
      ++thrown_;
      return true;
    }
  }
  void handle(std::int32_t from, Parcel parcel) {
    EXPECT_EQ(inside_.fetch_add(1), 0) << "two threads are in the handler at once";
    const auto label = FieldsIn(parcel.head).get<Label>();
    EXPECT_TRUE(std::all_of(parcel.head.begin() + sizeof(Label), parcel.head.end(), [](char c) { return c == 'x'; }));
    if (label.kind == Label::Kind::echo || label.hops > 0) {
      Label answer = label;
      answer.kind = label.kind == Label::Kind::echo ? Label::Kind::plain : Label::Kind::hop;
      answer.hops = std::max(label.hops - 1, 0);
      const std::int32_t to = label.kind == Label::Kind::echo ? from : next();
      transport.send(to, {FieldsOut().add(answer).take(), parcel.body, parcel.bytes});
    }
    {
      const std::lock_guard lock(mutex_);
      if (label.kind == Label::Kind::barrier) {
        ++barriers_[label.phase];
      } else {
        came_[label.phase].push_back({from, label, parcel.head.size(), is_body_of(parcel, label)});
      }
    }
    inside_.fetch_sub(1);
    if (label.kind == Label::Kind::bad) throw BadParcel();
  }

  std::mutex mutex_;
  std::atomic<int> inside_{0};
  std::int64_t phase_ = 0;
  std::int64_t thrown_ = 0;
  std::map<std::int64_t, std::vector<Arrival>> came_;
  std::map<std::int64_t, std::int32_t> barriers_;
};

inline const std::vector<std::int64_t>& sizes() {
  static const std::vector<std::int64_t> all{kNoBody, 0, 1, 4095, 4096, 4097, 64 << 10, 6 << 20};
  return all;
}

inline void heads_and_bodies_of_all_sizes_arrive_intact(Peer& peer) {
  for (const std::size_t head : {sizeof(Label), at(Transport::kMostHead)}) {
    for (std::int64_t number = 0; at(number) < sizes().size(); ++number) {
      const Label label{.number = number, .bytes = sizes()[at(number)]};
      peer.send(peer.next(), label, body_of(number, label.bytes), {}, head);
    }
  }
  std::map<std::pair<std::size_t, std::int64_t>, int> came;
  for (const Arrival& arrival : peer.wait_for(2 * sizes().size())) {
    EXPECT_EQ(arrival.from, peer.previous());
    EXPECT_TRUE(arrival.intact) << arrival.label.bytes << " bytes";
    EXPECT_EQ(arrival.label.bytes, sizes()[at(arrival.label.number)]);
    ++came[{arrival.head, arrival.label.number}];
  }
  EXPECT_EQ(came.size(), 2 * sizes().size()) << "one came twice";
  peer.barrier();
}

/// What a thread of a process sends: as many small ones as large ones.
inline std::vector<std::pair<std::int32_t, Label>> crowd(std::int32_t process, std::int32_t processes, std::int64_t thread) {
  std::mt19937_64 random(at(100 * process + thread));
  std::vector<std::pair<std::int32_t, Label>> all;
  for (std::int64_t i = 0; i < 100; ++i) {
    const std::int32_t to = (process + 1 + static_cast<std::int32_t>(random() % at(processes - 1))) % processes;
    const std::int64_t most = i % 2 == 0 ? 4096 : 200'000;
    all.push_back({to, {.number = 1000 * thread + i, .bytes = static_cast<std::int64_t>(random() % at(most + 1))}});
  }
  return all;
}

inline void many_threads_send_and_poll_at_once(Peer& peer) {
  constexpr std::int64_t kThreads = 4;
  std::map<std::pair<std::int32_t, std::int64_t>, std::int64_t> expected;
  for (std::int32_t p = 0; p < peer.processes(); ++p) {
    for (std::int64_t t = 0; t < kThreads; ++t) {
      for (const auto& [to, label] : crowd(p, peer.processes(), t)) {
        if (p != peer.process() && to == peer.process()) expected[{p, label.number}] = label.bytes;
      }
    }
  }
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&peer, t] {
      for (const auto& [to, label] : crowd(peer.process(), peer.processes(), t)) {
        peer.send(to, label);
        peer.transport.poll();
      }
    });
  }
  const auto join = [&] {
    for (std::thread& thread : threads) thread.join();
  };
  std::vector<Arrival> came;
  try {
    came = peer.wait_for(expected.size());
  } catch (...) {
    join();
    throw;
  }
  join();
  EXPECT_EQ(came.size(), expected.size());
  for (const Arrival& arrival : came) {
    EXPECT_TRUE(arrival.intact) << arrival.label.bytes << " bytes";
    const auto found = expected.find({arrival.from, arrival.label.number});
    ASSERT_NE(found, expected.end()) << "came twice, or was never sent";
    EXPECT_EQ(arrival.label.bytes, found->second);
    expected.erase(found);
  }
  peer.barrier();
}

inline void handlers_answer_and_pass_on(Peer& peer) {
  const std::int32_t rounds = 2;
  std::size_t expected = 0;
  for (std::int64_t number = 0; at(number) < sizes().size(); ++number) {
    for (std::int32_t p = 0; p < peer.processes(); ++p) {
      if (p == peer.process()) continue;
      peer.send(p, {.kind = Label::Kind::echo, .number = number, .bytes = sizes()[at(number)]});
      expected += 2;  // the other's question, and the answer to mine
    }
    // Goes round, past everybody, and ends at its sender; so do the others'.
    peer.send(peer.next(), {.kind = Label::Kind::hop, .hops = rounds * peer.processes() - 1, .number = number, .bytes = sizes()[at(number)]});
    expected += at(rounds * peer.processes());
  }
  for (const Arrival& arrival : peer.wait_for(expected)) EXPECT_TRUE(arrival.intact) << arrival.label.bytes << " bytes";
  EXPECT_EQ(peer.arrivals().size(), expected);
  peer.barrier();
}

/// `released`: the transport has dropped the body by then, which it cannot where the receiver shares it.
inline void each_parcel_leaves_once(Peer& peer, bool released = true) {
  struct Sent {
    std::atomic<int> left{0};
    std::atomic<bool> released{false};
    std::atomic<bool> released_before{false};
  };
  std::vector<Sent> sent(sizes().size() * 4);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const std::int64_t bytes = sizes()[i % sizes().size()];
    Sent& mine = sent[i];
    std::shared_ptr<const void> body;
    if (bytes == kNoBody) {
      mine.released = true;
    } else {
      auto memory = body_of(static_cast<std::int64_t>(i), bytes);
      body = std::shared_ptr<const void>(memory.get(), [memory, &mine](const void*) { mine.released = true; });
    }
    peer.send(peer.next(), {.number = static_cast<std::int64_t>(i), .bytes = bytes}, std::move(body), [&mine] {
      mine.released_before = mine.released.load();
      ++mine.left;
    });
  }
  const auto all_left = [&] { return std::all_of(sent.begin(), sent.end(), [](const Sent& one) { return one.left > 0; }); };
  peer.wait([&] { return all_left() && peer.arrivals().size() == sent.size(); });
  peer.barrier();  // whatever would leave twice has done so
  for (const Sent& one : sent) {
    EXPECT_EQ(one.left, 1);
    EXPECT_TRUE(one.released);
    EXPECT_TRUE(one.released_before || !released);
  }
}

inline void a_large_body_keeps_it_busy_until_it_has_left(Peer& peer) {
  peer.wait([&] { return !peer.transport.busy(); });
  peer.barrier();
  bool left = false;
  const Label label{.bytes = 6 << 20};
  peer.send(peer.next(), label, body_of(label.number, label.bytes), [&] { left = true; });
  EXPECT_TRUE(peer.transport.busy());
  peer.wait([&] { return left; });
  peer.wait_for(1);
  peer.barrier();
  peer.wait([&] { return !peer.transport.busy(); });
}

inline void what_cannot_be_sent_is_refused(Peer& peer) {
  const auto refused = [&](std::int32_t to, Parcel parcel) { EXPECT_THROW(peer.transport.send(to, std::move(parcel)), RunError); };
  refused(peer.process(), {});
  refused(-1, {});
  refused(peer.processes(), {});
  refused(peer.next(), {std::string(at(Transport::kMostHead) + 1, 'x'), nullptr, 0});
  refused(peer.next(), {"", nullptr, 1});
  peer.barrier();
}

/// More than any transport takes at once.
inline void what_comes_after_a_handler_threw_is_not_lost(Peer& peer) {
  constexpr std::int64_t kCount = 100;
  for (std::int64_t number = 0; number < kCount; ++number) {
    peer.send(peer.next(), {.kind = number < kCount - 5 ? Label::Kind::bad : Label::Kind::plain, .number = number, .bytes = number % 2 == 0 ? 100 : kNoBody});
  }
  peer.wait_for(kCount);
  peer.barrier();
  std::map<std::int64_t, int> counts;
  for (const Arrival& arrival : peer.arrivals_before()) {
    EXPECT_TRUE(arrival.intact);
    ++counts[arrival.label.number];
  }
  EXPECT_EQ(counts.size(), at(kCount));
  for (const auto& [number, count] : counts) EXPECT_EQ(count, 1) << "number " << number;
  EXPECT_EQ(peer.thrown(), kCount - 5);
}

/// The last check: the transport is closed afterwards.
inline void close_waits_for_what_is_under_way(Peer& peer) {
  std::atomic<int> left = 0;
  const auto others = at(peer.processes() - 1);
  for (std::int64_t number = 0; at(number) < sizes().size(); ++number) {
    for (std::int32_t p = 0; p < peer.processes(); ++p) {
      if (p == peer.process()) continue;
      const Label label{.kind = Label::Kind::echo, .number = number, .bytes = sizes()[at(number)]};
      peer.send(p, label, body_of(number, label.bytes), [&] { ++left; });
    }
  }
  // On its way long after everybody has come to close.
  const std::int32_t rounds = 25;
  peer.send(peer.next(), {.kind = Label::Kind::hop, .hops = rounds * peer.processes() - 1, .bytes = kNoBody});
  peer.transport.close();
  const auto came = peer.arrivals();
  EXPECT_EQ(came.size(), 2 * others * sizes().size() + at(rounds * peer.processes())) << "questions, answers, and what goes round";
  for (const Arrival& arrival : came) EXPECT_TRUE(arrival.intact) << arrival.label.bytes << " bytes";
  EXPECT_EQ(left, static_cast<int>(others * sizes().size()));
  EXPECT_FALSE(peer.transport.poll());
  EXPECT_FALSE(peer.transport.busy());
}

}  // namespace bubblescope::contract
