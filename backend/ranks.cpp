// The ranks' threads: each makes its device, runs what it is given, and destroys the device at the end.
#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/executor.hpp"
#include "backend/fields.hpp"
#include "sim/core/error.hpp"

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

namespace {

/// Long enough to find out what a peer in another process does next; the waiting rank has its core for itself.
constexpr Nanos kSpinOverProcesses = 10 * kMillisecond;

/// Whether the ranks of this host, those of other processes too, have a core each.
bool crowded(World& world, std::int32_t ranks_here) {
  const std::vector<std::string> hosts = world.hosts();
  const auto here = std::count(hosts.begin(), hosts.end(), hosts[static_cast<std::size_t>(world.process())]);
  return world.any(here * ranks_here > available_cores());
}

}  // namespace

Ranks::Ranks(Backend& backend, const Program& program, std::vector<std::vector<int>> cores, World* world)
    : stream_source_(backend.stream_source()), codec_(backend.codec()), world_(world), count_(program.ranks()), own_{0, program.ranks()} {
  if (world_ != nullptr) {
    own_ = ranks_of_process(world_->process(), world_->processes(), count_);
    if (stream_source_ != nullptr) throw InputError("ranks on streams share one process; start one process");
    spin_ = crowded(*world_, own_.count()) ? 0 : kSpinOverProcesses;
  } else {
    spin_ = default_spin(count_);
  }
  for (Rank r = own_.first; r < own_.last; ++r) threads_.push_back(std::make_unique<Thread>());
  // One after another: backends need not guard what their devices share.
  std::exception_ptr first;
  for (Rank r = own_.first; r < own_.last && !first; ++r) {
    Thread& thread = *threads_[static_cast<std::size_t>(r - own_.first)];
    thread.start([&, r](std::unique_ptr<Device>& device) {
      if (static_cast<std::size_t>(r) < cores.size()) pin_thread(cores[static_cast<std::size_t>(r)]);
      use_exact_timers();
      device = backend.device(r, program);
    });
    first = thread.finish();
  }
  throw_together(first);
}

Ranks::~Ranks() = default;

void Ranks::each(const std::function<void(Rank, Device&)>& work) {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->start([this, &work, i](std::unique_ptr<Device>& device) { work(own_.first + static_cast<Rank>(i), *device); });
  }
  std::exception_ptr first;
  for (const auto& thread : threads_) {
    const std::exception_ptr error = thread->finish();
    if (error && !first) first = error;
  }
  throw_together(first);
}

void Ranks::throw_together(const std::exception_ptr& mine) const {
  if (world_ == nullptr) {
    if (mine) std::rethrow_exception(mine);
    return;
  }
  enum class Threw : std::uint8_t { nothing, input, other };
  Threw threw = Threw::nothing;
  std::string what;
  if (mine) {
    try {
      std::rethrow_exception(mine);
    } catch (const LostError&) {
      throw;
    } catch (const InputError& error) {
      threw = Threw::input;
      what = error.what();
    } catch (const std::exception& error) {
      threw = Threw::other;
      what = error.what();
    } catch (...) {
      threw = Threw::other;
      what = "an error of unknown type";
    }
  }
  for (const std::string& one : world_->gather_all(FieldsOut().add(threw).add(what).take())) {
    FieldsIn fields(one);
    const auto kind = fields.get<Threw>();
    if (kind == Threw::input) throw InputError(fields.get<std::string>());
    if (kind == Threw::other) throw CommonError(fields.get<std::string>());
  }
}

}  // namespace bubblescope
