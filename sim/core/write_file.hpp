// Writing files so that nothing half-written ever carries its final name.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <string_view>

namespace bubblescope {

/// Writes `content` to a temporary name beside `file` and renames it; makes the folder if need be.
/// Throws RunError naming the file and the system's reason; then nothing is left behind. Of a link the
/// target is replaced; to a device or a pipe the content is written as it is.
void write_file(const std::filesystem::path& file, std::string_view content);
/// Likewise, one piece after the other.
void write_file(const std::filesystem::path& file, std::initializer_list<std::string_view> pieces);

/// Makes the folder if need be and tries whether files can be written there: before work begins whose
/// results are to go there; removes what killed processes left half-written. Throws InputError naming the
/// folder and the system's reason.
void require_writable(const std::filesystem::path& folder);
/// The same for one file; a folder of that name is refused, too.
void require_writable_file(const std::filesystem::path& file);

}  // namespace bubblescope
