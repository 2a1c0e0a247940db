// A Program played on virtual clocks through the channels alone, by one thread, in one process or as if its ranks were in
// several that tell each other what they must, at once or in any order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <utility>
#include <vector>

#include "backend/channels.hpp"
#include "backend/plan.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {

/// Into how many processes the ranks are split, neighbours together.
struct VirtualSplit {
  std::int32_t processes = 1;
  std::uint32_t seed = 0;  ///< 0: what is told arrives at once; else in an order of its own, some of it late
};

struct VirtualOutcome {
  Nanos makespan = 0;
  std::vector<Nanos> first_start;  ///< by rank
  std::vector<Nanos> last_end;
  std::vector<std::vector<Nanos>> times;  ///< by rank: of all that was accepted, came and started, in the rank's order
  bool complete = true;

  friend bool operator==(const VirtualOutcome&, const VirtualOutcome&) = default;
  friend void PrintTo(const VirtualOutcome& outcome, std::ostream* out) {
    *out << (outcome.complete ? "complete" : "stuck");
    for (const auto& rank : outcome.times) {
      *out << "\n ";
      for (const Nanos time : rank) *out << ' ' << time;
    }
  }
};

class VirtualRun {
 public:
  VirtualRun(const Program& program, const StageCosts& costs, const Cluster& network, VirtualSplit split = {})
      : costs_(costs), links_(chain_links(program)), plan_(make_plan(program, network)), bells_(program.rows.size()), split_(split), random_(split.seed), ranks_(program.rows.size()) {
    for (std::int32_t p = 0; p < split.processes; ++p) sides_.push_back(std::make_unique<Side>(*this, p));
  }

  /// Plays `walks` walks of the rows; `visit` is the order in which ranks are asked.
  VirtualOutcome run(std::int64_t walks, const std::vector<Rank>& visit) {
    if (split_.processes > 1) {
      for (auto& side : sides_) side->channels.begin();
    }
    for (bool progress = true; progress;) {
      progress = false;
      const std::int64_t told = told_in_all_;
      for (const Rank rank : visit) {
        progress |= advance(rank, walks);
        tell();
      }
      if (!progress && !told_.empty()) tell_one();
      progress |= told_in_all_ > told;
    }
    VirtualOutcome outcome;
    for (State& state : ranks_) {
      outcome.complete &= state.walk > walks;
      outcome.makespan = std::max(outcome.makespan, state.last_end);
      outcome.first_start.push_back(state.first_start);
      outcome.last_end.push_back(state.last_end);
      outcome.times.push_back(std::move(state.times));
    }
    return outcome;
  }

  std::int64_t told_in_all() const { return told_in_all_; }

 private:
  struct State {
    std::int64_t walk = 0;  ///< after the last one what is late follows, as another walk
    std::size_t step = 0;
    Nanos clock = 0;
    bool begun = false;  ///< the step's offer or arrival has been made
    Nanos first_start = -1;
    Nanos last_end = 0;
    std::vector<Nanos> times;
  };

  /// A process: its ranks' ends of all channels.
  struct Side final : RemoteSides {
    Side(VirtualRun& all, std::int32_t number) : run(all), process(number), channels(all.plan_, all.bells_, all.split_.processes > 1 ? this : nullptr) {}
    bool here(Rank rank) const override { return run.process_of(rank) == process; }
    void accepted(std::int32_t message, std::int64_t walk, const Payload& payload, const Delivery& delivery) override {
      const Rank to = run.plan_.edges[at(run.plan_.messages[at(message)].edge)].to;
      run.told_.push_back([this, to, message, walk, payload, delivery] { run.channels_of(to).accepted(message, walk, payload, delivery, delivery.start); });
      run.told_.push_back([this, message, walk, delivery] { channels.left(message, walk, delivery.available); });
    }
    void granted(std::int32_t message, std::int64_t walk, const Turn& turn) override {
      run.told_.push_back([this, message, walk, turn] { run.sender_of(message).granted(message, walk, turn); });
    }
    void credited(std::int32_t message, std::int64_t walk, const Turn& credit) override {
      run.told_.push_back([this, message, walk, credit] { run.sender_of(message).credited(message, walk, credit); });
    }
    VirtualRun& run;
    const std::int32_t process;
    Channels channels;
  };

