// Data sets: each reader on small files written here in the real format, byte by byte.
#include "backend/torch/data_set.hpp"

#include <gmock/gmock.h>
#include <matio.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using Bytes = std::vector<std::uint8_t>;
using testing::AllOf;
using testing::HasSubstr;

class DataFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("bubblescope-data-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const Bytes& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  /// The six files of CIFAR-10, all with the same content.
  void write_cifar10(const Bytes& bytes, const std::string& inner = "") const {
    for (int batch = 1; batch <= 5; ++batch) write(inner + "data_batch_" + std::to_string(batch) + ".bin", bytes);
    write(inner + "test_batch.bin", bytes);
  }
  Bytes read(const std::string& name) const { return read_bytes(folder_ / name, "a test file"); }

  std::filesystem::path folder_;
};

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError";
}

/// A different value at every place of an image.
std::uint8_t pixel(std::size_t sample, std::size_t channel, std::size_t row, std::size_t column) {
  return static_cast<std::uint8_t>(sample * 101 + channel * 53 + row * 7 + column * 3);
}

/// One CIFAR record: label bytes, then channel by channel, row by row.
void append_cifar(Bytes& bytes, const Bytes& labels, std::size_t sample) {
  bytes.insert(bytes.end(), labels.begin(), labels.end());
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t y = 0; y < 32; ++y)
      for (std::size_t x = 0; x < 32; ++x) bytes.push_back(pixel(sample, c, y, x));
}

void expect_image(const ImageSet& set, std::size_t sample) {
  const auto image = set.image(static_cast<std::int64_t>(sample));
  std::size_t at = 0;
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t y = 0; y < static_cast<std::size_t>(set.height); ++y)
      for (std::size_t x = 0; x < static_cast<std::size_t>(set.width); ++x, ++at)
        ASSERT_EQ(image[at], pixel(sample, c, y, x)) << "sample " << sample << " channel " << c << " row " << y << " column " << x;
}

using Cifar = DataFiles;

TEST_F(Cifar, reads_cifar10_records_from_all_batches_in_order) {
  const Bytes labels{3, 9, 0, 7, 1, 4};
  std::vector<Bytes> batches(5);
  append_cifar(batches[0], {labels[0]}, 0);
  for (std::size_t batch = 0; batch < 5; ++batch) append_cifar(batches[batch], {labels[batch + 1]}, batch + 1);
  for (std::size_t batch = 0; batch < 5; ++batch) write("data_batch_" + std::to_string(batch + 1) + ".bin", batches[batch]);
  Bytes test;
  append_cifar(test, {7}, 0);
  write("test_batch.bin", test);
  const DataSet set = load_cifar10(folder_);
  EXPECT_EQ(set.classes, 10);
  EXPECT_EQ(set.train.labels, labels);
  for (std::size_t sample = 0; sample < labels.size(); ++sample) expect_image(set.train, sample);
  EXPECT_EQ(set.test.labels, Bytes{7});
}

TEST_F(Cifar, reads_the_fine_label_of_cifar100) {
  Bytes bytes;
  append_cifar(bytes, {19, 99}, 0);
  append_cifar(bytes, {4, 0}, 1);
  write("train.bin", bytes);
  write("test.bin", bytes);
  const DataSet set = load_cifar100(folder_);
  EXPECT_EQ(set.classes, 100);
  EXPECT_EQ(set.train.labels, (Bytes{99, 0}));
  expect_image(set.train, 1);
}

TEST_F(Cifar, finds_the_folder_that_the_archive_unpacks_to) {
  Bytes bytes;
  append_cifar(bytes, {1}, 0);
  std::filesystem::create_directory(folder_ / "cifar-10-batches-bin");
  write_cifar10(bytes, "cifar-10-batches-bin/");
  EXPECT_EQ(load_cifar10(folder_).train.count(), 5);
}

