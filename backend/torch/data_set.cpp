// Data sets by name, and what their readers share.
#include "backend/torch/data_set.hpp"

#include <fmt/format.h>

#include <fstream>

#include "sim/core/error.hpp"

namespace bubblescope {

std::vector<std::string> data_set_names() { return {"generated", "cifar10", "cifar100", "svhn", "stl10"}; }

std::vector<std::uint8_t> read_bytes(const std::filesystem::path& file, std::string_view what) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error) {
    throw InputError(fmt::format("{}: cannot be read ({}); expected {}", file.string(), error.message(), what));
  }
  std::vector<std::uint8_t> bytes(size);
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!stream) throw InputError(fmt::format("{}: cannot be read; expected {}", file.string(), what));
  return bytes;
}

std::filesystem::path data_folder(const std::filesystem::path& folder, std::string_view inner,
                                  std::string_view file) {
  if (!std::filesystem::exists(folder / file) && std::filesystem::exists(folder / inner / file)) return folder / inner;
  return folder;
}

namespace {

DataSet load(const DataSource& source) {
  if (source.set == "generated") return generate_data_set(source);
  if (source.set != "cifar10" && source.set != "cifar100" && source.set != "svhn" && source.set != "stl10") {
    throw InputError(fmt::format("unknown data set '{}'; expected generated, cifar10, cifar100, svhn or stl10{}",
                                 source.set, suggestion(source.set, data_set_names())));
  }
  if (source.path.empty()) {
    throw InputError(fmt::format("data set '{}' needs the folder of its files", source.set));
  }
  if (source.set == "cifar10") return load_cifar10(source.path);
  if (source.set == "cifar100") return load_cifar100(source.path);
  if (source.set == "svhn") return load_svhn(source.path);
  return load_stl10(source.path);
}

}  // namespace

std::shared_ptr<const DataSet> load_data_set(const DataSource& source) {
  auto set = std::make_shared<DataSet>(load(source));
  const ImageSet& images = set->train;
  const std::array<std::int64_t, 3> shape{images.channels, images.height, images.width};
  if (shape != source.image || set->classes != source.classes) {
    throw InputError(fmt::format("data set '{}' has {} x {} x {} images of {} classes; the model expects {} x {} x {} and {}",
                                 set->name, shape[0], shape[1], shape[2], set->classes, source.image[0],
                                 source.image[1], source.image[2], source.classes));
  }
  return set;
}

}  // namespace bubblescope
