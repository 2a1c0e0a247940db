// The flat form of a schedule search's problem, its lower bounds, and the timing of an order.
#include "sim/schedules/pipeline_problem.hpp"

#include <algorithm>

namespace bubblescope {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Nanos PipelineProblem::work(Rank rank) const {
  Nanos total = 0;
  for (int c = 0; c < chunks; ++c) {
    for (const Nanos part : duration[index(stage(rank, c))]) total += part;
  }
  return total;
}

PipelineProblem pipeline_problem(const ScheduleShape& shape, const Program& placed, std::vector<std::int32_t> limit) {
  PipelineProblem problem;
  problem.ranks = placed.ranks();
  problem.chunks = placed.stages() / placed.ranks();
  problem.microbatches = placed.microbatches;
  problem.stage_rank = placed.stage_rank;
  problem.limit = std::move(limit);
  const Stage stages = placed.stages();
  std::vector<std::int32_t> seen(index(problem.ranks), 0);
  problem.held.resize(index(stages));
  for (Stage s = 0; s < stages; ++s) {
    const Rank r = placed.stage_rank[index(s)];
    problem.stage_chunk.push_back(seen[index(r)]);
    problem.held[index(r * problem.chunks + seen[index(r)]++)] = s;
  }
  const StageCosts costs = shape.costs ? shape.costs(placed) : StageCosts(stages);
  const auto latency = [&](Stage from, Stage to, Stage boundary) {
    const Rank a = placed.stage_rank[index(from)], b = placed.stage_rank[index(to)];
    return a == b || shape.cluster.ranks() < problem.ranks ? 0 : shape.cluster.between(a, b).transfer(costs.bytes(boundary).output);
  };
  for (Stage s = 0; s < stages; ++s) {
    const Nanos even = kMicrosecond / problem.chunks;
    problem.duration.push_back(shape.costs ? std::array{costs.at(s, Kind::F).duration, costs.at(s, Kind::I).duration, costs.at(s, Kind::W).duration}
                                           : std::array{even, even, even});
    problem.forward_latency.push_back(s == 0 ? 0 : latency(s - 1, s, s - 1));
    problem.backward_latency.push_back(s + 1 == stages ? 0 : latency(s + 1, s, s));
  }
  return problem;
}

OrderTime lower_bound(const PipelineProblem& problem) {
  const Stage stages = problem.stages();
  // When F(s) of the first microbatch can start at the earliest, and how long after it its I can.
  std::vector<Nanos> forward(index(stages), 0), backward(index(stages), 0);
  for (Stage s = 1; s < stages; ++s) forward[index(s)] = forward[index(s - 1)] + problem.cost(s - 1, Phase::F) + problem.forward_latency[index(s)];
  backward[index(stages - 1)] = forward[index(stages - 1)] + problem.cost(stages - 1, Phase::F);
  for (Stage s = stages - 2; s >= 0; --s) backward[index(s)] = backward[index(s + 1)] + problem.cost(s + 1, Phase::I) + problem.backward_latency[index(s)];
  OrderTime bound;
  const Microbatch count = problem.microbatches;
  for (Rank r = 0; r < problem.ranks; ++r) {
    Stage first = problem.stage(r, 0);
    Stage last = problem.stage(r, problem.chunks - 1);
    const Microbatch limit = problem.limit[index(r)];
    const Nanos work = problem.work(r) * count;
    // Until the first I of the rank, which is its last stage's, at most `limit` forwards.
    Nanos most_forward = 0;
    for (int c = 0; c < problem.chunks; ++c) most_forward = std::max(most_forward, problem.cost(problem.stage(r, c), Phase::F));
    const Nanos before = backward[index(last)] - forward[index(first)];
    const Nanos can_run = std::min<Nanos>(problem.chunks == 1 ? std::min(limit, count) : limit, Nanos{count} * problem.chunks) * most_forward;
    const Nanos idle = std::max<Nanos>(0, before - can_run);
    Nanos span = work + idle;
    if (problem.chunks == 1) {
      const Microbatch left = std::max(0, count - limit);
      const Nanos before_last = idle + (count - 1) * problem.cost(first, Phase::F) + left * (problem.cost(first, Phase::I) + problem.cost(first, Phase::W));
      const Nanos chain = backward[index(first)] - forward[index(first)] + problem.cost(first, Phase::I) + problem.cost(first, Phase::W);
      span = std::max(span, (left > 0 ? before_last : (count - 1) * problem.cost(first, Phase::F)) + chain);
    } else {
      const Nanos chain = backward[index(first)] - forward[index(first)] + problem.cost(first, Phase::I) + problem.cost(first, Phase::W);
      span = std::max(span, (count - 1) * problem.cost(first, Phase::F) + chain);
    }
    bound.span = std::max(bound.span, span);
    bound.makespan = std::max(bound.makespan, forward[index(first)] + span);
  }
  return bound;
}

OrderTimer::OrderTimer(const PipelineProblem& problem) : problem_(&problem) {
  const std::size_t ranks = index(problem.ranks), pairs = index(problem.stages()) * index(problem.microbatches);
  const auto count = index(problem.microbatches);
  for (std::size_t r = 0; r <= ranks; ++r) row_begin_.push_back(r * index(problem.chunks) * count * kPhases);
  start_.resize(pairs * kPhases);
  end_.resize(pairs * kPhases);
  microbatch_.resize(pairs * kPhases);
  position_.resize(pairs * kPhases);
  // W reads no cell, and the I of the first stage writes one that nobody reads.
  ready_.resize(pairs * 2 + count);
  next_.resize(ranks);
  free_.resize(ranks);
  queued_.resize(ranks);
  const auto cell = [&](Stage s, bool backward) { return (index(s) * 2 + backward) * count; };
  for (Rank r = 0; r < problem.ranks; ++r) {
    for (int code = 0; code < problem.chunks * kPhases; ++code) {
      const Stage s = problem.stage(r, code / kPhases);
      const auto phase = static_cast<Phase>(code % kPhases);
      Slot slot;
      slot.duration = problem.cost(s, phase);
      slot.position = (index(s) * kPhases + index(code % kPhases)) * count;
      slot.input = cell(s, phase == Phase::I);
      slot.output = pairs * 2;
      slot.receiver = r;
      if (phase == Phase::F) {
        const bool turns = s + 1 == problem.stages();
        slot.output = turns ? cell(s, true) : cell(s + 1, false);
        slot.way = turns ? 0 : problem.forward_latency[index(s + 1)];
        slot.receiver = problem.stage_rank[index(turns ? s : s + 1)];
      } else if (phase == Phase::I && s > 0) {
        slot.output = cell(s - 1, true);
        slot.way = problem.backward_latency[index(s - 1)];
        slot.receiver = problem.stage_rank[index(s - 1)];
      }
      slots_.push_back(slot);
    }
  }
}

bool OrderTimer::run(const RowOrder& rows) {
  const PipelineProblem& problem = *problem_;
  const int codes = problem.chunks * kPhases;
  for (Slot& slot : slots_) slot.count = 0;
  std::fill(next_.begin(), next_.end(), 0);
  std::fill(free_.begin(), free_.end(), 0);
  std::fill(ready_.begin(), ready_.end(), Nanos{-1});
  std::fill(ready_.begin(), ready_.begin() + problem.microbatches, Nanos{0});
  runnable_.clear();
  for (Rank r = problem.ranks - 1; r >= 0; --r) runnable_.push_back(r);
  std::fill(queued_.begin(), queued_.end(), std::uint8_t{1});
  std::size_t done = 0;
  while (!runnable_.empty()) {
    const Rank r = runnable_.back();
    runnable_.pop_back();
    queued_[index(r)] = 0;
    const auto& row = rows[index(r)];
    const std::size_t begin = row_begin_[index(r)], size = row.size();
    Slot* slots = slots_.data() + r * codes;
    Nanos now = free_[index(r)];
    const auto from = index(next_[index(r)]);
    std::size_t at = from;
    for (; at < size; ++at) {
      const int code = row[at].code;
      Slot& slot = slots[code];
      const auto j = index(slot.count);
      if (code % kPhases == 2) {
        if (slot.count >= slots[code - 1].count) return false;
        start_[begin + at] = now;
        now += slot.duration;
      } else {
        const Nanos ready = ready_[slot.input + j];
        if (ready < 0) break;
        now = std::max(now, ready);
        start_[begin + at] = now;
        now += slot.duration;
        ready_[slot.output + j] = now + slot.way;
        if (slot.receiver != r && !queued_[index(slot.receiver)]) {
          queued_[index(slot.receiver)] = 1;
          runnable_.push_back(slot.receiver);
        }
      }
      end_[begin + at] = now;
      microbatch_[begin + at] = slot.count;
      position_[slot.position + j] = static_cast<std::int32_t>(at);
      ++slot.count;
    }
    done += at - from;
    free_[index(r)] = now;
    next_[index(r)] = static_cast<std::int32_t>(at);
  }
  if (done != problem.op_count()) return false;
  time_ = {};
  for (Rank r = 0; r < problem.ranks; ++r) {
    time_.makespan = std::max(time_.makespan, free_[index(r)]);
    time_.span = std::max(time_.span, free_[index(r)] - start_[row_begin_[index(r)]]);
  }
  return true;
}

std::vector<std::int32_t> peak_activations(const PipelineProblem& problem, const RowOrder& rows) {
  std::vector<std::int32_t> peaks;
  for (Rank r = 0; r < problem.ranks; ++r) {
    std::int32_t alive = 0, peak = 0;
    for (const RowOp op : rows[index(r)]) {
      alive += op.phase() == Phase::F ? 1 : op.phase() == Phase::W ? -1 : 0;
      peak = std::max(peak, alive);
    }
    peaks.push_back(peak);
  }
  return peaks;
}

}  // namespace bubblescope
