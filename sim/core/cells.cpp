// Lines, cells and compounds of the text forms, and what can be read off the rows alone.
#include "sim/core/cells.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/// Calls `visit(rank, op)` for every op, compounds by their parts.
template <typename Visit>
void for_each_part(const Program& program, Visit visit) {
  for (Rank r = 0; r < program.ranks(); ++r) {
    for (const Op& op : program.rows[static_cast<std::size_t>(r)]) {
      for (const Op& part : program.parts_of(op)) visit(r, part);
    }
  }
}

}  // namespace

TextPiece TextPiece::part(std::size_t begin, std::size_t size) const {
  std::size_t end = size < text.size() - begin ? begin + size : text.size();
  while (begin < end && is_blank(text[begin])) ++begin;
  while (end > begin && is_blank(text[end - 1])) --end;
  return {text.substr(begin, end - begin), line, column + static_cast<int>(begin)};
}

void fail_at(const std::string& file, const TextPiece& where, const std::string& message) {
  throw InputError(fmt::format("{}:{}:{}: {}", file, where.line, where.column, message));
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLongest = 40;
  std::string result = "'";
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  if (text.size() > kLongest) result += "...";
  return result + "'";
}

std::vector<TextPiece> split_lines(std::string_view text) {
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  std::vector<TextPiece> lines;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back({line, ++number, 1});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<TextPiece> split(const TextPiece& piece, char separator) {
  std::vector<TextPiece> pieces;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = std::min(piece.text.find(separator, begin), piece.text.size());
    pieces.push_back(piece.part(begin, end - begin));
    if (end == piece.text.size()) return pieces;
    begin = end + 1;
  }
}

std::optional<CompoundPieces> split_compound(const TextPiece& cell) {
  const std::size_t close = cell.text.find(')');
  if (cell.text.empty() || cell.text.front() != '(' || close == std::string_view::npos) return std::nullopt;
  return CompoundPieces{split(cell.part(1, close - 1), ';'), cell.part(close + 1)};
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<Rank> placement_of_rows(const Program& program, const std::string& file) {
  std::vector<Rank> placement;
  for_each_part(program, [&](Rank r, const Op& op) {
    const auto stage = static_cast<std::size_t>(op.stage);
    if (stage >= placement.size()) placement.resize(stage + 1, -1);
    if (placement[stage] < 0) placement[stage] = r;
  });
  const auto missing = std::find(placement.begin(), placement.end(), -1);
  if (missing != placement.end()) {
    throw InputError(fmt::format("{}: stage {} is in no row; expected all stages from 0 to {}", file,
                                 missing - placement.begin(), placement.size() - 1));
  }
  return placement;
}

std::int32_t chunks_of_placement(const Program& program) {
  std::vector<std::int32_t> held(program.rows.size(), 0);
  for (const Rank r : program.stage_rank) ++held[static_cast<std::size_t>(r)];
  const auto chains = std::max<std::int32_t>(1, static_cast<std::int32_t>(program.chains.size()));
  const std::int32_t most = held.empty() ? 0 : *std::max_element(held.begin(), held.end());
  return std::max(1, (most + chains - 1) / chains);
}

RowCounts counts_of_rows(const Program& program) {
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max() - 1;
  RowCounts counts;
  for_each_part(program, [&](Rank, const Op& op) {
    counts.microbatches = std::max(counts.microbatches, std::min(op.microbatch, kMost) + 1);
    counts.iterations = std::max(counts.iterations, std::min(op.iteration, kMost) + 1);
  });
  return counts;
}

}  // namespace bubblescope
