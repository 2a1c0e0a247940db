// Which cores the process may use, and pinning threads to them.
#pragma once

#include <span>
#include <vector>

#include "sim/core/time.hpp"

namespace bubblescope {

/// Cores the calling thread may run on, ascending.
std::vector<int> available_core_list();
/// Their number; 1 where it cannot be found out.
int available_cores();

/// How long a waiting rank polls before it sleeps: briefly where each of `ranks` can have a core, else
/// not at all.
Nanos default_spin(int ranks);

/// Pins the calling thread to `cores`; none: leaves it as it is. Throws InputError that names a core
/// the machine does not have or the process may not use.
void pin_thread(std::span<const int> cores);

}  // namespace bubblescope
