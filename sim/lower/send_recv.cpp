// Placing sends and receives, in time linear in the ops.
#include "sim/lower/send_recv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "sim/core/error.hpp"
#include "sim/core/interlocking.hpp"
#include "sim/core/op_table.hpp"

namespace bubblescope {
namespace {

/// The ranks whose next op may be ready, visited in ascending order.
class RankSet {
 public:
  explicit RankSet(std::int32_t ranks) : ranks_(ranks), words_((static_cast<std::size_t>(ranks) + 63) / 64, 0) {}

  void insert(Rank r) { words_[static_cast<std::size_t>(r) / 64] |= bit(r); }
  void erase(Rank r) { words_[static_cast<std::size_t>(r) / 64] &= ~bit(r); }

  /// The first rank in the set that is `from` or higher; `ranks` where there is none.
  Rank next(Rank from) const {
    for (auto w = static_cast<std::size_t>(from) / 64; w < words_.size(); ++w) {
      const std::uint64_t low = w == static_cast<std::size_t>(from) / 64 ? ~std::uint64_t{0} << (from % 64) : ~std::uint64_t{0};
      if (const std::uint64_t found = words_[w] & low; found != 0) {
        return static_cast<Rank>(w * 64) + std::countr_zero(found);
      }
    }
    return ranks_;
  }

 private:
  static std::uint64_t bit(Rank r) { return std::uint64_t{1} << (r % 64); }
  std::int32_t ranks_;
  std::vector<std::uint64_t> words_;
};

/// One pass over one Program. Data items (the activation or the gradient of a stage and microbatch)
/// have dense indices; `placed_` says which of them their consumer's rank has.
class Lowering {
 public:
  explicit Lowering(const Program& program) : in_(program), links_(chain_links(program)), space_(program), interlocking_(program), read_(outputs_read(program)), out_(program) {
    late_ = program.profile == Profile::local_serial;
    measure();
    prepare_edges();
  }

  Program run() {
    reserve_rows();
    RankSet active(in_.ranks());
    for (Rank r = 0; r < in_.ranks(); ++r) active.insert(r);
    std::vector<std::size_t> next(in_.rows.size(), 0);
    std::size_t left = in_.op_count();
    while (left > 0) {
      bool progress = false;
      for (Rank r = active.next(0); r < in_.ranks(); r = active.next(r + 1)) {
        const auto& row = in_.rows[index(r)];
        if (next[index(r)] == row.size()) {
          active.erase(r);
          continue;
        }
        const Op& op = row[next[index(r)]];
        if (!ready(op)) {
          active.erase(r);  // until something is placed for it
          continue;
        }
        place(r, next[index(r)], op, active);
        progress = true;
        --left;
        ++next[index(r)];
      }
      if (!progress) fail_stuck(next);
    }
    return std::move(out_);
  }

 private:
  /// How data gets from a stage to a neighbour.
  struct Way {
    Stage peer = -1;       ///< -1: to or from nowhere
    Rank rank = -1;        ///< the peer's
    bool local = false;    ///< on the same rank: no communication
    bool posted = true;    ///< receive rule
  };

  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

  std::size_t item(Stage stage, const Op& op) const { return space_.of(stage, op); }

  static bool carries(const Op& op) { return is_compute(op.kind) && !is_compound(op.kind) && op.microbatch >= 0; }

  /// Makes the tables.
  void measure() {
    for (Rank r = 0; r < in_.ranks(); ++r) {
      for (const Op& op : in_.rows[index(r)]) {
        for (const Op& part : in_.parts_of(op)) {
          if (part.stage >= 0 && part.stage < in_.stages() && in_.stage_rank[index(part.stage)] == r && part.iteration >= 0) continue;
          throw InputError(fmt::format("rank {}, {}: stage {} is not on this rank; expected a program that passes validation",
                                       r, cell(in_, op), part.stage));
        }
      }
    }
    activation_.assign(space_.size(), 0);
    if (has_gradients(in_.profile)) gradient_.assign(space_.size(), 0);
    if (late_) find_last_ops();
  }

  /// Late forwarding: how many compute ops of (stage, microbatch) are still to come before the output
  /// may leave.
  void find_last_ops() {
    pending_.assign(space_.size(), 0);
    for (const auto& row : in_.rows) {
      for (const Op& op : row) {
        for (const Op& part : in_.parts_of(op)) {
          if (carries(part)) ++pending_[item(part.stage, part)];
        }
      }
    }
  }

  void prepare_edges() {
    const auto way = [&](Stage stage, Stage peer) {
      if (peer < 0) return Way{};
      const Rank rank = in_.stage_rank[index(peer)];
      // A gradient follows the rules of the edge that its activation came by.
      const Channel& channel = links_.next[index(stage)] == peer ? in_.channel(stage, peer) : in_.channel(peer, stage);
      return Way{peer, rank, rank == in_.stage_rank[index(stage)], channel.receive == Receive::posted};
    };
    for (Stage s = 0; s < in_.stages(); ++s) {
      const Stage previous = links_.previous[index(s)], next = links_.next[index(s)];
      activation_in_.push_back(way(s, previous));
      activation_out_.push_back(way(s, next));
      gradient_in_.push_back(way(s, next));
      gradient_out_.push_back(way(s, previous));
    }
  }

  bool gradients() const { return !gradient_.empty(); }
  static bool is_backward_step(const Op& op) { return op.kind == Kind::B || op.kind == Kind::I; }
  bool interlocks() const { return in_.profile == Profile::interlocking; }
  /// Whether the op sends a gradient back, and whether it needs one.
  bool returns_gradient(const Op& op) const { return gradients() && is_backward_step(op) && (!interlocks() || interlocking_.goes_on(op)); }
  bool takes_gradient(const Op& op) const { return gradients() && is_backward_step(op) && (!interlocks() || !interlocking_.own(op)); }

