// Whole files, and what is said of those that cannot be read.
#include "sim/core/read_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

std::string refusal(const std::filesystem::path& file) {
  try {
    read_file(file, "a list of names");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ReadFile, gives_every_byte) {
  const auto file = std::filesystem::path(testing::TempDir()) / "bubblescope_read_file_test";
  for (const std::string& content : {std::string(), std::string("a\0b\r\n\xff", 6), std::string(200'000, 'x')}) {
    write_file(file, content);
    EXPECT_EQ(read_file(file, "anything"), content);
  }
  std::filesystem::remove(file);
}

TEST(ReadFile, names_the_file_and_what_was_expected) {
  EXPECT_EQ(refusal("no/such/file"), "no/such/file: cannot be read; expected a list of names");
  EXPECT_EQ(refusal("."), ".: is a folder; expected a list of names");
}

}  // namespace
}  // namespace bubblescope
