// Starting a program in this one's place.
#include "bench/become.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// The loader looks there before anywhere that it was told of earlier.
void prefer(std::string path) {
  if (const char* before = std::getenv("LD_LIBRARY_PATH"); before != nullptr && *before != 0) path += std::string(":") + before;
  setenv("LD_LIBRARY_PATH", path.c_str(), 1);
}

void prefer_libraries_of(const std::filesystem::path& libtorch) {
  std::error_code error;
  std::string path = (libtorch / "torch" / "lib").string();
  if (!std::filesystem::exists(path, error)) throw RunError(fmt::format("BUBBLESCOPE_LIBTORCH is {}, which holds no torch/lib", libtorch.string()));
  for (const auto& package : std::filesystem::directory_iterator(libtorch / "nvidia", error)) {
    if (std::filesystem::is_directory(package.path() / "lib", error)) path += ":" + (package.path() / "lib").string();
  }
  prefer(std::move(path));
}

}  // namespace

void become(const std::string& name, const std::vector<std::string>& arguments, const std::string& missing) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto program = self.parent_path() / name;
  if (error || !std::filesystem::exists(program)) throw RunError(missing);
  // Carried to another machine: what libraries need themselves lies there, where their own run paths do not lead.
  if (std::filesystem::is_directory(self.parent_path() / "lib", error)) prefer((self.parent_path() / "lib").string());
  if (const char* libtorch = std::getenv("BUBBLESCOPE_LIBTORCH"); libtorch != nullptr && *libtorch != 0) prefer_libraries_of(libtorch);
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  throw RunError(fmt::format("{} cannot be started: {}", program.string(), std::strerror(errno)));
}

}  // namespace bubblescope
