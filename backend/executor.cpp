// The executor: every rank walks its steps; channels, meetings and the run's control join them.
#include "backend/executor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "backend/channels.hpp"
#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/exchange.hpp"
#include "backend/fields.hpp"
#include "backend/meetings.hpp"
#include "backend/nvtx.hpp"
#include "backend/plan.hpp"
#include "backend/records.hpp"
#include "backend/run_control.hpp"
#include "backend/stream_execution.hpp"
#include "backend/walker.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "sim/core/validate.hpp"

namespace bubblescope {
namespace {

/// When all ranks were released together or, after a warm-up, when the first measured op started.
Nanos time_zero(Nanos released, const std::vector<RankRecord>& records, bool warmed_up) {
  Nanos zero = -1;
  for (const RankRecord& record : records) {
    const auto first = std::find_if(record.spans.begin(), record.spans.end(), [](const Record& span) { return is_compute(span.op.kind); });
    if (first != record.spans.end() && (zero < 0 || first->start < zero)) zero = first->start;
  }
  return !warmed_up || zero < 0 ? released : zero;
}

std::string to_bytes(const RankRecord& record) { return FieldsOut().add(record.spans).add(record.deliveries).add(record.memory).take(); }

RankRecord from_bytes(FieldsIn& fields) {
  RankRecord record;
  record.spans = fields.get<std::vector<Record>>();
  record.deliveries = fields.get<std::vector<Delivery>>();
  record.memory = fields.get<std::vector<MemorySample>>();
  return record;
}

/// To the first process's clock.
void shift(RankRecord& record, const ClockFit& clock) {
  const auto move = [&clock](Nanos& time) { time = clock.to_common(time); };
  for (Record& span : record.spans) move(span.start), move(span.end);
  for (Delivery& delivery : record.deliveries) {
    for (Nanos* time : {&delivery.offered, &delivery.start, &delivery.available, &delivery.taken}) move(*time);
  }
  for (MemorySample& sample : record.memory) move(sample.time);
}

/// At the first process: the records of all ranks, in its clock, and how the clocks were related since the execution began;
/// elsewhere `records` goes.
std::vector<ClockFit> gather(World& world, std::vector<RankRecord>& records, RankRange own) {
  world.compare_clocks();
  FieldsOut mine;
  for (Rank r = own.first; r < own.last; ++r) mine.add(to_bytes(records[at(r)]));
  const std::vector<std::string> all = world.gather(mine.take());
  std::vector<ClockFit> clocks;
  for (std::int32_t p = 0; p < static_cast<std::int32_t>(all.size()); ++p) {
    clocks.push_back(fit_clock(world.take_clock_samples(p)));
    FieldsIn fields(all[at(p)]);
    const RankRange theirs = ranks_of_process(p, world.processes(), static_cast<std::int32_t>(records.size()));
    for (Rank r = theirs.first; r < theirs.last; ++r) {
      const auto bytes = fields.get<std::string>();
      FieldsIn record(bytes);
      records[at(r)] = from_bytes(record);
      if (p > 0) shift(records[at(r)], clocks.back());
    }
  }
  return clocks;
}

/// What every rank is doing, for other processes; any thread may ask.
std::string places_text(const Program& program, const Plan& plan, std::span<const std::atomic<std::int64_t>> places, RankRange own, std::int32_t first_iteration) {
  std::string text;
  for (Rank r = own.first; r < own.last; ++r) {
    if (plan.ranks[at(r)].empty()) continue;
    const std::int64_t place = places[at(r)].load(std::memory_order_relaxed);
    const Step& step = plan.ranks[at(r)][at(place & ((std::int64_t{1} << kStepBits) - 1))];
    const auto iteration = first_iteration + static_cast<std::int32_t>(place >> kStepBits) * program.iterations + step.op.iteration;
    text += fmt::format("{}rank {} was in op {} ({}), iteration {}", text.empty() ? "" : ", ", r, step.position, cell(program, step.op), iteration);
  }
  return text;
}

/// While it lives, other processes can tell this one things and ask what it does. The last of an execution's parts to
/// be made: they must not be told anything once they go.
class Joined {
 public:
  Joined(World* world, Exchange* exchange, Lifeline::State state) : world_(world), exchange_(exchange), activity_(world, std::move(state)) {}
  ~Joined() {
    if (world_ == nullptr) return;
    world_->watch_clocks(false);
    exchange_->end();
  }
  Joined(const Joined&) = delete;
  Joined& operator=(const Joined&) = delete;

