// A run with kernels, from the rounds to the folder and back, on devices that report kernels as a GPU would.
#include "bench/run_folder.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "analysis/report.hpp"
#include "backend/clock.hpp"
#include "backend/host_streams.hpp"
#include "backend/lifeline_meeting.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// Ops of 100 us: two kernels of 20 us and a copy of 10 us.
class Small : public Backend {
 public:
  explicit Small(ReportedKernels& kernels) : kernels_(kernels) {}
  std::string name() const override { return "small"; }
  std::unique_ptr<Device> device(Rank, const Program&) override { return std::make_unique<Works>(kernels_); }

 private:
  struct Works : Device {
    explicit Works(ReportedKernels& to) : kernels(to) {}
    void execute(const Op&) override {
      const Nanos start = steady_now() + 10 * kMicrosecond;
      wait_until(start + 90 * kMicrosecond, 100 * kMicrosecond);
      kernels.report("gemm", start, start + 20 * kMicrosecond);
      kernels.report("add", start + 20 * kMicrosecond, start + 40 * kMicrosecond);
      kernels.report("copy", start + 40 * kMicrosecond, start + 50 * kMicrosecond, 64);
    }
    Payload output(const Op&) override { return {}; }
    void input(const Op&, Payload) override {}
    Payload example(const Op&) override { return {}; }
    ReportedKernels& kernels;
  };
  ReportedKernels& kernels_;
};

/// As `HostStreamBackend`, and owns the devices' backend.
struct OnStreams : HostStreamBackend {
  OnStreams(std::unique_ptr<Backend> owned, HostStreamOptions options) : HostStreamBackend(*owned, std::move(options)), devices(std::move(owned)) {}
  std::unique_ptr<Backend> devices;
};

