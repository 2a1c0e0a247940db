// Calls of MPI that fail become RunErrors naming the call.
#pragma once

#include <mpi.h>

#include <string_view>

namespace bubblescope {

/// Throws RunError with the call's name and MPI's own words unless `status` is MPI_SUCCESS.
void check_mpi(int status, std::string_view call);

}  // namespace bubblescope
