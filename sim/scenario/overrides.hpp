// Overrides of single scenario values, `training.batch=64`: taken apart and read as TOML, so that they go
// through the same loader as a file.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <toml++/toml.h>

namespace bubblescope {

/// One override.
struct Override {
  std::string origin;    ///< `--set training.batch=64`: its place in messages
  std::string section;   ///< `training`
  std::string which;     ///< of a list section: the name or label of the elements it is meant for
  toml::table document;  ///< `section` with one key, its sources marked with `origin`
};

/// Takes `SECTION.KEY=VALUE` apart; where `is_list(SECTION)`, `SECTION.WHICH.KEY=VALUE`. VALUE is a TOML
/// value where it can be read as one, else a text. Throws InputError `--set ...: what is wrong; what was
/// expected`.
Override parse_override(std::string_view text, bool (*is_list)(std::string_view section));

/// The comment under a scenario's text that says what was overridden; nothing where nothing was.
std::string overrides_comment(std::span<const std::string> overrides);

}  // namespace bubblescope
