// The machine as Linux describes it.
#include "bench/machine.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace bubblescope {

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::int64_t memory_capacity() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  std::int64_t capacity = pages > 0 && page > 0 ? std::int64_t{pages} * page : 0;
  // Containers see their own group's limit there; without one it holds the word `max`.
  std::ifstream limits("/sys/fs/cgroup/memory.max");
  std::int64_t limit = 0;
  if (limits >> limit && limit > 0) capacity = capacity > 0 ? std::min(capacity, limit) : limit;
  return capacity;
}

}  // namespace bubblescope
