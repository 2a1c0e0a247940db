// Threads that stand for processes, and what they tell one another before there are connections.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sim/core/index.hpp"

namespace bubblescope {

/// Gathers what every one of `processes` threads says, for all of them, once.
class Together {
 public:
  explicit Together(std::int32_t processes) : said_(at(processes)), missing_(processes) {}

  std::function<std::vector<std::string>(const std::string&)> gather_all(std::int32_t process) {
    return [this, process](const std::string& mine) {
      std::unique_lock lock(mutex_);
      said_[at(process)] = mine;
      --missing_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return missing_ == 0; });
      return said_;
    };
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> said_;
  std::int32_t missing_;
};

/// Runs `work` for every process on a thread of its own; returns what each threw, or an empty text.
inline std::vector<std::string> on_each(std::int32_t processes, const std::function<void(std::int32_t)>& work) {
  std::vector<std::string> failures(at(processes));
  std::vector<std::thread> threads;
  for (std::int32_t p = 0; p < processes; ++p) {
    threads.emplace_back([&failures, &work, p] {
      try {
        work(p);
      } catch (const std::exception& error) {
        failures[at(p)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failures;
}

}  // namespace bubblescope
