// Lines `cpuN user nice system idle iowait irq softirq steal guest guest_nice`, in ticks (proc(5)); the last two are
// counted in the first two already.
#include "bench/steal.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace bubblescope {

StealMeter::StealMeter(std::vector<int> cores, std::filesystem::path source) : cores_(std::move(cores)), source_(std::move(source)) { begin(); }

void StealMeter::begin() { begin_ = read(); }

double StealMeter::share() const {
  double largest = 0;
  for (const auto& [core, now] : read()) {
    const auto before = begin_.find(core);
    if (before == begin_.end() || now.all <= before->second.all) continue;
    largest = std::max(largest, static_cast<double>(now.stolen - before->second.stolen) / static_cast<double>(now.all - before->second.all));
  }
  return largest;
}

std::map<int, StealMeter::Ticks> StealMeter::read() const {
  std::map<int, Ticks> ticks;
  std::ifstream file(source_);
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    fields >> name;
    if (name.size() < 4 || !name.starts_with("cpu")) continue;
    std::array<std::int64_t, 8> values{};
    for (std::int64_t& value : values) fields >> value;
    int core = -1;
    std::from_chars(name.data() + 3, name.data() + name.size(), core);
    if (!fields || std::find(cores_.begin(), cores_.end(), core) == cores_.end()) continue;
    Ticks& of_core = ticks[core];
    for (const std::int64_t value : values) of_core.all += value;
    of_core.stolen = values.back();
  }
  return ticks;
}

}  // namespace bubblescope
