// Image data sets in memory, and the readers of the published file formats. The devices draw their
// batches from here (batches.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bubblescope {

/// Labelled 8-bit images of one size.
struct ImageSet {
  std::int64_t channels = 3;
  std::int64_t height = 32;
  std::int64_t width = 32;
  std::vector<std::uint8_t> pixels;  ///< [sample][channel][row][column]
  std::vector<std::uint8_t> labels;  ///< [sample], 0 .. classes - 1

  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
  std::int64_t image_size() const { return channels * height * width; }
  std::span<const std::uint8_t> image(std::int64_t sample) const {
    return {pixels.data() + sample * image_size(), static_cast<std::size_t>(image_size())};
  }
};

/// A training and a test part, how pixels are normalised, and how images are augmented where that
/// is asked for.
struct DataSet {
  std::string name;
  std::int64_t classes = 10;
  ImageSet train;
  ImageSet test;
  std::array<double, 3> mean{127.5, 127.5, 127.5};       ///< by channel, in units of pixel values
  std::array<double, 3> deviation{127.5, 127.5, 127.5};
  std::int64_t pad = 4;  ///< augmentation: pad by reflection, then crop at random
  bool flip = true;      ///< augmentation: mirror every second image
};

/// Which set, and where its files are; `samples` and the image size apply to the generated set.
struct DataSource {
  std::string set = "generated";  ///< generated, cifar10, cifar100, svhn, stl10
  std::filesystem::path path{};
  std::int64_t samples = 2048;
  std::int64_t test_samples = 512;
  std::int64_t classes = 10;
  std::array<std::int64_t, 3> image{3, 32, 32};  ///< channels, height, width
  std::uint64_t seed = 0;
};

/// Loads or generates a set. Throws InputError on an unknown name, a missing, truncated or foreign
/// file (naming the file and what was expected), or files that do not hold images of the size or the
/// number of classes asked for.
std::shared_ptr<const DataSet> load_data_set(const DataSource& source);
/// The names that `load_data_set` knows.
std::vector<std::string> data_set_names();

/// CIFAR-10, binary version: data_batch_1.bin .. data_batch_5.bin and test_batch.bin, in `folder` or
/// its subfolder cifar-10-batches-bin; records of one label byte and 3072 pixels. Throws InputError
/// naming the batches that are missing.
DataSet load_cifar10(const std::filesystem::path& folder);
/// CIFAR-100, binary version: train.bin and test.bin, in `folder` or its subfolder
/// cifar-100-binary; records of a coarse label, a fine label (which is used) and 3072 pixels.
DataSet load_cifar100(const std::filesystem::path& folder);
/// SVHN, cropped digits: train_32x32.mat and test_32x32.mat with X (height, width, channel, sample)
/// and y (label 10 is the digit 0).
DataSet load_svhn(const std::filesystem::path& folder);
/// STL-10: train_X.bin, train_y.bin, test_X.bin, test_y.bin, in `folder` or its subfolder
/// stl10_binary; every channel is stored column by column, labels count from 1.
DataSet load_stl10(const std::filesystem::path& folder);

/// A set made up on the spot that a small model learns quickly: every class has a smooth pattern of
/// its own (a few low-frequency waves per channel), a sample is that pattern moved by up to an eighth
/// of the image, with a random contrast and strong pixel noise. The same on every machine for the
/// same source.
DataSet generate_data_set(const DataSource& source);

/// The whole file, for the readers. Throws InputError naming `what` the file was wanted for.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& file, std::string_view what);
/// `folder`, or `folder / inner` where only that holds `file`.
std::filesystem::path data_folder(const std::filesystem::path& folder, std::string_view inner,
                                  std::string_view file);

}  // namespace bubblescope
