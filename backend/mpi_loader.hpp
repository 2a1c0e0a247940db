// Processes of a job: whether this is one of several, as its launcher tells, and the transport over MPI, which is loaded
// only then (libbubblescope-mpi.so), so that programs start where no MPI is installed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "backend/transport.hpp"

namespace bubblescope {

/// What started this process, and as which one of how many.
struct Launch {
  std::string by;  ///< `torchrun`, `Open MPI`, `Slurm` or `PMI`
  std::int32_t processes = 1;
  std::int32_t process = 0;
  std::string rank_variable;  ///< of the environment: where every process finds its number
};

/// The number in an environment variable. Throws InputError where it holds none, or one out of the range.
std::int32_t number_of_variable(const char* name, std::int32_t least, std::int32_t most);

/// As the environment tells: torchrun, mpirun (of Open MPI, or any that speaks PMI) or srun; also where they started
/// only one. The innermost counts where one was started by another. Throws InputError where its numbers make no sense.
std::optional<Launch> launched();

/// Loads the module and starts MPI, once in a process. `folder`: where the module lies; empty: beside the program, or
/// else in `lib` there. Throws RunError that says what to install where either fails.
std::unique_ptr<Transport> load_mpi(const std::filesystem::path& folder = {});

}  // namespace bubblescope
