// One place that opens files.
#include "sim/core/read_file.hpp"

#include <fmt/format.h>

#include <fstream>
#include <system_error>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {

std::string read_file(const std::filesystem::path& file, std::string_view expected) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    throw InputError(fmt::format("{}: is a folder; expected {}", file.string(), expected));
  }
  std::ifstream in(file, std::ios::binary);
  std::string text;
  std::vector<char> buffer(1 << 16);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(in.gcount()));
  }
  if (!in.is_open() || in.bad()) throw InputError(fmt::format("{}: cannot be read; expected {}", file.string(), expected));
  return text;
}

}  // namespace bubblescope
