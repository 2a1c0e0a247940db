// CIFAR-10 and CIFAR-100 in their binary versions (https://www.cs.toronto.edu/~kriz/cifar.html).
#include <fmt/format.h>

#include "backend/torch/data_set.hpp"
#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {

namespace {

constexpr std::size_t kImage = 3 * 32 * 32;

/// Appends the records of one file: `prefix` label bytes of which the last one is used.
void append(ImageSet& set, const std::filesystem::path& file, std::string_view format, std::size_t prefix,
            int classes) {
  const std::size_t record = prefix + kImage;
  const std::string what = fmt::format("{}: records of {} bytes", format, record);
  const std::vector<std::uint8_t> bytes = read_bytes(file, what);
  if (bytes.empty() || bytes.size() % record != 0) {
    throw InputError(fmt::format("{}: {} bytes, not a whole number of records (truncated, or another kind of file); expected {}",
                                 file.string(), bytes.size(), what));
  }
  for (std::size_t at = 0; at < bytes.size(); at += record) {
    const int label = bytes[at + prefix - 1];
    if (label >= classes) {
      throw InputError(fmt::format("{}: record {} has label {} (another kind of file?); expected {} with labels 0 to {}",
                                   file.string(), at / record, label, what, classes - 1));
    }
    set.labels.push_back(static_cast<std::uint8_t>(label));
    const auto pixels = bytes.begin() + static_cast<std::ptrdiff_t>(at + prefix);
    set.pixels.insert(set.pixels.end(), pixels, pixels + kImage);
  }
}

DataSet cifar(std::string name, std::int64_t classes) {
  DataSet set;
  set.name = std::move(name);
  set.classes = classes;
  set.mean = {125.3, 123.0, 113.9};
  set.deviation = {63.0, 62.1, 66.7};
  return set;
}

void write_records(const ImageSet& set, std::int64_t first, std::int64_t last, const std::filesystem::path& file) {
  std::string records;
  records.reserve(static_cast<std::size_t>(last - first) * (1 + kImage));
  for (std::int64_t sample = first; sample < last; ++sample) {
    const auto image = set.image(sample);
    records += static_cast<char>(set.labels[static_cast<std::size_t>(sample)]);
    records.append(image.begin(), image.end());
  }
  write_file(file, records);
}

}  // namespace

DataSet load_cifar10(const std::filesystem::path& folder) {
  DataSet set = cifar("cifar10", 10);
  const auto place = data_folder(folder, "cifar-10-batches-bin", "data_batch_1.bin");
  for (int batch = 1; batch <= 5; ++batch) {
    const auto file = place / fmt::format("data_batch_{}.bin", batch);
    if (batch > 1 && !std::filesystem::exists(file)) continue;
    append(set.train, file, "CIFAR-10 binary version", 1, 10);
  }
  append(set.test, place / "test_batch.bin", "CIFAR-10 binary version", 1, 10);
  return set;
}

DataSet load_cifar100(const std::filesystem::path& folder) {
  DataSet set = cifar("cifar100", 100);
  const auto place = data_folder(folder, "cifar-100-binary", "train.bin");
  append(set.train, place / "train.bin", "CIFAR-100 binary version", 2, 100);
  append(set.test, place / "test.bin", "CIFAR-100 binary version", 2, 100);
  return set;
}

void write_cifar10(const DataSet& set, const std::filesystem::path& folder) {
  const ImageSet& train = set.train;
  if (train.channels != 3 || train.height != 32 || train.width != 32 || set.classes > 10 || train.count() < 5) {
    throw InputError(fmt::format("data set '{}' cannot be written as CIFAR-10; expected 3 x 32 x 32 images, at most 10 classes, at least 5 samples",
                                 set.name));
  }
  for (std::int64_t batch = 0; batch < 5; ++batch) {
    write_records(train, batch * train.count() / 5, (batch + 1) * train.count() / 5,
                  folder / fmt::format("data_batch_{}.bin", batch + 1));
  }
  write_records(set.test, 0, set.test.count(), folder / "test_batch.bin");
}

}  // namespace bubblescope
