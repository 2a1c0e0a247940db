// Rows of a sweep: through bytes and back, the best one, sorting, CSV and JSON.
#include "bench/sweep_rows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <nlohmann/json.hpp>

namespace bubblescope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SweepRow row(std::int64_t point, double rate, Nanos makespan = 1) {
  SweepRow row{point, "gpipe", "gpipe", 2, 4, 1, 32, RowStatus::ok, "", SweepRow::Numbers{}};
  row.numbers->makespan = makespan;
  row.numbers->samples_per_second = rate;
  return row;
}

SweepRow without_numbers(std::int64_t point, RowStatus status) {
  SweepRow row;
  row.point = point;
  row.schedule = row.label = "zbv";
  row.status = status;
  row.reason = "a \"reason\", with\na line";
  return row;
}

SweepResult result_of(std::vector<SweepRow> rows) {
  return {"a.toml", parse_axes(std::vector<std::string>{"ranks=1..9+1,cluster.device=cpu"}), 9, 9, std::move(rows)};
}

std::vector<std::int64_t> points_of(const std::vector<SweepRow>& rows) {
  std::vector<std::int64_t> points;
  for (const SweepRow& one : rows) points.push_back(one.point);
  return points;
}

TEST(SweepRows, go_through_bytes_bit_by_bit) {
  EXPECT_TRUE(rc::check([] {
    std::vector<SweepRow> rows{without_numbers(3, RowStatus::skipped), row(4, 0.1)};
    SweepRow::Numbers& n = *rows[1].numbers;
    n.makespan = *rc::gen::positive<Nanos>();
    n.samples_per_second = *rc::gen::arbitrary<double>();
    n.idle_fraction = 1.0 / static_cast<double>(*rc::gen::positive<int>());
    n.peak_bytes = *rc::gen::arbitrary<std::int64_t>();
    rows[1].label = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
    const std::vector<SweepRow> again = decode_rows(encode_rows(rows));
    RC_ASSERT(again.size() == 2u);
    RC_ASSERT(again[0].reason == rows[0].reason);
    RC_ASSERT(again[0].status == RowStatus::skipped);
    RC_ASSERT(!again[0].numbers);
    RC_ASSERT(again[1].label == rows[1].label);
    RC_ASSERT(again[1].numbers->makespan == n.makespan);
    RC_ASSERT(again[1].numbers->samples_per_second == n.samples_per_second);
    RC_ASSERT(again[1].numbers->idle_fraction == n.idle_fraction);
    RC_ASSERT(again[1].numbers->peak_bytes == n.peak_bytes);
    RC_ASSERT(encode_rows(again) == encode_rows(rows));
  }));
  EXPECT_TRUE(decode_rows(encode_rows({})).empty());
}

TEST(SweepRows, the_best_fits_and_is_the_first_of_equal_ones_in_the_grid) {
  std::vector<SweepRow> rows{without_numbers(0, RowStatus::deadlock), row(1, 5), row(2, 7), row(3, 7), row(4, 9)};
  rows[4].status = RowStatus::memory;
  EXPECT_EQ(best_row(rows), 2u);
  std::swap(rows[2], rows[3]);
  EXPECT_EQ(best_row(rows), 3u);
  EXPECT_EQ(best_row(std::vector<SweepRow>{without_numbers(0, RowStatus::skipped), row(1, 0)}), std::nullopt);
}

TEST(SweepRows, are_sorted_best_first_and_equal_ones_keep_their_order) {
  std::vector<SweepRow> rows{row(0, 5, 30), without_numbers(1, RowStatus::skipped), row(2, 9, 10), row(3, 5, 20), row(4, 0, 20)};
  sort_rows(rows, "throughput");
  EXPECT_THAT(points_of(rows), ElementsAre(2, 0, 3, 1, 4));
  sort_rows(rows, "makespan");
  EXPECT_THAT(points_of(rows), ElementsAre(2, 3, 4, 0, 1));
  for (const std::string& key : sort_keys()) sort_rows(rows, key);
  EXPECT_EQ(rows.back().point, 1);
}

TEST(SweepRows, the_table_marks_the_best_and_tells_reasons) {
  const std::string text = to_text(sweep_table(result_of({row(0, 1234.5), row(1, 0.5), without_numbers(8, RowStatus::skipped)})));
  EXPECT_THAT(text, testing::ContainsRegex("1 +cpu +gpipe .* 1234 .* best\n"));
  EXPECT_THAT(text, testing::ContainsRegex("9 +cpu +zbv +skipped +a \"reason\", with a line\n"));
}

TEST(SweepRows, csv_quotes_what_needs_it_and_leaves_out_what_is_not_known) {
  const std::string text = sweep_csv(result_of({row(0, 2), without_numbers(1, RowStatus::deadlock)}));
  EXPECT_THAT(text, testing::StartsWith("point,over.ranks,over.cluster.device,schedule,"));
  EXPECT_THAT(text, HasSubstr("\n0,1,cpu,gpipe,gpipe,2,4,1,32,ok,yes,1,0,0,2,0,0,0,0,0,,0,,\n"));
  EXPECT_THAT(text, HasSubstr("\n1,2,cpu,zbv,zbv,,,,,deadlock,,,,,,,,,,,,,,\"a \"\"reason\"\", with\na line\"\n"));
}

TEST(SweepRows, json_has_one_row_per_line) {
  const std::string text = sweep_json(result_of({row(0, 2), without_numbers(1, RowStatus::deadlock)}));
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json.at("results").size(), 2u);
  EXPECT_EQ(json.at("best"), 0);
  EXPECT_EQ(json.at("results")[0].at("values"), (nlohmann::json{{"ranks", 1}, {"cluster.device", "cpu"}}));
  EXPECT_TRUE(json.at("results")[1].at("makespan_ns").is_null());
  EXPECT_THAT(text, HasSubstr("\n    {\"bubble\":"));
  EXPECT_TRUE(nlohmann::json::parse(sweep_json(result_of({}))).at("best").is_null());
}

}  // namespace
}  // namespace bubblescope
