// Reads launchers' environment variables; loads the module of backend/mpi.
#include "backend/mpi_loader.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr const char* kModule = "libbubblescope-mpi.so";
constexpr const char* kFactory = "bubblescope_mpi_transport";
constexpr const char* kInstall = "install Open MPI (Debian: apt-get install openmpi-bin libopenmpi-dev)";

bool is_set(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != 0;
}

Launch launch(const char* by, const char* size, const char* rank) {
  constexpr std::int32_t kMost = 1 << 24;
  const std::int32_t processes = number_of_variable(size, 1, kMost);
  return {by, processes, number_of_variable(rank, 0, processes - 1), rank};
}

std::vector<std::filesystem::path> places() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw RunError(fmt::format("where this program lies cannot be read: {}", error.message()));
  return {program.parent_path(), program.parent_path() / "lib"};
}

std::filesystem::path find_module(const std::vector<std::filesystem::path>& folders) {
  std::error_code error;
  for (const auto& folder : folders) {
    if (std::filesystem::exists(folder / kModule, error)) return folder / kModule;
  }
  throw RunError(fmt::format("several processes need MPI, but {} is not in {}: this was built where MPI was not found; {} and build again", kModule,
                             folders.front().string(), kInstall));
}

}  // namespace

std::int32_t number_of_variable(const char* name, std::int32_t least, std::int32_t most) {
  const char* const found = std::getenv(name);
  const std::string_view text = found == nullptr ? "" : found;
  std::int32_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size() || value < least || value > most) {
    throw InputError(fmt::format("the environment variable {} is '{}'; expected a number from {} to {}", name, text, least, most));
  }
  return value;
}

std::optional<Launch> launched() {
  if (is_set("TORCHELASTIC_RUN_ID") && is_set("WORLD_SIZE") && is_set("RANK") && is_set("MASTER_ADDR") && is_set("MASTER_PORT")) {
    return launch("torchrun", "WORLD_SIZE", "RANK");
  }
  if (is_set("OMPI_COMM_WORLD_SIZE") && is_set("OMPI_COMM_WORLD_RANK")) return launch("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
  // A batch script has a SLURM_PROCID, too; and what srun starts without PMI or PMIx, MPI takes for single processes.
  if (is_set("SLURM_STEP_NUM_TASKS") && is_set("SLURM_PROCID") && (is_set("PMIX_RANK") || is_set("PMI_RANK"))) {
    return launch("Slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID");
  }
  if (is_set("PMI_SIZE") && is_set("PMI_RANK")) return launch("PMI", "PMI_SIZE", "PMI_RANK");
  return std::nullopt;
}

std::unique_ptr<Transport> load_mpi(const std::filesystem::path& folder) {
  const std::filesystem::path module = find_module(folder.empty() ? places() : std::vector{folder});
  // Open MPI loads parts of itself, which look for the symbols of the others among the global ones. Never closed: MPI
  // leaves threads and handlers behind.
  void* const library = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw RunError(fmt::format("MPI cannot be loaded: {}; {}", dlerror(), kInstall));
  void* const factory = dlsym(library, kFactory);
  if (factory == nullptr) throw RunError(fmt::format("{} is not of this build: {}", module.string(), dlerror()));
  return std::unique_ptr<Transport>(reinterpret_cast<Transport* (*)()>(factory)());
}

}  // namespace bubblescope
