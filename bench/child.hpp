// This program once more, as a process of its own: what goes wrong there ends there.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace bubblescope {

/// How it ended.
struct ChildEnd {
  int code = -1;      ///< exit code; -1: a signal ended it
  int signal = 0;     ///< which
  bool cut = false;   ///< `cut` had said so before
  std::string said;   ///< the last of its standard error, at most 64 KiB
};

/// Runs this program with `arguments`; its standard output is dropped. Once `cut()` says so (asked ten times a
/// second) it is asked to end (SIGTERM), and some seconds later made to. It never outlives this process, and
/// Ctrl-C on the terminal does not reach it. Throws RunError where it cannot be started.
ChildEnd run_child(const std::vector<std::string>& arguments, const std::function<bool()>& cut);

}  // namespace bubblescope
