// The rows of a sweep: one prediction each, as bytes that can be sent, as a table, as CSV and as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/bubbles.hpp"
#include "analysis/table.hpp"
#include "bench/summary.hpp"
#include "sim/scenario/sweep_axes.hpp"

namespace bubblescope {

enum class RowStatus : std::uint8_t {
  ok,
  memory,    ///< predicted, but a device has less memory than its rank needs
  deadlock,
  skipped,   ///< the schedule cannot have this shape, or the point contradicts itself
};

struct SweepRow {
  struct Numbers : KeyNumbers {
    double samples_per_second = 0;  ///< in the steady state; 0: the period is not known
  };
  std::int64_t point = 0;
  std::string schedule, label;
  std::int32_t ranks = 0, microbatches = 0, chunks = 0;  ///< 0: not known
  std::int64_t samples = 0;  ///< per iteration
  RowStatus status = RowStatus::ok;
  std::string reason;        ///< where the status is not ok
  std::optional<Numbers> numbers;
};

/// What the table, the files and `--sort` need besides the rows.
struct SweepResult {
  std::string scenario;
  std::vector<SweepAxis> axes;
  std::int64_t points = 0;  ///< of the grid
  std::int64_t predicted = 0;  ///< fewer where it was interrupted
  std::vector<SweepRow> rows;
};

/// `samples` is what a period trains on.
SweepRow::Numbers row_numbers(const Summary& summary, std::int64_t samples);

/// A point's rows as compact bytes, and back, bit by bit.
std::string encode_rows(std::span<const SweepRow> rows);
std::vector<SweepRow> decode_rows(std::string_view bytes);

/// The row with the most samples per second of those that fit; the first of equal ones. Nothing where there is none.
std::optional<std::size_t> best_row(std::span<const SweepRow> rows);

/// Keys of `--sort`.
std::vector<std::string> sort_keys();
/// Best first, rows that are equal in it in the order of the grid, those without a value last.
void sort_rows(std::vector<SweepRow>& rows, const std::string& key);

Table sweep_table(const SweepResult& result);
std::string sweep_csv(const SweepResult& result);
/// One row per line.
std::string sweep_json(const SweepResult& result);

}  // namespace bubblescope
