// The report as JSON.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"
#include "tests/analysis/build_report.hpp"

namespace bubblescope {
namespace {

using nlohmann::json;

TEST(ReportJson, has_the_numbers_of_the_model_unrounded) {
  ReportModel model = small_report();
  complete(model);
  const json report = json::parse(report_json(model));
  EXPECT_EQ(report["schema_version"], 1);
  EXPECT_EQ(report["baseline"], "gpipe");
  ASSERT_EQ(report["results"].size(), 3u);
  for (int i = 0; i < 2; ++i) {
    const ScheduleReport& schedule = model.schedules[i];
    const json& result = report["results"][i];
    for (const auto& [name, side] : {std::pair{"predicted", &schedule.predicted}, std::pair{"measured", &schedule.measured}}) {
      const json& numbers = result[name];
      EXPECT_EQ(numbers["iteration_ns"], (*side)->iteration);
      EXPECT_EQ(numbers["makespan_ns"], (*side)->makespan);
      EXPECT_EQ(numbers["idle_fraction"], (*side)->idle_fraction);
      EXPECT_EQ(numbers["speedup"], *(*side)->speedup);
      EXPECT_EQ(numbers["bubble"]["internal"], (*side)->bubbles->internal);
      EXPECT_EQ(numbers["critical_path"]["length_ns"], (*side)->path->length);
      EXPECT_EQ(numbers["idle_ns"][1]["fill"], (*side)->idle[1][static_cast<int>(IdleCause::fill)]);
    }
    EXPECT_EQ(result["measured"]["spread"]["q1_ns"], schedule.measured->spread->first);
    EXPECT_EQ(result["measured"]["spread"]["q3_ns"], schedule.measured->spread->third);
    EXPECT_EQ(result["error"]["iteration"], *schedule.error);
    EXPECT_EQ(result["comparison"]["ops"]["bias"], schedule.comparison->ops.bias);
  }
  EXPECT_TRUE(report["results"][0]["published"].is_null());
  EXPECT_EQ(report["results"][1]["published"]["speedup"], 1.2);
}

TEST(ReportJson, gives_null_for_what_is_not_known) {
  ReportModel model = small_report();
  complete(model);
  const json failed = json::parse(report_json(model))["results"][2];
  EXPECT_EQ(failed["failure"], "deadlock: rank 0: 0SEND_F1");
  for (const char* key : {"predicted", "measured", "comparison", "published"}) EXPECT_TRUE(failed[key].is_null()) << key;
  EXPECT_TRUE(failed["error"]["iteration"].is_null());
}

}  // namespace
}  // namespace bubblescope
