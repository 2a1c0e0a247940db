// Cuts: published splits and their shares, exactness of the dynamic programme, checks.
#include "sim/workload/partition.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <limits>

#include "sim/core/error.hpp"
#include "sim/workload/layer_costs.hpp"
#include "sim/workload/models.hpp"

namespace bubblescope {
namespace {

LayerGraph model(const std::string& name) {
  ModelSpec spec;
  spec.name = name;
  return build_model(spec);
}

std::vector<double> mac_shares(const LayerGraph& graph, const std::vector<std::int32_t>& cuts) {
  std::vector<double> shares;
  for (const StageRange& range : stage_ranges(graph, cuts)) {
    shares.push_back(static_cast<double>(forward_macs(layer_range(graph, range.first, range.last))) /
                     static_cast<double>(forward_macs(graph.layers)));
  }
  return shares;
}

void expect_shares(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 0.0006) << i;
}

/// A graph whose layers are linear layers of the given multiply-adds each.
LayerGraph chain(const std::vector<std::int64_t>& macs) {
  LayerGraph graph;
  graph.name = "chain";
  for (const std::int64_t count : macs) {
    Primitive linear;
    linear.kind = PrimitiveKind::linear;
    linear.input = {count};
    linear.output = {1};
    graph.layers.push_back({"layer", {count}, {1}, {linear}});
  }
  return graph;
}

std::int64_t largest_part(const std::vector<std::int64_t>& macs, const std::vector<std::int32_t>& cuts) {
  std::int64_t largest = 0;
  std::size_t first = 0;
  for (std::size_t part = 0; part <= cuts.size(); ++part) {
    const std::size_t last = part < cuts.size() ? static_cast<std::size_t>(cuts[part]) : macs.size();
    std::int64_t sum = 0;
    for (; first < last; ++first) sum += macs[first];
    largest = std::max(largest, sum);
  }
  return largest;
}

/// The smallest largest part over all ways to cut, by trying them all.
std::int64_t exhaustive(const std::vector<std::int64_t>& macs, std::int32_t stages) {
  const auto n = static_cast<std::int32_t>(macs.size());
  std::int64_t best = std::numeric_limits<std::int64_t>::max();
  for (std::uint32_t mask = 0; mask < (1U << (n - 1)); ++mask) {
    std::vector<std::int32_t> cuts;
    for (std::int32_t i = 1; i < n; ++i) {
      if ((mask >> (i - 1)) & 1U) cuts.push_back(i);
    }
    if (static_cast<std::int32_t>(cuts.size()) == stages - 1) best = std::min(best, largest_part(macs, cuts));
  }
  return best;
}

TEST(Partition, reference_splits_of_the_resnets_have_the_published_shares) {
  const LayerGraph r32 = model("resnet32");
  EXPECT_EQ(partition(r32, 4, "reference"), (std::vector<std::int32_t>{4, 8, 12}));
  expect_shares(mac_shares(r32, partition(r32, 2, "reference")), {.469, .531});
  expect_shares(mac_shares(r32, partition(r32, 4, "reference")), {.211, .258, .258, .273});
  const LayerGraph r110 = model("resnet110");
  expect_shares(mac_shares(r110, partition(r110, 2, "reference")), {.501, .499});
  expect_shares(mac_shares(r110, partition(r110, 4, "reference")), {.225, .257, .257, .261});
}

TEST(Partition, reference_splits_give_the_published_numbers_of_blocks) {
  const LayerGraph r110 = model("resnet110");
  EXPECT_EQ(partition(r110, 4, "reference"), (std::vector<std::int32_t>{13, 27, 41}));  // 12 / 14 / 14 / 14
  EXPECT_EQ(partition(model("resnet32"), 16, "reference").size(), 15U);
  EXPECT_EQ(partition(model("vit-tiny"), 4, "reference"), (std::vector<std::int32_t>{4, 7, 10}));
}

TEST(Partition, flops_is_as_good_as_trying_all_cuts) {
  EXPECT_TRUE(rc::check([] {
    const auto n = *rc::gen::inRange<std::size_t>(1, 11);
    const auto macs = *rc::gen::container<std::vector<std::int64_t>>(n, rc::gen::inRange<std::int64_t>(1, 50));
    const auto stages = *rc::gen::inRange<std::int32_t>(1, static_cast<std::int32_t>(n) + 1);
    const auto cuts = partition(chain(macs), stages, "flops");
    RC_ASSERT(static_cast<std::int32_t>(cuts.size()) == stages - 1);
    RC_ASSERT(largest_part(macs, cuts) == exhaustive(macs, stages));
  }));
}

// 5 | 1 1 | 1 1 leaves the largest part at 5 as 5 | 1 | 1 1 1 does, with the smaller sum of squares.
TEST(Partition, flops_also_balances_the_stages_that_are_not_the_largest) {
  EXPECT_EQ(partition(chain({5, 1, 1, 1, 1}), 3, "flops"), (std::vector<std::int32_t>{1, 3}));
}

// 2 | 8 | 5 4 has parts of at most 9; 2 8 | 5 | 4 has the smaller sum of squares, 141 to 149.
TEST(Partition, flops_looks_at_the_largest_stage_before_the_balance) {
  EXPECT_EQ(partition(chain({2, 8, 5, 4}), 3, "flops"), (std::vector<std::int32_t>{1, 2}));
}

TEST(Partition, flops_takes_the_earliest_of_equal_cuts) {
  EXPECT_EQ(partition(chain({1, 1, 1}), 2, "flops"), (std::vector<std::int32_t>{1}));
}

TEST(Partition, layers_gives_equal_counts) {
  EXPECT_EQ(partition(chain({1, 1, 1, 1, 1, 1}), 3, "layers"), (std::vector<std::int32_t>{2, 4}));
  EXPECT_EQ(partition(chain({1, 1, 1, 1, 1}), 2, "layers"), (std::vector<std::int32_t>{2}));
}

std::string error_of(const LayerGraph& graph, std::int32_t stages, const std::string& method,
                     const std::vector<std::int64_t>& cuts = {}) {
  try {
    partition(graph, stages, method, cuts);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Partition, mistakes_are_refused_with_what_was_expected) {
  const LayerGraph r32 = model("resnet32");
  EXPECT_NE(error_of(r32, 18, "flops").find("expected 1 to 17"), std::string::npos) << error_of(r32, 18, "flops");
  EXPECT_NE(error_of(r32, 0, "flops"), "");
  EXPECT_NE(error_of(r32, 5, "reference").find("2, 3, 4, 8, 16 stages"), std::string::npos) << error_of(r32, 5, "reference");
  EXPECT_NE(error_of(model("resnet20"), 2, "reference").find("no published split"), std::string::npos);
  EXPECT_NE(error_of(model("vit-tiny"), 5, "reference").find("divides"), std::string::npos);
  EXPECT_NE(error_of(r32, 2, "flop").find("did you mean 'flops'?"), std::string::npos);
  EXPECT_NE(error_of(r32, 3, "explicit", {4}).find("expected 2 cuts"), std::string::npos);
  EXPECT_NE(error_of(r32, 3, "explicit", {4, 4}).find("cut 4 is out of place"), std::string::npos);
  EXPECT_NE(error_of(r32, 2, "explicit", {17}).find("at most 16"), std::string::npos);
  EXPECT_NE(error_of(r32, 2, "explicit", {0}), "");
  EXPECT_EQ(error_of(r32, 3, "explicit", {1, 16}), "");
}

}  // namespace
}  // namespace bubblescope
