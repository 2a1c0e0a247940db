// Lowering passes, row by row.
#include "sim/lower/passes.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "sim/lower/send_recv.hpp"

namespace bubblescope {
namespace {

bool is_forward_or_backward(Kind kind) {
  return kind == Kind::F || kind == Kind::B || kind == Kind::I || kind == Kind::W || kind == Kind::LB || kind == Kind::R || kind == Kind::OVERLAP_F_B;
}

Op of_stage(Kind kind, Stage stage, const Op& beside) {
  Op op;
  op.kind = kind;
  op.stage = static_cast<std::int16_t>(stage);
  op.iteration = beside.iteration;
  op.replica = beside.replica;
  op.chain = beside.chain;
  return op;
}

void require_none(const Program& program, std::initializer_list<Kind> kinds) {
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      if (std::find(kinds.begin(), kinds.end(), op.kind) == kinds.end()) continue;
      throw InputError(fmt::format("the program has {} already; expected one without", cell(program, op)));
    }
  }
}

/// The stages that a row computes on from a position on, the next one first. Filled from the back.
class Upcoming {
 public:
  void see(Stage stage, std::size_t position) {
    std::erase_if(next_, [&](const Use& use) { return use.stage == stage; });
    next_.insert(next_.begin(), {stage, position});
  }
  /// The first `count` and, where the last of them shares its op with more, these too.
  std::vector<Stage> first(std::int32_t count) const {
    std::vector<Stage> stages;
    for (std::size_t i = 0; i < next_.size(); ++i) {
      if (i >= at(count) && next_[i].position != next_[i - 1].position) break;
      stages.push_back(next_[i].stage);
    }
    return stages;
  }

 private:
  struct Use {
    Stage stage;
    std::size_t position;
  };
  std::vector<Use> next_;
};

constexpr std::string_view kMerge = "merge-backward", kUnshard = "unshard", kReduce = "reduce-grad", kDefer = "defer-receives";

/// Name -> number (-1 where none is given) of the passes in a list.
std::map<std::string, std::int32_t, std::less<>> wanted_passes(std::string_view list) {
  std::map<std::string, std::int32_t, std::less<>> wanted;
  const std::vector<std::string> names = lowering_names();
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    const std::string name(item.substr(0, equals));
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw InputError(fmt::format("unknown lowering pass '{}'; expected {}{}", name, fmt::join(names, ", "), suggestion(name, names)));
    }
    std::int32_t number = -1;
    if (equals != std::string_view::npos) {
      const std::string_view text = item.substr(equals + 1);
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (name != kUnshard || error != std::errc() || end != text.data() + text.size() || number < 1) {
        throw InputError(fmt::format("lowering pass '{}'; expected {}", item, name == kUnshard ? "a number of stages of at least 1, such as unshard=3" : "no number with it"));
      }
    }
    if (!wanted.emplace(name, number).second) throw InputError(fmt::format("lowering pass '{}' twice; expected once", name));
  }
  return wanted;
}

bool contains(const std::vector<Stage>& stages, Stage stage) { return std::find(stages.begin(), stages.end(), stage) != stages.end(); }

}  // namespace

Program merge_backward(const Program& program) {
  Program result = program;
  for (auto& row : result.rows) {
    std::vector<Op> merged;
    merged.reserve(row.size());
    for (const Op& op : row) {
      Op weight = op;
      weight.kind = Kind::I;
      if (op.kind == Kind::W && !merged.empty() && merged.back() == weight) {
        merged.back().kind = Kind::B;
      } else {
        merged.push_back(op);
      }
    }
    row = std::move(merged);
  }
  return result;
}

