// Profiles: statistics, round trip, and what is said about files that are not profiles.
#include "sim/core/profile.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;

TEST(Quartiles, are_those_of_the_sorted_values_with_linear_interpolation) {
  EXPECT_EQ(quartiles({}), (Quartiles{0, 0, 0, 0}));
  EXPECT_EQ(quartiles({7}), (Quartiles{7, 7, 7, 1}));
  EXPECT_EQ(quartiles({50, 10, 40, 20, 30}), (Quartiles{20, 30, 40, 5}));
  // Positions 0.75, 1.5 and 2.25 of 10, 20, 30, 40.
  EXPECT_EQ(quartiles({40, 10, 30, 20}), (Quartiles{18, 25, 33, 4}));
  EXPECT_EQ(quartiles({50, 10, 40, 20, 30}).spread(), 10);
}

TEST(Quartiles, of_numbers_that_are_no_times_are_not_rounded) {
  const Fractions none = fraction_quartiles({}), one = fraction_quartiles({0.25}), four = fraction_quartiles({0.4, 0.1, 0.3, 0.2});
  EXPECT_EQ(none.median, 0);
  EXPECT_EQ((std::vector{one.first, one.median, one.third}), (std::vector{0.25, 0.25, 0.25}));
  EXPECT_DOUBLE_EQ(four.first, 0.175);
  EXPECT_DOUBLE_EQ(four.median, 0.25);
  EXPECT_DOUBLE_EQ(four.third, 0.325);
}

TEST(FencedMean, is_the_mean_where_nothing_is_far_off) {
  EXPECT_EQ(fenced_mean({}).value, 0);
  EXPECT_EQ(fenced_mean({7}).value, 7);
  EXPECT_EQ(fenced_mean({7}).error, 0) << "unknown";
  EXPECT_DOUBLE_EQ(fenced_mean({10, 20, 30, 40, 55}).value, 31);
  // Variances of n values at +-5 about 15 are 25 n / (n - 1): the error falls with the root of n.
  EXPECT_DOUBLE_EQ(fenced_mean({10, 20, 10, 20}).error, std::sqrt(25.0 / 3));
  EXPECT_DOUBLE_EQ(fenced_mean({10, 20, 10, 20, 10, 20, 10, 20, 10, 20, 10, 20, 10, 20, 10, 20}).error, std::sqrt(25.0 / 15));
}

TEST(FencedMean, of_few_is_the_median) {
  EXPECT_EQ(fenced_mean({1000, 10, 12}).value, 12);
  EXPECT_EQ(fenced_mean({1000, 10, 12, 14}).value, 13);
}

TEST(FencedMean, a_tail_of_some_percent_counts_however_close_the_others_are) {
  const FencedMean mean = fenced_mean({10, 10, 10, 10, 10, 10, 10, 10, 13, 13});
  EXPECT_DOUBLE_EQ(mean.value, 10.6);
  EXPECT_GT(mean.error, 0);
}

// Quartiles 10 and 10, of which half is 5.
TEST(FencedMean, however_close_the_others_are_what_is_far_off_counts_as_if_it_lay_half_a_median_away) {
  EXPECT_DOUBLE_EQ(fenced_mean({10, 10, 10, 10, 10, 10, 10, 1000}).value, (7 * 10 + 15) / 8.0);
}

// Quartiles 11 and 15 (positions 2 and 6 of nine): what lies beyond -1 and 27 counts as if it lay there.
TEST(FencedMean, what_lies_beyond_the_outer_fences_counts_as_if_it_lay_on_them) {
  EXPECT_DOUBLE_EQ(fenced_mean({1000, 10, 11, 11, 12, 15, 15, 16, -1000}).value, (27 + 10 + 11 + 11 + 12 + 15 + 15 + 16 - 1) / 9.0);
}

TEST(OpTimes, the_mean_is_expected_and_where_it_is_not_known_the_median) {
  EXPECT_EQ((OpTimes{{90, 100, 110, 5}, 104}).expected(), 104);
  EXPECT_EQ((OpTimes{{90, 100, 110, 5}}).expected(), 100);
}

TEST(MeasuredOp, busy_factor_is_busy_over_alone_where_both_are_known) {
  MeasuredOp op{0, Kind::F, {90, 100, 110, 5}, {110, 125, 140, 5}, 0};
  EXPECT_DOUBLE_EQ(op.busy_factor(), 1.25);
  op.busy.mean = 130;
  EXPECT_DOUBLE_EQ(op.busy_factor(), 1.3);
  op.alone.mean = 104;
  EXPECT_DOUBLE_EQ(op.busy_factor(), 1.25);
  op.busy.count = 0;
  EXPECT_DOUBLE_EQ(op.busy_factor(), 1.0);
}

