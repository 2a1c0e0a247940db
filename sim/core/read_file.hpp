// Reading a whole file, for every reader of the project.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace bubblescope {

/// The bytes of `file`. Throws InputError naming it and what was `expected` (`a profile in JSON`) where it
/// is a folder, is not there or cannot be read.
std::string read_file(const std::filesystem::path& file, std::string_view expected);

}  // namespace bubblescope
