// What launchers say in the environment, and a module that cannot be loaded.
#include "backend/mpi_loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

/// Of all launchers' variables just these are set, for as long as this lives.
class Environment {
 public:
  explicit Environment(const Variables& set) {
    for (const char* const name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID",
                                   "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"}) {
      if (const char* const value = std::getenv(name)) before_[name] = value;
      unsetenv(name);
      names_.emplace_back(name);
    }
    for (const auto& [name, value] : set) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const std::string& name : names_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::string> names_;
  Variables before_;
};

/// `by process/processes`; empty: not launched.
std::string launched_in(const Variables& variables) {
  const Environment environment(variables);
  const auto launch = launched();
  return launch ? launch->by + " " + std::to_string(launch->process) + "/" + std::to_string(launch->processes) : "";
}

const Variables kOpenMpi{{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}};
const Variables kPmi{{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}};
const Variables kStep{{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "5"}, {"PMIX_RANK", "5"}};
const Variables kTorchrun{{"TORCHELASTIC_RUN_ID", "none"}, {"WORLD_SIZE", "16"}, {"RANK", "9"}, {"MASTER_ADDR", "node0"}, {"MASTER_PORT", "29500"}};

Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

Variables both(Variables a, const Variables& b) {
  a.insert(b.begin(), b.end());
  return a;
}

TEST(Launched, tells_launchers_apart) {
  EXPECT_EQ(launched_in({}), "");
  EXPECT_EQ(launched_in(kOpenMpi), "Open MPI 3/4");
  EXPECT_EQ(launched_in(kPmi), "PMI 1/2");
  EXPECT_EQ(launched_in(kStep), "Slurm 5/8");
  EXPECT_EQ(launched_in(kTorchrun), "torchrun 9/16");
}

TEST(Launched, one_process_of_mpirun_counts) { EXPECT_EQ(launched_in({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}), "Open MPI 0/1"); }

TEST(Launched, half_of_the_variables_is_no_launch) {
  for (const Variables& all : {kOpenMpi, kPmi, kStep, kTorchrun}) {
    for (const auto& [name, value] : all) EXPECT_EQ(launched_in(without(all, name)), "") << "without " << name;
  }
}

TEST(Launched, a_batch_script_is_no_step) {
  EXPECT_EQ(launched_in({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"PMI_RANK", "0"}}), "");
  EXPECT_EQ(launched_in({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}}), "") << "srun without PMI";
  EXPECT_EQ(launched_in({{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"PMI_RANK", "1"}, {"PMI_SIZE", "8"}}), "Slurm 1/8");
}

TEST(Launched, the_innermost_launcher_counts) {
  EXPECT_EQ(launched_in(both(kStep, kOpenMpi)), "Open MPI 3/4") << "mpirun in a shell that srun started";
  EXPECT_EQ(launched_in(both(kStep, kTorchrun)), "torchrun 9/16") << "srun starts a torchrun on each node";
}

TEST(Launched, numbers_that_make_no_sense_are_refused) {
  const auto words = [](const Variables& variables) -> std::string {
    try {
      return launched_in(variables);
    } catch (const InputError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(words({{"PMI_SIZE", "two"}, {"PMI_RANK", "0"}}), "the environment variable PMI_SIZE is 'two'; expected a number from 1 to 16777216");
  EXPECT_THAT(words({{"PMI_SIZE", "0"}, {"PMI_RANK", "0"}}), HasSubstr("PMI_SIZE is '0'"));
  EXPECT_EQ(words({{"PMI_SIZE", "2"}, {"PMI_RANK", "2"}}), "the environment variable PMI_RANK is '2'; expected a number from 0 to 1");
  EXPECT_THAT(words({{"PMI_SIZE", "2"}, {"PMI_RANK", "-1"}}), HasSubstr("PMI_RANK is '-1'"));
  EXPECT_THAT(words({{"PMI_SIZE", "2x"}, {"PMI_RANK", "0"}}), HasSubstr("PMI_SIZE is '2x'"));
}

std::string refusal(const std::filesystem::path& folder) {
  try {
    load_mpi(folder);
  } catch (const RunError& error) {
    return error.what();
  }
  return "loaded";
}

TEST(LoadMpi, says_what_to_install_where_there_is_no_module) {
  const std::string words = refusal(testing::TempDir());
  EXPECT_THAT(words, HasSubstr("libbubblescope-mpi.so is not in " + testing::TempDir()));
  EXPECT_THAT(words, HasSubstr("apt-get install openmpi-bin libopenmpi-dev"));
}

TEST(LoadMpi, says_why_a_module_does_not_load) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "broken_mpi_module";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "libbubblescope-mpi.so") << "no library";
  const std::string words = refusal(folder);
  std::filesystem::remove_all(folder);
  EXPECT_THAT(words, HasSubstr("MPI cannot be loaded: "));
  EXPECT_THAT(words, HasSubstr("libbubblescope-mpi.so"));
  EXPECT_THAT(words, HasSubstr("apt-get install"));
}

}  // namespace
}  // namespace bubblescope
