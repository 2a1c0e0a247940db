// A progress line on a terminal; nothing where the output is no terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace bubblescope {

/// Shows `what 3/12` on standard error once the work has taken more than a second.
class Progress {
 public:
  Progress(std::string what, std::int64_t total);
  ~Progress() { done(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::int64_t by = 1);
  /// Replaces the text before the count.
  void label(std::string what);
  /// Wipes the line.
  void done();

 private:
  void show();
  std::string what_;
  std::int64_t total_, count_ = 0;
  bool terminal_, shown_ = false;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace bubblescope
