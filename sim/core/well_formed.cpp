// What can be said of tables and ops one by one.
#include "sim/core/well_formed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace bubblescope {
namespace {

class Checker {
 public:
  Checker(const Program& program, Findings& findings) : program_(program), findings_(findings) {}

  void run() {
    check_tables();
    if (findings_.empty()) check_ops_alone();
  }

 private:
  /// Stages, chains, channels: everything but the rows.
  void check_tables() {
    const Stage stages = program_.stages();
    for (Stage s = 0; s < stages; ++s) {
      const Rank r = program_.stage_rank[static_cast<std::size_t>(s)];
      if (r < 0 || r >= program_.ranks()) {
        findings_.report(fmt::format("stage {} is on rank {}; expected ranks from 0 to {}", s, r, program_.ranks() - 1));
      }
    }
    std::vector<int> seen(static_cast<std::size_t>(stages), 0);
    for (const auto& chain : program_.chains) {
      for (const Stage s : chain) {
        if (s < 0 || s >= stages) {
          findings_.report(fmt::format("a chain holds stage {}; expected stages from 0 to {}", s, stages - 1));
        } else if (++seen[static_cast<std::size_t>(s)] == 2) {
          findings_.report(fmt::format("stage {} is in the chains twice; expected once", s));
        }
      }
    }
    for (Stage s = 0; s < stages; ++s) {
      if (seen[static_cast<std::size_t>(s)] == 0) findings_.report(fmt::format("stage {} is in no chain; expected it in one", s));
    }
    const bool placed = findings_.empty();
    if (program_.chains.size() > 256) findings_.report(fmt::format("{} chains; expected at most 256", program_.chains.size()));
    if (program_.profile == Profile::interlocking && program_.chains.size() > 1) findings_.report("several chains in a program of profile interlocking; expected one");
    // Which stage's loss a slice is of follows from the stages' numbers.
    if (program_.profile == Profile::interlocking && program_.chains.size() == 1 && !std::is_sorted(program_.chains.front().begin(), program_.chains.front().end())) {
      findings_.report("the chain of a program of profile interlocking is not in the order of its stages' numbers; expected it so");
    }
    check_channels();
    check_overlap();
    if (placed) check_sources();
    if (stages == 0) findings_.report("no stage; expected at least one");
    if (program_.microbatches < 1) findings_.report(fmt::format("{} microbatches; expected at least 1", program_.microbatches));
    if (program_.iterations < 1) findings_.report(fmt::format("{} iterations; expected at least 1", program_.iterations));
  }

  void check_channels() {
    if (program_.channels.empty()) {
      findings_.report("no channel; expected at least the default one");
      return;
    }
    if (!findings_.empty()) return;  // chains must be good
    const ChainLinks links = chain_links(program_);
    std::set<std::pair<Stage, Stage>> seen;
    for (std::size_t c = 0; c < program_.channels.size() && !findings_.full(); ++c) {
      const Channel& channel = program_.channels[c];
      const bool is_default = channel.from < 0 && channel.to < 0;
      const bool stage = channel.from >= 0 && channel.from < program_.stages();
      if (c == 0 && !is_default) {
        findings_.report(fmt::format("the first channel is that of {}; expected the default of all edges", edge_text(channel)));
      } else if (!seen.insert({channel.from, channel.to}).second) {
        findings_.report(fmt::format("channel {} twice; expected once", edge_text(channel)));
      } else if (channel.capacity < kUnbounded || channel.eager_bytes < 0) {
        findings_.report(fmt::format("channel {} has a capacity of {} and an eager size of {}; expected none below 0, but {} for an unbounded capacity", edge_text(channel),
                                     channel.capacity, channel.eager_bytes, kUnbounded));
      } else if (!is_default && (!stage || links.next[static_cast<std::size_t>(channel.from)] != channel.to)) {
        findings_.report(not_neighbours(channel));
      }
    }
  }

  void check_overlap() {
    if (program_.overlap.empty()) return;
    if (program_.overlap.size() != program_.rows.size()) {
      findings_.report(fmt::format("an overlap of {} ranks; expected one per rank or none", program_.overlap.size()));
      return;
    }
    for (Rank r = 0; r < program_.ranks() && !findings_.full(); ++r) {
      const auto& row = program_.rows[static_cast<std::size_t>(r)];
      const auto& before = program_.overlap[static_cast<std::size_t>(r)];
      const auto ops = std::count_if(row.begin(), row.end(), [](const Op& op) { return !is_p2p(op.kind); });
      if (static_cast<std::int64_t>(before.size()) > ops) {
        findings_.report({r, -1}, std::string(), fmt::format("{} ops overlap the next iteration; expected at most the row's {}", before.size(), ops));
      } else if (!std::is_sorted(before.begin(), before.end()) || (!before.empty() && before.front() < 0)) {
        findings_.report({r, -1}, std::string(), "the overlap is not ascending; expected, for each of the last ops, how many of the next iteration come before it");
      }
    }
  }

  bool forwards_ascend(Stage stage) const {
    std::pair<std::int32_t, Microbatch> before{-1, -1};
    for (const Op& op : program_.rows[static_cast<std::size_t>(program_.stage_rank[static_cast<std::size_t>(stage)])]) {
      if (op.kind != Kind::F || op.stage != stage) continue;
      const std::pair now{op.iteration, op.microbatch};
      if (now < before) return false;
      before = now;
    }
    return true;
  }

