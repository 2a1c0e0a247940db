// Versions: from the build system.
#include "bench/version.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>

namespace bubblescope {

std::string version_text() { return fmt::format("bubblescope {} (g++ {}, {})", BUBBLESCOPE_VERSION, __VERSION__, BUBBLESCOPE_BUILD_TYPE); }

std::map<std::string, std::string> versions() {
  std::map<std::string, std::string> result{{"bubblescope", BUBBLESCOPE_VERSION}, {"compiler", fmt::format("g++ {}", __VERSION__)}, {"build", BUBBLESCOPE_BUILD_TYPE}};
  utsname system{};
  if (uname(&system) == 0) result["kernel"] = fmt::format("{} {}", system.sysname, system.release);
  return result;
}

std::string timestamp() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace bubblescope
