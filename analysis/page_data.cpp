// Turns Timelines into columns for the page's viewer.
#include "analysis/page_data.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "analysis/critical_path.hpp"
#include "analysis/escape.hpp"
#include "analysis/idle.hpp"

namespace bubblescope {
namespace {

std::map<std::int32_t, std::size_t> spans_by_iteration(const Timeline& timeline) {
  std::map<std::int32_t, std::size_t> counts;
  for (const Span& span : timeline.spans) {
    if (span.has_op) ++counts[span.op.iteration];
  }
  return counts;
}

// A JSON array of integers.
class Columns {
 public:
  explicit Columns(std::string& out) : out_(out) {}
  template <typename Values, typename Of>
  void column(std::string_view name, const Values& values, Of of) {
    begin(name);
    bool first = true;
    for (const auto& value : values) {
      if (!first) out_ += ',';
      fmt::format_to(std::back_inserter(out_), "{}", of(value));
      first = false;
    }
    out_ += ']';
  }
  template <typename Values>
  void texts(std::string_view name, const Values& values) {
    begin(name);
    for (std::size_t i = 0; i < values.size(); ++i) out_ += (i ? "," : "") + json_string(values[i]);
    out_ += ']';
  }

 private:
  void begin(std::string_view name) { fmt::format_to(std::back_inserter(out_), ",\n\"{}\":[", name); }
  std::string& out_;
};

// The spans that are kept, by track and start.
struct Kept {
  std::vector<std::int32_t> spans;
  std::vector<std::int32_t> place;  // span -> where it is in `spans`, or -1
  std::vector<std::int32_t> first;  // track -> its first
  Nanos end = 0;
};

Kept keep(const Timeline& timeline, std::int32_t iterations) {
  const auto counts = spans_by_iteration(timeline);
  std::int32_t last = counts.empty() ? 0 : counts.rbegin()->first;
  for (const auto& [iteration, count] : counts) {
    if (iterations-- == 1) last = iteration;
  }
  Kept kept;
  for (const Span& span : timeline.spans) {
    if (span.has_op && span.op.iteration <= last) kept.end = std::max(kept.end, span.end);
  }
  if (counts.empty()) kept.end = timeline.makespan();
  const bool all = counts.empty() || last == counts.rbegin()->first;
  if (all) kept.end = std::max(kept.end, timeline.makespan());
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(timeline.spans.size()); ++i) {
    const Span& span = timeline.spans[i];
    if (all || (span.has_op ? span.op.iteration <= last : span.start < kept.end)) kept.spans.push_back(i);
  }
  std::sort(kept.spans.begin(), kept.spans.end(), [&](std::int32_t a, std::int32_t b) {
    const Span &x = timeline.spans[a], &y = timeline.spans[b];
    return std::tuple(x.track, x.start, x.end, a) < std::tuple(y.track, y.start, y.end, b);
  });
  kept.place.assign(timeline.spans.size(), -1);
  kept.first.assign(timeline.tracks.size() + 1, 0);
  for (std::size_t k = 0; k < kept.spans.size(); ++k) {
    kept.place[kept.spans[k]] = static_cast<std::int32_t>(k);
    ++kept.first[timeline.spans[kept.spans[k]].track + 1];
  }
  std::partial_sum(kept.first.begin(), kept.first.end(), kept.first.begin());
  return kept;
}

void write_names(std::string& out, const Timeline& timeline, const Kept& kept) {
  out += ",\n\"names\":{";
  bool first = true;
  for (std::size_t k = 0; k < kept.spans.size(); ++k) {
    const Span& span = timeline.spans[kept.spans[k]];
    if (span.has_op && !is_compound(span.op.kind)) continue;
    out += fmt::format("{}\"{}\":{}", first ? "" : ",", k, json_string(timeline.span_name(span)));
    first = false;
  }
  out += '}';
}

void write_idle(std::string& out, const Timeline& timeline, Nanos end) {
  std::vector<IdlePiece> pieces = split_idle(timeline).pieces;
  std::erase_if(pieces, [&](const IdlePiece& piece) { return piece.start >= end; });
  std::vector<std::int32_t> first(timeline.ranks + 1, 0);
  for (const IdlePiece& piece : pieces) ++first[piece.rank + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  Columns columns(out);
  columns.column("idleFirst", first, [](std::int32_t i) { return i; });
  columns.column("idleStart", pieces, [](const IdlePiece& p) { return p.start; });
  columns.column("idleLength", pieces, [](const IdlePiece& p) { return p.end - p.start; });
  columns.column("idleCause", pieces, [](const IdlePiece& p) { return static_cast<int>(p.cause); });
}

}  // namespace

std::int32_t iterations_within(const Timeline& timeline, std::size_t span_limit) {
  std::int32_t fit = 0;
  std::size_t spans = 0;
  for (const auto& [iteration, count] : spans_by_iteration(timeline)) {
    spans += count;
    if (spans > span_limit) break;
    ++fit;
  }
  return std::max(fit, 1);
}

std::string timeline_columns(const Timeline& timeline, std::int32_t iterations) {
  const Kept kept = keep(timeline, iterations);
  const auto total = static_cast<std::int32_t>(spans_by_iteration(timeline).size());
  std::string out = fmt::format(
      "{{\"label\":{},\"ranks\":{},\"makespan\":{},\"until\":{},\"iterations\":{},\"shown\":{},\"spans\":{}",
      json_string(timeline.label), timeline.ranks, timeline.makespan(), kept.end, total, std::min(iterations, total),
      timeline.spans.size());
  out += ",\n\"tracks\":[";
  for (std::size_t t = 0; t < timeline.tracks.size(); ++t) {
    out += fmt::format("{}[{},{}]", t ? "," : "", timeline.tracks[t].rank, json_string(stream_name(timeline.tracks[t].stream)));
  }
  out += ']';
  Columns columns(out);
  columns.column("first", kept.first, [](std::int32_t i) { return i; });
  const auto of_span = [&](std::string_view name, auto value) {
    columns.column(name, kept.spans, [&](std::int32_t i) { return value(timeline.spans[i]); });
  };
  std::int32_t track = -1;
  Nanos before = 0;
  of_span("start", [&](const Span& s) {
    if (s.track != track) before = 0;
    track = s.track;
    return s.start - std::exchange(before, s.start);
  });
  of_span("length", [](const Span& s) { return s.duration(); });
  of_span("kind", [](const Span& s) { return s.has_op ? static_cast<int>(s.op.kind) : kKinds; });
  of_span("stage", [](const Span& s) { return s.op.stage; });
  of_span("microbatch", [](const Span& s) { return s.op.microbatch; });
  of_span("iteration", [](const Span& s) { return s.op.iteration; });
  of_span("wait", [](const Span& s) { return static_cast<int>(s.wait); });
  std::int32_t own = -1;
  of_span("waited", [&](const Span& s) {
    ++own;
    const std::int32_t waited = s.waited_for < 0 ? -1 : kept.place[s.waited_for];
    return waited < 0 ? 0 : own - waited;
  });
  write_names(out, timeline, kept);

  std::vector<std::int32_t> path;
  for (const std::int32_t i : critical_path(timeline).spans) {
    if (kept.place[i] >= 0) path.push_back(kept.place[i]);
  }
  columns.column("path", path, [](std::int32_t i) { return i; });
  write_idle(out, timeline, kept.end);
  return out + '}';
}

}  // namespace bubblescope
