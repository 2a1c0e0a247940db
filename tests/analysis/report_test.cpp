// Filling in a report, and its files.
#include "analysis/report.hpp"

#include <filesystem>
#include <fstream>

#include "sim/core/error.hpp"
#include "tests/analysis/build_report.hpp"

namespace bubblescope {
namespace {

std::size_t column(const Table& table, const std::string& title) {
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].title == title) return c;
  }
  return std::string::npos;
}

// GPipe, 2 ranks, 4 microbatches, F = 10 ms, B = 20 ms, latency 1 ms: (4 + 1)(30) + 2 = 152 ms. The
// repetitions' medians are 170 ms, and 0.9 times that for 1F1B.
TEST(Report, derives_times_errors_and_speedups) {
  ReportModel model = small_report();
  complete(model);
  const ScheduleReport& gpipe = model.schedules[0];
  EXPECT_EQ(gpipe.ranks, 2);
  EXPECT_EQ(gpipe.microbatches, 4);
  EXPECT_EQ(gpipe.predicted->iteration, 152'000'000);
  EXPECT_EQ(gpipe.measured->iteration, 170'000'000);
  EXPECT_EQ(gpipe.measured->spread->first, 165'000'000);
  EXPECT_EQ(gpipe.measured->spread->third, 175'000'000);
  EXPECT_DOUBLE_EQ(*gpipe.error, -18.0 / 170);
  EXPECT_DOUBLE_EQ(*gpipe.predicted->speedup, 1.0);
  // 2 * 4 * 30 of 2 * 152 are busy.
  EXPECT_DOUBLE_EQ(gpipe.predicted->idle_fraction, 1 - 240.0 / 304);
  EXPECT_EQ(gpipe.measured->peak_bytes, (std::vector<std::int64_t>{3 << 20, 50}));
  EXPECT_TRUE(gpipe.predicted->peak_bytes.empty());
  const ScheduleReport& other = model.schedules[1];
  EXPECT_DOUBLE_EQ(*other.measured->speedup, 170.0 / 153);
  EXPECT_DOUBLE_EQ(*other.predicted->speedup, 152e6 / static_cast<double>(other.predicted->iteration));
  EXPECT_TRUE(other.comparison);
  EXPECT_FALSE(other.sensitivity.empty());
  EXPECT_FALSE(model.schedules[2].predicted);
}

// 170 ms of 64 samples against 153 ms of 16.
TEST(Report, speedups_are_per_sample_where_samples_are_known) {
  ReportModel model = small_report();
  model.schedules[0].samples = 64, model.schedules[1].samples = 16;
  complete(model);
  EXPECT_DOUBLE_EQ(*model.schedules[1].measured->speedup, 170.0 / 153 / 4);
  EXPECT_NE(model.notes.back().find("per sample"), std::string::npos);
  const std::vector<std::string> notes = model.notes;
  complete(model);
  EXPECT_EQ(model.notes, notes);
  const Table table = summary_table(model);
  EXPECT_EQ(table.rows[1][column(table, "samples")], "16");
}

TEST(Report, says_nothing_of_samples_that_are_equal_or_not_known) {
  for (const std::int64_t samples : {0, 64}) {
    ReportModel model = small_report();
    for (ScheduleReport& schedule : model.schedules) schedule.samples = samples;
    complete(model);
    EXPECT_EQ(model.notes, small_report().notes);
    EXPECT_DOUBLE_EQ(*model.schedules[1].measured->speedup, 170.0 / 153);
  }
}

TEST(Report, keeps_what_the_caller_has_set) {
  ReportModel model = small_report();
  model.schedules[0].predicted.emplace();
  model.schedules[0].predicted->iteration = 85'000'000;
  model.schedules[0].predicted->idle_fraction = 0.25;
  complete(model);
  EXPECT_EQ(model.schedules[0].predicted->iteration, 85'000'000);
  EXPECT_DOUBLE_EQ(model.schedules[0].predicted->idle_fraction, 0.25);
  EXPECT_DOUBLE_EQ(*model.schedules[0].error, -0.5);
}

