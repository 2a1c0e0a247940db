// Writing files so that nothing half-written ever carries its final name.
#pragma once

#include <filesystem>
#include <string_view>

namespace bubblescope {

/// Writes `content` to a temporary name beside `file` and renames it; makes the folder if need be.
/// Throws RunError naming the file and the system's reason; then nothing is left behind.
void write_file(const std::filesystem::path& file, std::string_view content);

}  // namespace bubblescope
