// Atomic file writing.
#include "sim/core/write_file.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <system_error>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr std::string_view kPartial = ".partial";

/// Nobody takes it for the file itself, and two processes never share it.
std::filesystem::path partial_name(const std::filesystem::path& file) { return fmt::format("{}.{}{}", file.string(), getpid(), kPartial); }

/// Whether the file or folder is what a process that was killed had not finished.
bool abandoned(const std::filesystem::path& file) {
  std::string name = file.filename().string();
  if (!name.ends_with(kPartial)) return false;
  name.resize(name.size() - kPartial.size());
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos) return false;
  pid_t writer = 0;
  const char* end = name.data() + name.size();
  const auto [read, error] = std::from_chars(name.data() + dot + 1, end, writer);
  if (error != std::errc() || read != end || writer <= 0 || kill(writer, 0) == 0 || errno != ESRCH) return false;
  // On a shared disk the writer may be on another machine: then the file is young.
  std::error_code unknown;
  const auto written = std::filesystem::last_write_time(file, unknown);
  return !unknown && std::filesystem::file_time_type::clock::now() - written > std::chrono::minutes(10);
}

void remove_abandoned(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator entry(folder, ignored), last; !ignored && entry != last; entry.increment(ignored)) {
    if (abandoned(entry->path())) files.push_back(entry->path());
  }
  for (const auto& file : files) std::filesystem::remove_all(file, ignored);
}

/// What went wrong, or no error.
std::error_code put(std::filesystem::path file, std::initializer_list<std::string_view> pieces) {
  std::error_code unknown;
  if (std::filesystem::is_symlink(file, unknown)) file = std::filesystem::weakly_canonical(file, unknown);  // its target, not the link, is replaced
  // A device or a pipe is written to; there is nothing whole or half about it.
  const auto status = std::filesystem::status(file, unknown);
  const bool stream = std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) && !std::filesystem::is_directory(status);
  const std::filesystem::path partial = stream ? file : partial_name(file);
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
  } else if (!stream) {
    std::filesystem::rename(partial, file, error);
  }
  std::error_code ignored;
  if (error && !stream) std::filesystem::remove(partial, ignored);
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
  remove_abandoned(folder.empty() ? "." : folder);
}

void require_writable_file(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) throw InputError(fmt::format("{}: is a folder; expected a file to write", file.string()));
  if (std::filesystem::is_character_file(file, error) || std::filesystem::is_fifo(file, error)) return;
  require_writable(file.parent_path());
}

}  // namespace bubblescope
