// V1: what every stage must hold, and in which order; well_formed.cpp comes first, progress.cpp after.
#include "sim/core/completeness.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>

#include "sim/core/error.hpp"
#include "sim/core/interlocking.hpp"
#include "sim/core/op_table.hpp"
#include "sim/core/well_formed.hpp"

namespace bubblescope {
namespace {

class Checker {
 public:
  Checker(const Program& program, Findings& findings) : program_(program), findings_(findings), interlocking_(program) {}

  /// Completeness and order. All numbers are in range by now.
  void run() {
    measure();
    if (!numbers_occur()) return;
    read_ = outputs_read(program_);
    try {
      const OpTable table(program_);
      const ChainLinks links = chain_links(program_);
      for_each_part([&](const Place& place, OpIndex index, const Op& op, const Op& part) {
        check_duplicate(table, place, index, op, part);
        check_needs(table, links, place, index, op, part);
      });
      for (Stage s = 0; s < program_.stages() && !full(); ++s) check_complete(table, links, s);
      check_updates();
      check_collectives();
      check_reductions(links);
    } catch (const InputError& error) {
      report(error.what());  // numbers far beyond what the rows hold
    }
  }

 private:
  bool full() const { return findings_.full(); }
  template <typename... Arguments>
  void report(Arguments&&... arguments) { findings_.report(std::forward<Arguments>(arguments)...); }

  /// Calls `visit(place, flat index, op, part)` for every op and its parts.
  template <typename Visit>
  void for_each_part(Visit visit) {
    OpIndex index = 0;
    for (Rank r = 0; r < program_.ranks(); ++r) {
      const auto& row = program_.rows[static_cast<std::size_t>(r)];
      for (std::int32_t i = 0; i < static_cast<std::int32_t>(row.size()) && !full(); ++i, ++index) {
        const Op& op = row[static_cast<std::size_t>(i)];
        for (const Op& part : program_.parts_of(op)) visit(Place{r, i}, index, op, part);
      }
    }
  }

  /// Sizes of the identity space, and whether there is communication.
  void measure() {
    for_each_part([&](const Place&, OpIndex, const Op&, const Op& part) {
      communication_ = communication_ || is_send(part.kind) || is_recv(part.kind);
      if (part.kind != Kind::F) return;
      last_microbatch_ = std::max(last_microbatch_, part.microbatch);
      last_iteration_ = std::max(last_iteration_, part.iteration);
      slices_ = std::max<int>(slices_, part.slice + 1);
      replicas_ = std::max<int>(replicas_, part.replica + 1);
    });
  }

  /// Whether microbatches and iterations go as far as they are said to. Tables are looked at only then.
  bool numbers_occur() {
    if (last_microbatch_ + 1 < program_.microbatches) {
      report(fmt::format("no forward of microbatch {}; expected microbatches 0 to {} on every stage", last_microbatch_ + 1,
                         program_.microbatches - 1));
    } else if (last_iteration_ + 1 < program_.iterations) {
      report(fmt::format("no forward in iteration {}; expected iterations 0 to {}", last_iteration_ + 1, program_.iterations - 1));
    }
    return findings_.empty();
  }

  void check_duplicate(const OpTable& table, const Place& place, OpIndex index, const Op& op, const Op& part) {
    if (!per_microbatch(part.kind) && (part.kind != Kind::U || part.microbatch < 0)) return;
    const auto same = [&](const Op& other) {
      return other.kind == part.kind && other.stage == part.stage && other.microbatch == part.microbatch &&
             other.iteration == part.iteration && other.slice == part.slice && other.replica == part.replica;
    };
    const auto parts = program_.parts_of(op);
    const bool twice_inside = std::count_if(parts.begin(), parts.end(), same) > 1 && &part != &parts.front();
    if (table.find(part.kind, part.stage, part) != index || twice_inside) {
      report(place, op, fmt::format("{} comes twice; expected once", cell(part)));
    }
  }

