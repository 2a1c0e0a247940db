// The generated data set: learnable, of any image size, nothing to download.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "backend/torch/data_set.hpp"
#include "backend/torch/random.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr int kWaves = 3;
constexpr std::uint64_t kPatterns = 1, kTrain = 2, kTest = 3;

/// The pattern of every class: [class][channel][row][column], in about -1 .. 1.
std::vector<float> make_patterns(const DataSource& source) {
  const auto [channels, height, width] = source.image;
  std::vector<float> patterns(static_cast<std::size_t>(source.classes * channels * height * width));
  auto value = patterns.begin();
  for (std::int64_t plane = 0; plane < source.classes * channels; ++plane) {
    KeyedRandom random({source.seed, kPatterns, static_cast<std::uint64_t>(plane)});
    struct Wave {
      double rows, columns, phase;
    };
    std::array<Wave, kWaves> waves;
    for (Wave& wave : waves) {
      wave = {static_cast<double>(random.below(4)), static_cast<double>(random.below(4)), random.uniform()};
    }
    for (std::int64_t row = 0; row < height; ++row) {
      for (std::int64_t column = 0; column < width; ++column) {
        double sum = 0;
        for (const Wave& wave : waves) {
          const double turns = wave.rows * static_cast<double>(row) / static_cast<double>(height) +
                               wave.columns * static_cast<double>(column) / static_cast<double>(width) + wave.phase;
          sum += std::cos(2 * std::numbers::pi * turns);
        }
        *value++ = static_cast<float>(sum / kWaves);
      }
    }
  }
  return patterns;
}

ImageSet make_images(const DataSource& source, const std::vector<float>& patterns, std::int64_t count,
                     std::uint64_t part) {
  const auto [channels, height, width] = source.image;
  ImageSet set{channels, height, width, {}, {}};
  set.pixels.reserve(static_cast<std::size_t>(count * set.image_size()));
  set.labels.reserve(static_cast<std::size_t>(count));
  const auto reach = [](std::int64_t side) { return static_cast<std::uint64_t>(2 * (side / 8) + 1); };
  for (std::int64_t sample = 0; sample < count; ++sample) {
    KeyedRandom random({source.seed, part, static_cast<std::uint64_t>(sample)});
    const std::int64_t label = sample % source.classes;  // balanced; batches are drawn in random order
    const auto down = static_cast<std::int64_t>(random.below(reach(height)));
    const auto right = static_cast<std::int64_t>(random.below(reach(width)));
    const double contrast = 35 + 30 * random.uniform();
    set.labels.push_back(static_cast<std::uint8_t>(label));
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const float* pattern = patterns.data() + (label * channels + channel) * height * width;
      for (std::int64_t row = 0; row < height; ++row) {
        const float* line = pattern + (row + down) % height * width;
        for (std::int64_t column = 0; column < width; ++column) {
          // Four bytes added up: nearly a normal distribution of deviation 37 once scaled.
          const std::uint64_t bits = random.next();
          const int noise = static_cast<int>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24 & 255)) - 510;
          const double pixel = 127.5 + contrast * line[(column + right) % width] + 0.25 * noise;
          set.pixels.push_back(static_cast<std::uint8_t>(std::clamp(pixel, 0.0, 255.0)));
        }
      }
    }
  }
  return set;
}

}  // namespace

DataSet generate_data_set(const DataSource& source) {
  if (source.samples < 1 || source.test_samples < 1 || source.classes < 2 || source.classes > 256 ||
      source.image[0] < 1 || source.image[0] > 3 || source.image[1] < 1 || source.image[2] < 1) {
    throw InputError("the generated data set needs at least one training and one test sample, 2 to 256 classes and images of 1 to 3 channels");
  }
  DataSet set;
  set.name = "generated";
  set.classes = source.classes;
  const std::vector<float> patterns = make_patterns(source);
  set.train = make_images(source, patterns, source.samples, kTrain);
  set.test = make_images(source, patterns, source.test_samples, kTest);
  set.deviation = {63, 63, 63};
  return set;
}

}  // namespace bubblescope
