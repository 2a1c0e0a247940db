// The ranks' threads: each makes its device, runs what it is given, and destroys the device at the end.
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/executor.hpp"

namespace bubblescope {

struct Ranks::Thread {
  using Job = std::function<void(std::unique_ptr<Device>&)>;

  Thread() : thread([this] { loop(); }) {}
  ~Thread() {
    start(nullptr);
    thread.join();
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// Gives the thread a job; none ends it.
  void start(Job next) {
    const std::lock_guard lock(mutex);
    job = std::move(next);
    waiting = true;
    changed.notify_all();
  }

  /// Waits for the job's end; returns what it threw.
  std::exception_ptr finish() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return !waiting; });
    return std::exchange(error, nullptr);
  }

  void loop() {
    std::unique_ptr<Device> device;  // goes on this thread, too
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return waiting; });
      const Job now = std::move(job);
      if (!now) return;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        now(device);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      error = thrown;
      waiting = false;
      changed.notify_all();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  Job job;
  bool waiting = false;  // a job has been given and has not ended
  std::exception_ptr error;
  std::thread thread;  // last: it uses the others
};

Ranks::Ranks(Backend& backend, const Program& program, std::vector<std::vector<int>> cores) : stream_source_(backend.stream_source()) {
  for (Rank r = 0; r < program.ranks(); ++r) threads_.push_back(std::make_unique<Thread>());
  // One after another: backends need not guard what their devices share.
  for (Rank r = 0; r < program.ranks(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    threads_[i]->start([&, r, i](std::unique_ptr<Device>& device) {
      if (i < cores.size()) pin_thread(cores[i]);
      use_exact_timers();
      device = backend.device(r, program);
    });
    if (const std::exception_ptr error = threads_[i]->finish()) std::rethrow_exception(error);
  }
}

Ranks::~Ranks() = default;

std::int32_t Ranks::count() const { return static_cast<std::int32_t>(threads_.size()); }

void Ranks::each(const std::function<void(Rank, Device&)>& work) {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->start([&work, i](std::unique_ptr<Device>& device) { work(static_cast<Rank>(i), *device); });
  }
  std::exception_ptr first;
  for (const auto& thread : threads_) {
    const std::exception_ptr error = thread->finish();
    if (error && !first) first = error;
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace bubblescope
