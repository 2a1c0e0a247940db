// Programs: construction, cells of compounds, placements, repetition.
#include "sim/core/program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace bubblescope {

const std::vector<std::string>& profile_names() {
  static const std::vector<std::string> names{"backprop", "local", "local-serial", "forward-only", "delayed", "interlocking"};
  return names;
}

std::string_view profile_name(Profile profile) { return profile_names()[static_cast<std::size_t>(profile)]; }

std::string edge_text(const Channel& channel) {
  return channel.from < 0 && channel.to < 0 ? std::string("default") : fmt::format("{}->{}", channel.from, channel.to);
}

std::string not_neighbours(const Channel& channel) {
  return fmt::format("{} are no neighbours; expected a stage and the next one of its chain", edge_text(channel));
}

std::size_t Program::op_count() const {
  std::size_t count = 0;
  for (const auto& row : rows) count += row.size();
  return count;
}

Op Program::make_compound(Kind kind, std::span<const Op> ops) {
  Op op;
  op.kind = kind;
  op.operand = static_cast<std::int32_t>(compounds.size());
  op.iteration = ops.front().iteration;
  compounds.push_back({static_cast<std::int32_t>(parts.size()), static_cast<std::int32_t>(ops.size())});
  parts.insert(parts.end(), ops.begin(), ops.end());
  return op;
}

const Channel& Program::channel(Stage from, Stage to) const {
  for (std::size_t i = 1; i < channels.size(); ++i) {
    if (channels[i].from == from && channels[i].to == to) return channels[i];
  }
  return channels.front();
}

ChainLinks chain_links(const Program& program) {
  const auto stages = static_cast<std::size_t>(program.stages());
  ChainLinks links{std::vector<Stage>(stages, -1), std::vector<Stage>(stages, -1), std::vector<std::uint8_t>(stages, 0),
                   std::vector<std::int32_t>(stages, 0)};
  for (std::size_t c = 0; c < program.chains.size(); ++c) {
    const auto& chain = program.chains[c];
    for (std::size_t i = 0; i < chain.size(); ++i) {
      const auto stage = static_cast<std::size_t>(chain[i]);
      links.chain[stage] = static_cast<std::uint8_t>(c);
      links.position[stage] = static_cast<std::int32_t>(i);
      if (i > 0) links.previous[stage] = chain[i - 1];
      if (i + 1 < chain.size()) links.next[stage] = chain[i + 1];
    }
  }
  return links;
}

Stage peer_stage(const ChainLinks& links, const Op& op) {
  return (faces_next(op.kind) ? links.next : links.previous)[static_cast<std::size_t>(op.stage)];
}

Stage boundary_stage(const ChainLinks& links, const Op& op) {
  return faces_next(op.kind) ? Stage{op.stage} : links.previous[static_cast<std::size_t>(op.stage)];
}

const Channel& channel_of(const Program& program, const ChainLinks& links, const Op& op) {
  const Stage from = boundary_stage(links, op);
  return program.channel(from, links.next[static_cast<std::size_t>(from)]);
}

Op source_of(const Program& program, Op forward) {
  if (program.sources.empty()) return forward;
  const auto& sources = program.sources[static_cast<std::size_t>(forward.stage)];
  if (!sources.empty()) forward.microbatch = sources[static_cast<std::size_t>(forward.microbatch)];
  return forward;
}

bool is_last_reader(const Program& program, const Op& forward) {
  if (program.sources.empty()) return true;
  const auto& sources = program.sources[static_cast<std::size_t>(forward.stage)];
  if (sources.empty()) return true;
  const auto own = sources.begin() + forward.microbatch;
  return std::find(own + 1, sources.end(), *own) == sources.end();
}

std::vector<std::vector<bool>> outputs_read(const Program& program) {
  std::vector<std::vector<bool>> read(program.stage_rank.size());
  if (program.sources.empty()) return read;
  const ChainLinks links = chain_links(program);
  for (Stage s = 0; s < program.stages(); ++s) {
    const Stage previous = links.previous[static_cast<std::size_t>(s)];
    const auto& sources = program.sources[static_cast<std::size_t>(s)];
    if (previous < 0 || sources.empty()) continue;
    auto& of_previous = read[static_cast<std::size_t>(previous)];
    of_previous.assign(static_cast<std::size_t>(program.microbatches), false);
    for (const Microbatch source : sources) of_previous[static_cast<std::size_t>(source)] = true;
  }
  return read;
}

Microbatch data_of(const Program& program, const Op& op) {
  if (program.sources.empty()) return op.microbatch;
  const ChainLinks links = chain_links(program);
  Op at = op;
  for (Stage stage = op.stage; stage >= 0; stage = links.previous[static_cast<std::size_t>(stage)]) {
    at.stage = static_cast<std::int16_t>(stage);
    at = source_of(program, at);
  }
  return at.microbatch;
}

