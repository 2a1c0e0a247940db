// Many independent pieces of work at the same time. Results are texts, so that a piece may be done wherever
// its text can be sent from.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bubblescope {

/// One piece of work, by its number; called from several threads at once. What it returns depends on the number alone.
using Work = std::function<std::string(std::int64_t index)>;

struct SpreadOptions {
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;       ///< once set, no further piece is begun
  const std::atomic<bool>* also_stop = nullptr;  ///< likewise
  std::function<void()> done = {};               ///< called after every piece, never twice at once
  /// Over processes: called with the reason where another one, or the connection, is lost; what is returned then are the first
  /// few results. Not set: the error is thrown.
  std::function<void(const std::string& why)> lost = {};
};

/// Does the pieces 0 to `count` - 1 and returns their results in that order: the same ones however they are
/// spread. Where it was stopped these are the first few, without gaps. Where pieces throw, what the one with the
/// lowest number threw is thrown again, after all that had begun have ended.
using Spread = std::function<std::vector<std::string>(std::int64_t count, const Work& work, const SpreadOptions& options)>;

/// On threads of this process, each of which takes the next piece when it has done one.
std::vector<std::string> spread_over_threads(std::int64_t count, const Work& work, const SpreadOptions& options);

}  // namespace bubblescope
