// The rules of channels in words: what `--channel`, a scenario's `channel` and `.psched` have in common.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// The words of fifos, receives and sends, in the order of their enumerations, and those of a channel's
/// properties.
inline const std::vector<std::string> kFifos{"none", "rank", "data", "edge"};
inline const std::vector<std::string> kReceives{"posted", "use"};
inline const std::vector<std::string> kSends{"immediate", "commit", "hold"};
inline const std::vector<std::string> kChannelKeys{"fifo", "capacity", "eager", "receive", "send"};

/// What is wrong with `key=value`, and with which of the two.
struct PropertyError {
  bool in_key = false;
  std::string message;
};

/// Sets one property: `fifo=rank`, `capacity=2` (or `unbounded`), `eager=64KiB` (no value: messages of any
/// size), `receive=use`, `send=hold`. Returns what is wrong, if anything.
std::optional<PropertyError> set_property(Channel& channel, std::string_view key, std::string_view value);

}  // namespace bubblescope