std::string cell(const Program& program, const Op& op) {
  if (!is_compound(op.kind)) return cell(op);
  std::string text = "(";
  for (const Op& part : program.parts_of(op)) {
    if (text.size() > 1) text += ';';
    text += cell(part);
  }
  text += ')';
  text += mnemonic(op.kind);
  return text;
}

Program make_program(std::string schedule, std::int32_t ranks, std::int32_t microbatches, std::vector<Rank> stage_rank) {
  Program program;
  program.schedule = std::move(schedule);
  program.microbatches = microbatches;
  program.stage_rank = std::move(stage_rank);
  program.chunks = ranks > 0 ? program.stages() / ranks : 0;
  program.rows.resize(static_cast<std::size_t>(ranks));
  program.channels.emplace_back();
  auto& chain = program.chains.emplace_back();
  for (Stage s = 0; s < program.stages(); ++s) chain.push_back(s);
  return program;
}

std::vector<Rank> placement_loop(std::int32_t ranks, std::int32_t chunks) {
  std::vector<Rank> placement;
  for (std::int32_t s = 0; s < ranks * chunks; ++s) placement.push_back(s % ranks);
  return placement;
}

std::vector<Rank> placement_zigzag(std::int32_t ranks, std::int32_t chunks) {
  std::vector<Rank> placement;
  for (std::int32_t s = 0; s < ranks * chunks; ++s) placement.push_back(s / ranks % 2 == 0 ? s % ranks : ranks - 1 - s % ranks);
  return placement;
}

Program make_bidirectional_program(std::string schedule, std::int32_t ranks, std::int32_t microbatches) {
  Program program = make_program(std::move(schedule), ranks, microbatches, placement_zigzag(ranks, 2));
  program.chunks = 1;
  std::vector<Stage> up(program.chains.front().begin() + ranks, program.chains.front().end());
  program.chains.front().resize(static_cast<std::size_t>(ranks));
  program.chains.push_back(std::move(up));
  return program;
}

std::vector<StreamOp> stream_order(const Program& program, Rank rank) {
  const auto& row = program.rows[static_cast<std::size_t>(rank)];
  std::vector<StreamOp> order;
  order.reserve(row.size());
  const auto count = static_cast<std::int32_t>(row.size());
  const std::vector<std::int32_t> none;
  const std::vector<std::int32_t>& before = program.overlap.empty() ? none : program.overlap[static_cast<std::size_t>(rank)];
  const auto counted = [&](std::int32_t position) { return !is_p2p(row[static_cast<std::size_t>(position)].kind); };
  // Where the ops that may be late begin, and the transfers before the first op of all.
  std::int32_t tail = count;
  for (std::size_t left = before.size(); left > 0; --left) {
    do --tail;
    while (!counted(tail));
  }
  std::int32_t head = 0, late = tail;
  const auto put = [&](std::int32_t& position, std::int32_t end, bool is_late) {
    do order.push_back({position++, is_late});
    while (position < end && !counted(position));
  };
  while (head < tail && !counted(head)) order.push_back({head++, false});
  std::int32_t issued = 0;
  for (const std::int32_t wanted : before) {
    for (; issued < wanted && head < tail; ++issued) put(head, tail, false);
    put(late, count, true);
  }
  while (head < tail) put(head, tail, false);
  return order;
}

Program repeat_iterations(const Program& program, std::int32_t count) {
  Program repeated = program;
  repeated.iterations = program.iterations * count;
  if (count == 1) return repeated;
  // Compounds of a later iteration are numbered as those of the first, behind all before.
  const std::size_t compounds = program.compounds.size();
  for (std::int32_t k = 1; k < count; ++k) {
    for (const Compound& compound : program.compounds) {
      repeated.compounds.push_back({static_cast<std::int32_t>(repeated.parts.size()), compound.count});
      for (std::int32_t i = 0; i < compound.count; ++i) {
        Op part = program.parts[static_cast<std::size_t>(compound.first + i)];
        part.iteration += k * program.iterations;
        repeated.parts.push_back(part);
      }
    }
  }
  for (Rank r = 0; r < program.ranks(); ++r) {
    const auto& row = program.rows[static_cast<std::size_t>(r)];
    const std::vector<StreamOp> order = stream_order(program, r);
    auto& out = repeated.rows[static_cast<std::size_t>(r)];
    out.clear();
    out.reserve(row.size() * static_cast<std::size_t>(count));
    for (std::int32_t k = 0; k <= count; ++k) {
      for (const StreamOp& at : order) {
        const std::int32_t iteration = k - (at.late ? 1 : 0);
        if (iteration < 0 || iteration >= count) continue;
        Op op = row[static_cast<std::size_t>(at.position)];
        if (at.late && op.kind == Kind::SYNC && k < count) continue;
        op.iteration += iteration * program.iterations;
        if (is_compound(op.kind)) op.operand += iteration * static_cast<std::int32_t>(compounds);
        out.push_back(op);
      }
    }
  }
  return repeated;
}

}  // namespace bubblescope
