// Rounds of calibration and execution on devices whose speeds the test sets.
#include "bench/measure.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "backend/clock.hpp"
#include "sim/core/quartiles.hpp"
#include "sim/scenario/build.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {
namespace {

/// Ops take `op[rank]` whatever they do.
struct Paced : Backend {
  explicit Paced(std::vector<Nanos> times) : op(std::move(times)) {}
  struct Works : Device {
    explicit Works(Nanos time) : op(time) {}
    void execute(const Op&) override {
      wait_until(steady_now() + op);
    }
    Payload output(const Op&) override { return {}; }
    void input(const Op&, Payload) override {}
    Payload example(const Op&) override { return {}; }
    Nanos op;
  };
  std::string name() const override { return "paced"; }
  std::unique_ptr<Device> device(Rank rank, const Program&) override { return std::make_unique<Works>(op.at(static_cast<std::size_t>(rank))); }
  std::vector<Nanos> op;
};

TEST(Measure, rounds_in_which_another_rank_is_slow_are_predicted_one_by_one) {
  const Scenario scenario = parse_scenario(
      "[model]\nname = \"mlp\"\ndepth = 4\n[cluster]\nranks = 2\n[run]\niterations = 8\nwarmup = 1\nrepeats = 2\n[[schedule]]\nname = \"ppll\"\nqueue = 2\n", "small.toml");
  int round = 0;
  const MakeBackend backend = [&](const Experiment&) {
    const bool first = round++ % 2 == 0;
    return std::make_unique<Paced>(first ? std::vector<Nanos>{5 * kMillisecond, 15 * kMillisecond} : std::vector<Nanos>{15 * kMillisecond, 5 * kMillisecond});
  };
  const MeasuredRun run = measure_experiments(scenario, {build_experiment(scenario, scenario.schedules.front())}, backend, {});
  ASSERT_EQ(run.schedules.size(), 1u);
  const Measured& measured = run.schedules.front();
  // An iteration takes what the slower rank does; of two that take 10 ms an op on average it would take two thirds of that, and the other would idle less.
  const double average = static_cast<double>(measured.predicted.bubbles.period);
  EXPECT_GT(static_cast<double>(measured.predicted_iteration()), 1.3 * average);
  EXPECT_GT(fraction_quartiles(measured.predicted_idle_repeats).median, measured.predicted.bubbles.idle_fraction + 0.1);
  const auto predicted = static_cast<double>(measured.predicted_iteration()), observed = static_cast<double>(measured.iteration.median);
  EXPECT_DOUBLE_EQ(measured.period_error(), (predicted - observed) / observed);
}

TEST(Measure, what_is_kept_after_a_round_is_how_the_whole_begins) {
  const Scenario scenario = parse_scenario(
      "[model]\nname = \"mlp\"\ndepth = 4\n[cluster]\nranks = 2\n[run]\niterations = 2\nwarmup = 1\nrepeats = 4\n[[schedule]]\nname = \"ppll\"\nqueue = 2\n", "small.toml");
  Nanos round = 0;
  const MakeBackend backend = [&](const Experiment&) {
    ++round;
    return std::make_unique<Paced>(std::vector<Nanos>{round * kMillisecond, round * kMillisecond});
  };
  std::vector<Measured> kept;
  MeasureOptions options;
  options.keep = [&](const MeasuredRun& run) { kept.push_back(run.schedules.at(0)); };
  const MeasuredRun run = measure_experiments(scenario, {build_experiment(scenario, scenario.schedules.front())}, backend, options);
  const Measured& whole = run.schedules.at(0);
  ASSERT_EQ(whole.predicted_repeats.size(), 4u);
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(kept.front().predicted_repeats.size(), 1u);
  const auto begins = [](const auto& all, const auto& first) { return first.size() < all.size() && std::equal(first.begin(), first.end(), all.begin()); };
  for (const Measured& part : kept) {
    EXPECT_TRUE(begins(whole.predicted_repeats, part.predicted_repeats));
    EXPECT_TRUE(begins(whole.predicted_idle_repeats, part.predicted_idle_repeats));
    EXPECT_TRUE(begins(whole.iteration_repeats, part.iteration_repeats));
    EXPECT_TRUE(begins(whole.idle_repeats, part.idle_repeats));
  }
}

}  // namespace
}  // namespace bubblescope