 private:
  World* world_;
  Exchange* exchange_;
  World::Activity activity_;
};

/// Whether the execution failed anywhere; every process throws the same.
void throw_failure(World* world, const RunControl& control) {
  if (world == nullptr) {
    if (control.failed()) throw RunError(control.failure());
    return;
  }
  world->check();
  std::string first;
  for (const std::string& failure : world->gather_all(control.failed() ? control.failure() : std::string())) {
    if (first.empty() || failure.starts_with(first)) first = failure;  // who was told of it may know only its beginning
  }
  if (!first.empty()) throw CommonError(first);
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
  if (World* const world = ranks.world()) {
    for (const std::string& one : world->gather_all(FieldsOut().add(sizes).take())) {
      const auto theirs = FieldsIn(one).get<std::vector<std::int64_t>>();
      for (std::size_t s = 0; s < sizes.size(); ++s) sizes[s] = std::max(sizes[s], theirs[s]);
    }
  }
  const std::vector<Finding> findings = check_progress(program, sizes);
  if (!findings.empty()) throw CommonError("with messages of this size: " + describe(findings.front()));  // all know all sizes
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
  std::vector<GroupPlan> groups = plan.groups;
  const auto start = static_cast<std::int32_t>(groups.size());
  GroupPlan& everyone = groups.emplace_back();
  for (Rank r = 0; r < program.ranks(); ++r) everyone.members.push_back(r);

  const std::int64_t walks = std::int64_t{std::max(0, options.warmup)} + std::max(0, options.iterations);
  World* const world = ranks.world();
  std::optional<Exchange> exchange;
  if (world != nullptr) exchange.emplace(*world, plan, groups, program.ranks(), ranks.codec());
  Exchange* const remote = exchange ? &*exchange : nullptr;
  Channels channels(plan, bells, remote);
  Meetings meetings(groups, bells, remote);
  RunControl control(walks, options.stop, bells, remote);
  std::vector<std::atomic<std::int64_t>> places(program.rows.size());
  Run run{program, options, plan, bells, channels, meetings, start, control, options.spin >= 0 ? options.spin : ranks.spin(), places};
  const Joined joined(world, remote, [&] { return places_text(program, plan, places, ranks.own(), options.first_iteration); });

  if (!options.cores.empty()) {
    ranks.each([&](Rank rank, Device&) { pin_thread(options.cores[static_cast<std::size_t>(rank)]); });
  }
  if (world != nullptr) {
    world->compare_clocks();
    world->watch_clocks(options.record);
    exchange->begin(channels, meetings, control);
  }
  std::vector<RankRecord> records(program.rows.size());
  ranks.each([&](Rank rank, Device& device) {
    Walker(run, rank, device, records[static_cast<std::size_t>(rank)]).walk();
  });
  throw_failure(world, control);

  Execution execution;
  execution.stopped = control.stopped();
  execution.iterations_done = static_cast<std::int32_t>(std::max<std::int64_t>(0, control.walks() - options.warmup));
  execution.next_iteration = options.first_iteration + static_cast<std::int32_t>(control.walks()) * program.iterations;
  MeetingResult released;
  if (!meetings.complete(start, 0, released)) throw RunError("the ranks never met");
  if (world != nullptr && options.record) {
    execution.clocks = gather(*world, records, ranks.own());
    if (!world->first()) return execution;
  }
  const Nanos zero = time_zero(released.last, records, options.warmup > 0);
  execution.timeline = measured_timeline(program, records, plan.names, zero);
  execution.timeline.iterations = execution.iterations_done * program.iterations;
  return execution;
}

}  // namespace bubblescope
