// Fitting a line through clock comparisons.
#include "backend/clock_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace bubblescope {
namespace {

/// Of every twentieth of the time the sample with the smallest error.
std::vector<ClockSample> best_of(std::span<const ClockSample> samples, Nanos first, Nanos last) {
  constexpr Nanos kParts = 20;
  std::vector<ClockSample> best(kParts);
  std::vector<bool> known(kParts, false);
  const Nanos length = std::max<Nanos>(1, last - first);
  for (const ClockSample& sample : samples) {
    const auto part = static_cast<std::size_t>(std::min<Nanos>(kParts - 1, static_cast<Nanos>(static_cast<double>(sample.common - first) / static_cast<double>(length) * kParts)));
    if (!known[part] || sample.error < best[part].error) best[part] = sample;
    known[part] = true;
  }
  std::vector<ClockSample> kept;
  for (std::size_t part = 0; part < known.size(); ++part) {
    if (known[part]) kept.push_back(best[part]);
  }
  return kept;
}

/// At one time, a line is no farther off than this.
struct Known {
  double own = 0;
  double off = 0;
};

/// How far off the line may be at `own`, at most: between any two times, or on from them, as straight as it is.
double farthest_off(std::span<const Known> known, double own) {
  double least = std::numeric_limits<double>::max();
  for (const Known& near : known) {
    if (near.own == own) least = std::min(least, near.off);
    for (const Known& far : known) {
      const double on = (near.own - own) / (far.own - near.own);  // -1: at `far`
      if (on >= 0) least = std::min(least, near.off + (near.off + far.off) * on);
      if (on < 0 && on >= -1) least = std::min(least, std::max(near.off, far.off));
    }
  }
  return least;
}

}  // namespace

Nanos ClockFit::to_common(Nanos own) const {
  const auto since = static_cast<double>(own - origin);
  return own + static_cast<Nanos>(std::llround(offset + drift * since));
}

ClockFit fit_clock(std::span<const ClockSample> samples) {
  ClockFit fit;
  if (samples.empty()) return fit;
  const auto by_time = [](const ClockSample& a, const ClockSample& b) { return a.common < b.common; };
  const auto by_error = [](const ClockSample& a, const ClockSample& b) { return a.error < b.error; };
  const auto [first, last] = std::minmax_element(samples.begin(), samples.end(), by_time);
  const std::vector<ClockSample> best = best_of(samples, first->common, last->common);
  const ClockSample& closest = *std::min_element(best.begin(), best.end(), by_error);

  // Weighted by how exact each is, around their weighted middle, in numbers that doubles hold exactly.
  const Nanos base = closest.common - closest.offset;
  double weights = 0, middle = 0, offset = 0;
  const auto own_of = [&](const ClockSample& sample) { return static_cast<double>(sample.common - sample.offset - base); };
  const auto weight_of = [](const ClockSample& sample) { return 1 / std::pow(static_cast<double>(std::max<Nanos>(1, sample.error)), 2); };
  for (const ClockSample& sample : best) {
    const double weight = weight_of(sample);
    weights += weight;
    middle += weight * own_of(sample);
    offset += weight * static_cast<double>(sample.offset - closest.offset);
  }
  middle /= weights;
  offset /= weights;
  double across = 0, along = 0;
  for (const ClockSample& sample : best) {
    const double own = own_of(sample) - middle;
    across += weight_of(sample) * own * (static_cast<double>(sample.offset - closest.offset) - offset);
    along += weight_of(sample) * own * own;
  }
  const Nanos length = last->common - first->common;
  constexpr Nanos kShort = 50 * kMillisecond;
  double drift = length > kShort && along > 0 ? across / along : 0;
  if (std::abs(drift) * static_cast<double>(length) < static_cast<double>(closest.error)) drift = 0;
  fit.origin = base;
  fit.drift = drift;
  // Without a drift the best comparison is the best answer.
  fit.offset = static_cast<double>(closest.offset) + (drift == 0 ? 0 : offset - drift * middle);
  std::vector<Known> known;
  for (const ClockSample& sample : best) {
    const double own = own_of(sample);
    known.push_back({own, std::abs(fit.offset + drift * own - static_cast<double>(sample.offset)) + static_cast<double>(sample.error)});
  }
  const auto at_end = [&](const ClockSample& end) { return farthest_off(known, static_cast<double>(end.common - closest.common)); };
  fit.error = static_cast<Nanos>(std::ceil(std::max(at_end(*first), at_end(*last))));
  return fit;
}

}  // namespace bubblescope