  std::int32_t process_of(Rank rank) const { return rank * split_.processes / static_cast<std::int32_t>(ranks_.size()); }
  Channels& channels_of(Rank rank) { return sides_[at(process_of(rank))]->channels; }
  Channels& sender_of(std::int32_t message) { return channels_of(plan_.edges[at(plan_.messages[at(message)].edge)].from); }

  /// What was said and has not arrived: all of it, or some.
  void tell() {
    while (!told_.empty() && (split_.seed == 0 || random_() % 3 == 0)) tell_one();
  }

  void tell_one() {
    const std::size_t which = split_.seed == 0 ? 0 : random_() % told_.size();
    const auto what = std::move(told_[which]);
    told_.erase(told_.begin() + static_cast<std::ptrdiff_t>(which));
    ++told_in_all_;
    what();
  }

  /// Goes on with one step of a rank, if it can.
  bool advance(Rank rank, std::int64_t walks) {
    State& state = ranks_[at(rank)];
    const auto& steps = plan_.ranks[at(rank)];
    if (state.walk > walks) return false;
    if (state.step == 0 && state.walk == walks && !state.begun) channels_of(rank).finish(rank, walks);
    bool moved = false;
    if (state.step < steps.size()) {
      const Step& step = steps[state.step];
      const bool skipped = step.late ? state.walk == 0 : state.walk == walks;
      const bool was_begun = state.begun;
      if (!skipped && !take(rank, state, step, state.walk - (step.late ? 1 : 0))) return state.begun != was_begun;
      ++state.step;
      moved = true;
    }
    state.begun = false;
    if (state.step < steps.size()) return true;
    state.step = 0;
    ++state.walk;
    return moved || state.walk <= walks;
  }

  bool take(Rank rank, State& state, const Step& step, std::int64_t walk) {
    Channels& channels = channels_of(rank);
    switch (step.action) {
      case Action::compute: {
        Nanos start = state.clock;
        for (const std::int32_t message : step.takes) {
          const Delivery delivery = channels.delivery(message, walk);
          if (!delivery.received) return false;
          start = std::max(start, delivery.available);
        }
        for (const std::int32_t message : step.takes) {
          const Delivery delivery = channels.delivery(message, walk);
          state.times.insert(state.times.end(), {delivery.offered, delivery.start, delivery.available});
          taken_[{message, walk}] = delivery.start;
          channels.take(message, walk, start, {});
        }
        state.times.push_back(start);
        if (state.first_start < 0) state.first_start = start;
        state.clock = start;
        for (const Op& part : step.parts) state.clock += costs_.at(part.stage, part.kind).duration;
        state.last_end = state.clock;
        return true;
      }
      case Action::send: {
        const Message& message = plan_.messages[at(step.message)];
        if (!state.begun) channels.offer(step.message, walk, {nullptr, costs_.bytes(boundary_stage(links_, message.send)).output}, state.clock, {});
        state.begun = true;
        if (plan_.edges[at(message.edge)].rules.send != Send::holding) return true;
        const Delivery delivery = channels.delivery(step.message, walk);
        if (!delivery.accepted) return false;
        const auto taken = taken_.find({step.message, walk});
        state.clock = std::max(state.clock, taken == taken_.end() ? delivery.start : taken->second);
        state.times.push_back(state.clock);
        return true;
      }
      case Action::receive: {
        if (!state.begun) channels.arrive(step.message, walk, state.clock, {});
        state.begun = true;
        const Delivery delivery = channels.delivery(step.message, walk);
        if (!delivery.received) return false;
        state.clock = std::max(state.clock, delivery.available);
        return true;
      }
      case Action::meet:
        return true;
    }
    return false;
  }

  StageCosts costs_;
  ChainLinks links_;
  Plan plan_;
  std::vector<Bell> bells_;
  VirtualSplit split_;
  std::mt19937 random_;
  std::vector<State> ranks_;
  std::vector<std::unique_ptr<Side>> sides_;
  std::vector<std::function<void()>> told_;  ///< and has not arrived
  std::int64_t told_in_all_ = 0;
  /// When entries were accepted that the receiver took before their sender looked: no clock would let it.
  std::map<std::pair<std::int32_t, std::int64_t>, Nanos> taken_;
};

}  // namespace bubblescope
