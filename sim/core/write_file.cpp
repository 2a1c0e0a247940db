// Atomic file writing.
#include "sim/core/write_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// Nobody takes it for the file itself, and two processes never share it.
std::filesystem::path partial_name(const std::filesystem::path& file) { return fmt::format("{}.{}.partial", file.string(), getpid()); }

/// What went wrong, or no error.
std::error_code put(const std::filesystem::path& file, std::initializer_list<std::string_view> pieces) {
  const std::filesystem::path partial = partial_name(file);
  errno = 0;
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  for (const std::string_view piece : pieces) {
    if (!out) break;
    out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
  }
  if (out) out.close();
  std::error_code error;
  if (!out) {
    error = {errno != 0 ? errno : EIO, std::generic_category()};
  } else {
    std::filesystem::rename(partial, file, error);
  }
  std::error_code ignored;
  if (error) std::filesystem::remove(partial, ignored);
  return error;
}

}  // namespace

void write_file(const std::filesystem::path& file, std::string_view content) { write_file(file, {content}); }

void write_file(const std::filesystem::path& file, std::initializer_list<std::string_view> pieces) {
  std::error_code error;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (error) throw RunError(fmt::format("{}: its folder cannot be made: {}", file.string(), error.message()));
  error = put(file, pieces);
  if (error) throw RunError(fmt::format("{}: cannot be written: {}", file.string(), error.message()));
}

void require_writable(const std::filesystem::path& folder) {
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  const std::string name = folder.empty() ? "." : folder.string();
  const std::filesystem::path probe = folder / fmt::format("probe.{}", getpid());
  if (!error) error = put(probe, {"x"});  // one byte: an empty file fits on a full disk, too
  if (error) throw InputError(fmt::format("{}: nothing can be written there: {}; expected a folder for the results", name, error.message()));
  std::filesystem::remove(probe, error);
}

void require_writable_file(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) throw InputError(fmt::format("{}: is a folder; expected a file to write", file.string()));
  require_writable(file.parent_path());
}

}  // namespace bubblescope
