// Steal time: what the hypervisor gave to other guests while this one had work to do. Where it is large, two
// measurements of the same thing differ, whoever made them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/world.hpp"

namespace bubblescope {

class StealMeter {
 public:
  /// Of these processor cores. `source` has the form of Linux' /proc/stat; where it is not, nothing was stolen.
  explicit StealMeter(std::vector<int> cores, std::filesystem::path source = "/proc/stat");
  void begin();
  /// The largest part of a core's time since `begin` that was stolen, 0 to 1; known to about 10 ms.
  double share() const;

 private:
  struct Ticks {
    std::int64_t all = 0;
    std::int64_t stolen = 0;
  };
  std::map<int, Ticks> read() const;

  std::vector<int> cores_;
  std::filesystem::path source_;
  std::map<int, Ticks> begin_;  ///< by core
};

/// Does pieces of a measurement again while others disturb them.
class Undisturbed {
 public:
  /// A piece is done this often at most; the last time counts, however much was stolen.
  static constexpr std::int32_t kAttempts = 20;

  /// Of a core's time `most` may be stolen: of any core of any process of `world`, nullptr where there is one process. All
  /// processes do the same pieces.
  Undisturbed(double most, World* world, StealMeter meter) : most_(most), world_(world), meter_(std::move(meter)) {}

  /// What `piece` returns in the end; nothing where it was told to stop (`stopped`).
  template <typename Piece>
  auto operator()(Piece&& piece) -> std::optional<decltype(piece())> {
    for (std::int32_t attempt = 1;; ++attempt) {
      meter_.begin();
      auto result = piece();
      if (result.stopped) return std::nullopt;
      if (keep(attempt)) return result;
    }
  }

  /// For a report, where it is worth a word.
  std::vector<std::string> notes() const;

 private:
  bool keep(std::int32_t attempt);

  double most_;
  World* world_;
  StealMeter meter_;
  std::vector<double> stolen_;  ///< in every piece that is kept
  std::int32_t done_again_ = 0;
};

}  // namespace bubblescope
