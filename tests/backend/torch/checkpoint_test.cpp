// Checkpoints: what is written reads back, and nothing else is accepted.
#include "backend/torch/checkpoint.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <functional>

#include "backend/torch/data_set.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckpointFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("bubblescope-checkpoint-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    file_ = folder_ / "run.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void rewrite(const std::function<void(std::vector<std::uint8_t>&)>& change) const {
    auto bytes = read_bytes(file_, "a checkpoint");
    change(bytes);
    std::ofstream(file_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  std::string refusal() const {
    try {
      read_checkpoint(file_);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  }

  /// Names of unfinished files in the folder.
  std::vector<std::string> unfinished() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".partial")) names.push_back(name);
    }
    return names;
  }

  std::filesystem::path folder_, file_;
};

Checkpoint example() {
  return {17,
          {{"model", "resnet32"}, {"seed", "3"}},
          {{"a", torch::randn({3, 5})}, {"b", torch::randn({4}, torch::kFloat64)}, {"c", torch::tensor(9, torch::kInt64)},
           {"empty", torch::empty({0})}, {"turned", torch::randn({3, 4}).t()}}};
}

TEST_F(CheckpointFile, reads_back_what_was_written) {
  const Checkpoint written = example();
  write_checkpoint(written, file_);
  const Checkpoint back = read_checkpoint(file_);
  EXPECT_EQ(back.iteration, 17);
  EXPECT_EQ(back.run, written.run);
  ASSERT_EQ(back.tensors.size(), written.tensors.size());
  for (const auto& [name, tensor] : written.tensors) {
    EXPECT_EQ(back.tensors.at(name).scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(back.tensors.at(name).equal(tensor)) << name;
  }
  EXPECT_THAT(unfinished(), IsEmpty());
}

TEST_F(CheckpointFile, truncated_anywhere_it_is_refused) {
  write_checkpoint(example(), file_);
  const auto size = std::filesystem::file_size(file_);
  for (const std::size_t keep : {std::size_t{0}, std::size_t{5}, std::size_t{8}, std::size_t{60}, size / 2, size - 1}) {
    write_checkpoint(example(), file_);
    rewrite([&](auto& bytes) { bytes.resize(keep); });
    EXPECT_THAT(refusal(), AllOf(HasSubstr("run.safetensors"), HasSubstr("the file is truncated"), HasSubstr("expected a checkpoint"))) << keep;
  }
}

TEST_F(CheckpointFile, a_changed_bit_is_noticed) {
  write_checkpoint(example(), file_);
  rewrite([](auto& bytes) { bytes[bytes.size() - 3] ^= 4; });
  EXPECT_THAT(refusal(), HasSubstr("damaged"));
}

TEST_F(CheckpointFile, foreign_and_missing_files_are_refused) {
  EXPECT_THAT(refusal(), HasSubstr("cannot be read"));
  write_checkpoint(example(), file_);
  rewrite([](auto& bytes) { bytes.assign(100, 'x'); });
  EXPECT_THAT(refusal(), HasSubstr("not a checkpoint"));
  // A well-formed file of this layout from another program: an empty one with foreign metadata.
  const std::string header = R"({"__metadata__":{"format":"pt"}})";
  rewrite([&](auto& bytes) {
    bytes.assign(8, 0);
    bytes[0] = static_cast<std::uint8_t>(header.size());
    bytes.insert(bytes.end(), header.begin(), header.end());
  });
  EXPECT_THAT(refusal(), HasSubstr("another program"));
}

TEST_F(CheckpointFile, another_run_is_told_by_the_first_difference) {
  const Checkpoint checkpoint = example();
  EXPECT_NO_THROW(require_same_run(checkpoint, checkpoint.run, file_));
  try {
    require_same_run(checkpoint, {{"model", "resnet32"}, {"seed", "4"}}, file_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("run.safetensors"), HasSubstr("seed is '3'"), HasSubstr("expected '4'")));
  }
}

TEST_F(CheckpointFile, where_it_cannot_be_written_nothing_is_left) {
  std::filesystem::create_directories(file_);  // a folder in the way
  EXPECT_THROW(write_checkpoint(example(), file_), RunError);
  EXPECT_THAT(unfinished(), IsEmpty());
}

}  // namespace
}  // namespace bubblescope
