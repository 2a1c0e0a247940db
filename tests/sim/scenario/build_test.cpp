// Tests of what a scenario is turned into, and that every shipped scenario can be.
#include "sim/scenario/build.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "sim/core/error.hpp"
#include "sim/core/profile.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;

const std::filesystem::path kScenarios = source_dir() / "scenarios";

std::vector<Experiment> build_experiments(const Scenario& scenario) {
  std::vector<Experiment> experiments;
  for (const ScheduleConfig& schedule : scenario.schedules) experiments.push_back(build_experiment(scenario, schedule));
  return experiments;
}

Experiment only(const std::string& text) { return build_experiments(parse_scenario(text, "a.toml")).front(); }

std::int64_t updates(const Program& program) {
  std::int64_t count = 0;
  for (const auto& row : program.rows) {
    count += std::count_if(row.begin(), row.end(), [](const Op& op) { return op.kind == Kind::U; });
  }
  return count;
}

std::int64_t barriers(const Program& program) {
  const auto& row = program.rows.front();
  return std::count_if(row.begin(), row.end(), [](const Op& op) { return op.kind == Kind::SYNC; });
}

TEST(Build, a_pipeline_cuts_the_batch_into_as_many_microbatches_as_ranks_unless_told_otherwise) {
  const Experiment four = only("[cluster]\nranks = 4\n[training]\nbatch = 128\n[[schedule]]\nname = \"1f1b\"\n");
  EXPECT_EQ(four.program.microbatches, 4);
  EXPECT_EQ(four.samples, 32);
  EXPECT_EQ(four.iteration_samples, 128);
  EXPECT_EQ(four.config.microbatches, 4);
  const Experiment eight = only("[cluster]\nranks = 4\n[training]\nbatch = 128\n[[schedule]]\nname = \"1f1b\"\nmicrobatches = 8\n");
  EXPECT_EQ(eight.program.microbatches, 8);
  EXPECT_EQ(eight.samples, 16);
  EXPECT_EQ(only("[[schedule]]\nname = \"naive\"\n").program.microbatches, 1);
}

TEST(Build, a_local_schedule_trains_on_whole_batches) {
  const Experiment experiment = only("[training]\nbatch = 128\n[[schedule]]\nname = \"ppll\"\nmicrobatches = 3\n");
  EXPECT_EQ(experiment.program.microbatches, 3);
  EXPECT_EQ(experiment.samples, 128);
  EXPECT_EQ(experiment.iteration_samples, 3 * 128);
  EXPECT_EQ(updates(experiment.program), 3 * 2);  // every batch, on both ranks
  EXPECT_EQ(only("[[schedule]]\nname = \"ppll\"\n").program.microbatches, 1);
}

TEST(Build, accumulation_makes_one_update_of_several_batches) {
  const Experiment local = only("[training]\nbatch = 128\naccumulate = 2\n[[schedule]]\nname = \"ppll\"\nmicrobatches = 4\n");
  EXPECT_EQ(updates(local.program), 4 / 2 * 2);
  EXPECT_EQ(local.iteration_samples, 4 * 128);
  const Experiment pipeline = only("[training]\nbatch = 128\naccumulate = 2\n[[schedule]]\nname = \"gpipe\"\nmicrobatches = 4\n");
  EXPECT_EQ(pipeline.program.microbatches, 8);
  EXPECT_EQ(pipeline.samples, 32);
  EXPECT_EQ(pipeline.iteration_samples, 256);
  EXPECT_EQ(updates(pipeline.program), 2);
}

TEST(Build, more_microbatches_than_can_be_numbered_are_refused) {
  try {
    only("[data]\nsamples = 4096\n[training]\nbatch = 4096\naccumulate = 1000000\n[[schedule]]\nname = \"gpipe\"\nmicrobatches = 4096\n");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("one iteration has 4096000000 microbatches; expected at most 2147483647"));
  }
}

TEST(Build, clipping_by_global_norm_puts_a_barrier_into_pipelines_only) {
  EXPECT_EQ(barriers(only("[training]\nclip_norm = 1\n[[schedule]]\nname = \"gpipe\"\n").program), 1);
  EXPECT_EQ(barriers(only("[[schedule]]\nname = \"gpipe\"\n").program), 0);
  EXPECT_EQ(barriers(only("[training]\nclip_norm = 1\n[[schedule]]\nname = \"ppll\"\n").program), 0);
}

TEST(Build, programs_communicate_by_the_clusters_channel_mode_or_by_queues) {
  const std::string cluster = "[cluster]\nchannel = \"rank\"\n";
  const Experiment pipeline = only(cluster + "[[schedule]]\nname = \"gpipe\"\n");
  EXPECT_TRUE(has_communication(pipeline.program));
  EXPECT_EQ(pipeline.program.channels.front(), channel_mode("rank"));
  const Experiment local = only(cluster + "[[schedule]]\nname = \"ppll\"\nqueue = 3\n");
  EXPECT_EQ(local.program.channels.front().capacity, 3);
  EXPECT_EQ(local.program.channels.front().send, Send::holding);
}

