// Mailboxes that the threads share.
#include "backend/thread_transport.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "backend/buffer_pool.hpp"
#include "backend/clock.hpp"
#include "backend/parcel_check.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

using Left = std::function<void()>;

struct Letter {
  Nanos due = 0;
  std::int64_t number = 0;  ///< among all; decides where both are due at once
  std::int32_t from = 0;
  Parcel parcel;
  Left left;
};

/// Later ones are less: the heap's first is due first.
bool is_later(const Letter& a, const Letter& b) { return a.due != b.due ? a.due > b.due : a.number > b.number; }

class Mailbox {
 public:
  void put(Letter letter) {
    const std::lock_guard lock(mutex_);
    letters_.push_back(std::move(letter));
    std::push_heap(letters_.begin(), letters_.end(), is_later);
  }
  /// What is due by now, the earliest first.
  std::vector<Letter> take(Nanos now) {
    std::vector<Letter> due;
    const std::lock_guard lock(mutex_);
    while (!letters_.empty() && letters_.front().due <= now) {
      std::pop_heap(letters_.begin(), letters_.end(), is_later);
      due.push_back(std::move(letters_.back()));
      letters_.pop_back();
    }
    return due;
  }
  bool empty() {
    const std::lock_guard lock(mutex_);
    return letters_.empty();
  }
  void put_left(Left left) {
    const std::lock_guard lock(mutex_);
    left_.push_back(std::move(left));
  }
  std::vector<Left> take_left() {
    const std::lock_guard lock(mutex_);
    return std::exchange(left_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Letter> letters_;  ///< a heap
  std::vector<Left> left_;       ///< to be called by the one whose mailbox this is
};

struct Hub {
  Hub(std::int32_t processes, ThreadTransportOptions how) : options(how), boxes(at(processes)), random(how.seed) {}

  Nanos delay() {
    if (options.most_delay <= 0) return 0;
    const std::lock_guard lock(random_mutex);
    return std::uniform_int_distribution<Nanos>(0, options.most_delay)(random);
  }

  const ThreadTransportOptions options;
  std::vector<Mailbox> boxes;
  std::atomic<std::int64_t> sent{0};
  std::atomic<std::int64_t> under_way{0};  ///< sent, and not handled to the end
  std::atomic<std::int64_t> closing{0};
  BufferPool pool;
  std::mutex random_mutex;
  std::mt19937_64 random;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<Hub> hub, std::int32_t process) : hub_(std::move(hub)), process_(process) {}

  std::string name() const override { return "threads"; }
  std::int32_t processes() const override { return static_cast<std::int32_t>(hub_->boxes.size()); }
  std::int32_t process() const override { return process_; }
  void set_handler(Handler handler) override { handler_ = std::move(handler); }

  void send(std::int32_t to, Parcel parcel, Left left) override {
    check_parcel(*this, to, parcel);
    sending_.fetch_add(1);
    hub_->under_way.fetch_add(1);
    hub_->boxes[at(to)].put({steady_now() + hub_->delay(), hub_->sent.fetch_add(1), process_, std::move(parcel), std::move(left)});
  }

  bool poll() override {
    if (polling_.test_and_set(std::memory_order_acquire)) return false;
    const Release release{polling_};
    auto left = box().take_left();
    sending_.fetch_sub(static_cast<std::int64_t>(left.size()));
    for (const Left& tell : left) {
      if (tell) tell();
    }
    auto letters = box().take(steady_now());
    for (Letter& letter : letters) deliver(letter);
    return !left.empty() || !letters.empty();
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
  struct Release {
    std::atomic_flag& flag;
    ~Release() { flag.clear(std::memory_order_release); }
  };

  Mailbox& box() const { return hub_->boxes[at(process_)]; }

  void deliver(Letter& letter) {
    Parcel parcel = std::move(letter.parcel);
    // Only now: a sender that writes into what has not left is found out.
    if (hub_->options.copies && parcel.body) {
      auto body = hub_->pool.take(parcel.bytes);
      std::memcpy(body.get(), parcel.body.get(), at(parcel.bytes));
      parcel.body = std::move(body);
    }
    hub_->boxes[at(letter.from)].put_left(std::move(letter.left));
    handler_(letter.from, std::move(parcel));
    hub_->under_way.fetch_sub(1);
  }

  std::shared_ptr<Hub> hub_;
  std::int32_t process_;
  Handler handler_;
  std::atomic<std::int64_t> sending_{0};  ///< what has not left
  std::atomic_flag polling_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> thread_transports(std::int32_t processes, ThreadTransportOptions options) {
  const auto hub = std::make_shared<Hub>(processes, options);
  std::vector<std::unique_ptr<Transport>> transports;
  for (std::int32_t p = 0; p < processes; ++p) transports.push_back(std::make_unique<ThreadTransport>(hub, p));
  return transports;
}

}  // namespace bubblescope
