// The kinds of failure a user can meet. Libraries throw them; only `bench` catches and prints.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bubblescope {

/// Bad usage or bad input (exit code 2). The text reads `file:line:col: what is wrong; what was
/// expected`; the place is left out where there is none.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An InputError that is about one schedule alone: it cannot have the ranks, microbatches or cuts that were
/// asked for, or its costs are not known, though others may. `--schedule all` goes on without it.
class ShapeError : public InputError {
 public:
  using InputError::InputError;
};

/// The work itself failed (exit code 1): a deadlock, a diverged run, an interrupted measurement.
class RunError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The candidate closest to `word` by edit distance, or an empty view where none is close enough
/// to be what was meant (at most a third of the word's length, and at least one, edits away).
std::string_view nearest_name(std::string_view word, const std::vector<std::string>& candidates);

/// `; did you mean 'x'?`, or an empty string where nothing is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace bubblescope