TEST_F(Cifar, a_truncated_file_is_named_with_what_was_expected) {
  Bytes bytes;
  append_cifar(bytes, {3}, 0);
  bytes.pop_back();
  write_cifar10(bytes);
  EXPECT_THAT(message_of([&] { load_cifar10(folder_); }),
              AllOf(HasSubstr("data_batch_1.bin"), HasSubstr("3072 bytes"), HasSubstr("records of 3073 bytes")));
}

TEST_F(Cifar, a_missing_file_is_named) {
  EXPECT_THAT(message_of([&] { load_cifar10(folder_); }), AllOf(HasSubstr("data_batch_1.bin"), HasSubstr("CIFAR-10")));
}

TEST_F(Cifar, all_training_batches_that_are_missing_are_named) {
  Bytes bytes;
  append_cifar(bytes, {3}, 0);
  write_cifar10(bytes);
  for (const char* name : {"data_batch_2.bin", "data_batch_5.bin"}) std::filesystem::remove(folder_ / name);
  EXPECT_THAT(message_of([&] { load_cifar10(folder_); }), HasSubstr(folder_.string() + ": data_batch_2.bin, data_batch_5.bin missing; expected"));
  write("data_batch_2.bin", bytes);
  write("data_batch_5.bin", bytes);
  std::filesystem::remove(folder_ / "data_batch_1.bin");
  EXPECT_THAT(message_of([&] { load_cifar10(folder_); }), HasSubstr(": data_batch_1.bin missing; expected"));
}

TEST_F(Cifar, a_label_out_of_range_means_another_kind_of_file) {
  Bytes bytes;
  append_cifar(bytes, {10}, 0);
  write_cifar10(bytes);
  EXPECT_THAT(message_of([&] { load_cifar10(folder_); }), AllOf(HasSubstr("record 0 has label 10"), HasSubstr("0 to 9")));
}

using Stl10 = DataFiles;

/// STL-10 stores every channel column by column.
Bytes stl10_images(std::size_t count) {
  Bytes bytes;
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t x = 0; x < 96; ++x)
        for (std::size_t y = 0; y < 96; ++y) bytes.push_back(pixel(s, c, y, x));
  return bytes;
}

TEST_F(Stl10, turns_columns_into_rows_and_counts_labels_from_zero) {
  for (const char* part : {"train", "test"}) {
    write(std::string(part) + "_X.bin", stl10_images(2));
    write(std::string(part) + "_y.bin", {1, 10});
  }
  const DataSet set = load_stl10(folder_);
  EXPECT_EQ(set.train.labels, (Bytes{0, 9}));
  expect_image(set.train, 0);
  expect_image(set.test, 1);
}

TEST_F(Stl10, a_truncated_image_file_and_a_label_file_of_another_length_are_refused) {
  Bytes images = stl10_images(2);
  write("train_X.bin", images);
  write("train_y.bin", {1, 2, 3});
  EXPECT_THAT(message_of([&] { load_stl10(folder_); }), AllOf(HasSubstr("train_y.bin"), HasSubstr("3 labels")));
  write("train_y.bin", {0, 2});
  EXPECT_THAT(message_of([&] { load_stl10(folder_); }), AllOf(HasSubstr("train_y.bin"), HasSubstr("label 0 is 0; expected 1 to 10")));
  images.resize(images.size() - 5);
  write("train_X.bin", images);
  EXPECT_THAT(message_of([&] { load_stl10(folder_); }), AllOf(HasSubstr("train_X.bin"), HasSubstr("27648 bytes")));
}

using Svhn = DataFiles;