  /// What must stand before `part` in its row, and the other end of a send or receive.
  void check_needs(const OpTable& table, const ChainLinks& links, const Place& place, OpIndex index, const Op& op,
                   const Op& part) {
    const Stage s = part.stage;
    const bool interlocks = program_.profile == Profile::interlocking;
    const auto need = [&](std::initializer_list<Kind> kinds, bool required, const Op& of) {
      for (const Kind kind : kinds) {
        const bool of_loss = kind == Kind::B || kind == Kind::RECV_B;
        const OpIndex found = table.find(kind, s, interlocks && !of_loss ? without_loss(of) : of);
        if (found < 0) continue;
        if (found > index) report(place, op, fmt::format("{} before its {}; expected it after", cell(part), mnemonic(kind)));
        if (found == index) {
          report(place, op, fmt::format("{} in one compound with its {}; expected it after", cell(part), mnemonic(kind)));
        }
        return;
      }
      if (required) report(place, op, fmt::format("{} without its {}", cell(part), mnemonic(*kinds.begin())));
    };
    // What another stage of this rank makes must have ended, too: a compound's results appear at its end.
    const auto need_apart = [&](std::initializer_list<Kind> kinds, Stage from, const Op& of) {
      for (const Kind kind : kinds) {
        if (table.find(kind, from, of) != index) continue;
        report(place, op, fmt::format("{} in one compound with the {} of stage {} that it needs; expected it after", cell(part), mnemonic(kind), from));
        return;
      }
    };
    switch (part.kind) {
      case Kind::F: {
        const Op source = source_of(program_, part);
        need({Kind::RECV_F}, false, source);
        const Stage previous = links.previous[static_cast<std::size_t>(s)];
        if (program_.profile == Profile::local_serial) {
          need_apart({Kind::U, Kind::LB, Kind::A, Kind::F}, previous, source);
        } else {
          need_apart({Kind::F}, previous, source);
        }
        break;
      }
      case Kind::R:
        need({Kind::F}, true, part);
        break;
      case Kind::A:
        need({Kind::F}, true, part);
        need({Kind::R}, false, part);
        break;
      case Kind::B:
      case Kind::I:
        if (interlocks && interlocking_.distance(part) >= interlocking_.backwards(s)) {
          report(place, op, fmt::format("{} of the loss of stage {}; expected stages up to {}", cell(part), s + interlocking_.distance(part), program_.stages() - 1));
        }
        need({Kind::F}, true, part);
        need({Kind::R}, false, part);
        need({Kind::RECV_B}, false, part);
        if (has_gradients(program_.profile) && !(interlocks && interlocking_.own(part))) {
          need_apart({Kind::I, Kind::B}, links.next[static_cast<std::size_t>(s)], part);
        }
        break;
      case Kind::W:
        need({Kind::I}, true, part);
        break;
      case Kind::LB:
        need({Kind::F}, true, part);
        need({Kind::R}, false, part);
        need({Kind::A}, false, part);
        break;
      case Kind::U:
        if (part.microbatch >= 0 && interlocks) {
          Op last = part;
          last.slice = interlocking_.slice(s, interlocking_.backwards(s) - 1);
          const OpIndex found = table.find(Kind::B, s, last);
          if (found < 0 || found > index) report(place, op, fmt::format("{} before the last B of its microbatch; expected it after", cell(part)));
        } else if (part.microbatch >= 0) {
          need({Kind::LB, Kind::W, Kind::B}, true, part);
        }
        break;
      case Kind::SEND_F:
        if (program_.profile == Profile::local_serial) {
          need({Kind::U, Kind::LB, Kind::A, Kind::F}, true, part);
        } else {
          need({Kind::F}, true, part);
        }
        break;
      case Kind::SEND_B:
        need({Kind::I, Kind::B}, true, part);
        break;
      default:
        break;
    }
    if (is_send(part.kind) || is_recv(part.kind)) check_pair(table, links, place, op, part);
  }

  void check_pair(const OpTable& table, const ChainLinks& links, const Place& place, const Op& op, const Op& part) {
    const Stage peer = peer_stage(links, part);
    const Kind other = part.kind == Kind::SEND_F   ? Kind::RECV_F
                       : part.kind == Kind::RECV_F ? Kind::SEND_F
                       : part.kind == Kind::SEND_B ? Kind::RECV_B
                                                   : Kind::SEND_B;
    if (peer < 0) {
      report(place, op, fmt::format("stage {} has no {} stage; expected no {}", part.stage, faces_next(part.kind) ? "next" : "previous", mnemonic(part.kind)));
    } else if (program_.stage_rank[static_cast<std::size_t>(peer)] == place.rank) {
      report(place, op, fmt::format("stage {} is on the same rank; expected no {}", peer, mnemonic(part.kind)));
    } else if (table.find(other, peer, part) < 0) {
      Op missing = part;
      missing.kind = other;
      missing.stage = static_cast<std::int16_t>(peer);
      report(place, op, fmt::format("no {} on rank {}; expected the other end there", cell(missing),
                                    program_.stage_rank[static_cast<std::size_t>(peer)]));
    }
  }

