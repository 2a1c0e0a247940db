// Memory over time: what each op allocates and frees on which rank.
#include "sim/engine/memory.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sim/core/interlocking.hpp"

namespace bubblescope {
namespace {

enum class Part : std::uint8_t { activations, queue, versions };

struct Change {
  Nanos time;
  std::int64_t bytes;
  std::int32_t activations;  // stage activations that come alive (1) or end (-1)
  Part part;
  bool allocates() const { return bytes > 0 || activations > 0; }
};

class Changes {
 public:
  Changes(const Program& program, const StageCosts& costs) : program_(program), costs_(costs), interlocking_(program), links_(chain_links(program)), of_rank_(program.rows.size()), stashes_(program.stage_rank.size()) {
    for (const auto& row : program.rows) {
      for (const Op& op : row) {
        for (const Op& part : program.parts_of(op)) {
          if (part.kind == Kind::R) recomputed_.insert({part.stage, part.microbatch});
        }
      }
    }
  }

  void add(const Span& span) {
    // A timeline of several iterations numbers the compounds of each behind those before.
    Op first = span.op;
    if (is_compound(first.kind)) first.operand %= static_cast<std::int32_t>(program_.compounds.size());
    for (Op op : program_.parts_of(first)) {
      if (op.stage < 0 || op.stage >= program_.stages()) continue;
      op.iteration = span.op.iteration;
      add(op, span);
    }
  }

  std::vector<std::vector<Change>> take() { return std::move(of_rank_); }

 private:
  void add(const Op& op, const Span& span) {
    const auto stage = static_cast<std::size_t>(op.stage);
    const Rank rank = program_.stage_rank[stage];
    const StageBytes bytes = op.stage < costs_.stages() ? costs_.bytes(op.stage) : StageBytes{};
    switch (op.kind) {
      case Kind::F:
        if (program_.profile != Profile::forward_only) put(rank, span.start, !recomputed_.empty() && recomputed_.contains({op.stage, op.microbatch}) ? kept_input(op) : bytes.activations, 1, Part::activations);
        use_version(op);
        if (is_last_reader(program_, op)) take_entry(source_of(program_, op), links_.previous[stage], rank, span.start);
        break;
      case Kind::I:
        put(rank, span.end, bytes.activations_until_w - bytes.activations, 0, Part::activations);
        take_gradient(op, rank, span.start);
        break;
      case Kind::R:
        put(rank, span.start, bytes.activations - kept_input(op), 0, Part::activations);
        break;
      case Kind::W:
        put(rank, span.end, -bytes.activations_until_w, -1, Part::activations);
        release_version(op, rank, span.end);
        break;
      case Kind::U:
        keep_version(op, rank, span.start);
        break;
      case Kind::B:
        if (program_.profile == Profile::interlocking) {
          // Own loss and auxiliary network go with the first backward, the stage's activations with the last.
          if (interlocking_.own(op)) put(rank, span.end, -bytes.auxiliary_activations, 0, Part::activations);
          if (interlocking_.last(op)) put(rank, span.end, -bytes.activations, -1, Part::activations);
          if (interlocking_.own(op)) break;
        } else {
          put(rank, span.end, -bytes.activations, -1, Part::activations);
        }
        release_version(op, rank, span.end);
        take_gradient(op, rank, span.start);
        break;
      case Kind::A:
        put(rank, span.start, bytes.auxiliary_activations, 0, Part::activations);
        break;
      case Kind::LB:
        put(rank, span.end, -bytes.activations - bytes.auxiliary_activations, -1, Part::activations);
        break;
      case Kind::SEND_F:
      case Kind::SEND_B: {
        // An entry is the receiver's memory from its acceptance on; a transfer from its start.
        const Stage to = peer_stage(links_, op);
        if (to < 0) break;
        const Nanos from = channel_of(program_, links_, op).send == Send::holding ? span.end : span.start;
        put(program_.stage_rank[static_cast<std::size_t>(to)], from, boundary(boundary_stage(links_, op)), 0, Part::queue);
        break;
      }
      default:
        break;
    }
  }

  std::int64_t boundary(Stage stage) const { return stage < costs_.stages() ? costs_.bytes(stage).output : 0; }

  /// What is kept of a microbatch whose forward runs again: its input. The first stage's is the batch, which
  /// is not counted as an activation.
  std::int64_t kept_input(const Op& op) const {
    const Stage previous = links_.previous[static_cast<std::size_t>(op.stage)];
    return previous < 0 ? 0 : boundary(previous);
  }

  void use_version(const Op& op) {
    if (program_.weights != WeightPolicy::stash) return;
    Stash& stash = stashes_[static_cast<std::size_t>(op.stage)];
    stash.users[stash.version].insert({op.iteration, op.microbatch});
  }

