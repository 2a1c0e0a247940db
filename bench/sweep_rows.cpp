// Rows of a sweep in their forms.
#include "bench/sweep_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"

namespace bubblescope {

using nlohmann::json;

namespace {

constexpr std::array<std::string_view, 4> kStatusNames{"ok", "memory", "deadlock", "skipped"};

std::string_view status_name(RowStatus status) { return kStatusNames[static_cast<std::size_t>(status)]; }

std::string dump(const json& value, int indent = -1) { return value.dump(indent, ' ', false, json::error_handler_t::replace); }

json number_or_null(std::int64_t number, bool known) { return known ? json(number) : json(nullptr); }

/// A value of an axis: a number where it is one, else its text.
json value_json(const std::string& text) {
  json value = json::parse(text, nullptr, false);
  return value.is_number() ? value : json(text);
}

json row_json(const SweepRow& row, std::span<const SweepAxis> axes) {
  json values = json::object();
  const auto texts = point_values(axes, row.point);
  for (std::size_t i = 0; i < axes.size(); ++i) values[axes[i].name] = value_json(texts[i]);
  json out = {{"point", row.point},
              {"values", values},
              {"schedule", row.schedule},
              {"label", row.label},
              {"ranks", number_or_null(row.ranks, row.ranks > 0)},
              {"microbatches", number_or_null(row.microbatches, row.microbatches > 0)},
              {"chunks", number_or_null(row.chunks, row.chunks > 0)},
              {"samples", number_or_null(row.samples, row.samples > 0)},
              {"status", status_name(row.status)},
              {"reason", row.reason.empty() ? json(nullptr) : json(row.reason)}};
  out.update(key_json(row.numbers));
  const SweepRow::Numbers* n = row.numbers ? &*row.numbers : nullptr;
  out["samples_per_second"] = n != nullptr && n->samples_per_second > 0 ? json(n->samples_per_second) : json(nullptr);
  out["peak_activations"] = n != nullptr ? json(n->peak_activations) : json(nullptr);
  out["peak_bytes"] = bytes_json(n != nullptr ? n->peak_bytes : -1);
  return out;
}

/// Three or four significant digits: `1234`, `123.4`, `1.23`.
std::string rate_text(double rate) { return rate >= 1000 ? fmt::format("{:.0f}", rate) : rate >= 100 ? fmt::format("{:.1f}", rate) : fmt::format("{:.3g}", rate); }

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

/// A row's place by one key: smaller is better.
struct SortKey {
  std::string_view name;
  double (*of)(const SweepRow::Numbers& numbers);
};

constexpr double kNone = std::numeric_limits<double>::infinity();
constexpr std::array<SortKey, 6> kSortKeys{{
    {"throughput", [](const SweepRow::Numbers& n) { return n.samples_per_second > 0 ? -n.samples_per_second : kNone; }},
    {"makespan", [](const SweepRow::Numbers& n) { return static_cast<double>(n.makespan); }},
    {"period", [](const SweepRow::Numbers& n) { return static_cast<double>(n.period); }},
    {"idle", [](const SweepRow::Numbers& n) { return n.idle_fraction; }},
    {"activations", [](const SweepRow::Numbers& n) { return static_cast<double>(n.peak_activations); }},
    {"memory", [](const SweepRow::Numbers& n) { return n.peak_bytes >= 0 ? static_cast<double>(n.peak_bytes) : kNone; }},
}};

}  // namespace

SweepRow::Numbers row_numbers(const Summary& summary, std::int64_t samples) {
  SweepRow::Numbers n{key_numbers(summary)};
  if (n.period > 0) n.samples_per_second = static_cast<double>(samples) * static_cast<double>(kSecond) / static_cast<double>(n.period);
  return n;
}

std::string encode_rows(std::span<const SweepRow> rows) {
  json out = json::array();
  for (const SweepRow& row : rows) {
    json numbers = nullptr;
    if (row.numbers) {
      const SweepRow::Numbers& n = *row.numbers;
      numbers = {n.makespan, n.span, n.period, n.idle_fraction, n.overhead, n.span_rate, n.internal, n.peak_activations, n.peak_bytes, n.messages, n.sent_bytes, n.samples_per_second};
    }
    out.push_back({row.point, row.schedule, row.label, row.ranks, row.microbatches, row.chunks, row.samples, static_cast<int>(row.status), row.reason, numbers});
  }
  return dump(out);
}

std::vector<SweepRow> decode_rows(std::string_view bytes) {
  std::vector<SweepRow> rows;
  for (const json& in : json::parse(bytes)) {
    SweepRow row{in.at(0), in.at(1), in.at(2), in.at(3), in.at(4), in.at(5), in.at(6), static_cast<RowStatus>(in.at(7).get<int>()), in.at(8), std::nullopt};
    if (const json& n = in.at(9); !n.is_null()) {
      row.numbers = SweepRow::Numbers{{n.at(0), n.at(1), n.at(2), n.at(3), n.at(4), n.at(5), n.at(6), n.at(7), n.at(8), n.at(9), n.at(10)}, n.at(11)};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<std::size_t> best_row(std::span<const SweepRow> rows) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].status != RowStatus::ok || rows[i].numbers->samples_per_second <= 0) continue;
    if (!best) {
      best = i;
      continue;
    }
    const double rate = rows[i].numbers->samples_per_second, other = rows[*best].numbers->samples_per_second;
    if (rate > other || (rate == other && rows[i].point < rows[*best].point)) best = i;
  }
  return best;
}

