// The CPU backend of the program without LibTorch: it becomes the program that has it.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bench/cpu_backend.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

void need_torch(const std::vector<std::string>& arguments) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto program = self.parent_path() / "bubblescope-torch";
  if (error || !std::filesystem::exists(program)) {
    throw RunError("the CPU backend is not part of this build; run ./setup, then 'cmake --preset release && cmake --build --preset release' (or use 'backend.name = \"null\"')");
  }
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  throw RunError(fmt::format("{} cannot be started: {}", program.string(), std::strerror(errno)));
}

// need_torch does not return, so these are never reached in this program.
MakeBackend cpu_backend(const Scenario&) { throw RunError("the CPU backend is not part of this build"); }
Trained train_on_cpu(const Scenario&, const Experiment&, const TrainRequest&) { throw RunError("the CPU backend is not part of this build"); }

}  // namespace bubblescope
