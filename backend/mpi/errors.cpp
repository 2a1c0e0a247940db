// What MPI says of a failure.
#include "backend/mpi/errors.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {

void check_mpi(int status, std::string_view call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(status, text, &length) != MPI_SUCCESS) length = 0;
  throw RunError(fmt::format("{}: {} (MPI error {})", call, length > 0 ? std::string_view(text, static_cast<std::size_t>(length)) : "no message", status));
}

}  // namespace bubblescope
