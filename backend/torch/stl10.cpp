// STL-10 binaries (https://cs.stanford.edu/~acoates/stl10/).
#include <fmt/format.h>

#include "backend/torch/data_set.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr std::size_t kSide = 96;
constexpr std::size_t kImage = 3 * kSide * kSide;

ImageSet load_part(const std::filesystem::path& folder, const std::string& part) {
  const auto image_file = folder / (part + "_X.bin");
  const auto label_file = folder / (part + "_y.bin");
  const std::string what = fmt::format("STL-10 images of {} bytes", kImage);
  const std::vector<std::uint8_t> images = read_bytes(image_file, what);
  const std::vector<std::uint8_t> labels = read_bytes(label_file, "STL-10 labels, one byte per image");
  if (images.empty() || images.size() % kImage != 0) {
    throw InputError(fmt::format("{}: {} bytes, not a whole number of images (truncated, or another kind of file); expected {}",
                                 image_file.string(), images.size(), what));
  }
  const std::size_t count = images.size() / kImage;
  if (labels.size() != count) {
    throw InputError(fmt::format("{}: {} labels; expected one byte for each of the {} images of {}",
                                 label_file.string(), labels.size(), count, image_file.string()));
  }
  ImageSet set{3, kSide, kSide, std::vector<std::uint8_t>(images.size()), std::vector<std::uint8_t>(count)};
  for (std::size_t sample = 0; sample < count; ++sample) {
    if (labels[sample] < 1 || labels[sample] > 10) {
      throw InputError(fmt::format("{}: label {} is {}; expected 1 to 10", label_file.string(), sample, labels[sample]));
    }
    set.labels[sample] = static_cast<std::uint8_t>(labels[sample] - 1);
  }
  for (std::size_t plane = 0; plane < count * 3; ++plane) {
    const std::uint8_t* from = images.data() + plane * kSide * kSide;
    std::uint8_t* to = set.pixels.data() + plane * kSide * kSide;
    for (std::size_t column = 0; column < kSide; ++column) {
      for (std::size_t row = 0; row < kSide; ++row) to[row * kSide + column] = from[column * kSide + row];
    }
  }
  return set;
}

}  // namespace

DataSet load_stl10(const std::filesystem::path& folder) {
  const auto place = data_folder(folder, "stl10_binary", "train_X.bin");
  DataSet set;
  set.name = "stl10";
  set.train = load_part(place, "train");
  set.test = load_part(place, "test");
  return set;
}

}  // namespace bubblescope
