// Mnemonics and cells: the text form of single ops.
#include "sim/core/op.hpp"

#include <array>
#include <charconv>
#include <limits>

namespace bubblescope {
namespace {

constexpr std::array<std::string_view, kKinds> kMnemonics{
    "F",      "B",      "I",      "W",         "R",         "A",       "LB",      "U",           "OVERLAP_F_B", "LOAD", "SEND_F",
    "RECV_F", "SEND_B", "RECV_B", "BATCH_P2P", "ALLREDUCE", "UNSHARD", "RESHARD", "REDUCE_GRAD", "D2H",         "H2D",  "SYNC"};

/// Reads digits at the front of `text` and removes them; nothing where there are none or too many.
std::optional<std::int32_t> take_number(std::string_view& text) {
  std::int32_t value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

std::string_view mnemonic(Kind kind) { return kMnemonics[static_cast<std::size_t>(kind)]; }

std::optional<Kind> kind_from_mnemonic(std::string_view text) {
  for (int k = 0; k < kKinds; ++k) {
    if (kMnemonics[static_cast<std::size_t>(k)] == text) return static_cast<Kind>(k);
  }
  return std::nullopt;
}

std::string cell(const Op& op) {
  std::string text = std::to_string(op.stage);
  text += mnemonic(op.kind);
  if (op.microbatch >= 0) text += std::to_string(op.microbatch);
  return text;
}

std::optional<Op> parse_cell(std::string_view text) {
  Op op;
  const auto stage = take_number(text);
  if (!stage || *stage > std::numeric_limits<std::int16_t>::max()) return std::nullopt;
  op.stage = static_cast<std::int16_t>(*stage);
  // D2H and H2D hold a digit, so the longest mnemonic that fits is taken.
  std::string_view best;
  for (int k = 0; k < kKinds; ++k) {
    const std::string_view name = kMnemonics[static_cast<std::size_t>(k)];
    if (text.substr(0, name.size()) == name && name.size() > best.size()) {
      best = name;
      op.kind = static_cast<Kind>(k);
    }
  }
  if (best.empty() || is_compound(op.kind)) return std::nullopt;
  text.remove_prefix(best.size());
  if (text.empty()) return op;
  const auto microbatch = take_number(text);
  if (!microbatch || !text.empty()) return std::nullopt;
  op.microbatch = *microbatch;
  return op;
}

}  // namespace bubblescope