CostProfile example() {
  CostProfile profile;
  profile.scenario = "resnet32 \"quoted\"";
  profile.date = "2026-03-01T12:00:00Z";
  profile.cpu = "A CPU";
  profile.cores = 2;
  profile.versions = {{"bubblescope", "0.1.0"}, {"libtorch", "2.11.0"}};
  profile.device = "A GPU";
  profile.placement = "4 partitions";
  profile.channel = "MPI";
  profile.processes = 2;
  profile.inside_latency = 9'000;
  profile.messages.both_ways = {{1024, {12'000, 12'500, 13'000, 19}}};
  profile.link_latency = 12'345;
  profile.link_bandwidth = 25e9;
  profile.messages.one_way = {{1024, {12'000, 12'400, 13'000, 20}}, {1 << 26, {2'600'000, 2'696'000, 2'800'000, 19}}};
  profile.sync = 23'456;
  profile.measurements = {{"ppll", 32, 2, {{0, Kind::F, {90, 100, 130, 20}, {110, 150, 160, 18}, 3}, {1, Kind::LB, {1, 2, 3, 4}, {}, 0}}},
                          {"ppll", 64, 2, {{0, Kind::F, {{185, 190, 210, 20}, 200}, {}, 3}}},
                          {"gpipe", 32, 2, {{1, Kind::B, {5, 6, 7, 8}, {6, 7, 8, 9}, 0}}}};
  profile.measurements.back().ops.back().host = {2, 3, 4, 8};
  return profile;
}

MeasuredTransfer transfer(std::int64_t bytes, Nanos time) { return {bytes, {time, time, time, 1}}; }

// 5 us and 20 GB/s: 1 MiB takes 52.43 us more than nothing.
TEST(FitLink, finds_latency_and_bandwidth_of_exact_transfers) {
  std::vector<MeasuredTransfer> transfers;
  for (const std::int64_t bytes : {std::int64_t{1} << 10, std::int64_t{1} << 16, std::int64_t{1} << 20, std::int64_t{1} << 26}) {
    transfers.push_back(transfer(bytes, 5 * kMicrosecond + bytes / 20));
  }
  const Link link = fit_link(transfers);
  EXPECT_NEAR(static_cast<double>(link.latency), 5'000, 2);
  EXPECT_NEAR(link.bandwidth, 20e9, 1e7);
}

TEST(FitLink, sizes_that_make_no_difference_give_an_infinite_bandwidth) {
  const std::vector<MeasuredTransfer> transfers{transfer(1 << 10, 4'000), transfer(1 << 20, 4'050), transfer(1 << 26, 3'980)};
  EXPECT_NEAR(static_cast<double>(fit_link(transfers).latency), 4'010, 40);
  EXPECT_EQ(fit_link(transfers).bandwidth, 0);
  EXPECT_EQ(fit_link({}).latency, 0);
  EXPECT_EQ(fit_link({transfers.data(), 1}).latency, 4'000);
}

TEST(CostProfile, survives_a_round_trip_through_its_file) {
  const auto file = std::filesystem::temp_directory_path() / "bubblescope_profile_test" / "profile.json";
  write_profile(example(), file);
  EXPECT_EQ(read_profile(file), example());
  std::filesystem::remove_all(file.parent_path());
}

TEST(CostProfile, gives_expected_times_busy_factors_and_spreads_of_one_schedule_by_size) {
  const Costs costs = costs_of(example(), "ppll");
  ASSERT_EQ(costs.by_size.size(), 2u);
  const OpCost& cost = costs.by_size.at(32).at(0, Kind::F);
  EXPECT_EQ(cost, (OpCost{100, 1.5, 20, 3}));
  EXPECT_EQ(costs.by_size.at(32).at(1, Kind::LB).duration, 2);
  EXPECT_EQ(costs.by_size.at(64).at(0, Kind::F).busy_factor, 1.0);
  EXPECT_EQ(costs.at(48).at(0, Kind::F).duration, 150);  // halfway between the sizes
  EXPECT_THAT(costs.source, HasSubstr("A CPU"));
  Cluster cluster = uniform_cluster(2);
  example().join(cluster);
  EXPECT_EQ(cluster.between(0, 1).transfer(1'000'000), 12'345 + 40'000);  // at 25 GB/s
}

TEST(CostProfile, tells_links_within_a_process_from_those_between_processes) {
  Cluster cluster = uniform_cluster(4);
  example().join(cluster);
  EXPECT_EQ(cluster.between(0, 1).transfer(1'000'000), 9'000);
  EXPECT_EQ(cluster.between(3, 2).transfer(1'000'000), 9'000);
  EXPECT_EQ(cluster.between(1, 2).transfer(1'000'000), 12'345 + 40'000);
  EXPECT_EQ(cluster.between(3, 0).transfer(1'000'000), 12'345 + 40'000);
}

TEST(CostProfile, tells_links_within_a_host_from_those_between_hosts) {
  CostProfile profile = example();
  profile.processes = 4;
  profile.hosts = {0, 0, 1, 1};
  profile.beside.one_way = {transfer(1 << 10, 5'000), transfer(1 << 20, 5'000)};
  profile.beside.both_ways = profile.beside.one_way;
  EXPECT_EQ(profile_from_json(profile_to_json(profile), "p.json"), profile);
  for (const std::int32_t each : {1, 2}) {
    Cluster cluster = uniform_cluster(4 * each);
    profile.join(cluster);
    const auto between = [&](std::int32_t from, std::int32_t to) { return cluster.between(from * each, to * each + each - 1).transfer(1'000'000); };
    EXPECT_EQ(between(0, 1), 5'000);
    EXPECT_EQ(between(3, 2), 5'000);
    EXPECT_EQ(between(1, 2), 12'345 + 40'000);
    EXPECT_EQ(between(3, 0), 12'345 + 40'000);
    if (each > 1) {
      EXPECT_EQ(between(2, 2), 9'000);
    }
  }
  profile.beside = {};
  Cluster cluster = uniform_cluster(4);
  profile.join(cluster);
  EXPECT_EQ(cluster.between(0, 1).transfer(1'000'000), 12'345 + 40'000) << "not measured";
  profile.hosts.pop_back();
  EXPECT_THAT([&] { profile_from_json(profile_to_json(profile), "p.json"); }, testing::ThrowsMessage<InputError>(HasSubstr("'link.hosts' names 3 hosts for 4 processes")));
}

TEST(CostProfile, recomputing_a_forward_costs_a_forward_unless_measured) {
  CostProfile profile = example();
  Measurement& measurement = profile.measurements.front();
  const OpCost forward = stage_costs(measurement).at(0, Kind::F);
  EXPECT_GT(forward.duration, 0);
  EXPECT_EQ(stage_costs(measurement).at(0, Kind::R), forward);
  MeasuredOp again = measurement.ops.front();
  again.stage = 0;
  again.kind = Kind::R;
  again.alone = {7, 7, 7, 3};
  measurement.ops.insert(measurement.ops.begin(), again);
  EXPECT_EQ(stage_costs(measurement).at(0, Kind::R).duration, 7);
  EXPECT_EQ(stage_costs(measurement).at(0, Kind::F), forward);
}

std::string error_of(const std::string& text) {
  try {
    profile_from_json(text, "my.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string changed(const std::string& from, const std::string& to) {
  std::string text = profile_to_json(example());
  const auto place = text.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  return text.replace(place, from.size(), to);
}

TEST(CostProfile, errors_name_file_and_key) {
  EXPECT_THAT(error_of(profile_to_json(example()).substr(0, 200)), HasSubstr("my.json: not JSON, or cut short"));
  EXPECT_THAT(error_of("[]"), HasSubstr("my.json: 'schema_version' is missing"));
  EXPECT_THAT(error_of(changed("\"schema_version\": 1", "\"schema_version\": 9")), HasSubstr("my.json: 'schema_version' is 9; expected 1 to 1"));
  EXPECT_THAT(error_of(changed("\"cpu\"", "\"gpu\"")), HasSubstr("'machine.cpu' is missing"));
  EXPECT_THAT(error_of(changed("\"kind\": \"F\"", "\"kind\": \"G\"")), HasSubstr("'measurements[0].ops[0].kind' is \"G\""));
  EXPECT_THAT(error_of(changed("\"stage\": 0", "\"stage\": 2")), HasSubstr("'measurements[0].ops[0].stage' is 2; expected 0 to 1"));
  EXPECT_THAT(error_of(changed("\"median\": 100", "\"median\": -1")), HasSubstr("'measurements[0].ops[0].alone.median' is -1"));
  EXPECT_THAT(error_of(changed("\"median\": 100", "\"median\": \"fast\"")), HasSubstr("'measurements[0].ops[0].alone.median' is \"fast\"; expected a whole number"));
  EXPECT_THAT(error_of(changed("\"samples\": 32", "\"samples\": 0")), HasSubstr("'measurements[0].samples' is 0; expected at least 1"));
  EXPECT_THROW(read_profile("/nowhere/at/all.json"), InputError);
}

TEST(CostProfile, a_schedule_is_measured_once_at_each_size) {
  // The second measurement of ppll is made one of 32 samples, too.
  EXPECT_THAT(error_of(changed("\"samples\": 64", "\"samples\": 32")),
              HasSubstr("my.json: 'measurements[1]' is of 'ppll' with 32 samples, as 'measurements[0]' is; expected every schedule and size once"));
}

TEST(CostProfile, a_schedule_that_was_not_measured_is_refused_with_those_that_were) {
  try {
    costs_of(example(), "1f1b");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'1f1b'; it has 'gpipe', 'ppll'"));
  }
}

}  // namespace
}  // namespace bubblescope
