// Atomic file writing.
#include "sim/core/write_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "sim/core/error.hpp"

namespace bubblescope {

void write_file(const std::filesystem::path& file, std::string_view content) {
  std::error_code error;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (error) throw RunError(fmt::format("{}: its folder cannot be made: {}", file.string(), error.message()));
  const std::filesystem::path partial = fmt::format("{}.{}.partial", file.string(), getpid());
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  if (!out) {
    const int reason = errno;
    std::filesystem::remove(partial, error);
    throw RunError(fmt::format("{}: cannot be written: {}", file.string(), std::strerror(reason)));
  }
  std::filesystem::rename(partial, file, error);
  if (error) {
    const std::string reason = error.message();
    std::filesystem::remove(partial, error);
    throw RunError(fmt::format("{}: cannot be written: {}", file.string(), reason));
  }
}

}  // namespace bubblescope
