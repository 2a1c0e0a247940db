// Versions: from the build system.
#include "bench/version.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/core/read_file.hpp"

namespace bubblescope {
namespace {

constexpr const char* kMpiModule = "libbubblescope-mpi.so";

std::filesystem::path program_file() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

/// Over those that are there.
std::string hash_of(const std::vector<std::filesystem::path>& files) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const auto& file : files) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) continue;
    for (const char c : read_file(file, "the program")) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

std::string version_text() { return fmt::format("bubblescope {} (g++ {}, {})", BUBBLESCOPE_VERSION, __VERSION__, BUBBLESCOPE_BUILD_TYPE); }

std::string build_text() {
  const auto folder = program_file().parent_path();
  return hash_of({folder / "bubblescope", folder / "bubblescope-torch", folder / "bubblescope-cuda"});
}

std::string program_text() {
  const auto folder = program_file().parent_path();
  return hash_of({program_file(), folder / kMpiModule, folder / "lib" / kMpiModule});
}

std::map<std::string, std::string> versions() {
  std::map<std::string, std::string> result{{"bubblescope", BUBBLESCOPE_VERSION}, {"compiler", fmt::format("g++ {}", __VERSION__)}, {"build", BUBBLESCOPE_BUILD_TYPE}};
  utsname system{};
  if (uname(&system) == 0) result["kernel"] = fmt::format("{} {}", system.sysname, system.release);
  return result;
}

std::string timestamp() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace bubblescope
