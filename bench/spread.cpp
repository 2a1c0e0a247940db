// Work on threads of this process.
#include "bench/spread.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace bubblescope {

std::vector<std::string> spread_over_threads(std::int64_t count, const Work& work, const SpreadOptions& options) {
  std::vector<std::string> results(static_cast<std::size_t>(std::max<std::int64_t>(0, count)));
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;  // guards the two below, and calls of `done`
  std::int64_t failed_at = count;
  std::exception_ptr failure;

  const auto told_to_stop = [&] {
    return (options.stop != nullptr && options.stop->load()) || (options.also_stop != nullptr && options.also_stop->load());
  };
  // Whatever is taken is done, and numbers are taken in their order: what is done has no gaps, and no piece
  // before the first one that throws is left out.
  const auto take_turns = [&] {
    while (!failed.load() && !told_to_stop()) {
      const std::int64_t index = next.fetch_add(1);
      if (index >= count) return;
      try {
        results[static_cast<std::size_t>(index)] = work(index);
        const std::lock_guard lock(mutex);
        if (options.done) options.done();
      } catch (...) {
        const std::lock_guard lock(mutex);
        failed = true;
        if (index < failed_at) {
          failed_at = index;
          failure = std::current_exception();
        }
      }
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (std::int64_t i = 1; i < std::min<std::int64_t>(options.threads, count); ++i) others.emplace_back(take_turns);
    } catch (const std::system_error&) {  // the system has no more threads: those that there are will do
    }
    take_turns();
  }
  if (failure) std::rethrow_exception(failure);
  results.resize(static_cast<std::size_t>(std::min(count, next.load())));
  return results;
}

}  // namespace bubblescope