TEST(Build, stages_run_their_forwards_again_where_a_schedule_says_so) {
  const auto recomputes = [](const Experiment& experiment) {
    std::map<Stage, int> count;
    for (const auto& row : experiment.program.rows) {
      for (const Op& op : row) count[op.stage] += op.kind == Kind::R;
    }
    return count;
  };
  const std::string cluster = "[cluster]\nranks = 2\n[training]\nbatch = 16\n";
  EXPECT_EQ(recomputes(only(cluster + "[[schedule]]\nname = \"1f1b\"\nmicrobatches = 4\n")), (std::map<Stage, int>{{0, 0}, {1, 0}}));
  const Experiment one = only(cluster + "[[schedule]]\nname = \"1f1b\"\nmicrobatches = 4\nrecompute = [1]\n");
  EXPECT_EQ(recomputes(one), (std::map<Stage, int>{{0, 0}, {1, 4}}));
  EXPECT_EQ(one.costs.at(1, Kind::R), one.costs.at(1, Kind::F));
  EXPECT_GT(one.costs.at(1, Kind::R).duration, 0);
  EXPECT_EQ(recomputes(only(cluster + "[[schedule]]\nname = \"chimera\"\nmicrobatches = 4\nrecompute = [1]\n")),
            (std::map<Stage, int>{{0, 0}, {1, 2}, {2, 0}, {3, 2}}));
  try {
    only(cluster + "[[schedule]]\nname = \"interlocking\"\nrecompute = \"all\"\n");
    FAIL() << "interlocking losses were accepted";
  } catch (const ShapeError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("a.toml: schedule 'interlocking recompute=all': schedule 'interlocking' cannot recompute"));
  }
}

TEST(Build, explicit_cuts_are_taken_as_they_are_and_only_for_their_number_of_stages) {
  const std::string cuts = "[partition]\nmethod = \"explicit\"\ncuts = [5]\n";
  EXPECT_EQ(only(cuts + "[[schedule]]\nname = \"gpipe\"\n").cuts, (std::vector<std::int32_t>{5}));
  try {
    only(cuts + "[[schedule]]\nname = \"interleaved-1f1b\"\nchunks = 2\n");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("a.toml: schedule 'interleaved-1f1b chunks=2': "));
  }
}

TEST(Build, more_stages_than_layers_are_refused) {
  // An MLP with one hidden layer is that layer and the head.
  const std::string model = "[model]\nname = \"mlp\"\ndepth = 1\n[training]\nbatch = 60\n";
  EXPECT_EQ(only(model + "[cluster]\nranks = 2\n[[schedule]]\nname = \"gpipe\"\n").cuts.size(), 1u);
  EXPECT_THROW(only(model + "[cluster]\nranks = 3\n[[schedule]]\nname = \"gpipe\"\n"), InputError);
}

TEST(Build, uniform_costs_and_waiting_need_no_model) {
  const std::string text = "[cluster]\nranks = 64\n[costs]\nsource = \"uniform\"\nuniform = {F = 1, B = 2}\n"
                           "[backend]\nname = \"null\"\n[[schedule]]\nname = \"gpipe\"\n";
  const Experiment experiment = only(text);
  EXPECT_TRUE(experiment.cuts.empty());
  EXPECT_EQ(experiment.costs.stages(), 64);
  EXPECT_EQ(experiment.costs.at(63, Kind::F).duration, 1'000'000);
}

TEST(Build, only_local_schedules_have_auxiliary_networks) {
  const auto experiments = build_experiments(parse_scenario("[[schedule]]\nname = \"ppll\"\n[[schedule]]\nname = \"gpipe\"\n", "a.toml"));
  ASSERT_EQ(experiments.size(), 2u);
  EXPECT_EQ(experiments[0].auxiliaries.size(), 2u);
  EXPECT_TRUE(experiments[1].auxiliaries.empty());
}

