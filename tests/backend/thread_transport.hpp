// Transports whose processes are threads of this one: for tests of what would take several machines otherwise.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/buffer_pool.hpp"
#include "backend/clock.hpp"
#include "backend/parcel_check.hpp"
#include "backend/poll_turn.hpp"
#include "backend/transport.hpp"
#include "sim/core/index.hpp"
#include "sim/core/time.hpp"

namespace bubblescope {

struct ThreadTransportOptions {
  Nanos most_delay = 0;    ///< every parcel is under way for up to that, so that parcels overtake one another
  std::uint64_t seed = 0;  ///< of the delays
  Nanos per_mebibyte = 0;  ///< what a body keeps its way busy for; there is one way from each process to each other one
  bool copies = true;      ///< bodies arrive in memory of their own, as between processes; else they are shared
};

/// The mailboxes that the threads share.
class ThreadHub {
 public:
  using Left = std::function<void()>;
  struct Letter {
    Nanos due = 0;
    std::int64_t number = 0;  ///< among all; decides where both are due at once
    std::int32_t from = 0;
    Parcel parcel;
    Left left;
  };
  class Mailbox {
   public:
    void put(Letter letter) {
      const std::lock_guard lock(mutex_);
      letters_.push_back(std::move(letter));
      std::push_heap(letters_.begin(), letters_.end(), is_later);
    }
    /// The earliest of what is due by now.
    std::optional<Letter> take(Nanos now) {
      const std::lock_guard lock(mutex_);
      if (letters_.empty() || letters_.front().due > now) return std::nullopt;
      std::pop_heap(letters_.begin(), letters_.end(), is_later);
      Letter letter = std::move(letters_.back());
      letters_.pop_back();
      return letter;
    }
    bool empty() {
      const std::lock_guard lock(mutex_);
      return letters_.empty();
    }
    void put_left(Left left) {
      const std::lock_guard lock(mutex_);
      left_.push_back(std::move(left));
    }
    std::optional<Left> take_left() {
      const std::lock_guard lock(mutex_);
      if (left_.empty()) return std::nullopt;
      Left left = std::move(left_.front());
      left_.pop_front();
      return left;
    }

   private:
    /// Later ones are less: the heap's first is due first.
    static bool is_later(const Letter& a, const Letter& b) { return a.due != b.due ? a.due > b.due : a.number > b.number; }

    std::mutex mutex_;
    std::vector<Letter> letters_;  ///< a heap
    std::deque<Left> left_;        ///< to be called by the one whose mailbox this is
  };

  ThreadHub(std::int32_t processes, ThreadTransportOptions how) : options(how), boxes(at(processes)), random_(how.seed) {}

  Nanos delay() {
    if (options.most_delay <= 0) return 0;
    const std::lock_guard lock(random_mutex_);
    return std::uniform_int_distribution<Nanos>(0, options.most_delay)(random_);
  }

  /// When a parcel with a body of `bytes` that is sent now has come.
  Nanos arrival(std::int32_t from, std::int32_t to, std::int64_t bytes) {
    const std::lock_guard lock(ways_mutex_);
    Nanos& free = ways_[{from, to}];
    free = std::max(free, steady_now()) + bytes * options.per_mebibyte / (1 << 20);
    return free;
  }

  const ThreadTransportOptions options;
  std::vector<Mailbox> boxes;
  std::atomic<std::int64_t> sent{0};
  std::atomic<std::int64_t> under_way{0};  ///< sent, and not handled to the end
  std::atomic<std::int64_t> closing{0};
  BufferPool pool;

 private:
  std::mutex random_mutex_;
  std::mt19937_64 random_;
  std::mutex ways_mutex_;
  std::map<std::pair<std::int32_t, std::int32_t>, Nanos> ways_;  ///< until when they are busy
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<ThreadHub> hub, std::int32_t process) : hub_(std::move(hub)), process_(process) {}

  std::string name() const override { return "threads"; }
  std::int32_t processes() const override { return static_cast<std::int32_t>(hub_->boxes.size()); }
  std::int32_t process() const override { return process_; }
  void set_handler(Handler handler) override { handler_ = std::move(handler); }

  void send(std::int32_t to, Parcel parcel, std::function<void()> left) override {
    check_parcel(*this, to, parcel);
    sending_.fetch_add(1);
    hub_->under_way.fetch_add(1);
    hub_->boxes[at(to)].put({hub_->arrival(process_, to, parcel.bytes) + hub_->delay(), hub_->sent.fetch_add(1), process_, std::move(parcel), std::move(left)});
  }

  /// One after another: where a handler throws, the others are for the next poll.
  bool poll() override {
    const PollTurn turn(polling_);
    if (!turn.mine()) return false;
    bool any = false;
    for (; const auto left = box().take_left(); any = true) {
      sending_.fetch_sub(1);
      if (*left) (*left)();
    }
    const Nanos now = steady_now();  // what is sent meanwhile is for the next poll, too
    for (; auto letter = box().take(now); any = true) deliver(*letter);
    return any;
  }

  bool busy() const override { return sending_.load() > 0 || !box().empty(); }

  /// Once all wait here nothing is sent but by handlers, and what they answer is under way before what they answer to is
  /// not any more.
  void close() override {
    hub_->closing.fetch_add(1);
    while (hub_->closing.load() < processes() || hub_->under_way.load() > 0 || busy()) {
      if (!poll()) std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

 private:
  struct Handled {
    std::atomic<std::int64_t>& under_way;
    ~Handled() { under_way.fetch_sub(1); }
  };

  ThreadHub::Mailbox& box() const { return hub_->boxes[at(process_)]; }

  void deliver(ThreadHub::Letter& letter) {
    const Handled handled{hub_->under_way};
    Parcel parcel = std::move(letter.parcel);
    // Only now: a sender that writes into what has not left is found out.
    if (hub_->options.copies && parcel.body) {
      auto body = hub_->pool.take(parcel.bytes);
      std::memcpy(body.get(), parcel.body.get(), at(parcel.bytes));
      parcel.body = std::move(body);
    }
    hub_->boxes[at(letter.from)].put_left(std::move(letter.left));
    handler_(letter.from, std::move(parcel));
  }

  std::shared_ptr<ThreadHub> hub_;
  std::int32_t process_;
  Handler handler_;
  std::atomic<std::int64_t> sending_{0};  ///< what has not left
  std::atomic_flag polling_;
};

/// One transport for each of `processes`, each to be used by a thread (or several) of its own, since `close` waits for the
/// others. A transport that goes without `close` leaves what is under way to it where it is.
inline std::vector<std::unique_ptr<Transport>> thread_transports(std::int32_t processes, ThreadTransportOptions options = {}) {
  const auto hub = std::make_shared<ThreadHub>(processes, options);
  std::vector<std::unique_ptr<Transport>> transports;
  for (std::int32_t p = 0; p < processes; ++p) transports.push_back(std::make_unique<ThreadTransport>(hub, p));
  return transports;
}

}  // namespace bubblescope