/// Writes X (row fastest, then column, channel, sample) and y as MATLAB does.
void write_svhn(const std::filesystem::path& file, std::size_t count, const std::vector<double>& labels,
                matio_compression compression) {
  mat_t* mat = Mat_CreateVer(file.string().c_str(), nullptr, MAT_FT_MAT5);
  ASSERT_NE(mat, nullptr);
  Bytes pixels;
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t x = 0; x < 32; ++x)
        for (std::size_t y = 0; y < 32; ++y) pixels.push_back(pixel(s, c, y, x));
  std::size_t dims[4] = {32, 32, 3, count};
  matvar_t* x = Mat_VarCreate("X", MAT_C_UINT8, MAT_T_UINT8, 4, dims, pixels.data(), 0);
  Mat_VarWrite(mat, x, compression);
  Mat_VarFree(x);
  std::size_t rows[2] = {labels.size(), 1};
  std::vector<double> values = labels;
  matvar_t* y = Mat_VarCreate("y", MAT_C_DOUBLE, MAT_T_DOUBLE, 2, rows, values.data(), 0);
  Mat_VarWrite(mat, y, compression);
  Mat_VarFree(y);
  Mat_Close(mat);
}

TEST_F(Svhn, reads_matlab_files_and_label_10_is_the_digit_0) {
  write_svhn(folder_ / "train_32x32.mat", 3, {1, 10, 9}, MAT_COMPRESSION_ZLIB);
  write_svhn(folder_ / "test_32x32.mat", 2, {10, 5}, MAT_COMPRESSION_NONE);
  const DataSet set = load_svhn(folder_);
  EXPECT_EQ(set.train.labels, (Bytes{1, 0, 9}));
  EXPECT_EQ(set.test.labels, (Bytes{0, 5}));
  for (std::size_t sample = 0; sample < 3; ++sample) expect_image(set.train, sample);
  expect_image(set.test, 1);
}

