// Asynchronous decoupled greedy learning: no stage ever waits for another one. Every stage trains step after step
// on what its replay buffer holds: outputs of the stage before, a ring of M of them, the least used first, of
// these the newest. A fast stage replays, a slow one misses what was overwritten. Belilovsky et al., arXiv
// 1901.08164, section 4 and algorithm 2. Which entry a step finds depends on how fast the stages are, so the
// order is made for the costs and links it will run on. Outputs that nobody will read are not sent, which the paper's
// buffers do as well; so less goes over the links.
//
//   2 ranks, 4 steps, M = 1, rank 0 twice as slow; in brackets whose output is read
//   rank 0  F0 T0 T0 T0 F1 T1 T1 T1 F2 ...
//   rank 1  .. F0(0)T0 F1(0)T1 F2(1)T2 ...
//
// Makespan: of a stage, its first input and m (F + A + LB + U).
#include <algorithm>
#include <vector>

#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule async_dgl_schedule();

namespace {

/// A stage's replay buffer.
class Buffer {
 public:
  Buffer(std::int32_t capacity, std::int32_t most_uses) : capacity_(static_cast<std::size_t>(capacity)), most_uses_(most_uses) {}

  void put(Microbatch microbatch) {
    if (entries_.size() == capacity_) entries_.erase(entries_.begin());
    entries_.push_back({microbatch, 0});
  }
  /// The least used entry, of these the newest; -1 where none may be used, unless `any`.
  Microbatch take(bool any) {
    Entry* best = nullptr;
    for (Entry& entry : entries_) {
      if (!any && most_uses_ > 0 && entry.uses >= most_uses_) continue;
      if (best == nullptr || entry.uses <= best->uses) best = &entry;
    }
    if (best == nullptr) return -1;
    ++best->uses;
    return best->microbatch;
  }

 private:
  struct Entry {
    Microbatch microbatch;
    std::int32_t uses;
  };
  std::size_t capacity_;
  std::int32_t most_uses_;
  std::vector<Entry> entries_;  ///< oldest first
};

/// When every output of the stage before is there, in its order, and what the stage then reads in each step.
struct StageRun {
  std::vector<Microbatch> sources;
  std::vector<Nanos> outputs;  ///< when they have arrived at the next stage
};

StageRun run_stage(const std::vector<Nanos>& inputs, bool first, Buffer buffer, std::int32_t steps, Nanos forward, Nanos rest, Nanos way) {
  StageRun run;
  Nanos now = 0;
  Nanos free = 0;  // of the link: outputs go one after another
  std::size_t arrived = 0;
  const auto receive = [&](Nanos until) {
    for (; arrived < inputs.size() && inputs[arrived] <= until; ++arrived) buffer.put(static_cast<Microbatch>(arrived));
  };
  for (std::int32_t step = 0; step < steps; ++step) {
    Microbatch source = step;
    if (!first) {
      receive(now);
      // Nothing that may be used: wait for the next. Where none will come, what there is is used again.
      while ((source = buffer.take(arrived == inputs.size())) < 0) {
        now = std::max(now, inputs[arrived]);
        receive(now);
      }
    }
    run.sources.push_back(source);
    free = std::max(free, now + forward) + way;
    run.outputs.push_back(free);
    now += forward + rest;
  }
  return run;
}

Program generate_async_dgl(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("async-dgl");
  const auto capacity = static_cast<std::int32_t>(option_number(schedule, shape, "buffer"));
  const auto most_uses = static_cast<std::int32_t>(option_number(schedule, shape, "reuse"));
  Program program = make_program("async-dgl", shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  program.profile = Profile::local;
  program.weights = WeightPolicy::latest;
  program.channels.front().fifo = Fifo::edge;
  StageCosts costs(shape.ranks);
  if (shape.costs) {
    costs = shape.costs(program);
  } else {
    for (Stage s = 0; s < shape.ranks; ++s) costs.at(s, Kind::F).duration = costs.at(s, Kind::LB).duration = kMicrosecond;
  }
  std::vector<Nanos> arrivals;
  for (Rank r = 0; r < shape.ranks; ++r) {
    const auto duration = [&](Kind kind) { return costs.at(r, kind).duration; };
    const Nanos rest = duration(Kind::A) + duration(Kind::LB) + duration(Kind::U);
    const Nanos way = r + 1 < shape.ranks && shape.cluster.ranks() > 0 ? shape.cluster.between(r, r + 1).transfer(costs.bytes(r).output) : 0;
    StageRun run = run_stage(arrivals, r == 0, Buffer(capacity, most_uses), shape.microbatches, duration(Kind::F), rest, way);
    arrivals = std::move(run.outputs);
    program.sources.push_back(r == 0 ? std::vector<Microbatch>{} : std::move(run.sources));
    auto& row = program.rows[static_cast<std::size_t>(r)];
    for (Microbatch m = 0; m < shape.microbatches; ++m) {
      for (const Kind kind : {Kind::F, Kind::A, Kind::LB, Kind::U}) row.push_back(make_op(kind, r, m));
    }
  }
  return program;
}

}  // namespace

Schedule async_dgl_schedule() {
  Schedule schedule;
  schedule.name = "async-dgl";
  schedule.title = "Asynchronous DGL: local learning from replay buffers, nobody waits";
  schedule.paper = "Belilovsky et al., Decoupled Greedy Learning, arXiv 1901.08164";
  schedule.memory = "1 microbatch on every rank, and up to M boundary activations in its buffer";
  schedule.bubble = "fill only, (p-1)F; fast stages train on outputs again, slow ones miss some";
  schedule.options = {{"buffer", "outputs of the stage before that a replay buffer holds", "2", {}, 1, 1e6},
                      {"reuse", "how often a stage trains on one output, unless none comes any more; 0: without limit", "0", {}, 0, 1e6}};
  schedule.local = true;
  schedule.flush = false;
  schedule.whole_batches = true;
  schedule.searched = true;
  schedule.generate = generate_async_dgl;
  return schedule;
}

}  // namespace bubblescope
