// A thread per lane, with a queue of work, waits and events.
#include "backend/host_streams.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "backend/clock.hpp"

namespace bubblescope {
namespace {

/// Happens once, at a time.
class HostEvent {
 public:
  void begin() { time_.store(-1, std::memory_order_release); }
  void happen() {
    time_.store(steady_now(), std::memory_order_release);
    time_.notify_all();
  }
  void await() const {
    while (time_.load(std::memory_order_acquire) < 0) time_.wait(-1, std::memory_order_acquire);
  }
  Nanos time() const { return time_.load(std::memory_order_acquire); }

 private:
  std::atomic<Nanos> time_{-1};
};

class HostStreams : public Streams {
 public:
  HostStreams(std::span<const LaneSpec> lanes, std::size_t events, HostStreamOptions options) : options_(std::move(options)), events_(events), lanes_(lanes.size()) {
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      lanes_[i].thread = std::thread([this, i, rank = lanes[i].rank] {
        use_exact_timers();
        if (options_.enter) options_.enter(rank);
        run(static_cast<std::int32_t>(i));
      });
    }
  }

  /// What is still queued is done first: who ends a run early submits no more.
  ~HostStreams() override {
    for (Lane& lane : lanes_) give(lane, Stop{});
    for (Lane& lane : lanes_) lane.thread.join();
  }

  void submit(std::int32_t lane, std::function<void()> work) override { give(at(lane), std::move(work)); }
  void record(std::int32_t lane, std::int32_t event) override {
    events_[static_cast<std::size_t>(event)].begin();
    give(at(lane), Record{event});
  }
  void wait(std::int32_t lane, std::int32_t event) override {
    if (options_.forget && options_.forget(lane, event)) return;
    give(at(lane), Wait{event});
  }
  void await(std::int32_t event) override { events_[static_cast<std::size_t>(event)].await(); }
  Payload carry(Payload payload, Rank, Rank) override {
    if (options_.carrying) wait_until(steady_now() + options_.carrying(payload.bytes));
    return payload;
  }
  bool host_counts() const override { return options_.host_counts; }
  Nanos time(std::int32_t event) const override { return events_[static_cast<std::size_t>(event)].time(); }

 private:
  struct Record {
    std::int32_t event;
  };
  struct Wait {
    std::int32_t event;
  };
  struct Stop {};
  using Item = std::variant<std::function<void()>, Record, Wait, Stop>;
  struct Lane {
    std::mutex mutex;
    std::condition_variable filled;
    std::deque<Item> items;
    std::thread thread;
  };

  Lane& at(std::int32_t lane) { return lanes_[static_cast<std::size_t>(lane)]; }

  static void give(Lane& lane, Item item) {
    {
      const std::lock_guard lock(lane.mutex);
      lane.items.push_back(std::move(item));
    }
    lane.filled.notify_one();
  }

  void run(std::int32_t number) {
    Lane& lane = at(number);
    for (std::int64_t works = 0;;) {
      std::unique_lock lock(lane.mutex);
      lane.filled.wait(lock, [&] { return !lane.items.empty(); });
      Item item = std::move(lane.items.front());
      lane.items.pop_front();
      lock.unlock();
      if (std::holds_alternative<Stop>(item)) return;
      if (const auto* record = std::get_if<Record>(&item)) {
        events_[static_cast<std::size_t>(record->event)].happen();
      } else if (const auto* wait = std::get_if<Wait>(&item)) {
        events_[static_cast<std::size_t>(wait->event)].await();
      } else {
        if (const Nanos late = options_.delay ? options_.delay(number, works) : 0; late > 0) wait_until(steady_now() + late);
        ++works;
        std::get<std::function<void()>>(item)();
      }
    }
  }

  HostStreamOptions options_;
  std::vector<HostEvent> events_;
  std::vector<Lane> lanes_;
};

}  // namespace

std::unique_ptr<Streams> host_streams(std::span<const LaneSpec> lanes, std::size_t events, HostStreamOptions options) {
  return std::make_unique<HostStreams>(lanes, events, std::move(options));
}

}  // namespace bubblescope
