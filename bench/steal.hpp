// Steal time: what the hypervisor gave to other guests while this one had work to do. Where it is large, two
// measurements of the same thing differ, whoever made them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <vector>

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

}  // namespace bubblescope
