// Runs the ranks' rows without channels and collects durations.
#include "backend/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/direct_streams.hpp"
#include "backend/channel_costs.hpp"
#include "backend/fields.hpp"
#include "backend/handover.hpp"
#include "backend/overlap.hpp"
#include "backend/rehearsal.hpp"
#include "backend/traffic.hpp"
#include "backend/transfers.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

/// Of fewer walks the spread says little about the error; that of one is 0.
constexpr std::size_t kFewestForError = 8;

/// Durations by stage and kind.
class Samples {
 public:
  explicit Samples(std::int32_t stages) : table_(at(stages) * kKinds) {}
  void add(const Sample& sample) {
    Op& op = table_[index(sample.stage, sample.kind)];
    op.device.push_back(sample.end - sample.start);
    op.host.push_back(sample.host);
    auto& [total, count] = op.walks[sample.walk];
    total += static_cast<double>(sample.end - sample.start);
    ++count;
  }
  OpTimes of(Stage stage, Kind kind) const {
    const Op& op = table_[index(stage, kind)];
    return {quartiles(op.device), static_cast<Nanos>(std::llround(fenced_mean(op.means()).value))};
  }
  Quartiles host(Stage stage, Kind kind) const { return quartiles(table_[index(stage, kind)].host); }

  /// The largest relative standard error of a mean, of the ops that count (CalibrateOptions::noise).
  double largest_error(std::int32_t ranks) const {
    std::vector<double> totals;
    for (const Op& op : table_) totals.push_back(std::accumulate(op.device.begin(), op.device.end(), 0.0));
    const double total = std::accumulate(totals.begin(), totals.end(), 0.0);
    double largest = 0;
    for (std::size_t i = 0; i < table_.size(); ++i) {
      if (totals[i] * 100 * ranks < total || table_[i].device.empty()) continue;
      const std::vector<double> means = table_[i].means();
      if (means.size() < kFewestForError) return std::numeric_limits<double>::infinity();
      const FencedMean mean = fenced_mean(means);
      largest = std::max(largest, mean.error / std::max(1.0, mean.value));
    }
    return largest;
  }

 private:
  struct Op {
    std::vector<Nanos> device, host;
    std::map<std::int32_t, std::pair<double, int>> walks;  ///< walk -> total and number of its samples

    std::vector<double> means() const {
      std::vector<double> means;
      for (const auto& [walk, samples] : walks) means.push_back(samples.first / samples.second);
      return means;
    }
  };
  static std::size_t index(Stage stage, Kind kind) { return at(stage) * kKinds + at(static_cast<int>(kind)); }
  std::vector<Op> table_;
};

/// Of all processes' hosts: every process must make the same groups.
std::int32_t fewest_cores(World* world) {
  std::int32_t fewest = available_cores();
  if (world == nullptr) return fewest;
  for (const std::string& one : world->gather_all(FieldsOut().add(fewest).take())) fewest = std::min(fewest, FieldsIn(one).get<std::int32_t>());
  return fewest;
}

class Calibrator {
 public:
  Calibrator(const Program& program, Ranks& ranks, const CalibrateOptions& options)
      : ranks_(ranks), options_(options), stages_(program.stages()), alone_(stages_), busy_(stages_), found_(program.rows.size()) {
    for (Rank r = 0; r < program.ranks(); ++r) rehearsals_.emplace_back(program, r);
    activity_.emplace(ranks.world(), [this] { return place(); });
    if (World* const world = ranks.world()) {
      world->compare_clocks();
      traffic_.emplace(*world, ranks.codec(), ranks.count());
    }
    groups_ = busy_groups(program.ranks(), options.cores, fewest_cores(ranks.world()));
    std::vector<LaneSpec> lanes;
    std::size_t events = 0;
    for (Rank r = 0; r < program.ranks(); ++r) {
      lanes.push_back({r, StreamKind::compute});
      first_event_.push_back(static_cast<std::int32_t>(events));
      events += rehearsals_[at(r)].events();
    }
    lanes.push_back({0, StreamKind::communication});
    transfer_event_ = static_cast<std::int32_t>(events);
    events += 2 * rehearsals_.front().ops();
    StreamSource* const source = ranks.stream_source();
    on_streams_ = source != nullptr;
    streams_ = source != nullptr ? source->streams(lanes, events) : std::make_unique<DirectStreams>(events);
  }