  /// An update overwrites weights that backwards under way still need: they are copied first.
  void keep_version(const Op& op, Rank rank, Nanos time) {
    if (program_.weights != WeightPolicy::stash) return;
    Stash& stash = stashes_[static_cast<std::size_t>(op.stage)];
    if (stash.users.contains(stash.version)) put(rank, time, weights(op), 0, Part::versions);
    ++stash.version;
  }

  void release_version(const Op& op, Rank rank, Nanos time) {
    if (program_.weights != WeightPolicy::stash) return;
    Stash& stash = stashes_[static_cast<std::size_t>(op.stage)];
    for (auto& [version, users] : stash.users) {
      if (users.erase({op.iteration, op.microbatch}) == 0) continue;
      if (!users.empty()) return;
      if (version < stash.version) put(rank, time, -weights(op), 0, Part::versions);
      stash.users.erase(version);
      return;
    }
  }

  std::int64_t weights(const Op& op) const { return op.stage < costs_.stages() ? costs_.bytes(op.stage).weights : 0; }

  void take_entry(const Op&, Stage previous, Rank rank, Nanos time) {
    if (previous >= 0 && program_.stage_rank[static_cast<std::size_t>(previous)] != rank) put(rank, time, -boundary(previous), 0, Part::queue);
  }
  void take_gradient(const Op& op, Rank rank, Nanos time) {
    const Stage next = links_.next[static_cast<std::size_t>(op.stage)];
    if (next >= 0 && program_.stage_rank[static_cast<std::size_t>(next)] != rank) put(rank, time, -boundary(op.stage), 0, Part::queue);
  }

  void put(Rank rank, Nanos time, std::int64_t bytes, std::int32_t activations, Part part) {
    if (bytes == 0 && activations == 0) return;
    of_rank_[static_cast<std::size_t>(rank)].push_back({time, bytes, activations, part});
  }

  const Program& program_;
  const StageCosts& costs_;
  const Interlocking interlocking_;
  ChainLinks links_;
  std::vector<std::vector<Change>> of_rank_;

  /// Updates of a stage so far, and the microbatches under way by the version their forward read.
  struct Stash {
    std::int32_t version = 0;
    std::map<std::int32_t, std::set<std::pair<std::int32_t, Microbatch>>> users;
  };
  std::vector<Stash> stashes_;
  std::set<std::pair<Stage, Microbatch>> recomputed_;  // in every iteration alike
};

std::int64_t& part_of(MemoryParts& parts, Part part) {
  switch (part) {
    case Part::activations: return parts.activations;
    case Part::queue: return parts.queue;
    case Part::versions: break;
  }
  return parts.versions;
}

}  // namespace

std::vector<RankMemory> memory_over_time(const Program& program, const Timeline& timeline, const StageCosts& costs) {
  // Entries are only in a timeline with communication; without it nobody puts what F would take.
  bool communicates = false;
  Changes changes(program, costs);
  for (const Span& span : timeline.spans) {
    if (!span.has_op) continue;
    communicates = communicates || is_send(span.op.kind);
    changes.add(span);
  }
  std::vector<RankMemory> memory(program.rows.size());
  auto of_rank = changes.take();
  for (std::size_t r = 0; r < memory.size(); ++r) {
    RankMemory& rank = memory[r];
    MemoryParts now;
    for (Stage s = 0; s < std::min(program.stages(), costs.stages()); ++s) {
      if (program.stage_rank[static_cast<std::size_t>(s)] != static_cast<Rank>(r)) continue;
      const StageBytes& bytes = costs.bytes(s);
      now.weights += bytes.weights;
      if (program.weights == WeightPolicy::double_buffered) now.versions += bytes.weights;
      now.gradients += bytes.gradients;
      now.optimizer += bytes.optimizer;
      now.auxiliary += bytes.auxiliary;
    }
    rank.samples.push_back({0, now.total()});
    rank.at_peak = now;
    rank.peak_bytes = now.total();
    std::stable_sort(of_rank[r].begin(), of_rank[r].end(), [](const Change& a, const Change& b) {
      return a.time != b.time ? a.time < b.time : a.allocates() < b.allocates();
    });
    std::int32_t alive = 0;
    for (const Change& change : of_rank[r]) {
      if (change.part == Part::queue && !communicates) continue;
      part_of(now, change.part) += change.bytes;
      alive += change.activations;
      rank.peak_activations = std::max(rank.peak_activations, alive);
      if (now.total() > rank.peak_bytes) {
        rank.peak_bytes = now.total();
        rank.at_peak = now;
      }
      if (rank.samples.back().time == change.time) {
        rank.samples.back().bytes = now.total();
      } else {
        rank.samples.push_back({change.time, now.total()});
      }
    }
  }
  return memory;
}

}  // namespace bubblescope
