// Pinning through the scheduler's affinity masks.
#include "backend/cores.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {

std::vector<int> available_core_list() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (pthread_getaffinity_np(pthread_self(), sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

int available_cores() { return std::max(1, static_cast<int>(available_core_list().size())); }

Nanos default_spin(int ranks) { return available_cores() >= ranks ? 20 * kMicrosecond : 0; }

void pin_thread(std::span<const int> cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) {
    cpu_set_t one;
    CPU_ZERO(&one);
    const bool in_range = core >= 0 && core < CPU_SETSIZE;
    if (in_range) CPU_SET(core, &one);
    if (!in_range || pthread_setaffinity_np(pthread_self(), sizeof(one), &one) != 0) {
      throw InputError(fmt::format("cannot run on core {}; expected a core that this machine has and this process may use", core));
    }
    CPU_SET(core, &set);
  }
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

}  // namespace bubblescope
