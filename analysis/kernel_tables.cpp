// The tables of a report that take ops apart into kernels.
#include <fmt/format.h>

#include "analysis/report.hpp"

namespace bubblescope {
namespace {

double share(Nanos part, Nanos whole) { return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0; }

}  // namespace

const char* const kKernelCaption =
    "Shares of the ops' time: in kernels (overlapping ones once), in copies and fills beside them, in gaps with neither; the three add "
    "up to it. Issuing: the part of the gaps in which the host was still issuing the op; from 10 % of the ops' time on they are called "
    "launch-bound. Outside: kernels and copies before the op's start or after its end. Total: a kernel's launches added up.";

Table kernel_table(const ScheduleReport& schedule) {
  Table table{{{"rank"},
               {"op"},
               {"ops", Align::right},
               {"time per op", Align::right},
               {"kernels per op", Align::right},
               {"in kernels", Align::right},
               {"in copies", Align::right},
               {"in gaps", Align::right},
               {"issuing", Align::right},
               {"outside", Align::right},
               {"bound by"}},
              {}};
  if (!schedule.kernels) return table;
  for (const KernelGroup& g : schedule.kernels->groups) {
    table.rows.push_back({std::to_string(g.rank), g.stage < 0 ? std::string(mnemonic(g.kind)) : fmt::format("{}{}", g.stage, mnemonic(g.kind)),
                          std::to_string(g.ops), format_duration(g.ops > 0 ? g.op_time / g.ops : 0),
                          fmt::format("{:.1f}", g.ops > 0 ? static_cast<double>(g.kernels) / static_cast<double>(g.ops) : 0.0),
                          percent(share(g.kernel_time, g.op_time)), percent(share(g.copy_time, g.op_time)), percent(g.gap_share()),
                          percent(share(g.issuing_time, g.op_time)), percent(share(g.outside_time, g.op_time)), g.launch_bound() ? "launches" : ""});
  }
  return table;
}

Table longest_kernels_table(const ScheduleReport& schedule) {
  Table table{{{"kernel"}, {"launches", Align::right}, {"total", Align::right}, {"per launch", Align::right}}, {}};
  if (!schedule.kernels) return table;
  for (const KernelUse& use : schedule.kernels->longest) {
    table.rows.push_back({use.name, std::to_string(use.launches), format_duration(use.time), format_duration(use.launches > 0 ? use.time / use.launches : 0)});
  }
  return table;
}

}  // namespace bubblescope
