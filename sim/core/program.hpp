// Program: a training schedule as data. Generators make it, passes extend it; the simulator predicts
// it and a backend executes it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/op.hpp"

namespace bubblescope {

/// Which op waits for which (sim/core/dependencies.hpp has the edges).
enum class Profile : std::uint8_t {
  backprop,      ///< gradients flow back from stage to stage
  local,         ///< no gradient crosses stages; an activation leaves right after F
  local_serial,  ///< as local, but an activation leaves after the stage's update of that microbatch
  forward_only,  ///< inference
  delayed,       ///< as backprop; a backward may use weights newer than its forward did
  interlocking,  ///< every stage has a loss, which goes back through N stages (interlocking.hpp)
};
/// The words for profiles, in the order of the enumeration.
const std::vector<std::string>& profile_names();
std::string_view profile_name(Profile profile);
/// Whether programs of the profile have local losses.
constexpr bool is_local(Profile profile) {
  return profile == Profile::local || profile == Profile::local_serial || profile == Profile::interlocking;
}
/// Whether gradients cross stages.
constexpr bool has_gradients(Profile profile) {
  return profile == Profile::backprop || profile == Profile::delayed || profile == Profile::interlocking;
}

/// Which transfers wait for each other in issue order.
enum class Fifo : std::uint8_t {
  none,  ///< transfers are independent
  rank,  ///< one queue per rank, sends and receives together (PyTorch's default communicator)
  data,  ///< two per rank: activations, gradients
  edge,  ///< one per rank, direction and peer
};

/// When a receive takes its place.
enum class Receive : std::uint8_t {
  posted,  ///< beforehand, in FIFO order (pipelines)
  at_use,  ///< when the consumer gets there (queues)
};

/// What the sending rank's compute stream does.
enum class Send : std::uint8_t {
  immediate,  ///< goes on at once (pipelines)
  commit,     ///< goes on, but the next send waits until this entry is accepted
  holding,    ///< stands until the entry is accepted (queues)
};

inline constexpr std::int32_t kUnbounded = -1;

/// The rules of one channel, the only way between ranks. Latency and bandwidth are the Cluster's.
struct Channel {
  Stage from = -1;  ///< the edge it applies to; -1, -1 is the default of all edges
  Stage to = -1;    ///< the stage after `from` in its chain; gradients go the same edge backwards
  Fifo fifo = Fifo::none;
  std::int32_t capacity = kUnbounded;  ///< entries accepted and not yet taken; 0 is a rendezvous
  std::int64_t eager_bytes = 0;        ///< messages up to that size count as unbounded
  Receive receive = Receive::posted;
  Send send = Send::immediate;

  friend bool operator==(const Channel&, const Channel&) = default;
};

/// `0->1`, or `default`.
std::string edge_text(const Channel& channel);
/// What is said of an edge whose stages do not follow each other in a chain.
std::string not_neighbours(const Channel& channel);

/// The modes of `--channel`: `async` (transfers are independent), `rank`, `data`, `edge` (rendezvous over that
/// FIFO; the oracle tables' semantics), and properties as of `#channel`: `edge,capacity=2`. Throws InputError.
Channel channel_mode(std::string_view text);
/// The names that `channel_mode` knows, without properties.
std::vector<std::string> channel_mode_names();

/// How a rank's stream orders its ops.
enum class Ordering : std::uint8_t {
  in_order,    ///< the row's order
  priority,    ///< the ready op of highest priority (earliest in the row)
  self_timed,  ///< runs when its channel has data and credit
};

/// Which weights a backward reads.
enum class WeightPolicy : std::uint8_t {
  flush,       ///< one version per iteration: updates only when nothing is in flight
  latest,      ///< whatever is there: forward and backward may differ
  stash,       ///< the backward uses the version its forward read
  double_buffered,  ///< PipeDream-2BW
};

/// A half-open range of Program::parts.
struct Compound {
  std::int32_t first = 0;
  std::int32_t count = 0;
  friend bool operator==(const Compound&, const Compound&) = default;
};

/// A schedule: per rank one row, the order in which that rank issues its ops. An op runs on the
/// stream of its kind (compute, communication, ...), so a row fixes the order on every stream, too.
struct Program {
  std::string schedule;      ///< registry name, or where it was read from
  std::int32_t microbatches = 0;  ///< per iteration, all chains together
  std::int32_t iterations = 1;
  std::int32_t chunks = 1;   ///< stages per rank and chain
  Profile profile = Profile::backprop;
  WeightPolicy weights = WeightPolicy::flush;
  Ordering ordering = Ordering::in_order;

  std::vector<Rank> stage_rank;            ///< stage -> the rank that holds it
  std::vector<std::vector<Stage>> chains;  ///< stages of each chain in forward order
  std::vector<Channel> channels;           ///< [0] is the default; those of single edges follow

