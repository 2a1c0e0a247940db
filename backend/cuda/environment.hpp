// What CUDA is told by environment variables.
#pragma once

namespace bubblescope {

/// Sets in this process's environment what CUDA reads there when it starts, unless the user has. Before anything calls CUDA, and
/// before there are threads.
void set_cuda_environment(bool several_processes);

}  // namespace bubblescope
