// Programs from rows of cells and back, for tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/psched.hpp"
#include "sim/lower/torch_csv.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {

/// Each row as one line of cells.
inline std::vector<std::string> rows_of(const Program& program) {
  std::vector<std::string> rows;
  for (const auto& row : program.rows) {
    std::string text;
    for (const Op& op : row) text += (text.empty() ? "" : ",") + cell(program, op);
    rows.push_back(text);
  }
  return rows;
}

/// The compute order of a Program: without its sends and receives.
inline Program compute_order(Program program) {
  for (auto& row : program.rows) {
    std::erase_if(row, [](const Op& op) { return is_p2p(op.kind); });
  }
  return program;
}

/// A Program of the given rows; `directives` are lines such as `#profile local\n`.
inline Program program_of(const std::vector<std::string>& rows, const std::string& directives = "") {
  std::string text = "#psched 1\n" + directives;
  for (const std::string& row : rows) text += row + "\n";
  return from_psched(text, "test.psched");
}

/// The oracle files' folder.
inline std::filesystem::path oracles() { return source_dir() / "tests/data/oracles"; }

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The rows of an order of `orders/` (or `lowered/`).
inline std::vector<std::string> oracle_rows(const std::string& name, const std::string& folder = "orders") {
  return rows_of(from_torch_csv(text_of(oracles() / folder / (name + "_p4_m8.csv")), name));
}

}  // namespace bubblescope
