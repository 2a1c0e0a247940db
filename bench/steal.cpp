// Lines `cpuN user nice system idle iowait irq softirq steal guest guest_nice`, in ticks (proc(5)); the last two are
// counted in the first two already.
#include "bench/steal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "backend/fields.hpp"
#include "sim/core/quartiles.hpp"

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

bool Undisturbed::keep(std::int32_t attempt) {
  double stolen = meter_.share();
  if (world_ != nullptr) {
    for (const std::string& one : world_->gather_all(FieldsOut().add(stolen).take())) stolen = std::max(stolen, FieldsIn(one).get<double>());
  }
  if (stolen > most_ && attempt < kAttempts) {
    ++done_again_;
    return false;
  }
  stolen_.push_back(stolen);
  return true;
}

std::vector<std::string> Undisturbed::notes() const {
  const double median = fraction_quartiles(stolen_).median, most = stolen_.empty() ? 0 : *std::max_element(stolen_.begin(), stolen_.end());
  if (most < 0.005 && done_again_ == 0) return {};
  std::string note = fmt::format("Other guests of the host took up to {:.1f} % of a core's time in a calibration or run (steal time), in the median one {:.1f} %.", 100 * most, 100 * median);
  if (done_again_ > 0) note += fmt::format(" {} others lost more than {:.1f} % and were done again.", done_again_, 100 * most_);
  const auto over = std::count_if(stolen_.begin(), stolen_.end(), [&](double stolen) { return stolen > most_; });
  if (done_again_ > 0 && over > 0) note += fmt::format(" {} kept that lost more, as {} did {} times in a row.", over == 1 ? "1 is" : fmt::format("{} are", over), over == 1 ? "it" : "they", kAttempts);
  return {note};
}

}  // namespace bubblescope