TEST(Report, refuses_a_baseline_that_is_not_there_and_suggests_one) {
  ReportModel model = small_report();
  model.baseline = "gpip";
  try {
    complete(model);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("'gpip'"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("gpipe"), std::string::npos);
  }
}

TEST(Report, summary_leaves_out_columns_that_nothing_fills) {
  ReportModel model = small_report();
  complete(model);
  EXPECT_NE(column(summary_table(model), "measured"), std::string::npos);
  EXPECT_EQ(summary_table(model).rows[2][column(summary_table(model), "predicted")], "no result");
  for (ScheduleReport& schedule : model.schedules) {
    schedule.measured.reset();
    schedule.error.reset();
    schedule.published.reset();
  }
  const Table table = summary_table(model);
  EXPECT_EQ(column(table, "measured"), std::string::npos);
  EXPECT_EQ(column(table, "quartiles"), std::string::npos);
  EXPECT_EQ(column(table, "published"), std::string::npos);
  EXPECT_NE(column(table, "speed-up predicted"), std::string::npos);
}

TEST(Report, utilisation_has_idle_time_and_the_memory_of_the_rank_that_needs_most) {
  ReportModel model = small_report();
  complete(model);
  model.schedules[0].measured->peak_bytes = {1024, 3072};
  model.schedules[0].predicted->idle_fraction = 0.25;
  model.schedules[0].measured->idle_fraction = 0.27;
  model.schedules[0].idle_points = -2;
  const Table table = utilisation_table(model);
  const auto cell = [&](const char* title) { return table.rows[0][column(table, title)]; };
  EXPECT_EQ(cell("idle predicted"), "25.0 %");
  EXPECT_EQ(cell("idle measured"), "27.0 %");
  EXPECT_EQ(cell("difference"), "-2.0 points");
  EXPECT_EQ(cell("peak memory measured"), "3.00 KiB");
  EXPECT_EQ(table.rows[2][1], "no result");
}

TEST(Report, idle_time_of_several_repetitions_is_their_median) {
  ReportModel model = small_report();
  model.schedules[0].measured->idle_repeats = {0.3, 0.1, 0.26, 0.2, 0.5};
  model.schedules[0].predicted.emplace().idle_repeats = {0.2, 0.21, 0.4};
  complete(model);
  const Table table = utilisation_table(model);
  const auto cell = [&](const char* title) { return table.rows[0][column(table, title)]; };
  EXPECT_EQ(cell("idle predicted"), "21.0 %");
  EXPECT_EQ(cell("idle measured"), "26.0 %");
  EXPECT_EQ(cell("quartiles"), "20.0 to 30.0 %");
  EXPECT_EQ(cell("difference"), "-5.0 points");
}

TEST(Report, texts_round_and_carry_their_unit) {
  EXPECT_EQ(signed_percent(0.01234), "+1.2 %");
  EXPECT_EQ(signed_percent(-0.0001), "+0.0 %");
  EXPECT_EQ(percent(0.2727), "27.3 %");
  EXPECT_EQ(points(-0.44), "-0.4 points");
  EXPECT_EQ(times(1.484), "1.48x");
  EXPECT_EQ(bytes_text(1000), "1000 B");
  EXPECT_EQ(bytes_text(1536), "1.50 KiB");
  EXPECT_EQ(bytes_text(std::int64_t{512} << 20), "512 MiB");
}

TEST(Report, writes_the_forms_that_are_asked_for_and_no_other) {
  ReportModel model = small_report();
  complete(model);
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "bubblescope-report-test";
  std::filesystem::remove_all(folder);
  EXPECT_THROW(write_report(model, folder, "r", {"html", "pdf"}), InputError);
  EXPECT_FALSE(std::filesystem::exists(folder / "r.html"));
  EXPECT_EQ(write_report(model, folder, "r", {"md", "json"}).size(), 2u);
  EXPECT_TRUE(std::filesystem::exists(folder / "r.md"));
  EXPECT_TRUE(std::filesystem::exists(folder / "r.json"));
  EXPECT_FALSE(std::filesystem::exists(folder / "r.html"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace bubblescope
