// What CUDA is told by environment variables.
#pragma once

namespace bubblescope {

/// Sets in this process's environment what CUDA reads there when it starts, unless the user has. Before anything calls CUDA, and
/// while no other thread reads the environment.
void set_cuda_environment(bool several_processes);

}  // namespace bubblescope
