// Streams of devices whose calls return when their work is done.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "backend/clock.hpp"
#include "backend/streams.hpp"

namespace bubblescope {

/// Work is done as it is submitted, by the thread that submits it, so nothing has to wait.
class DirectStreams : public Streams {
 public:
  explicit DirectStreams(std::size_t events) : times_(events, -1) {}
  void submit(std::int32_t, std::function<void()> work) override { work(); }
  void record(std::int32_t, std::int32_t event) override { times_[static_cast<std::size_t>(event)] = steady_now(); }
  void wait(std::int32_t, std::int32_t) override {}
  void await(std::int32_t) override {}
  Nanos time(std::int32_t event) const override { return times_[static_cast<std::size_t>(event)]; }

 private:
  std::vector<Nanos> times_;
};

}  // namespace bubblescope
