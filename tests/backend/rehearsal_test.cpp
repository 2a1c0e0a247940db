// A rehearsal says what it is at.
#include "backend/rehearsal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "backend/direct_streams.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

class WatchedDevice : public Device {
 public:
  explicit WatchedDevice(std::function<void()> at_work) : at_work_(std::move(at_work)) {}
  void execute(const Op&) override { at_work_(); }
  Payload output(const Op&) override { return {}; }
  void input(const Op&, Payload) override {}
  Payload contribution(const Op&) override { return {}; }
  void reduced(const Op&, std::span<const Payload>) override {}
  Payload example(const Op&) override { return {}; }

 private:
  std::function<void()> at_work_;
};

TEST(Rehearsal, says_which_op_it_is_at_while_it_walks) {
  Rehearsal rehearsal(generate(find_schedule("1f1b"), {.ranks = 2, .microbatches = 2}), 1);
  std::vector<std::string> places;
  WatchedDevice device([&] { places.push_back(rehearsal.place()); });
  DirectStreams streams(rehearsal.events());
  std::vector<Sample> samples;
  EXPECT_EQ(rehearsal.place(), "");
  rehearsal.walk(device, streams, 0, 0, samples);
  rehearsal.finish(streams, samples);
  EXPECT_THAT(places, testing::ElementsAre("1F0", "1B0", "1F1", "1B1", "1U"));
  EXPECT_EQ(rehearsal.place(), "");
}

}  // namespace
}  // namespace bubblescope
