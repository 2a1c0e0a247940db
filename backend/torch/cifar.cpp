// CIFAR-10 and CIFAR-100 in their binary versions (https://www.cs.toronto.edu/~kriz/cifar.html).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/torch/data_set.hpp"
#include "sim/core/error.hpp"

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

}  // namespace

DataSet load_cifar10(const std::filesystem::path& folder) {
  DataSet set = cifar("cifar10", 10);
  const auto place = data_folder(folder, "cifar-10-batches-bin", "data_batch_1.bin");
  std::vector<std::filesystem::path> batches;
  std::vector<std::string> missing;
  for (int batch = 1; batch <= 5; ++batch) {
    batches.push_back(place / fmt::format("data_batch_{}.bin", batch));
    if (!std::filesystem::exists(batches.back())) missing.push_back(batches.back().filename().string());
  }
  // Where none is there, the first one's own message says so.
  if (!missing.empty() && missing.size() < batches.size()) {
    throw InputError(fmt::format("{}: {} missing; expected data_batch_1.bin to data_batch_5.bin and test_batch.bin of the CIFAR-10 binary version",
                                 place.string(), fmt::join(missing, ", ")));
  }
  for (const auto& file : batches) append(set.train, file, "CIFAR-10 binary version", 1, 10);
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

}  // namespace bubblescope