std::vector<std::string> sort_keys() {
  std::vector<std::string> names;
  for (const SortKey& key : kSortKeys) names.emplace_back(key.name);
  return names;
}

void sort_rows(std::vector<SweepRow>& rows, const std::string& key) {
  const auto found = std::find_if(kSortKeys.begin(), kSortKeys.end(), [&](const SortKey& known) { return known.name == key; });
  if (found == kSortKeys.end()) return;
  const auto place = [&](const SweepRow& row) { return row.numbers ? found->of(*row.numbers) : kNone; };
  std::stable_sort(rows.begin(), rows.end(), [&](const SweepRow& a, const SweepRow& b) { return place(a) < place(b); });
}

Table sweep_table(const SweepResult& result) {
  Table table;
  std::vector<std::size_t> shown;  // the label tells the schedule
  for (std::size_t i = 0; i < result.axes.size(); ++i) {
    if (result.axes[i].what == SweepAxis::What::schedule) continue;
    shown.push_back(i);
    table.columns.push_back({result.axes[i].name, Align::right});
  }
  for (const char* title : {"schedule", "makespan", "period", "samples/s", "idle fraction", "peak act.", "peak memory", "note"}) {
    table.columns.push_back({title, std::string_view(title) == "schedule" || std::string_view(title) == "note" ? Align::left : Align::right});
  }
  const auto best = best_row(result.rows);
  for (std::size_t r = 0; r < result.rows.size(); ++r) {
    const SweepRow& row = result.rows[r];
    const auto values = point_values(result.axes, row.point);
    std::vector<std::string> cells;
    for (const std::size_t i : shown) cells.push_back(values[i]);
    cells.push_back(row.label.empty() ? "-" : row.label);
    if (row.numbers) {
      const SweepRow::Numbers& n = *row.numbers;
      cells.insert(cells.end(), {format_duration(n.makespan), format_duration(n.period), n.samples_per_second > 0 ? rate_text(n.samples_per_second) : "-",
                                 percent(n.idle_fraction), std::to_string(n.peak_activations), bytes_or_dash(n.peak_bytes)});
    } else {
      cells.push_back(std::string(status_name(row.status)));
      cells.resize(table.columns.size() - 1);
    }
    cells.push_back(best == r ? "best" : row.reason);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::string sweep_csv(const SweepResult& result) {
  std::string text = "point";
  for (const SweepAxis& axis : result.axes) text += "," + csv_cell("over." + axis.name);
  text += ",schedule,label,ranks,microbatches,chunks,samples,status,best,makespan_ns,span_ns,period_ns,samples_per_second,idle_fraction,overhead,span_rate,internal,"
          "peak_activations,peak_bytes,messages,sent_bytes,reason\n";
  const auto best = best_row(result.rows);
  const auto known = [](std::int64_t number, bool is_known) { return is_known ? std::to_string(number) : std::string(); };
  for (std::size_t r = 0; r < result.rows.size(); ++r) {
    const SweepRow& row = result.rows[r];
    text += std::to_string(row.point);
    for (const std::string& value : point_values(result.axes, row.point)) text += "," + csv_cell(value);
    text += fmt::format(",{},{},{},{},{},{},{},{}", csv_cell(row.schedule), csv_cell(row.label), known(row.ranks, row.ranks > 0), known(row.microbatches, row.microbatches > 0),
                        known(row.chunks, row.chunks > 0), known(row.samples, row.samples > 0), status_name(row.status), best == r ? "yes" : "");
    if (row.numbers) {
      const SweepRow::Numbers& n = *row.numbers;
      text += fmt::format(",{},{},{},{},{},{},{},{},{},{},{},{}", n.makespan, n.span, n.period, n.samples_per_second > 0 ? fmt::format("{}", n.samples_per_second) : "", n.idle_fraction,
                          n.overhead, n.span_rate, n.internal, n.peak_activations, known(n.peak_bytes, n.peak_bytes >= 0), n.messages, known(n.sent_bytes, n.sent_bytes >= 0));
    } else {
      text.append(12, ',');
    }
    text += "," + csv_cell(row.reason) + "\n";
  }
  return text;
}

std::string sweep_json(const SweepResult& result) {
  json axes = json::array();
  for (const SweepAxis& axis : result.axes) {
    json values = json::array();
    for (const AxisValue& value : axis.values) values.push_back(value_json(value.text));
    axes.push_back({{"name", axis.name}, {"key", axis.key}, {"values", values}});
  }
  const auto best = best_row(result.rows);
  const json head = {{"schema_version", 1}, {"scenario", result.scenario}, {"axes", axes}, {"points", result.points}, {"predicted_points", result.predicted},
                     {"best", best ? json(*best) : json(nullptr)}};
  // A million rows as one document would take gigabytes.
  std::string text = dump(head, 2);
  text.resize(text.size() - 2);  // the line break and the last brace
  text += ",\n  \"results\": [";
  for (std::size_t r = 0; r < result.rows.size(); ++r) text += (r == 0 ? "\n    " : ",\n    ") + dump(row_json(result.rows[r], result.axes));
  return text + "\n  ]\n}\n";
}

}  // namespace bubblescope