  /// Every microbatch of the stage's chain: F, its backward, and communication where there is any.
  void check_complete(const OpTable& table, const ChainLinks& links, Stage stage) {
    const auto s = static_cast<std::size_t>(stage);
    const auto& chain = program_.chains[links.chain[s]];
    const Place place{program_.stage_rank[s], -1};
    const auto crosses = [&](Stage peer) {
      return communication_ && peer >= 0 && program_.stage_rank[static_cast<std::size_t>(peer)] != place.rank;
    };
    const bool sends = crosses(links.next[s]);
    const bool returns = has_gradients(program_.profile) && crosses(links.previous[s]);
    Op op;
    op.stage = static_cast<std::int16_t>(stage);
    const auto missing = [&](std::string_view what) {
      report(place, cell(op), fmt::format("stage {}, microbatch {}, iteration {}: no {}", stage, op.microbatch, op.iteration, what));
    };
    for (op.iteration = 0; op.iteration < program_.iterations && !full(); ++op.iteration) {
      for (int replica = 0; replica < replicas_; ++replica) {
        for (int slice = 0; slice < slices_; ++slice) {
          op.replica = static_cast<std::uint16_t>(replica);
          op.slice = static_cast<std::uint16_t>(slice);
          for (op.microbatch = 0; op.microbatch < program_.microbatches && !full(); ++op.microbatch) {
            const auto has = [&](Kind kind) { return table.find(kind, stage, op) >= 0; };
            op.kind = Kind::F;
            if (!has(Kind::F)) {
              if (belongs(table, chain, op)) missing("F");
              continue;
            }
            if (stage == chain.front() && chain_count(table, op) > 1) {
              report(place, cell(op), fmt::format("microbatch {} is in two chains; expected one", op.microbatch));
            }
            if (program_.profile == Profile::interlocking) {
              check_losses(table, op, returns, missing);
            } else if (has_gradients(program_.profile)) {
              const bool b = has(Kind::B), i = has(Kind::I), w = has(Kind::W);
              if (b && (i || w)) missing("single way back: B and also I or W; expected B, or I and W");
              if (!b && !i && !w) missing("backward; expected B, or I and W");
              if (!b && i != w) missing(i ? "W beside its I" : "I beside its W");
            } else if (is_local(program_.profile) && !has(Kind::LB)) {
              missing("LB");
            }
            if (sends && is_read(stage, op.microbatch) && !has(Kind::SEND_F)) missing("SEND_F, though the next stage is on another rank");
            if (returns && program_.profile != Profile::interlocking && !has(Kind::SEND_B)) missing("SEND_B, though the previous stage is on another rank");
          }
        }
      }
    }
  }

  /// A backward per loss, and the gradients that go on.
  template <typename Missing>
  void check_losses(const OpTable& table, Op op, bool returns, Missing missing) {
    const Stage stage = op.stage;
    op.kind = Kind::B;
    for (std::int32_t distance = 0; distance < interlocking_.backwards(stage); ++distance) {
      op.slice = interlocking_.slice(stage, distance);
      if (table.find(Kind::B, stage, op) < 0) missing(fmt::format("B of the loss of stage {}", stage + distance));
      if (returns && interlocking_.goes_on(op) && table.find(Kind::SEND_B, stage, op) < 0) {
        missing(fmt::format("SEND_B of the loss of stage {}, though the previous stage is on another rank", stage + distance));
      }
    }
  }

  bool is_read(Stage stage, Microbatch microbatch) const {
    const auto& read = read_[static_cast<std::size_t>(stage)];
    return read.empty() || read[static_cast<std::size_t>(microbatch)];
  }

  /// Chains that have an F of this microbatch at their first stage.
  int chain_count(const OpTable& table, const Op& op) const {
    int count = 0;
    for (const auto& chain : program_.chains) {
      if (!chain.empty() && table.find(Kind::F, chain.front(), op) >= 0) ++count;
    }
    return count;
  }

  /// Whether the chain must have an F of `op`'s microbatch: its first stage has one, or no chain has.
  bool belongs(const OpTable& table, const std::vector<Stage>& chain, const Op& op) const {
    if (program_.chains.size() == 1) return op.slice == 0 || table.find(Kind::F, chain.front(), op) >= 0;
    if (table.find(Kind::F, chain.front(), op) >= 0) return true;
    return op.slice == 0 && chain_count(table, op) == 0 && &chain == &program_.chains.front();
  }