Program add_unshard_reshard(const Program& program, std::int32_t active) {
  if (active < 1) throw InputError(fmt::format("{} stages may be unsharded at a time; expected at least 1", active));
  require_none(program, {Kind::UNSHARD, Kind::RESHARD});
  Program result = program;
  for (auto& row : result.rows) {
    std::vector<std::vector<Stage>> wanted(row.size());  // at every forward or backward
    Upcoming upcoming;
    std::size_t last = 0;
    for (std::size_t i = row.size(); i-- > 0;) {
      if (!is_forward_or_backward(row[i].kind)) continue;
      last = std::max(last, i);
      const auto parts = program.parts_of(row[i]);
      for (std::size_t part = parts.size(); part-- > 0;) upcoming.see(parts[part].stage, i);
      wanted[i] = upcoming.first(active);
    }
    std::vector<Op> lowered;
    std::set<Stage> unsharded;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const Op& beside = program.parts_of(row[i]).front();
      if (!wanted[i].empty()) {
        for (auto stage = unsharded.begin(); stage != unsharded.end();) {
          if (contains(wanted[i], *stage)) {
            ++stage;
          } else {
            lowered.push_back(of_stage(Kind::RESHARD, *stage, beside));
            stage = unsharded.erase(stage);
          }
        }
        for (const Stage stage : wanted[i]) {
          if (unsharded.insert(stage).second) lowered.push_back(of_stage(Kind::UNSHARD, stage, beside));
        }
      }
      lowered.push_back(row[i]);
      if (i != last) continue;
      for (const Stage stage : unsharded) lowered.push_back(of_stage(Kind::RESHARD, stage, beside));
      unsharded.clear();
    }
    row = std::move(lowered);
  }
  return result;
}

Program add_reduce_grad(const Program& program) {
  require_none(program, {Kind::REDUCE_GRAD});
  const auto slot = [&](const Op& op) { return at(op.iteration) * at(program.stages()) + at(op.stage); };
  const auto ends = [](Kind kind) { return kind == Kind::B || kind == Kind::W; };
  std::vector<std::int32_t> left(at(program.iterations) * at(program.stages()), 0);
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) left[slot(part)] += ends(part.kind) ? 1 : 0;
    }
  }
  Program result = program;
  for (auto& row : result.rows) {
    std::vector<Op> lowered;
    lowered.reserve(row.size() + at(program.chunks) * at(program.iterations));
    for (const Op& op : row) {
      lowered.push_back(op);
      for (const Op& part : program.parts_of(op)) {
        if (ends(part.kind) && --left[slot(part)] == 0) lowered.push_back(of_stage(Kind::REDUCE_GRAD, part.stage, part));
      }
    }
    row = std::move(lowered);
  }
  return result;
}

Program defer_receives(const Program& program) {
  const ChainLinks links = chain_links(program);
  const auto peer_rank = [&](const Op& op) {
    const Stage peer = peer_stage(links, op);
    return peer < 0 ? Rank{-1} : program.stage_rank[at(peer)];
  };
  Program result = program;
  for (Rank r = 0; r < result.ranks(); ++r) {
    std::vector<Op> lowered, owed;
    const auto take = [&](const auto& which) {
      for (const Op& receive : owed) {
        if (which(receive)) lowered.push_back(receive);
      }
      std::erase_if(owed, which);
    };
    for (const Op& op : result.rows[at(r)]) {
      if (is_recv(op.kind)) {
        owed.push_back(op);
        continue;
      }
      if (is_send(op.kind)) {
        const Rank to = peer_rank(op);
        if (r < to) take([&](const Op& receive) { return peer_rank(receive) == to; });
      }
      for (const Op& part : program.parts_of(op)) {
        Op used = part;
        if (part.kind == Kind::F) {
          used.kind = Kind::RECV_F;
        } else if (part.kind == Kind::B || part.kind == Kind::I) {
          used.kind = Kind::RECV_B;
        } else {
          continue;
        }
        take([&](const Op& receive) { return receive == used; });
      }
      lowered.push_back(op);
    }
    lowered.insert(lowered.end(), owed.begin(), owed.end());
    result.rows[at(r)] = std::move(lowered);
  }
  return result;
}

std::vector<std::string> lowering_names() { return {std::string(kMerge), std::string(kUnshard), std::string(kReduce), std::string(kDefer)}; }

Program lower(const Program& program, std::string_view list) {
  const auto wanted = wanted_passes(list);
  Program result = program;
  if (wanted.contains(kMerge)) result = merge_backward(result);
  if (const auto unshard = wanted.find(kUnshard); unshard != wanted.end()) {
    result = unshard->second < 0 ? add_unshard_reshard(result) : add_unshard_reshard(result, unshard->second);
  }
  if (wanted.contains(kReduce)) result = add_reduce_grad(result);
  result = add_send_recv(result);
  if (wanted.contains(kDefer)) result = defer_receives(result);
  return result;
}

}  // namespace bubblescope