TEST(Build, the_cluster_has_the_catalogs_devices_unless_told_otherwise) {
  const auto cluster = [](const std::string& keys) {
    return build_cluster(parse_scenario("[cluster]\ndevice = \"v100\"\nranks = 2\n" + keys + "[[schedule]]\nname = \"gpipe\"\n", "a.toml"));
  };
  const Cluster plain = cluster("");
  ASSERT_EQ(plain.ranks(), 2);
  EXPECT_EQ(plain.devices[1].memory_bytes, std::int64_t{32} << 30);  // V100 SXM2 32 GB
  EXPECT_EQ(plain.devices[1].flops, 15.7e12);
  EXPECT_FALSE(plain.shares_cores());
  EXPECT_EQ(plain.devices[1].run_ahead, 0);
  EXPECT_EQ(plain.link.copy(1000), 0);
  const Cluster told = cluster("memory = \"1GB\"\nlaunch = \"7us\"\nrun_ahead = 3\nlatency = \"2us\"\nbandwidth = \"1GB/s\"\nstaging = \"500MB/s\"\n[backend]\ncores = [[0], [0, 1]]\n");
  EXPECT_EQ(told.devices[0].memory_bytes, 1'000'000'000);
  EXPECT_EQ(told.devices[0].launch, 7'000);
  EXPECT_EQ(told.devices[1].run_ahead, 3);
  EXPECT_EQ(told.link.transfer(1000), 3'000);
  EXPECT_EQ(told.link.copy(1000), 2'000);
  EXPECT_EQ(told.link.queue_transfer(1000), 2'000);  // the latency: the copies move the bytes
  EXPECT_TRUE(told.shares_cores());
}

TEST(Build, a_profile_gives_durations_and_the_link_and_the_model_the_bytes) {
  CostProfile profile;
  profile.link_latency = 3'000;
  profile.sync = 4'000;
  const auto measured = [](Stage stage, Nanos median) {
    return MeasuredOp{.stage = stage, .kind = Kind::F, .alone = {median, median, median, 1},
                      .busy = {}, .launches = 0};
  };
  profile.measurements = {{.schedule = "gpipe", .samples = 64, .stages = 2, .ops = {measured(0, 111), measured(1, 222)}}};
  const auto file = std::filesystem::path(testing::TempDir()) / "bubblescope_build_test_profile.json";
  write_profile(profile, file);
  const std::string text = "[costs]\nsource = \"profile\"\nprofile = \"" + file.string() + "\"\n";
  const std::string schedule = "[[schedule]]\nname = \"gpipe\"\n";
  const Scenario scenario = parse_scenario(text + schedule, "a.toml");

  const Experiment experiment = build_experiments(scenario).front();
  EXPECT_EQ(experiment.costs.at(1, Kind::F).duration, 222);
  EXPECT_TRUE(experiment.costs.has_bytes());
  EXPECT_EQ(build_cluster(scenario).link.latency, 3'000);
  EXPECT_EQ(build_cluster(scenario).sync, 4'000);
  // The profile's link, unless the scenario gives one, be it one that takes no time.
  for (const auto& [keys, latency] : {std::pair("latency = \"9us\"", 9'000), {"latency = 0", 0}, {"bandwidth = 0", 0}, {"staging = 0", 0}}) {
    EXPECT_EQ(build_cluster(parse_scenario(text + "[cluster]\n" + keys + "\n" + schedule, "a.toml")).link.latency, latency) << keys;
  }
  // A profile of another number of stages, of other schedules or of another size is refused.
  EXPECT_THROW(only(text + "[cluster]\nranks = 4\n" + schedule), InputError);
  EXPECT_THROW(only(text + "[[schedule]]\nname = \"1f1b\"\n"), InputError);
  try {
    only(text + schedule + "microbatches = 4\n");
    ADD_FAILURE() << "microbatches of 32 samples, but 64 were measured";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("32 samples"), HasSubstr("64")));
  }
  std::filesystem::remove(file);
}

TEST(Build, memory_over_the_capacity_is_reported_per_rank) {
  Cluster cluster = uniform_cluster(3);
  cluster.devices[0].memory_bytes = 100;
  cluster.devices[1].memory_bytes = 100;
  const auto excess = memory_excess({100, 101, 1'000'000}, cluster);  // exactly full is not over; rank 2 is unknown
  ASSERT_EQ(excess.size(), 1u);
  EXPECT_EQ(excess[0].rank, 1);
  EXPECT_EQ(excess[0].peak_bytes, 101);
}

TEST(Build, ranks_without_cores_are_spread_over_those_there_are) {
  using Cores = std::vector<std::vector<int>>;
  EXPECT_EQ(spread_cores(2, 1, {4, 5}), (Cores{{4}, {5}}));
  EXPECT_EQ(spread_cores(4, 1, {4, 5}), (Cores{{4}, {5}, {4}, {5}}));
  EXPECT_EQ(spread_cores(2, 2, {0, 1, 2, 3}), (Cores{{0, 1}, {2, 3}}));
  EXPECT_EQ(spread_cores(2, 8, {0, 1}), (Cores{{0, 1}, {0, 1}}));
  EXPECT_EQ(spread_cores(2, 1, {}), (Cores{{}, {}}));
}

// --- what is shipped -----------------------------------------------------------------------------

std::vector<std::filesystem::path> shipped() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kScenarios)) {
    // Lists of scenarios are campaign_test's.
    if (entry.path().extension() == ".toml" && entry.path().filename() != "campaign.toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string test_name(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name = info.param.lexically_relative(kScenarios).replace_extension().string();
  std::replace_if(name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

class ShippedScenario : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(ShippedScenario, parses_and_builds_and_simulates) {
  const Scenario scenario = read_scenario(GetParam());
  EXPECT_FALSE(scenario.name.empty());
  const Cluster cluster = build_cluster(scenario);
  for (const Experiment& experiment : build_experiments(scenario)) {
    EXPECT_EQ(experiment.program.ranks(), scenario.cluster.ranks);
    const Simulation simulation = simulate(experiment.program, experiment.costs, cluster);
    EXPECT_FALSE(simulation.deadlock.has_value()) << experiment.config.label;
    EXPECT_GT(simulation.timeline.makespan(), 0) << experiment.config.label;
  }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, ShippedScenario, testing::ValuesIn(shipped()), test_name);

/// The makespans that the comments of scenarios/tiny state, in microseconds; derived there.
TEST(TinyScenarios, have_the_makespans_that_their_comments_state) {
  const std::map<std::string, std::vector<Nanos>> stated = {
      {"gpipe", {33'000}}, {"1f1b", {33'000}}, {"recompute", {41'000, 37'000, 35'000}}, {"interleaved-1f1b", {28'500}}, {"naive", {12'000}},
      {"zb-heuristic", {27'000, 27'000}}, {"zbv-greedy", {25'500}}, {"v-half", {26'500}}, {"v-min", {12'500}}, {"v-1f1b", {26'500}},
      {"ppll", {31'000, 38'500, 31'000}}, {"sequential-local-serial", {56'000}},
      {"sequential-local-overlapped", {26'000}}, {"sequential-local-blockwise", {56'000}},
      {"eager-1f1b", {33'000}}, {"pipedream-flush", {33'000}}, {"deepspeed", {33'000}}, {"looped-bfs", {28'500}},
      {"interleaved-zb", {25'500}}, {"zb1p", {27'000}}, {"zb-h1", {27'000}}, {"zb-h2", {27'000}}, {"zbv", {25'500}},
      {"dualpipe", {26'000}}, {"dualpipev", {27'000}}, {"chimera", {18'000}},
      {"chimera-pairs", {51'000, 51'000}}, {"hanayo", {30'000, 27'000}}};
  for (const auto& [name, makespans] : stated) {
    const Scenario scenario = read_scenario(kScenarios / "tiny" / (name + ".toml"));
    const auto experiments = build_experiments(scenario);
    ASSERT_EQ(experiments.size(), makespans.size()) << name;
    for (std::size_t i = 0; i < makespans.size(); ++i) {
      const auto timeline = simulate(experiments[i].program, experiments[i].costs, build_cluster(scenario)).timeline;
      EXPECT_EQ(timeline.makespan(), makespans[i] * kMicrosecond) << experiments[i].config.label;
    }
  }
}

TEST(Build, every_direction_of_a_bidirectional_schedule_is_a_whole_copy_of_the_model) {
  Scenario scenario = read_scenario(kScenarios / "demo.toml");
  ScheduleConfig config;
  config.name = config.label = "chimera";
  config.microbatches = 4;
  const Experiment both = build_experiment(scenario, config);
  config.name = config.label = "gpipe";
  const Experiment one = build_experiment(scenario, config);
  ASSERT_EQ(both.program.stages(), 2 * one.program.stages());
  std::map<Stage, int> reductions;
  for (const auto& row : both.program.rows) {
    for (const Op& op : row) reductions[op.stage] += op.kind == Kind::ALLREDUCE;
  }
  EXPECT_EQ(reductions, (std::map<Stage, int>{{0, 1}, {1, 1}, {2, 1}, {3, 1}}));
  EXPECT_EQ(both.cuts, one.cuts);
  for (Stage s = 0; s < one.program.stages(); ++s) {
    for (const Stage copy : {s, one.program.stages() + s}) {
      EXPECT_EQ(both.costs.bytes(copy), one.costs.bytes(s)) << copy;
      EXPECT_EQ(both.costs.at(copy, Kind::F), one.costs.at(s, Kind::F)) << copy;
    }
  }
}

TEST(TinyScenarios, there_is_one_for_every_schedule) {
  std::set<std::string> covered;
  for (const auto& entry : std::filesystem::directory_iterator(kScenarios / "tiny")) {
    for (const ScheduleConfig& schedule : read_scenario(entry.path()).schedules) covered.insert(schedule.name);
  }
  for (const Schedule& schedule : schedules()) EXPECT_TRUE(covered.contains(schedule.name)) << schedule.name;
}

}  // namespace
}  // namespace bubblescope