  /// Updates of a flush: at most one per stage and iteration, and all of the stage's work before it.
  void check_updates() {
    if (program_.weights == WeightPolicy::double_buffered) check_one_update_each();
    if (program_.weights != WeightPolicy::flush) return;
    struct Update {
      Place place;
      OpIndex index = -1;
    };
    const auto slot = [&](const Op& op) {
      return static_cast<std::size_t>(op.iteration) * static_cast<std::size_t>(program_.stages()) + static_cast<std::size_t>(op.stage);
    };
    std::vector<Update> updates(static_cast<std::size_t>(program_.iterations) * static_cast<std::size_t>(program_.stages()));
    for_each_part([&](const Place& place, OpIndex index, const Op& op, const Op& part) {
      Update& update = updates[slot(part)];
      if (part.kind == Kind::U) {
        if (update.index >= 0) report(place, op, "second update of the stage in this iteration; expected one, as weights flush");
        update = {place, index};
      } else if (per_microbatch(part.kind) && is_compute(part.kind) && update.index >= 0) {
        report(update.place, program_.rows[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(update.place.position)],
               fmt::format("update before {}; expected it after all forwards and backwards of its stage", cell(part)));
      }
    });
  }

  /// As many ALLREDUCEs of every copy of a stage.
  void check_reductions(const ChainLinks& links) {
    std::vector<std::int32_t> reductions(static_cast<std::size_t>(program_.stages()), 0);
    for_each_part([&](const Place&, OpIndex, const Op&, const Op& part) {
      if (part.kind == Kind::ALLREDUCE) ++reductions[static_cast<std::size_t>(part.stage)];
    });
    std::map<std::int32_t, Stage> first;  // position -> its stage of the first chain that has one
    for (const auto& chain : program_.chains) {
      for (const Stage stage : chain) {
        const auto s = static_cast<std::size_t>(stage);
        const Stage copy = first.try_emplace(links.position[s], stage).first->second;
        const std::int32_t expected = reductions[static_cast<std::size_t>(copy)];
        if (reductions[s] == expected) continue;
        report(Place{program_.stage_rank[s], -1}, std::string(),
               fmt::format("{} ALLREDUCE of stage {}, but its copy, stage {}, has {}; expected as many of both", reductions[s], stage, copy, expected));
      }
    }
  }

  /// Two buffers are one update apart: every stage makes one per iteration.
  void check_one_update_each() {
    std::vector<std::int32_t> updates(program_.stage_rank.size(), 0);
    for_each_part([&](const Place&, OpIndex, const Op&, const Op& part) {
      if (part.kind == Kind::U) ++updates[static_cast<std::size_t>(part.stage)];
    });
    for (Stage s = 0; s < program_.stages(); ++s) {
      const std::int32_t count = updates[static_cast<std::size_t>(s)];
      if (count != program_.iterations) {
        report(Place{program_.stage_rank[static_cast<std::size_t>(s)], -1}, std::string(),
               fmt::format("{} updates of stage {}; expected one per iteration, as weights are double-buffered", count, s));
      }
    }
  }

  void check_collectives() {
    std::vector<std::int32_t> syncs(program_.rows.size(), 0);
    for_each_part([&](const Place& place, OpIndex, const Op&, const Op& part) {
      if (part.kind == Kind::SYNC) ++syncs[static_cast<std::size_t>(place.rank)];
    });
    const auto [least, most] = std::minmax_element(syncs.begin(), syncs.end());
    if (least != syncs.end() && *least != *most) {
      report(Place{static_cast<Rank>(least - syncs.begin()), -1}, std::string(),
             fmt::format("{} SYNC, but rank {} has {}; expected as many on every rank", *least, most - syncs.begin(), *most));
    }
  }

  const Program& program_;
  Findings& findings_;
  const Interlocking interlocking_;
  std::vector<std::vector<bool>> read_;  // stage -> outputs that the next stage reads
  Microbatch last_microbatch_ = -1;
  std::int32_t last_iteration_ = -1;
  int slices_ = 1;
  int replicas_ = 1;
  bool communication_ = false;
};

}  // namespace

std::vector<Finding> check_completeness(const Program& program) {
  Findings findings(program);
  check_well_formed(program, findings);
  if (findings.empty()) Checker(program, findings).run();
  return findings.take();
}

}  // namespace bubblescope
