// Batch assembly: order of an epoch, augmentation, normalisation.
#include "backend/torch/batches.hpp"

#include <fmt/format.h>

#include <array>
#include <numeric>

#include "backend/torch/random.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr std::uint64_t kOrder = 11, kAugment = 12;

/// Where an augmented image's pixels come from: the image padded by reflection (the edge itself is
/// not repeated), cropped at (down, right), mirrored.
struct Shift {
  std::int64_t down = 0, right = 0;
  bool mirror = false;
};

std::int64_t reflect(std::int64_t at, std::int64_t size) {
  if (size == 1) return 0;
  while (at < 0 || at >= size) at = at < 0 ? -at : 2 * (size - 1) - at;
  return at;
}

/// Fills `out` ([samples, channels, height, width]) through a table of values by channel and pixel.
template <typename T>
void assemble(const ImageSet& set, std::span<const std::int64_t> samples, std::span<const Shift> shifts,
              const std::array<std::array<T, 256>, 3>& table, T* out) {
  std::vector<std::int64_t> columns(static_cast<std::size_t>(set.width));
  for (std::size_t s = 0; s < samples.size(); ++s) {
    const Shift shift = shifts.empty() ? Shift{} : shifts[s];
    for (std::int64_t column = 0; column < set.width; ++column) {
      const std::int64_t from = shift.mirror ? set.width - 1 - column : column;
      columns[static_cast<std::size_t>(column)] = reflect(from + shift.right, set.width);
    }
    const std::uint8_t* image = set.image(samples[s]).data();
    for (std::int64_t channel = 0; channel < set.channels; ++channel) {
      const auto& values = table[static_cast<std::size_t>(channel)];
      for (std::int64_t row = 0; row < set.height; ++row) {
        const std::uint8_t* line = image + (channel * set.height + reflect(row + shift.down, set.height)) * set.width;
        for (const std::int64_t column : columns) *out++ = values[line[column]];
      }
    }
  }
}

template <typename T>
void fill(const DataSet& set, const ImageSet& part, std::span<const std::int64_t> samples,
          std::span<const Shift> shifts, bool normalised, at::Tensor& images) {
  std::array<std::array<T, 256>, 3> table{};
  for (std::size_t channel = 0; channel < 3; ++channel) {
    for (std::size_t value = 0; value < 256; ++value) {
      const double pixel = static_cast<double>(value);
      table[channel][value] = static_cast<T>(normalised ? (pixel - set.mean[channel]) / set.deviation[channel] : pixel / 255);
    }
  }
  assemble<T>(part, samples, shifts, table, images.data_ptr<T>());
}

/// Memory of the host from which a device copies by itself.
at::TensorOptions staged(at::ScalarType type, const at::Device& device) {
  return at::TensorOptions().dtype(type).pinned_memory(!device.is_cpu());
}

at::Tensor make_images(const DataSet& set, const ImageSet& part, std::span<const std::int64_t> samples,
                       std::span<const Shift> shifts, bool normalised, at::ScalarType precision, const at::Device& device) {
  at::Tensor images = at::empty({static_cast<std::int64_t>(samples.size()), part.channels, part.height, part.width}, staged(precision, device));
  if (precision == at::kDouble) {
    fill<double>(set, part, samples, shifts, normalised, images);
  } else {
    fill<float>(set, part, samples, shifts, normalised, images);
  }
  return images.to(device, /*non_blocking=*/true);
}

at::Tensor make_labels(const ImageSet& part, std::span<const std::int64_t> samples, const at::Device& device) {
  at::Tensor labels = at::empty({static_cast<std::int64_t>(samples.size())}, staged(at::kLong, device));
  std::int64_t* out = labels.data_ptr<std::int64_t>();
  for (const std::int64_t sample : samples) *out++ = part.labels[static_cast<std::size_t>(sample)];
  return labels.to(device, /*non_blocking=*/true);
}

}  // namespace

Batches::Batches(std::shared_ptr<const DataSet> set, BatchPlan plan) : set_(std::move(set)), plan_(plan) {
  if (plan_.microbatch < 1 || plan_.batch < 1 || plan_.batch % plan_.microbatch != 0) {
    throw InputError(fmt::format("a batch of {} samples cannot be split into microbatches of {}; expected a divisor",
                                 plan_.batch, plan_.microbatch));
  }
  batches_per_epoch_ = set_->train.count() / plan_.batch;
  if (batches_per_epoch_ == 0) {
    throw InputError(fmt::format("data set '{}' has {} training samples; expected at least one batch of {}", set_->name,
                                 set_->train.count(), plan_.batch));
  }
}

Batches::Place Batches::place(std::int64_t iteration, std::int64_t microbatch) const {
  const std::int64_t sample = (iteration * plan_.microbatches + microbatch) * plan_.microbatch;
  const std::int64_t batch = sample / plan_.batch;
  return {batch / batches_per_epoch_, batch % batches_per_epoch_ * plan_.batch + sample % plan_.batch};
}

const std::vector<std::int64_t>& Batches::order(std::int64_t epoch) {
  if (epoch != epoch_) {
    order_.resize(static_cast<std::size_t>(set_->train.count()));
    std::iota(order_.begin(), order_.end(), 0);
    KeyedRandom random({plan_.seed, kOrder, static_cast<std::uint64_t>(epoch)});
    shuffle(order_, random);
    epoch_ = epoch;
  }
  return order_;
}

std::vector<std::int64_t> Batches::samples(std::int64_t iteration, std::int64_t microbatch) {
  const Place at = place(iteration, microbatch);
  const auto first = order(at.epoch).begin() + at.first;
  return {first, first + plan_.microbatch};
}

at::Tensor Batches::images(std::int64_t iteration, std::int64_t microbatch, bool normalised) {
  const std::vector<std::int64_t> chosen = samples(iteration, microbatch);
  std::vector<Shift> shifts;
  if (plan_.augment) {
    const auto epoch = static_cast<std::uint64_t>(place(iteration, microbatch).epoch);
    const auto reach = static_cast<std::uint64_t>(2 * set_->pad + 1);
    for (const std::int64_t sample : chosen) {
      KeyedRandom random({plan_.seed, kAugment, epoch, static_cast<std::uint64_t>(sample)});
      const auto down = static_cast<std::int64_t>(random.below(reach)) - set_->pad;
      const auto right = static_cast<std::int64_t>(random.below(reach)) - set_->pad;
      shifts.push_back({down, right, set_->flip && random.below(2) == 1});
    }
  }
  return make_images(*set_, set_->train, chosen, shifts, normalised, plan_.precision, plan_.device);
}

Batch Batches::batch(std::int64_t iteration, std::int64_t microbatch) {
  return {images(iteration, microbatch, true), labels(iteration, microbatch)};
}

at::Tensor Batches::labels(std::int64_t iteration, std::int64_t microbatch) {
  return make_labels(set_->train, samples(iteration, microbatch), plan_.device);
}

at::Tensor Batches::pictures(std::int64_t iteration, std::int64_t microbatch) {
  return images(iteration, microbatch, false);
}

Batch test_batch(const DataSet& set, std::int64_t first, std::int64_t last, at::ScalarType precision, const at::Device& device) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(last - first));
  std::iota(samples.begin(), samples.end(), first);
  return {make_images(set, set.test, samples, {}, true, precision, device), make_labels(set.test, samples, device)};
}

}  // namespace bubblescope
