// Keyed random numbers; see random.hpp.
#include "backend/torch/random.hpp"

#include <utility>

namespace bubblescope {

namespace {

std::uint64_t finalize(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15ULL;

}  // namespace

std::uint64_t mix_key(std::initializer_list<std::uint64_t> parts) {
  std::uint64_t state = kGamma;
  for (const std::uint64_t part : parts) state = finalize(state + kGamma + finalize(part + kGamma));
  return state;
}

std::uint64_t KeyedRandom::next() {
  state_ += kGamma;
  return finalize(state_);
}

void shuffle(std::span<std::int64_t> values, KeyedRandom& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

}  // namespace bubblescope
