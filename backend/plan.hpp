// The executor's plan: a Program taken apart, once, into what each rank does step by step and which
// message goes where, so that nothing is looked up while ops run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/nvtx.hpp"
#include "sim/core/cluster.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// One SEND with its RECV, in one walk of the rows.
struct Message {
  Op send;
  Op recv;
  std::int32_t edge = -1;   ///< Plan::edges
  std::int32_t order = -1;  ///< the k-th send of its edge
  std::int32_t send_fifo = -1;  ///< Plan::fifos, or -1: its turn comes when the rank gets there
  std::int32_t recv_fifo = -1;
};

/// A directed connection of two stages that carries one kind of data.
struct EdgePlan {
  Rank from = -1;
  Rank to = -1;
  Channel rules;
  Link link;                           ///< infinitely fast where no link is imitated
  std::vector<std::int32_t> messages;  ///< in the order in which they are sent
};

/// The transfers of one FIFO in their order within a walk: messages, told apart by their side.
struct FifoPlan {
  struct Entry {
    std::int32_t message = -1;
    bool send = false;
    bool late = false;  ///< of the walk before (Step::late)
  };
  Rank rank = -1;
  std::vector<Entry> entries;
};

/// Ranks that meet: the k-th SYNC of each, or the k-th ALLREDUCE of a stage's copies.
struct GroupPlan {
  std::vector<Rank> members;  ///< ascending
};

enum class Action : std::uint8_t {
  compute,     ///< run it on the device
  send,
  receive,     ///< arrive at a receive at use; a posted one is no step
  meet,        ///< SYNC, ALLREDUCE
};

/// What a rank does at one place of its row.
struct Step {
  Op op;
  Action action = Action::compute;
  std::int32_t message = -1;  ///< send, receive
  std::int32_t group = -1;    ///< meet
  std::vector<Op> parts;      ///< compute: the op, or what the compound consists of
  std::vector<std::int32_t> takes;  ///< compute: messages it uses
  NvtxName nvtx = nullptr;
  std::int32_t name = -1;     ///< compounds: Plan::names
  std::int32_t position = -1; ///< in the row
  bool late = false;          ///< of the walk before, whose end overlaps this one's beginning
};

struct Plan {
  std::vector<std::vector<Step>> ranks;  ///< in the order of a stream (`stream_order`)
  std::vector<Message> messages;
  std::vector<EdgePlan> edges;
  std::vector<FifoPlan> fifos;
  std::vector<GroupPlan> groups;
  std::vector<std::string> names;  ///< cells of compounds
};

/// Plans `program`, whose cross-rank dependencies must have sends and receives. An immediate send
/// is moved up to the op that makes its data (it is ready as soon as that has ended; its place in a
/// FIFO stays the row's). `network` without devices: transfers take no time of their own. Throws
/// InputError naming rank and op where communication is missing or the order is not `in_order`.
Plan make_plan(const Program& program, const Cluster& network);

}  // namespace bubblescope
