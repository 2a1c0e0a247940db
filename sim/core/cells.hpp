// Reading rows of cells: what `.psched` and PyTorch's CSV have in common. Keeps line and column for
// messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// A piece of one line of a file. Columns count bytes from 1.
struct TextPiece {
  std::string_view text;
  int line = 0;
  int column = 0;

  /// The piece from `begin`, `size` bytes long, without blanks at its ends.
  TextPiece part(std::size_t begin, std::size_t size = std::string_view::npos) const;
};

/// Throws InputError `file:line:col: message`.
[[noreturn]] void fail_at(const std::string& file, const TextPiece& where, const std::string& message);

/// `text` for a message: quoted, shortened, control characters replaced.
std::string in_quotes(std::string_view text);

/// The lines of a file, without their ends (LF or CRLF), a byte order mark left out. The end of the
/// last line ends the file.
std::vector<TextPiece> split_lines(std::string_view text);

/// The pieces between separators, trimmed; at least one.
std::vector<TextPiece> split(const TextPiece& piece, char separator);

/// A compound cell taken apart: `(0F7;7B3)OVERLAP_F_B` has two parts, and behind `)` the rest.
struct CompoundPieces {
  std::vector<TextPiece> parts;
  TextPiece rest;
};
/// Nothing where the text does not begin with `(`, or has no `)`.
std::optional<CompoundPieces> split_compound(const TextPiece& cell);

/// The number that `text` is, and nothing else.
std::optional<std::int64_t> parse_integer(std::string_view text);

/// Placement read off the rows, as PyTorch does: a stage is where it appears first. Throws InputError
/// where a stage below the highest one appears nowhere.
std::vector<Rank> placement_of_rows(const Program& program, const std::string& file);

/// Stages per rank and chain: the most that any rank holds, rounded up.
std::int32_t chunks_of_placement(const Program& program);

/// One above the highest microbatch and the highest iteration in the rows.
struct RowCounts {
  std::int32_t microbatches = 0;
  std::int32_t iterations = 1;
};
RowCounts counts_of_rows(const Program& program);

}  // namespace bubblescope
