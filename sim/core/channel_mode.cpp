// Reading channel modes and properties.
#include "sim/core/channel_mode.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "sim/core/cells.hpp"
#include "sim/core/error.hpp"
#include "sim/core/units.hpp"

namespace bubblescope {
namespace {

/// Sets `property` to the word's place among `words`.
template <typename Enum>
std::optional<PropertyError> set_word(Enum& property, std::string_view word, const std::vector<std::string>& words) {
  const auto found = std::find(words.begin(), words.end(), word);
  if (found == words.end()) return PropertyError{false, fmt::format("unknown word {}; expected {}{}", in_quotes(word), fmt::join(words, ", "), suggestion(word, words))};
  property = static_cast<Enum>(found - words.begin());
  return std::nullopt;
}

std::optional<PropertyError> set_capacity(Channel& channel, std::string_view text) {
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto number = text == "unbounded" ? std::optional<std::int64_t>(kUnbounded) : parse_integer(text);
  if (!number || *number > kMost || (*number < 0 && text != "unbounded")) {
    return PropertyError{false, fmt::format("{} is no number here; expected an integer from 0 to {}, or unbounded", in_quotes(text), kMost)};
  }
  channel.capacity = static_cast<std::int32_t>(*number);
  return std::nullopt;
}

std::optional<PropertyError> set_eager(Channel& channel, std::string_view text) {
  const auto number = text.empty() ? std::optional(std::numeric_limits<std::int64_t>::max()) : parse_integer(text);
  if (number && *number >= 0) {
    channel.eager_bytes = *number;  // exactly, as `parse_bytes` would not for very large ones
    return std::nullopt;
  }
  try {
    channel.eager_bytes = parse_bytes(text);
  } catch (const InputError& error) {
    return PropertyError{false, error.what()};
  }
  return std::nullopt;
}

std::string no_mode(std::string_view text) {
  return fmt::format("unknown channel mode '{}'; expected async, rank, data or edge{}", text, suggestion(text, channel_mode_names()));
}

}  // namespace

std::optional<PropertyError> set_property(Channel& channel, std::string_view key, std::string_view value) {
  if (key == "fifo") return set_word(channel.fifo, value, kFifos);
  if (key == "capacity") return set_capacity(channel, value);
  if (key == "eager") return set_eager(channel, value);
  if (key == "receive") return set_word(channel.receive, value, kReceives);
  if (key == "send") return set_word(channel.send, value, kSends);
  return PropertyError{true, fmt::format("unknown property {} of a channel; expected {}{}", in_quotes(key), fmt::join(kChannelKeys, ", "), suggestion(key, kChannelKeys))};
}

std::vector<std::string> channel_mode_names() { return {"async", "rank", "data", "edge"}; }

Channel channel_mode(std::string_view text) {
  std::string_view rest = text;
  const auto next = [&rest] {
    const std::string_view piece = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), piece.size() + 1));
    return piece;
  };
  const std::string_view mode = next();
  if (text.ends_with(',')) throw InputError(fmt::format("channel '{}' ends with a comma; expected a property after it", text));
  Channel channel;
  if (mode != "async") {
    channel.capacity = 0;
    if (mode == "none" || set_word(channel.fifo, mode, kFifos)) throw InputError(no_mode(mode));
  }
  std::vector<std::string_view> seen;
  while (!rest.empty()) {
    const std::string_view property = next();
    const std::string_view key = property.substr(0, property.find('='));
    if (property.empty() || property.ends_with('=')) throw InputError(fmt::format("channel '{}': a property without a value; expected such as eager=64KiB", text));
    auto error = set_property(channel, key, property.substr(std::min(property.size(), key.size() + 1)));
    if (key == "fifo") error = PropertyError{true, "the mode says what a FIFO is; expected no fifo=... beside it"};
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) error = PropertyError{true, fmt::format("'{}' twice; expected once", key)};
    if (error) throw InputError(fmt::format("channel '{}': {}", text, error->message));
    seen.push_back(key);
  }
  return channel;
}

}  // namespace bubblescope