TEST_F(Svhn, truncated_damaged_and_foreign_files_are_refused) {
  for (const auto compression : {MAT_COMPRESSION_ZLIB, MAT_COMPRESSION_NONE}) {
    write_svhn(folder_ / "train_32x32.mat", 2, {1, 2}, compression);
    const Bytes whole = read("train_32x32.mat");
    for (const std::size_t size : {std::size_t{20}, std::size_t{130}, whole.size() / 2, whole.size() - 1}) {
      write("train_32x32.mat", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
      EXPECT_THAT(message_of([&] { load_svhn(folder_); }),
                  AllOf(HasSubstr("train_32x32.mat"), HasSubstr("expected an SVHN cropped-digits")))
          << size << " of " << whole.size() << " bytes";
    }
  }
  write_svhn(folder_ / "train_32x32.mat", 2, {1, 2}, MAT_COMPRESSION_ZLIB);
  // One flipped bit in the compressed pixels: decompression goes on, with other pixels.
  const Bytes whole = read("train_32x32.mat");
  for (const std::size_t at : {whole.size() / 4, whole.size() / 2, whole.size() * 5 / 8}) {
    Bytes damaged = whole;
    damaged[at] ^= 0x10;
    write("train_32x32.mat", damaged);
    EXPECT_THAT(message_of([&] { load_svhn(folder_); }), AllOf(HasSubstr("train_32x32.mat"), HasSubstr("damaged"))) << at;
  }
  write("train_32x32.mat", stl10_images(1));
  EXPECT_THAT(message_of([&] { load_svhn(folder_); }), HasSubstr("not a MATLAB file"));
}

TEST_F(Svhn, labels_that_do_not_fit_the_images_are_refused) {
  write_svhn(folder_ / "train_32x32.mat", 2, {1, 2, 3}, MAT_COMPRESSION_ZLIB);
  EXPECT_THAT(message_of([&] { load_svhn(folder_); }), HasSubstr("each of the 2 images"));
  write_svhn(folder_ / "train_32x32.mat", 2, {1, 0}, MAT_COMPRESSION_ZLIB);
  EXPECT_THAT(message_of([&] { load_svhn(folder_); }), HasSubstr("label 1 is 0, not 1 to 10"));
}

using Generated = DataFiles;

TEST_F(Generated, is_the_same_for_the_same_seed_and_another_for_another) {
  const DataSource source{.samples = 20, .test_samples = 10, .seed = 4};
  const DataSet once = generate_data_set(source);
  EXPECT_EQ(once.train.pixels, generate_data_set(source).train.pixels);
  EXPECT_NE(once.train.pixels, once.test.pixels);
  DataSource other = source;
  other.seed = 5;
  EXPECT_NE(once.train.pixels, generate_data_set(other).train.pixels);
}

/// Nearest class mean (of the training part) is right on most of the test part, and chance is 1/10:
/// there is something to learn, and it carries over. Pixels alone do not tell all: noise and moves
/// keep it from being trivial.
TEST_F(Generated, classes_can_be_told_apart_by_their_mean_image) {
  const DataSet set = generate_data_set({.samples = 500, .test_samples = 200});
  const auto size = static_cast<std::size_t>(set.train.image_size());
  std::vector<std::vector<double>> means(10, std::vector<double>(size));
  for (std::int64_t s = 0; s < 500; ++s)
    for (std::size_t i = 0; i < size; ++i) means[set.train.labels[static_cast<std::size_t>(s)]][i] += set.train.image(s)[i] / 50.0;
  int right = 0;
  for (std::int64_t s = 0; s < 200; ++s) {
    std::size_t best = 0;
    double least = 1e300;
    for (std::size_t k = 0; k < 10; ++k) {
      double distance = 0;
      for (std::size_t i = 0; i < size; ++i) distance += std::pow(means[k][i] - set.test.image(s)[i], 2);
      if (distance < least) least = distance, best = k;
    }
    right += best == set.test.labels[static_cast<std::size_t>(s)];
  }
  EXPECT_GT(right, 120);
}

TEST_F(Generated, written_as_cifar10_it_reads_back_the_same) {
  const DataSet set = generate_data_set({.samples = 23, .test_samples = 7});
  const auto records = [](const ImageSet& images, std::int64_t first, std::int64_t last) {
    Bytes bytes;
    for (std::int64_t sample = first; sample < last; ++sample) {
      const auto image = images.image(sample);
      bytes.push_back(images.labels[static_cast<std::size_t>(sample)]);
      bytes.insert(bytes.end(), image.begin(), image.end());
    }
    return bytes;
  };
  for (std::int64_t batch = 0; batch < 5; ++batch) {
    write("data_batch_" + std::to_string(batch + 1) + ".bin", records(set.train, batch * 23 / 5, (batch + 1) * 23 / 5));
  }
  write("test_batch.bin", records(set.test, 0, 7));
  const DataSet back = load_cifar10(folder_);
  EXPECT_EQ(back.train.pixels, set.train.pixels);
  EXPECT_EQ(back.train.labels, set.train.labels);
  EXPECT_EQ(back.test.pixels, set.test.pixels);
}

using LoadDataSet = DataFiles;

TEST_F(LoadDataSet, an_unknown_name_is_answered_with_the_nearest_one) {
  EXPECT_THAT(message_of([] { load_data_set({.set = "cifar11"}); }), AllOf(HasSubstr("cifar11"), HasSubstr("did you mean 'cifar10'")));
  EXPECT_THAT(message_of([] { load_data_set({.set = "svhn"}); }), HasSubstr("folder"));
}

TEST_F(LoadDataSet, images_of_another_size_or_number_of_classes_are_refused) {
  Bytes bytes;
  append_cifar(bytes, {1}, 0);
  write_cifar10(bytes);
  EXPECT_EQ(load_data_set({.set = "cifar10", .path = folder_})->train.count(), 5);
  EXPECT_THAT(message_of([&] { load_data_set({.set = "cifar10", .path = folder_, .image = {3, 96, 96}}); }),
              AllOf(HasSubstr("3 x 32 x 32"), HasSubstr("3 x 96 x 96")));
  EXPECT_THROW(load_data_set({.set = "cifar10", .path = folder_, .classes = 100}), InputError);
}

}  // namespace
}  // namespace bubblescope
