// The processes of a job as threads of a test, each with its World over parcels that come late at random.
#pragma once

#include <exception>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/world.hpp"
#include "tests/backend/thread_transport.hpp"

namespace bubblescope {

class ThreadProcesses {
 public:
  explicit ThreadProcesses(std::int32_t processes, ThreadTransportOptions options = {.most_delay = 100 * kMicrosecond, .seed = 1}) : ThreadProcesses(thread_transports(processes, options)) {}
  explicit ThreadProcesses(std::vector<std::unique_ptr<Transport>> transports) {
    for (auto& transport : transports) worlds_.push_back(std::make_unique<World>(std::move(transport)));
  }

  /// Runs `work` in every process, once; returns what it threw there, empty where nothing. A process that throws alone
  /// takes the others with it.
  std::vector<std::string> run(const std::function<void(World&)>& work) {
    std::vector<std::string> thrown(worlds_.size());
    std::latch worked(static_cast<std::ptrdiff_t>(worlds_.size()));
    std::vector<std::thread> threads;
    for (std::size_t p = 0; p < worlds_.size(); ++p) {
      threads.emplace_back([&, p] {
        try {
          work(*worlds_[p]);
        } catch (const std::exception& error) {
          thrown[p] = error.what();
          lose("process " + std::to_string(p) + " of the test failed: " + thrown[p]);
        }
        worked.arrive_and_wait();
        go(p);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return thrown;
  }

  /// Every process loses another one. Any thread.
  void lose(const std::string& why) {
    const std::lock_guard lock(mutex_);
    for (const auto& world : worlds_) {
      if (world) world->lose(why);
    }
  }

 private:
  /// Waits for the others to go, too.
  void go(std::size_t process) {
    std::unique_ptr<World> world;
    {
      const std::lock_guard lock(mutex_);
      world.swap(worlds_[process]);
    }
    world.reset();
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<World>> worlds_;
};

}  // namespace bubblescope
