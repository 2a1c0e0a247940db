// Versions: from the build system.
#include "bench/version.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdint>
#include <ctime>
#include <filesystem>

#include "sim/core/read_file.hpp"

namespace bubblescope {

std::string version_text() { return fmt::format("bubblescope {} (g++ {}, {})", BUBBLESCOPE_VERSION, __VERSION__, BUBBLESCOPE_BUILD_TYPE); }

std::string build_text() {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* name : {"bubblescope", "bubblescope-torch", "bubblescope-cuda"}) {
    if (!std::filesystem::exists(folder / name, error)) continue;
    for (const char c : read_file(folder / name, "the program")) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return fmt::format("{:016x}", hash);
}

std::map<std::string, std::string> versions() {
  std::map<std::string, std::string> result{{"bubblescope", BUBBLESCOPE_VERSION}, {"compiler", fmt::format("g++ {}", __VERSION__)}, {"build", BUBBLESCOPE_BUILD_TYPE}};
  utsname system{};
  if (uname(&system) == 0) result["kernel"] = fmt::format("{} {}", system.sysname, system.release);
  return result;
}

std::string timestamp() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace bubblescope
