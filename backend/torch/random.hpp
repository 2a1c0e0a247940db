// Keyed random numbers: what is drawn depends only on the key, never on the thread or on what was
// drawn before. The data sets, augmentation and dropout all draw from here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

namespace bubblescope {

/// Mixes the parts of a key (seed, stage, iteration, microbatch, ...) into 64 well-spread bits.
std::uint64_t mix_key(std::initializer_list<std::uint64_t> parts);

/// The splitmix64 sequence (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// OOPSLA 2014) of one key. The same on every machine.
class KeyedRandom {
 public:
  explicit KeyedRandom(std::initializer_list<std::uint64_t> key) : state_(mix_key(key)) {}

  std::uint64_t next();
  /// Uniform in [0, bound), bound >= 1; the modulo's bias is below 2^-32 for bounds below 2^32.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

/// Fisher-Yates shuffle.
void shuffle(std::span<std::int64_t> values, KeyedRandom& random);

}  // namespace bubblescope
