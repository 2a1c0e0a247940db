// Writing `.psched`. Reading is in psched_read.cpp.
#include "sim/core/psched.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sim/core/channel_mode.hpp"
#include "sim/core/psched_words.hpp"

namespace bubblescope {
namespace {

using namespace psched;

template <typename Enum>
const std::string& word(const std::vector<std::string>& words, Enum value) {
  return words[static_cast<std::size_t>(value)];
}

/// A name in one line: as it is where that reads back, else in quotes with escapes.
std::string written_name(const std::string& name) {
  const bool plain = !name.empty() && name.front() != '"' && name.front() != ' ' && name.back() != ' ' &&
                     std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain) return name;
  std::string text = "\"";
  for (const char c : name) {
    const bool as_is = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    text += as_is ? std::string(1, c) : fmt::format("\\{:02x}", static_cast<unsigned char>(c));
  }
  return text + "\"";
}

std::string written_channel(const Channel& channel) {
  const Channel plain;
  std::string text = "#channel ";
  text += edge_text(channel);
  if (channel.fifo != plain.fifo) text += " fifo=" + word(kFifos, channel.fifo);
  if (channel.capacity != plain.capacity) text += fmt::format(" capacity={}", channel.capacity);
  if (channel.eager_bytes != plain.eager_bytes) text += fmt::format(" eager={}", channel.eager_bytes);
  if (channel.receive != plain.receive) text += " receive=" + word(kReceives, channel.receive);
  if (channel.send != plain.send) text += " send=" + word(kSends, channel.send);
  return text + "\n";
}

/// What an op is taken to be where its cell says nothing else.
struct Defaults {
  std::int32_t iteration = 0;
  std::uint8_t chain = 0;
};

void write_suffixes(fmt::memory_buffer& out, const Op& op, const Defaults& defaults) {
  const auto to = std::back_inserter(out);
  if (op.iteration != defaults.iteration) fmt::format_to(to, "@{}", op.iteration);
  if (op.replica != 0) fmt::format_to(to, "!r{}", op.replica);
  if (op.chain != defaults.chain) fmt::format_to(to, "!c{}", op.chain);
  if (op.slice != 0) fmt::format_to(to, "/s{}", op.slice);
}

void write_simple(fmt::memory_buffer& out, const Op& op, const std::vector<std::uint8_t>& chain_of_stage) {
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "{}{}", op.stage, mnemonic(op.kind));
  if (op.microbatch >= 0) fmt::format_to(to, "{}", op.microbatch);
  const auto stage = static_cast<std::size_t>(op.stage);
  write_suffixes(out, op, {0, stage < chain_of_stage.size() ? chain_of_stage[stage] : std::uint8_t{0}});
}

void write_row(fmt::memory_buffer& out, const Program& program, const std::vector<Op>& row,
               const std::vector<std::uint8_t>& chain_of_stage) {
  bool first = true;
  for (const Op& op : row) {
    if (!first) out.push_back(',');
    first = false;
    if (!is_compound(op.kind)) {
      write_simple(out, op, chain_of_stage);
      continue;
    }
    const auto parts = program.parts_of(op);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      out.push_back(i == 0 ? '(' : ';');
      write_simple(out, parts[i], chain_of_stage);
    }
    fmt::format_to(std::back_inserter(out), "){}", mnemonic(op.kind));
    write_suffixes(out, op, {parts.front().iteration, 0});
  }
  if (row.empty()) out.push_back('-');
  out.push_back('\n');
}


}  // namespace

std::string to_psched(const Program& program) {
  fmt::memory_buffer out;
  const auto to = std::back_inserter(out);
  const auto list = [&](std::string_view directive, const std::vector<std::int32_t>& numbers) {
    fmt::format_to(to, "#{}", directive);
    for (const std::int32_t number : numbers) fmt::format_to(to, " {}", number);
    out.push_back('\n');
  };
  fmt::format_to(to, "#psched 1\n#schedule {}\n#ranks {}\n#microbatches {}\n#iterations {}\n#chunks {}\n",
                 written_name(program.schedule), program.ranks(), program.microbatches, program.iterations, program.chunks);
  fmt::format_to(to, "#profile {}\n#weights {}\n#ordering {}\n", profile_name(program.profile),
                 word(kWeights, program.weights), word(kOrderings, program.ordering));
  list("stage-rank", program.stage_rank);
  for (const auto& chain : program.chains) list("chain", chain);
  if (program.chains.empty()) fmt::format_to(to, "#chain none\n");
  for (const Channel& channel : program.channels) fmt::format_to(to, "{}", written_channel(channel));
  if (program.channels.empty()) fmt::format_to(to, "#channel none\n");
  for (std::size_t s = 0; s < program.sources.size(); ++s) {
    std::vector<std::int32_t> numbers{static_cast<std::int32_t>(s)};
    numbers.insert(numbers.end(), program.sources[s].begin(), program.sources[s].end());
    list("sources", numbers);
  }
  for (std::size_t r = 0; r < program.overlap.size(); ++r) {
    std::vector<std::int32_t> numbers{static_cast<std::int32_t>(r)};
    numbers.insert(numbers.end(), program.overlap[r].begin(), program.overlap[r].end());
    list("overlap", numbers);
  }
  const auto chain_of_stage = chain_links(program).chain;
  for (const auto& row : program.rows) write_row(out, program, row, chain_of_stage);
  return fmt::to_string(out);
}

}  // namespace bubblescope
