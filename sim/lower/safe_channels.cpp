// Trying the channel modes in turn.
#include "sim/lower/safe_channels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/core/constraints.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/passes.hpp"

namespace bubblescope {

std::vector<std::string> safe_channels(const Program& program, std::string_view passes, std::span<const std::int64_t> output_bytes) {
  Program tried = program;
  const auto runs_on = [&](const std::string& mode) {
    tried.channels = {channel_mode(mode)};
    try {
      return check_progress(lower(tried, passes), output_bytes).empty();
    } catch (const InputError&) {
      return false;  // nowhere to put sends and receives: the order alone deadlocks
    }
  };
  std::vector<std::int64_t> sizes(output_bytes.begin(), output_bytes.end());
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  std::erase_if(sizes, [](std::int64_t size) { return size <= 0; });

  std::vector<std::string> safe;
  for (const std::string& mode : channel_mode_names()) {
    const bool runs = runs_on(mode);
    if (runs) safe.push_back(mode);
    if (runs || mode == "async" || !runs_on(mode + ",eager")) continue;
    if (sizes.empty()) {
      safe.push_back(mode + ",eager");
      continue;
    }
    // A larger eager size only takes waits away.
    const auto least = std::partition_point(sizes.begin(), sizes.end(), [&](std::int64_t size) { return !runs_on(fmt::format("{},eager={}", mode, size)); });
    safe.push_back(fmt::format("{},eager={}", mode, *least));
  }
  return safe;
}

}  // namespace bubblescope
