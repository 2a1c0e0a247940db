// Zero-bubble schedules against the published bubble rates.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "sim/core/cost_list.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

/// Qi et al., arXiv 2401.10241: times of table 9 (ms, 8 stages), bubble rates of table 5.
struct Published {
  int chunks;  ///< of 1F1B-I: a layer each, the first and the last stage filled up
  int microbatches;
  double f, i, w, transfer;
  double one_f_one_b, interleaved, h1, h2, zb_1p;
};
constexpr Published kPublished[] = {
    {3, 24, 18.522, 18.086, 9.337, .601, .2431, .1055, .1585, .1083, .1585},
    {3, 32, 18.513, 18.086, 9.331, .626, .1985, .0818, .1242, .0837, .1242},
    {3, 64, 18.546, 18.097, 9.321, .762, .1240, .0443, .0674, .0444, .0674},
    {4, 24, 29.718, 29.444, 19.927, .527, .2347, .0808, .1323, .0698, .1323},
    {4, 32, 29.802, 29.428, 19.530, .577, .1898, .0628, .1045, .0559, .1045},
    {4, 64, 29.935, 29.621, 19.388, .535, .1091, .0320, .0554, .0294, .0554},
};

/// (cost - m (F + I + W)) / cost; cost: the longest time of a stage from its first to its last op.
double bubble_rate(const std::string& name, const Published& row, const std::map<std::string, std::string>& options = {}) {
  const auto ns = [](double ms) { return static_cast<Nanos>(std::llround(ms * 1e6)); };
  Program program = add_send_recv(generate(find_schedule(name), {.ranks = 8, .microbatches = row.microbatches, .options = options}));
  const StageCosts costs = stage_costs({{Kind::F, {ns(row.f)}}, {Kind::I, {ns(row.i)}}, {Kind::W, {ns(row.w)}}}, program);
  const Simulation run = simulate(program, costs, uniform_cluster(8, {ns(row.transfer), 0}));
  Nanos cost = 0;
  for (Rank r = 0; r < 8; ++r) {
    Nanos first = -1, last = 0;
    for (const Span& span : run.timeline.spans) {
      if (!is_compute(span.op.kind) || program.stage_rank[static_cast<std::size_t>(span.op.stage)] != r) continue;
      if (first < 0 || span.start < first) first = span.start;
      last = std::max(last, span.end);
    }
    cost = std::max(cost, last - first);
  }
  return 1 - row.microbatches * (row.f + row.i + row.w) * 1e6 / static_cast<double>(cost);
}

TEST(ZeroBubble, bubble_rates_equal_the_published_ones_to_four_decimals) {
  for (const Published& row : kPublished) {
    EXPECT_NEAR(bubble_rate("1f1b", row), row.one_f_one_b, 0.00005) << row.microbatches;
    EXPECT_NEAR(bubble_rate("zb-h1", row), row.h1, 0.00005) << row.microbatches;
    EXPECT_NEAR(bubble_rate("zb-h2", row), row.h2, 0.00005) << row.microbatches;
    EXPECT_NEAR(bubble_rate("zb1p", row), row.zb_1p, 0.00005) << row.microbatches;
  }
}

TEST(ZeroBubble, interleaved_bubble_rates_are_within_the_papers_layer_padding) {
  for (const Published& row : kPublished) {
    EXPECT_NEAR(bubble_rate("interleaved-1f1b", row, {{"chunks", std::to_string(row.chunks)}}), row.interleaved, 0.004) << row.microbatches;
  }
}

TEST(ZeroBubble, h1_keeps_p_activations_and_h2_2p_minus_1) {
  // Qi et al., table 2 counts p and 2p-1 microbatches.
  for (const auto& [name, most] : {std::pair{"zb-h1", 4}, std::pair{"zb-h2", 7}}) {
    const Program program = add_send_recv(generate(find_schedule(name), {.ranks = 4, .microbatches = 16}));
    const StageCosts costs = stage_costs({{Kind::F, {1000}}, {Kind::I, {1000}}, {Kind::W, {1000}}}, program);
    for (const RankMemory& rank : memory_over_time(program, simulate(program, costs, uniform_cluster(4)).timeline, costs)) {
      EXPECT_LE(rank.peak_activations, most) << name;
    }
  }
}

}  // namespace
}  // namespace bubblescope
