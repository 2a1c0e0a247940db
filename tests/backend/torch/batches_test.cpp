// Batches: order, grouping, normalisation and augmentation.
#include "backend/torch/batches.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>
#include <span>
#include <tuple>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using Samples = std::vector<std::int64_t>;

std::shared_ptr<DataSet> small_set(std::int64_t samples) {
  return std::make_shared<DataSet>(generate_data_set({.samples = samples, .test_samples = 10, .image = {3, 8, 8}}));
}

Samples iteration_samples(Batches& batches, std::int64_t iteration) {
  Samples all;
  for (std::int64_t m = 0; m < batches.plan().microbatches; ++m) {
    const Samples some = batches.samples(iteration, m);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

TEST(Batches, an_epoch_shows_every_sample_once_and_the_next_one_in_another_order) {
  Batches batches(small_set(24), {.batch = 8, .microbatch = 4, .microbatches = 2});
  Samples first, second;
  for (std::int64_t i = 0; i < 3; ++i) {
    const Samples some = iteration_samples(batches, i), more = iteration_samples(batches, 3 + i);
    first.insert(first.end(), some.begin(), some.end());
    second.insert(second.end(), more.begin(), more.end());
  }
  EXPECT_NE(first, second);
  for (const Samples& epoch : {first, second}) EXPECT_EQ(std::set<std::int64_t>(epoch.begin(), epoch.end()).size(), 24u);
}

TEST(Batches, samples_that_do_not_fill_a_batch_are_left_out) {
  Batches batches(small_set(27), {.batch = 8, .microbatch = 8});
  EXPECT_EQ(batches.batches_per_epoch(), 3);
  Samples epoch;
  for (std::int64_t i = 0; i < 3; ++i) {
    const Samples some = batches.samples(i, 0);
    epoch.insert(epoch.end(), some.begin(), some.end());
  }
  EXPECT_EQ(std::set<std::int64_t>(epoch.begin(), epoch.end()).size(), 24u);
}

// A pipeline that splits a batch and a queue that takes several batches per iteration see the same
// samples in the same order.
TEST(Batches, the_order_does_not_depend_on_how_a_schedule_groups_it) {
  const auto set = small_set(40);
  Batches whole(set, {.seed = 3, .batch = 8, .microbatch = 8, .microbatches = 1});
  Batches split(set, {.seed = 3, .batch = 8, .microbatch = 2, .microbatches = 4});
  Batches many(set, {.seed = 3, .batch = 8, .microbatch = 8, .microbatches = 5});
  for (std::int64_t i = 0; i < 10; ++i) {
    EXPECT_EQ(iteration_samples(split, i), whole.samples(i, 0));
    EXPECT_EQ(many.samples(i / 5, i % 5), whole.samples(i, 0));
  }
}

TEST(Batches, any_position_can_be_asked_for_in_any_order) {
  Batches forwards(small_set(40), {.batch = 4, .microbatch = 4, .augment = true});
  Batches backwards(small_set(40), {.batch = 4, .microbatch = 4, .augment = true});
  std::vector<at::Tensor> images;
  for (std::int64_t i = 0; i < 30; ++i) images.push_back(forwards.batch(i, 0).images);
  for (std::int64_t i = 29; i >= 0; --i) EXPECT_TRUE(backwards.batch(i, 0).images.equal(images[static_cast<std::size_t>(i)]));
}

TEST(Batches, normalise_by_channel) {
  auto set = small_set(8);
  set->mean = {100, 110, 120};
  set->deviation = {50, 60, 70};
  Batches batches(set, {.batch = 4, .microbatch = 4, .precision = at::kDouble});
  const Samples samples = batches.samples(0, 0);
  const Batch batch = batches.batch(0, 0);
  const at::Tensor pictures = batches.pictures(0, 0);
  for (std::int64_t s = 0; s < 4; ++s) {
    EXPECT_EQ(batch.labels[s].item<std::int64_t>(), set->train.labels[static_cast<std::size_t>(samples[static_cast<std::size_t>(s)])]);
    const auto image = set->train.image(samples[static_cast<std::size_t>(s)]);
    for (std::int64_t c = 0; c < 3; ++c) {
      const double pixel = image[static_cast<std::size_t>(c * 64 + 8 * 5 + 2)];  // row 5, column 2
      EXPECT_EQ(batch.images[s][c][5][2].item<double>(), (pixel - (100.0 + 10.0 * static_cast<double>(c))) / (50.0 + 10.0 * static_cast<double>(c)));
      EXPECT_EQ(pictures[s][c][5][2].item<double>(), pixel / 255);
    }
  }
}

/// Where an augmented picture comes from: rows down, columns right, mirrored.
using Crop = std::tuple<int, int, bool>;

/// All crops of the reflect-padded original, and their mirror images, that `picture` equals.
std::vector<Crop> crops_of(const at::Tensor& picture, std::span<const std::uint8_t> bytes, int pad) {
  const at::Tensor original = at::tensor(std::vector<double>(bytes.begin(), bytes.end())).view({1, 3, 8, 8}) / 255;
  const at::Tensor padded = at::reflection_pad2d(original, {pad, pad, pad, pad})[0];
  std::vector<Crop> crops;
  for (int down = 0; down <= 2 * pad; ++down) {
    for (int right = 0; right <= 2 * pad; ++right) {
      const at::Tensor crop = padded.narrow(1, down, 8).narrow(2, right, 8);
      for (const bool mirror : {false, true}) {
        if (picture.equal(mirror ? crop.flip(2) : crop)) crops.emplace_back(down, right, mirror);
      }
    }
  }
  return crops;
}

/// Every augmented image is one of the (2 pad + 1)^2 crops of the reflect-padded original or of its
/// mirror image; padding by at::reflection_pad2d is the independent reference.
TEST(Batches, augmentation_crops_the_reflected_image_and_mirrors_it) {
  auto set = small_set(8);
  set->pad = 2;
  Batches batches(set, {.batch = 8, .microbatch = 8, .augment = true, .precision = at::kDouble});
  std::set<Crop> seen;
  for (std::int64_t epoch = 0; epoch < 40; ++epoch) {
    const Samples samples = batches.samples(epoch, 0);
    const at::Tensor pictures = batches.pictures(epoch, 0);
    for (std::int64_t s = 0; s < 8; ++s) {
      const auto crops = crops_of(pictures[s], set->train.image(samples[static_cast<std::size_t>(s)]), 2);
      ASSERT_EQ(crops.size(), 1u);
      seen.insert(crops.front());
    }
  }
  EXPECT_GT(seen.size(), 45u);  // of 50, after 320 draws
}

TEST(Batches, without_flip_nothing_is_mirrored_and_augmentation_changes_with_the_epoch) {
  auto set = small_set(4);
  set->flip = false;
  set->pad = 2;
  Batches batches(set, {.batch = 4, .microbatch = 4, .augment = true, .precision = at::kDouble});
  std::vector<std::set<Crop>> seen(4);  // by sample
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const Samples samples = batches.samples(epoch, 0);
    const at::Tensor pictures = batches.pictures(epoch, 0);
    for (std::int64_t s = 0; s < 4; ++s) {
      const auto sample = static_cast<std::size_t>(samples[static_cast<std::size_t>(s)]);
      const auto crops = crops_of(pictures[s], set->train.image(static_cast<std::int64_t>(sample)), 2);
      ASSERT_EQ(crops.size(), 1u);
      EXPECT_FALSE(std::get<bool>(crops.front()));
      seen[sample].insert(crops.front());
    }
  }
  for (const auto& crops : seen) EXPECT_GT(crops.size(), 5u);  // of 25, after 20 draws
}

TEST(Batches, augmentation_without_pad_and_flip_changes_nothing) {
  auto set = small_set(4);
  set->flip = false;
  set->pad = 0;
  Batches still(set, {.batch = 4, .microbatch = 4, .augment = true});
  Batches plain(set, {.batch = 4, .microbatch = 4, .augment = false});
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_TRUE(still.batch(i, 0).images.equal(plain.batch(i, 0).images));
}

TEST(Batches, refuse_what_cannot_be_split) {
  EXPECT_THROW(Batches(small_set(10), {.batch = 8, .microbatch = 3}), InputError);
  EXPECT_THROW(Batches(small_set(7), {.batch = 8, .microbatch = 8}), InputError);
}

TEST(TestBatch, is_the_test_part_in_its_own_order) {
  const auto set = small_set(8);
  const Batch batch = test_batch(*set, 3, 7, at::kFloat);
  EXPECT_EQ(batch.images.sizes(), (std::vector<std::int64_t>{4, 3, 8, 8}));
  EXPECT_EQ(batch.labels[0].item<std::int64_t>(), set->test.labels[3]);
  const float pixel = set->test.image(6)[0];
  EXPECT_FLOAT_EQ(batch.images[3][0][0][0].item<float>(), (pixel - 127.5f) / 63.0f);
}

}  // namespace
}  // namespace bubblescope