class RunFolder : public testing::Test {
 protected:
  RunFolder() {
    std::string name = (fs::temp_directory_path() / "bubblescope-run-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~RunFolder() override { fs::remove_all(folder_); }

  /// Two rounds and, where the scenario says so, a run with kernels, written to the folder.
  MeasuredRun measure(bool kernels, bool offered = true) {
    scenario_ = parse_scenario("[model]\nname = \"mlp\"\ndepth = 4\n[cluster]\nranks = 2\n[backend]\nname = \"cuda\"\n[run]\niterations = 3\nwarmup = 1\nrepeats = 2\nkernels = " +
                                   std::string(kernels ? "true" : "false") + "\n[[schedule]]\nname = \"gpipe\"\nmicrobatches = 2\n",
                               "small.toml");
    std::vector<Experiment> experiments{build_experiment(scenario_, scenario_.schedules.front())};
    MeasureOptions options;
    MeasuredRun run = measure_experiments(scenario_, std::move(experiments), [this, offered](const Experiment&) {
      ++backends_;
      HostStreamOptions streams;
      if (offered) streams.kernels = &kernels_;
      return std::make_unique<OnStreams>(std::make_unique<Small>(kernels_), streams);
    }, options);
    model_ = report_model(scenario_, run, "bubblescope run small.toml");
    write_run_folder(folder_, model_, run.profile);
    return run;
  }

  ReportedKernels kernels_;
  int backends_ = 0;
  fs::path folder_;
  Scenario scenario_;
  ReportModel model_;
};

TEST_F(RunFolder, keeps_kernels_of_one_run_more_and_figures_come_from_the_rounds_alone) {
  const MeasuredRun run = measure(true);
  ASSERT_EQ(run.schedules.size(), 1u);
  EXPECT_EQ(backends_, 3);
  EXPECT_EQ(run.schedules[0].iteration_repeats.size(), 2u);
  EXPECT_EQ(run.schedules[0].kernels_note, "");
  for (const Span& span : run.schedules[0].measured.timeline.spans) EXPECT_TRUE(span.has_op);

  ReportModel read = read_run_folder(folder_);
  complete(read);
  ASSERT_TRUE(read.schedules.at(0).kernels.has_value());
  const KernelBreakdown& found = *read.schedules[0].kernels;
  // GPipe on two ranks: F and B of both stages, and the updates; 3 measured iterations of 2 microbatches.
  ASSERT_EQ(found.groups.size(), 6u);
  for (const KernelGroup& group : found.groups) {
    const std::int64_t ops = group.kind == Kind::U ? 3 : 6;
    EXPECT_EQ(group.ops, ops);
    EXPECT_EQ(group.stage, group.rank);
    EXPECT_EQ(group.kernels, 2 * ops);
    EXPECT_EQ(group.copies, ops);
    EXPECT_EQ(group.bytes, 64 * ops);
    EXPECT_EQ(group.kernel_time, ops * 40 * kMicrosecond);
    EXPECT_EQ(group.copy_time, ops * 10 * kMicrosecond);
    EXPECT_EQ(group.op_time, group.kernel_time + group.copy_time + group.gap_time);
    EXPECT_GE(group.gap_time, ops * 50 * kMicrosecond);
    EXPECT_EQ(group.outside_time, 0);
  }
  EXPECT_EQ(found.longest.at(0).launches, 2 * (4 * 6 + 2 * 3) / 2);
  const std::string page = report_markdown(read);
  EXPECT_THAT(page, HasSubstr("one more run of every schedule after all rounds"));
  EXPECT_THAT(page, HasSubstr("| gemm "));
  EXPECT_THAT(report_html(read), HasSubstr("Kernels, copies and gaps of ops"));
  EXPECT_THAT(report_json(read), HasSubstr("\"kernel_ns\""));
}

TEST_F(RunFolder, has_no_kernels_unless_asked_for_and_clears_those_of_an_earlier_run) {
  measure(true);
  EXPECT_TRUE(fs::exists(folder_ / "kernels/gpipe.json"));
  backends_ = 0;
  measure(false);
  EXPECT_EQ(backends_, 2);
  EXPECT_FALSE(fs::exists(folder_ / "kernels/gpipe.json"));
  ReportModel read = read_run_folder(folder_);
  complete(read);
  EXPECT_FALSE(read.schedules.at(0).kernels.has_value());
  EXPECT_THAT(report_markdown(read), Not(HasSubstr("Kernels")));
  EXPECT_THAT(report_json(read), Not(HasSubstr("\"kernels\":")));  // the scenario's text has the key
}

TEST_F(RunFolder, keeps_the_rounds_where_kernels_could_not_be_recorded_and_says_why) {
  const MeasuredRun run = measure(true, false);
  ASSERT_EQ(run.schedules.size(), 1u);
  EXPECT_TRUE(run.failures.empty());
  EXPECT_FALSE(run.schedules[0].kernels.has_value());
  EXPECT_THAT(run.schedules[0].kernels_note, HasSubstr("gpipe: no kernels were recorded: kernels are recorded by the CUDA backend alone"));
  EXPECT_THAT(report_markdown(read_run_folder(folder_)), HasSubstr("no kernels were recorded"));
}

// A SIGKILL while a folder's files make room for those of the rounds since.
TEST_F(RunFolder, a_writer_that_is_killed_while_it_moves_whole_files_loses_nothing) {
  measure(true);
  const std::string expected = report_json(read_run_folder(folder_));
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  ASSERT_EQ(waitpid(gone, nullptr, 0), gone);
  const auto staged = [this](const std::string& host, pid_t writer) { return folder_ / fmt::format("run.{}.{}.partial", host, writer); };
  const fs::path alive = staged(host_name(), getppid()), elsewhere = staged("elsewhere", gone), killed = staged(host_name(), gone);
  const std::vector<std::string> files = {"profile.json", "timelines/gpipe.predicted.json", "timelines/gpipe.measured.json", "kernels/gpipe.json", "run.json"};
  for (std::size_t moved = 0; moved < files.size(); ++moved) {
    SCOPED_TRACE(moved);
    fs::create_directories(alive / "timelines");
    fs::create_directories(alive / "kernels");
    for (std::size_t i = moved; i < files.size(); ++i) fs::rename(folder_ / files[i], alive / files[i]);
    std::ofstream(folder_ / "report.md") << "of the run before";
    EXPECT_THROW(read_run_folder(folder_), InputError) << "that writer is still at it";
    fs::rename(alive, elsewhere);
    EXPECT_THROW(read_run_folder(folder_), InputError) << "perhaps still at it";
    EXPECT_TRUE(fs::exists(folder_ / "report.md"));

    fs::rename(elsewhere, killed);
    EXPECT_EQ(report_json(read_run_folder(folder_)), expected);
    EXPECT_FALSE(fs::exists(folder_ / "report.md"));
    EXPECT_FALSE(fs::exists(killed));
  }
}

// What ties a run's files together goes last: where one of them cannot be moved, all can be moved later.
TEST_F(RunFolder, a_move_that_fails_can_be_finished_later) {
  measure(true);
  const std::string expected = report_json(read_run_folder(folder_));
  fs::remove(folder_ / "kernels/gpipe.json");
  fs::create_directories(folder_ / "kernels/gpipe.json/in the way");
  EXPECT_THROW(write_run_folder(folder_, model_, {}), RunError);
  EXPECT_THROW(write_run_folder(folder_, model_, {}), RunError) << "once more, over what is left of the first";
  EXPECT_FALSE(fs::exists(folder_ / "run.json"));
  EXPECT_THROW(finish_run_folder(folder_), RunError);
  fs::remove_all(folder_ / "kernels/gpipe.json");
  finish_run_folder(folder_);
  EXPECT_EQ(report_json(read_run_folder(folder_)), expected);
}

}  // namespace
}  // namespace bubblescope