  Calibration run() {
    std::vector<std::shared_ptr<const void>> before(found_.size());
    ranks_.each([&](Rank r, Device& device) { before[at(r)] = device.snapshot(); });
    // Memory is asked for first: for one rank's work, then for that of all who work at once.
    for (Rank r = 0; r < ranks_.count() && !stopped(); ++r) walk_alone(r, 1);
    for (auto& samples : found_) samples.clear();
    if (options_.rounds > 0 && !stopped()) walk_together();
    busy_ = Samples(stages_);
    const Nanos begun = steady_now();
    const auto goes_on = [&](std::int32_t round) {
      return round < options_.rounds || (options_.noise > 0 && ranks_.any(steady_now() - begun < options_.longest && noisy()));
    };
    for (std::int32_t round = 0; !stopped() && goes_on(round); ++round) {
      for (Rank r = 0; r < ranks_.count() && !stopped(); ++r) walk_alone(r, options_.walks);
      collect(alone_, 0, std::numeric_limits<Nanos>::max());
      if (!stopped()) walk_together();
      if (options_.progress) options_.progress(round);
    }
    Calibration result;
    result.stopped = stopped();
    for (Stage s = 0; s < stages_; ++s) {
      for (int k = 0; k < kKinds; ++k) {
        const auto kind = static_cast<Kind>(k);
        MeasuredOp op{s, kind, alone_.of(s, kind), busy_.of(s, kind), 0, {}};
        if (streams_->host_counts()) op.host = op.busy.count > 0 ? busy_.host(s, kind) : alone_.host(s, kind);
        if (op.alone.count > 0) result.ops.push_back(op);
      }
    }
    share_ops(result);
    if (!result.stopped && ranks_.world() != nullptr) {
      measure_channels(result);
    } else if (!result.stopped && on_streams_) {
      measure_streams(result);
      result.stopped = stopped();
    } else if (!result.stopped) {
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
  bool noisy() const { return std::max(alone_.largest_error(ranks_.own().count()), busy_.largest_error(ranks_.own().count())) > options_.noise; }

  /// What this process does, for others; any thread may ask.
  std::string place() const {
    std::string text;
    for (Rank r = ranks_.own().first; r < ranks_.own().last; ++r) {
      const std::string op = rehearsals_[at(r)].place();
      if (!op.empty()) text += fmt::format("{}rank {} was calibrating {}", text.empty() ? "" : ", ", r, op);
    }
    return text.empty() ? "it was calibrating" : text;
  }

  bool stopped() const { return ranks_.any(options_.stop != nullptr && options_.stop->load()); }

  /// A stage's ops were measured in the process that has it.
  void share_ops(Calibration& result) const {
    World* const world = ranks_.world();
    if (world == nullptr) return;
    const std::vector<std::string> all = world->gather_all(FieldsOut().add(result.ops).take());
    result.ops.clear();
    for (const std::string& one : all) {
      const auto theirs = FieldsIn(one).get<std::vector<MeasuredOp>>();
      result.ops.insert(result.ops.end(), theirs.begin(), theirs.end());
    }
    std::sort(result.ops.begin(), result.ops.end(), [](const MeasuredOp& a, const MeasuredOp& b) { return std::pair(a.stage, a.kind) < std::pair(b.stage, b.kind); });
  }

  /// Between processes: messages of a small size and of those that the program sends.
  void measure_channels(Calibration& result) {
    std::set<std::int64_t> sizes{1 << 10};
    std::mutex mutex;
    ranks_.each([&](Rank r, Device& device) {
      const std::vector<std::int64_t> own = rehearsals_[at(r)].message_bytes(device);
      const std::lock_guard lock(mutex);
      sizes.insert(own.begin(), own.end());
    });
    const std::vector<std::int64_t> mine(sizes.begin(), sizes.end());
    for (const std::string& one : ranks_.world()->gather_all(FieldsOut().add(mine).take())) {
      for (const std::int64_t size : FieldsIn(one).get<std::vector<std::int64_t>>()) sizes.insert(size);
    }
    const std::vector<std::int64_t> all(sizes.begin(), sizes.end());
    constexpr Nanos kForOneSize = kSecond / 2;
    const auto compute = [this](Rank rank, Device& device) {
      walk(rank, device);
      rehearsals_[at(rank)].finish(*streams_, found_[at(rank)]);
      found_[at(rank)].clear();
    };
    const std::vector<std::string> hosts = ranks_.world()->hosts();
    const auto across = first_two(hosts, false), beside = first_two(hosts, true);
    const auto messages = [&](std::pair<std::int32_t, std::int32_t> processes) { return measure_messages(ranks_, processes, all, {options_.waits, kForOneSize}, compute); };
    if (across || beside) {
      result.messages = messages(across ? *across : *beside);
      result.sync = measure_barriers(ranks_, options_.waits);
    }
    if (across && beside) result.beside = messages(*beside);
    const Quartiles inside = measure_handover(ranks_, options_.waits);
    const std::string first = ranks_.world()->broadcast(FieldsOut().add(inside).take());
    result.handover = FieldsIn(first).get<Quartiles>();
    result.stopped = stopped();
  }

  std::int32_t walk(Rank rank, Device& device, const Rehearsal::Sent* sent = nullptr) {
    return rehearsals_[at(rank)].walk(device, *streams_, rank, first_event_[at(rank)], found_[at(rank)], sent);
  }

  void walk_alone(Rank rank, std::int32_t walks) {
    ranks_.each([&](Rank r, Device& device) {
      if (r != rank) return;
      // In a run the host is ahead of its device: so that it is here, too, there is a walk before those that count.
      const std::int32_t issued = walks + (on_streams_ ? 1 : 0);
      auto& found = found_[at(r)];
      for (std::int32_t w = 0; w < issued; ++w) walk(r, device);
      rehearsals_[at(r)].finish(*streams_, found);
      found.erase(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(found.size() / at(issued) * at(issued - walks)));
    });
  }

  void walk_together() {
    for (const auto& group : groups_) {
      if (group.size() > 1) walk_together(group);
    }
  }

  /// On streams a message costs what its transport takes and what a lane takes to notice another's event; a barrier
  /// is taken to cost what the smallest message does.
  void measure_streams(Calibration& result) {
    streams_->all_done();  // host and device are compared at the scale of microseconds
    std::set<std::int64_t> sizes{1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 26};
    std::mutex mutex;
    ranks_.each([&](Rank r, Device& device) {
      const std::vector<std::int64_t> own = rehearsals_[at(r)].message_bytes(device);
      const std::lock_guard lock(mutex);
      sizes.insert(own.begin(), own.end());
    });
    TransferWalk walk_of_first;
    walk_of_first.ops = static_cast<std::int32_t>(rehearsals_.front().ops());
    walk_of_first.issue = [this](Device& device) { return walk(0, device); };
    walk_of_first.finish = [this] {
      rehearsals_.front().finish(*streams_, found_.front());
      found_.front().clear();
    };
    const std::vector<std::int64_t> in_turn(sizes.begin(), sizes.end());
    const std::int32_t count = std::max(1, options_.waits / static_cast<std::int32_t>(in_turn.size()));
    result.messages.one_way = measure_transfers(ranks_, *streams_, {ranks_.count(), 1, transfer_event_}, walk_of_first, in_turn, count, options_.longest, options_.stop);
    if (!result.messages.one_way.empty()) result.handover = result.sync = result.messages.one_way.front().time;
  }

  /// All ranks of a group walk until each has done its walks, so that nobody falls idle before.
  void walk_together(const std::vector<Rank>& group) {
    std::vector<Rank> own;
    std::set<std::int32_t> processes;  // that have ranks of it
    for (const Rank rank : group) {
      if (ranks_.own().holds(rank)) own.push_back(rank);
      processes.insert(process_of_rank(rank, ranks_.world() == nullptr ? 1 : ranks_.world()->processes(), ranks_.count()));
    }
    Overlap overlap(ranks_.world(), static_cast<std::int32_t>(own.size()), static_cast<std::int32_t>(processes.size()));
    ranks_.each([&](Rank r, Device& device) {
      if (std::find(own.begin(), own.end(), r) == own.end()) return;
      Overlap::Member member(overlap);
      for (std::int32_t w = 0; w < options_.walks || overlap.goes_on(); ++w) {
        walk(r, device, traffic_ ? &sent_ : nullptr);
        if (w + 1 == options_.walks) rehearsals_[at(r)].finish(*streams_, found_[at(r)]);  // its walks are done, not only issued
        if (w + 1 >= options_.walks) member.done();
      }
      rehearsals_[at(r)].finish(*streams_, found_[at(r)]);
    });
    if (traffic_) traffic_->settle();
    const auto [from, to] = overlap.times();
    collect(busy_, from, to);
  }

  /// Takes over the walks that lay in [from, to] for three quarters of their time or more: all of their ops or none, as
  /// ops at the beginning of a walk differ from those at its end.
  void collect(Samples& into, Nanos from, Nanos to) {
    for (auto& samples : found_) {
      for (auto walk = samples.begin(); walk != samples.end();) {
        const auto next = std::find_if(walk, samples.end(), [&](const Sample& sample) { return sample.walk != walk->walk; });
        const Nanos start = walk->start, end = std::prev(next)->end;
        const bool counts = std::min(end, to) - std::max(start, from) >= (end - start) / 4 * 3;
        for (; walk != next; ++walk) {
          if (counts) into.add(*walk);
        }
      }
      samples.clear();
    }
  }

  Ranks& ranks_;
  const CalibrateOptions& options_;
  std::int32_t stages_;
  std::deque<Rehearsal> rehearsals_;
  std::vector<std::int32_t> first_event_;  // by rank
  std::int32_t transfer_event_ = 0;        // first of those that time messages
  bool on_streams_ = false;
  std::vector<std::vector<Rank>> groups_;
  Samples alone_;
  Samples busy_;
  std::optional<Traffic> traffic_;  ///< between processes
  const Rehearsal::Sent sent_ = [this](const Op& send, const Payload& payload, Rank to) { traffic_->send(send, payload, to); };
  std::vector<std::vector<Sample>> found_;   // rank -> samples of the walk under way
  std::unique_ptr<Streams> streams_;         // its lanes do what the others gave them
  std::optional<World::Activity> activity_;  // first to go: it asks the others
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
