// Reading either text form from a file.
#include "sim/lower/read_program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sim/core/error.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

std::filesystem::path write(const std::string& name, const std::string& text) {
  const auto file = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

TEST(ReadProgram, the_ending_tells_the_form) {
  const Program program = generate(find_schedule("1f1b"), {.ranks = 2, .microbatches = 2});
  EXPECT_EQ(read_program(write("read_program.psched", to_psched(program))), program);
  const auto csv = read_program(write("read_program.CSV", to_torch_csv(program, TorchFormat::compute_only)));
  EXPECT_EQ(rows_of(csv), (std::vector<std::string>{"0F0,0F1,0B0,0B1", "1F0,1B0,1F1,1B1"}));
}

TEST(ReadProgram, what_cannot_be_read_is_named) {
  const auto error = [](const std::filesystem::path& file) -> std::string {
    try {
      read_program(file);
    } catch (const InputError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error("no/such/file.csv"), testing::HasSubstr("no/such/file.csv: cannot be read"));
  EXPECT_THAT(error("schedule.txt"), testing::HasSubstr("unknown ending '.txt'"));
  const auto folder = std::filesystem::path(testing::TempDir()) / "read_program_folder.csv";
  std::filesystem::create_directories(folder);
  EXPECT_THAT(error(folder), testing::HasSubstr("is a folder; expected a schedule"));
  EXPECT_THAT(error(write("read_program_bad.psched", "#psched 1\n0Q0\n")), testing::HasSubstr("read_program_bad.psched:2:1: "));
}

}  // namespace
}  // namespace bubblescope
