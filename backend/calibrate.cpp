// Runs the ranks' rows without channels and collects durations.
#include "backend/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/handover.hpp"
#include "sim/core/index.hpp"
#include "backend/rehearsal.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// Durations by stage and kind.
class Samples {
 public:
  explicit Samples(std::int32_t stages) : table_(at(stages) * kKinds) {}
  void add(const Sample& sample) { table_[at(sample.stage) * kKinds + at(static_cast<int>(sample.kind))].push_back(sample.end - sample.start); }
  Quartiles of(Stage stage, Kind kind) const { return quartiles(table_[at(stage) * kKinds + at(static_cast<int>(kind))]); }

 private:
  std::vector<std::vector<Nanos>> table_;
};

class Calibrator {
 public:
  Calibrator(const Program& program, Ranks& ranks, const CalibrateOptions& options)
      : ranks_(ranks), options_(options), stages_(program.stages()), alone_(stages_), busy_(stages_), found_(program.rows.size()) {
    for (Rank r = 0; r < program.ranks(); ++r) rehearsals_.emplace_back(program, r);
    groups_ = busy_groups(program.ranks(), options.cores, available_cores());
  }

  Calibration run() {
    std::vector<std::shared_ptr<const void>> before(found_.size());
    ranks_.each([&](Rank r, Device& device) { before[at(r)] = device.snapshot(); });
    // Memory is asked for first: for one rank's work, then for that of all who work at once.
    for (Rank r = 0; r < ranks_.count() && !stopped(); ++r) walk_alone(r, 1);
    for (auto& samples : found_) samples.clear();
    if (options_.rounds > 0 && !stopped()) walk_together();
    busy_ = Samples(stages_);
    for (std::int32_t round = 0; round < options_.rounds && !stopped(); ++round) {
      for (Rank r = 0; r < ranks_.count() && !stopped(); ++r) walk_alone(r, options_.walks);
      collect(alone_, 0, std::numeric_limits<Nanos>::max());
      if (!stopped()) walk_together();
      if (options_.progress) options_.progress(round);
    }
    Calibration result;
    result.stopped = stopped();
    for (Stage s = 0; s < stages_; ++s) {
      for (int k = 0; k < kKinds; ++k) {
        MeasuredOp op{s, static_cast<Kind>(k), alone_.of(s, static_cast<Kind>(k)), busy_.of(s, static_cast<Kind>(k)), 0};
        if (op.alone.count > 0) result.ops.push_back(op);
      }
    }
    if (!result.stopped) {
      const WaitCosts waits = measure_waits(ranks_, options_.waits);
      result.handover = waits.handover;
      result.sync = waits.sync;
    }
    ranks_.each([&](Rank r, Device& device) {
      if (before[at(r)]) device.restore(before[at(r)]);
    });
    return result;
  }

 private:
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }

  void walk_alone(Rank rank, std::int32_t walks) {
    ranks_.each([&](Rank r, Device& device) {
      if (r != rank) return;
      for (std::int32_t w = 0; w < walks; ++w) rehearsals_[at(r)].walk(device, found_[at(r)]);
    });
  }

  void walk_together() {
    for (const auto& group : groups_) {
      if (group.size() > 1) walk_together(group);
    }
  }

  /// All ranks of a group walk until each has done its walks, so that nobody falls idle before.
  void walk_together(const std::vector<Rank>& group) {
    std::atomic<std::int32_t> waiting{static_cast<std::int32_t>(group.size())};
    std::atomic<std::int32_t> working{static_cast<std::int32_t>(group.size())};
    std::atomic<Nanos> first_end{std::numeric_limits<Nanos>::max()};
    std::vector<Nanos> begun(group.size());
    ranks_.each([&](Rank r, Device& device) {
      const auto place = std::find(group.begin(), group.end(), r);
      if (place == group.end()) return;
      if (waiting.fetch_sub(1) == 1) {
        waiting.notify_all();
      } else {
        for (std::int32_t left = waiting.load(); left > 0; left = waiting.load()) waiting.wait(left);
      }
      begun[at(place - group.begin())] = steady_now();
      // A device that fails must not leave the others walking for ever.
      struct Leave {
        std::atomic<std::int32_t>& working;
        std::atomic<Nanos>& first_end;
        bool left = false;
        void now() {
          if (left) return;
          left = true;
          if (working.fetch_sub(1) == 1) first_end.store(steady_now());
        }
        ~Leave() { now(); }
      } leave{working, first_end};
      for (std::int32_t w = 0; w < options_.walks || working.load() > 0; ++w) {
        rehearsals_[at(r)].walk(device, found_[at(r)]);
        if (w + 1 >= options_.walks) leave.now();
      }
    });
    collect(busy_, *std::max_element(begun.begin(), begun.end()), first_end.load());
  }

  /// Takes over what began and ended in [from, to].
  void collect(Samples& into, Nanos from, Nanos to) {
    for (auto& samples : found_) {
      for (const Sample& sample : samples) {
        if (sample.start >= from && sample.end <= to) into.add(sample);
      }
      samples.clear();
    }
  }

  Ranks& ranks_;
  const CalibrateOptions& options_;
  std::int32_t stages_;
  std::vector<Rehearsal> rehearsals_;
  std::vector<std::vector<Rank>> groups_;
  Samples alone_;
  Samples busy_;
  std::vector<std::vector<Sample>> found_;  // rank -> samples of the walk under way
};

}  // namespace

std::vector<std::vector<Rank>> busy_groups(std::int32_t ranks, const std::vector<std::vector<int>>& cores, std::int32_t available) {
  std::vector<std::vector<Rank>> groups;
  std::vector<bool> covered(at(ranks), false);
  for (Rank first = 0; first < ranks; ++first) {
    if (covered[at(first)]) continue;
    std::set<int> used;
    std::int32_t unpinned = 0;
    std::vector<Rank> group;
    for (std::int32_t i = 0; i < ranks; ++i) {
      const Rank rank = (first + i) % ranks;
      const bool pinned = at(rank) < cores.size() && !cores[at(rank)].empty();
      if (pinned) {
        const auto& own = cores[at(rank)];
        if (std::any_of(own.begin(), own.end(), [&used](int core) { return used.contains(core); })) continue;
        used.insert(own.begin(), own.end());
      } else if (++unpinned > available) {
        break;
      }
      group.push_back(rank);
      covered[at(rank)] = true;
    }
    std::sort(group.begin(), group.end());
    groups.push_back(std::move(group));
  }
  return groups;
}

Calibration calibrate(const Program& program, Ranks& ranks, const CalibrateOptions& options) {
  if (ranks.count() != program.ranks()) {
    throw InputError(fmt::format("the program has {} ranks, but there are {} to measure it on", program.ranks(), ranks.count()));
  }
  return Calibrator(program, ranks, options).run();
}

}  // namespace bubblescope