  void check_sources() {
    if (program_.sources.empty()) return;
    if (program_.profile != Profile::local) findings_.report("stages that replay in a program that is not of profile local; expected none");
    if (program_.sources.size() != program_.stage_rank.size()) {
      findings_.report(fmt::format("sources of {} stages; expected one list per stage or none", program_.sources.size()));
      return;
    }
    for (Stage s = 0; s < program_.stages() && !findings_.full(); ++s) {
      const auto& sources = program_.sources[static_cast<std::size_t>(s)];
      if (sources.empty()) continue;
      if (chain_links(program_).previous[static_cast<std::size_t>(s)] < 0) {
        findings_.report(fmt::format("sources of stage {}, which is first in its chain; expected none", s));
      } else if (!forwards_ascend(s)) {
        findings_.report(fmt::format("stage {} replays, and its forwards are not in the order of their microbatches; expected them so", s));
      } else if (static_cast<std::int64_t>(sources.size()) != program_.microbatches) {
        findings_.report(fmt::format("{} sources of stage {}; expected one per microbatch, {}", sources.size(), s, program_.microbatches));
      } else if (std::any_of(sources.begin(), sources.end(), [&](Microbatch m) { return m < 0 || m >= program_.microbatches; })) {
        findings_.report(fmt::format("a source of stage {} is out of range; expected microbatches from 0 to {}", s, program_.microbatches - 1));
      }
    }
  }

  /// Each op by itself: numbers in range, on its stage's rank, of a kind that the profile has.
  void check_ops_alone() {
    const auto compounds = static_cast<std::int64_t>(program_.compounds.size());
    for (Rank r = 0; r < program_.ranks(); ++r) {
      const auto& row = program_.rows[static_cast<std::size_t>(r)];
      for (std::int32_t i = 0; i < static_cast<std::int32_t>(row.size()) && !findings_.full(); ++i) {
        const Op& op = row[static_cast<std::size_t>(i)];
        if (is_compound(op.kind)) {
          const bool exists = op.operand >= 0 && op.operand < compounds;
          const Compound range = exists ? program_.compounds[static_cast<std::size_t>(op.operand)] : Compound{};
          if (!exists || range.first < 0 || range.count < 1 ||
              range.first > static_cast<std::int64_t>(program_.parts.size()) - range.count) {
            findings_.report({r, i}, std::string(mnemonic(op.kind)), "compound without parts; expected at least one");
            continue;
          }
        }
        for (const Op& part : program_.parts_of(op)) check_alone({r, i}, op, part);
        if (op.kind == Kind::BATCH_P2P && findings_.empty()) {
          findings_.report({r, i}, op, "a batch of transfers is only read and written; expected its sends and receives one by one");
        }
      }
    }
  }

  void check_alone(const Place& place, const Op& op, const Op& part) {
    const auto rank_of = [&](Stage s) { return program_.stage_rank[static_cast<std::size_t>(s)]; };
    if (is_compound(part.kind)) {
      findings_.report(place, std::string(mnemonic(op.kind)), "compound inside a compound; expected simple ops");
    } else if (op.kind == Kind::OVERLAP_F_B && !is_compute(part.kind)) {
      findings_.report(place, op, fmt::format("{} in an OVERLAP_F_B; expected compute ops", mnemonic(part.kind)));
    } else if (op.kind == Kind::BATCH_P2P && !is_send(part.kind) && !is_recv(part.kind)) {
      findings_.report(place, op, fmt::format("{} in a BATCH_P2P; expected sends and receives", mnemonic(part.kind)));
    } else if (part.stage < 0 || part.stage >= program_.stages()) {
      findings_.report(place, op, fmt::format("stage {}; expected stages from 0 to {}", part.stage, program_.stages() - 1));
    } else if (rank_of(part.stage) != place.rank) {
      findings_.report(place, op, fmt::format("stage {} is on rank {}; expected its ops there only", part.stage, rank_of(part.stage)));
    } else if (part.iteration < 0 || part.iteration >= program_.iterations) {
      findings_.report(place, op, fmt::format("iteration {}; expected iterations from 0 to {}", part.iteration, program_.iterations - 1));
    } else if (part.microbatch < -1 || (per_microbatch(part.kind) && part.microbatch < 0)) {
      findings_.report(place, op, "no microbatch; expected one");
    } else if ((per_microbatch(part.kind) || part.kind == Kind::U) && part.microbatch >= program_.microbatches) {
      findings_.report(place, op, fmt::format("microbatch {}; expected microbatches from 0 to {}", part.microbatch, program_.microbatches - 1));
    } else if (!allowed(part.kind)) {
      findings_.report(place, op, fmt::format("{} in a program of profile {}, which has none", mnemonic(part.kind), profile_name(program_.profile)));
    }
  }

  bool allowed(Kind kind) const {
    switch (kind) {
      case Kind::I:
      case Kind::W:
        return has_gradients(program_.profile) && program_.profile != Profile::interlocking;
      case Kind::B:
      case Kind::SEND_B:
      case Kind::RECV_B:
        return has_gradients(program_.profile);
      case Kind::A:
        return is_local(program_.profile);
      case Kind::LB:
        return is_local(program_.profile) && program_.profile != Profile::interlocking;
      case Kind::R:  // the several backwards of an interlocking microbatch share its activations from F on
        return program_.profile != Profile::forward_only && program_.profile != Profile::interlocking;
      case Kind::U:
        return program_.profile != Profile::forward_only;
      default:
        return true;
    }
  }

  const Program& program_;
  Findings& findings_;
};

}  // namespace

void check_well_formed(const Program& program, Findings& findings) { Checker(program, findings).run(); }

}  // namespace bubblescope
