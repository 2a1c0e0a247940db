// The executor: every rank walks its steps; channels, meetings and the run's control join them.
#include "backend/executor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "backend/channels.hpp"
#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/meetings.hpp"
#include "backend/nvtx.hpp"
#include "backend/plan.hpp"
#include "backend/records.hpp"
#include "backend/run_control.hpp"
#include "backend/stream_execution.hpp"
#include "backend/walker.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"

namespace bubblescope {
namespace {

/// When all ranks were released together or, after a warm-up, when the first measured op started.
Nanos time_zero(Meetings& start, const std::vector<RankRecord>& records, bool warmed_up) {
  Nanos zero = -1;
  for (const RankRecord& record : records) {
    const auto first = std::find_if(record.spans.begin(), record.spans.end(), [](const Record& span) { return is_compute(span.op.kind); });
    if (first != record.spans.end() && (zero < 0 || first->start < zero)) zero = first->start;
  }
  MeetingResult released;
  if ((!warmed_up || zero < 0) && start.complete(0, 0, released)) zero = released.last;
  return zero;
}

/// Bytes that every stage sends forward, which the devices know; empty where no channel has an eager size.
/// Validation took all messages for eager then, so progress is looked at again.
std::vector<std::int64_t> sizes_that_count(const Program& program, Ranks& ranks) {
  if (std::none_of(program.channels.begin(), program.channels.end(), [](const Channel& channel) { return channel.eager_bytes > 0; })) return {};
  const ChainLinks links = chain_links(program);
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(program.stages()), 0);
  ranks.each([&](Rank rank, Device& device) {
    Op recv;
    recv.kind = Kind::RECV_F;
    recv.microbatch = 0;
    for (Stage s = 0; s < program.stages(); ++s) {
      const Stage from = links.previous[static_cast<std::size_t>(s)];
      if (from < 0 || program.stage_rank[static_cast<std::size_t>(s)] != rank || program.stage_rank[static_cast<std::size_t>(from)] == rank) continue;
      recv.stage = static_cast<std::int16_t>(s);
      sizes[static_cast<std::size_t>(from)] = device.example(recv).bytes;
    }
  });
  const std::vector<Finding> findings = check_progress(program, sizes);
  if (!findings.empty()) throw RunError("with messages of this size: " + describe(findings.front()));
  return sizes;
}

}  // namespace

Execution execute(const Program& program, Ranks& ranks, const ExecuteOptions& options) {
  require_valid(program);
  if (ranks.count() != program.ranks()) {
    throw InputError(fmt::format("the program has {} ranks, but there are {} to run it", program.ranks(), ranks.count()));
  }
  if (options.network.ranks() > 0 && options.network.ranks() < program.ranks()) {
    throw InputError(fmt::format("the program has {} ranks, but the network '{}' has {}", program.ranks(), options.network.name, options.network.ranks()));
  }
  if (!options.cores.empty() && options.cores.size() != program.rows.size()) {
    throw InputError(fmt::format("the program has {} ranks, but cores are given for {}", program.ranks(), options.cores.size()));
  }
  if (options.kernels && ranks.stream_source() == nullptr) throw InputError(kNoKernels);
  const std::vector<std::int64_t> sizes = sizes_that_count(program, ranks);
  if (StreamSource* const source = ranks.stream_source()) return execute_on_streams(program, ranks, *source, sizes, options);
  const Plan plan = make_plan(program, options.network);
  nvtx_name_categories();
  std::vector<Bell> bells(program.rows.size());
  GroupPlan everyone;
  for (Rank r = 0; r < program.ranks(); ++r) everyone.members.push_back(r);

  const std::int64_t walks = std::int64_t{std::max(0, options.warmup)} + std::max(0, options.iterations);
  Channels channels(plan, bells);
  Meetings meetings(plan.groups, bells);
  Meetings start({&everyone, 1}, bells);
  RunControl control(walks, options.stop, bells);
  const Nanos spin = options.spin >= 0 ? options.spin : default_spin(program.ranks());
  Run run{program, options, plan, bells, channels, meetings, start, control, spin};

  if (!options.cores.empty()) {
    ranks.each([&](Rank rank, Device&) { pin_thread(options.cores[static_cast<std::size_t>(rank)]); });
  }
  std::vector<RankRecord> records(program.rows.size());
  ranks.each([&](Rank rank, Device& device) {
    Walker(run, rank, device, records[static_cast<std::size_t>(rank)]).walk();
  });
  if (control.failed()) throw RunError(control.failure());

  Execution execution;
  execution.stopped = control.stopped();
  execution.iterations_done = static_cast<std::int32_t>(std::max<std::int64_t>(0, control.walks() - options.warmup));
  execution.next_iteration = options.first_iteration + static_cast<std::int32_t>(control.walks()) * program.iterations;
  const Nanos zero = time_zero(start, records, options.warmup > 0);
  execution.timeline = measured_timeline(program, records, plan.names, zero);
  execution.timeline.iterations = execution.iterations_done * program.iterations;
  return execution;
}

}  // namespace bubblescope