  /// Where stages replay: stage -> for each of its microbatches the one of the previous stage whose output it
  /// reads, of the same iteration. Empty, or empty for a stage: its own number. Outputs that nobody reads are
  /// not sent. Profile `local` only.
  std::vector<std::vector<Microbatch>> sources;

  std::vector<std::vector<Op>> rows;  ///< rank -> ops in issue order
  /// Where iterations follow each other without draining the pipeline: rank -> for each of the last ops of its
  /// row, how many ops of the next iteration come before it; ascending. Transfers are not counted on
  /// either side, they follow the op before them. Empty: an iteration ends before the next begins.
  std::vector<std::vector<std::int32_t>> overlap;
  std::vector<Compound> compounds;
  std::vector<Op> parts;  ///< what compounds consist of

  std::int32_t ranks() const { return static_cast<std::int32_t>(rows.size()); }
  std::int32_t stages() const { return static_cast<std::int32_t>(stage_rank.size()); }
  std::size_t op_count() const;

  /// The parts of a compound; the op itself for any other.
  std::span<const Op> parts_of(const Op& op) const {
    if (!is_compound(op.kind)) return {&op, 1};
    const Compound& compound = compounds[static_cast<std::size_t>(op.operand)];
    return {parts.data() + compound.first, static_cast<std::size_t>(compound.count)};
  }
  /// Adds a compound op of `kind` made of `ops`.
  Op make_compound(Kind kind, std::span<const Op> ops);

  /// The channel of the edge from stage `from` to `to`, the next one of its chain.
  const Channel& channel(Stage from, Stage to) const;

  friend bool operator==(const Program&, const Program&) = default;
};

/// Neighbours in forward order, per stage: -1 at a chain's ends. Stages at the same position of different
/// chains are copies of one part of the model.
struct ChainLinks {
  std::vector<Stage> previous;
  std::vector<Stage> next;
  std::vector<std::uint8_t> chain;
  std::vector<std::int32_t> position;  ///< in its chain, from 0
};
ChainLinks chain_links(const Program& program);
/// The stage at the other end of a send or receive; -1 where there is none.
Stage peer_stage(const ChainLinks& links, const Op& op);
/// The stage whose output crosses the edge that a send or receive uses, forward or as its gradient backward,
/// which has the same size; -1 where there is none.
Stage boundary_stage(const ChainLinks& links, const Op& op);
/// The channel of a send or receive that has a peer. Gradients follow the rules of the edge that their
/// activations came by.
const Channel& channel_of(const Program& program, const ChainLinks& links, const Op& op);

/// The op whose output (or receive) the F `forward` reads, but for its kind and stage: itself, or where its stage
/// replays that of another microbatch.
Op source_of(const Program& program, Op forward);
/// Whether no later microbatch of the stage reads the same input again.
bool is_last_reader(const Program& program, const Op& forward);
/// Stage -> by microbatch whether the next stage's F reads its output; empty for a stage: all are read.
std::vector<std::vector<bool>> outputs_read(const Program& program);
/// The microbatch of the first stage (the batch drawn from the data) that `op` works on.
Microbatch data_of(const Program& program, const Op& op);

/// The cell of any op of `program`: `(0F7;7B3)OVERLAP_F_B`.
std::string cell(const Program& program, const Op& op);

/// A Program with its stages on ranks and one chain, and empty rows. `stage_rank` is what
/// `placement_loop` gives, or any other.
Program make_program(std::string schedule, std::int32_t ranks, std::int32_t microbatches,
                     std::vector<Rank> stage_rank);
/// Stage s on rank s mod p.
std::vector<Rank> placement_loop(std::int32_t ranks, std::int32_t chunks);
/// Chunk after chunk of p stages, down the ranks and up again in turn: with 2 chunks the shape of a V.
std::vector<Rank> placement_zigzag(std::int32_t ranks, std::int32_t chunks);
/// Two pipelines of p stages each: chain 0, stages 0 to p-1, goes down the ranks, and chain 1, stages p to
/// 2p-1, up. Every rank holds a stage of each.
Program make_bidirectional_program(std::string schedule, std::int32_t ranks, std::int32_t microbatches);

/// An op of a row in the order in which a stream of iterations issues it.
struct StreamOp {
  std::int32_t position = -1;  ///< in the row
  bool late = false;           ///< of the iteration before, whose end overlaps this one's beginning
};
/// The order of a rank's row within a stream: every position once, as `overlap` says. A stream of n iterations
/// is this n + 1 times, first without its late ops, in the end with nothing else. Barriers among
/// the late ops are those of the drain: in a stream the next iteration's take their place.
std::vector<StreamOp> stream_order(const Program& program, Rank rank);

/// The same schedule for `count` iterations, one after another in every row, with no barrier between.
Program repeat_iterations(const Program& program, std::int32_t count);

}  // namespace bubblescope
