// A comparison as JSON, table and sentences.
#include "analysis/comparison.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

// One rank: a has F 0-8, B 8-28 and F 28-32; b has F 0-10 and B 10-30. F is 20 % short, B right.
Comparison example() {
  TimelineBuilder a(1, 1, 2), b(1, 1, 2);
  a.add(0, "0F0", 0, 8);
  a.add(0, "0B0", 8, 28);
  a.add(0, "0F1", 28, 32);
  b.add(0, "0F0", 0, 10);
  b.add(0, "0B0", 10, 30);
  Timeline first = a.timeline(), second = b.timeline();
  first.label = "predicted";
  second.label = "measured";
  return compare(first, second);
}

TEST(ComparisonJson, has_the_errors_by_kind_and_rank) {
  const Json json = comparison_json(example());
  EXPECT_EQ(json["matched"], 2);
  EXPECT_EQ(json["only_in_a"], 1);
  EXPECT_EQ(json["only_in_b"], 0);
  EXPECT_EQ(json["kinds"]["F"]["ops"], 1);
  EXPECT_DOUBLE_EQ(json["kinds"]["F"]["bias"], -0.2);
  EXPECT_DOUBLE_EQ(json["kinds"]["B"]["max"], 0);
  EXPECT_DOUBLE_EQ(json["ranks"][0]["bias"], -2.0 / 30);
  EXPECT_DOUBLE_EQ(json["makespan_error"], 2.0 / 30);
  EXPECT_EQ(json["rank_idle_points"].size(), 1u);
  EXPECT_EQ(json["divergence"]["difference_ns"], -2);  // B starts at 8, not at 10
}

TEST(ErrorTable, has_a_row_for_all_ops_for_each_kind_and_rank) {
  const Table table = error_table(example());
  std::vector<std::string> names, biases;
  for (const auto& row : table.rows) names.push_back(row.front()), biases.push_back(row.back());
  EXPECT_THAT(names, ElementsAre("all compute ops", "F", "B", "rank 0"));
  EXPECT_THAT(biases, ElementsAre("-6.7 %", "-20.0 %", "+0.0 %", "-6.7 %"));
}

TEST(ComparisonLines, name_the_sides_by_their_labels) {
  EXPECT_THAT(comparison_lines(example()), ElementsAre(HasSubstr("makespan +6.7 %"), HasSubstr("0B0"), HasSubstr("2 ops were matched; 1 are only in the first (predicted), 0 only in the second (measured)"),
                                                       HasSubstr("only in predicted: 0F1")));
  Timeline same = pipeline(2, 3, true, 10, 20);
  same.label = "measured";
  EXPECT_THAT(comparison_lines(compare(same, same)), ElementsAre(HasSubstr("(measured against measured)"), "They do not part ways."));
}

}  // namespace
}  // namespace bubblescope