  /// Whether this op ends what the next stage waits for.
  bool leaves(const Op& op) const {
    if (late_) return carries(op) && pending_[item(op.stage, op)] == 1;
    const auto& read = read_[index(op.stage)];
    return op.kind == Kind::F && (read.empty() || read[index(op.microbatch)]);
  }

  /// Rows as long as they will become.
  void reserve_rows() {
    std::vector<std::size_t> size(in_.rows.size(), 0);
    for (Rank r = 0; r < in_.ranks(); ++r) {
      size[index(r)] += in_.rows[index(r)].size();
      for (const Op& op : in_.rows[index(r)]) {
        for (const Op& part : in_.parts_of(op)) {
          const auto count = [&](const Way& way) {
            if (way.peer < 0 || way.local) return;
            ++size[index(r)];
            ++size[index(way.rank)];
          };
          if (part.kind == Kind::F) count(activation_out_[index(part.stage)]);
          if (returns_gradient(part)) count(gradient_out_[index(part.stage)]);
        }
      }
    }
    for (std::size_t r = 0; r < size.size(); ++r) {
      out_.rows[r].clear();
      out_.rows[r].reserve(size[r]);
    }
  }

  bool ready(const Op& op) const {
    if (!is_compound(op.kind)) return ready_alone(op);
    const auto parts = in_.parts_of(op);
    return std::all_of(parts.begin(), parts.end(), [&](const Op& part) { return ready_alone(part); });
  }

  bool ready_alone(const Op& op) const {
    if (op.microbatch < 0) return true;
    if (op.kind == Kind::F) {
      return activation_in_[index(op.stage)].peer < 0 || activation_[item(op.stage, source_of(in_, op))] != 0;
    }
    if (takes_gradient(op)) {
      return gradient_in_[index(op.stage)].peer < 0 || gradient_[item(op.stage, op)] != 0;
    }
    return true;
  }

  void place(Rank r, std::size_t position, const Op& op, RankSet& active) {
    auto& row = out_.rows[index(r)];
    const auto parts = in_.parts_of(op);
    for (const Op& part : parts) {
      if (part.kind == Kind::F) receive_at_use(row, part, Kind::RECV_F, activation_in_[index(part.stage)]);
      if (takes_gradient(part)) {
        receive_at_use(row, part, Kind::RECV_B, gradient_in_[index(part.stage)]);
      }
    }
    row.push_back(in_.rows[index(r)][position]);
    for (const Op& part : parts) {
      if (part.microbatch < 0) continue;
      if (leaves(part)) deliver(row, part, Kind::SEND_F, Kind::RECV_F, activation_out_[index(part.stage)], activation_, active);
      if (returns_gradient(part)) {
        deliver(row, part, Kind::SEND_B, Kind::RECV_B, gradient_out_[index(part.stage)], gradient_, active);
      }
      if (late_ && carries(part)) --pending_[item(part.stage, part)];
    }
  }

  static Op moved(const Op& op, Kind kind, Stage stage) {
    Op result = op;
    result.kind = kind;
    result.stage = static_cast<std::int16_t>(stage);
    return result;
  }

  static void receive_at_use(std::vector<Op>& row, const Op& op, Kind kind, const Way& way) {
    if (way.peer >= 0 && !way.local && !way.posted) row.push_back(moved(op, kind, op.stage));
  }

  void deliver(std::vector<Op>& row, const Op& op, Kind send, Kind receive, const Way& way,
               std::vector<std::uint8_t>& placed, RankSet& active) {
    if (way.peer < 0) return;
    placed[item(way.peer, op)] = 1;
    if (way.local) return;
    row.push_back(moved(op, send, op.stage));
    if (way.posted) out_.rows[index(way.rank)].push_back(moved(op, receive, way.peer));
    active.insert(way.rank);
  }

  [[noreturn]] void fail_stuck(const std::vector<std::size_t>& next) const {
    std::string text;
    for (Rank r = 0; r < in_.ranks(); ++r) {
      const std::size_t position = next[index(r)];
      if (position == in_.rows[index(r)].size()) continue;
      text += fmt::format("{}rank {}, op {} ({})", text.empty() ? "" : "; ", r, position, cell(in_, in_.rows[index(r)][position]));
    }
    throw InputError("the compute order deadlocks, sends and receives cannot be placed; waiting: " + text);
  }

  const Program& in_;
  const ChainLinks links_;
  const IdentitySpace space_;
  const Interlocking interlocking_;
  const std::vector<std::vector<bool>> read_;  // stage -> outputs that the next stage reads
  Program out_;
  bool late_ = false;
  std::vector<std::uint8_t> activation_, gradient_;  // item -> its consumer's rank has it
  std::vector<std::int32_t> pending_;                // late forwarding only
  std::vector<Way> activation_in_, activation_out_, gradient_in_, gradient_out_;  // by stage
};

}  // namespace

bool has_communication(const Program& program) {
  const auto p2p = [](const Op& op) { return is_p2p(op.kind); };
  return std::any_of(program.rows.begin(), program.rows.end(),
                     [&](const auto& row) { return std::any_of(row.begin(), row.end(), p2p); });
}

Program add_send_recv(const Program& program) {
  if (has_communication(program)) return program;
  return Lowering(program).run();
}

}  // namespace bubblescope
