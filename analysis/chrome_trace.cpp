// Streams Timelines as Chrome trace events.
#include "analysis/chrome_trace.hpp"

#include <algorithm>
#include <array>
#include <ostream>

#include <fmt/format.h>

#include "analysis/escape.hpp"
#include "analysis/span_index.hpp"

namespace bubblescope {
namespace {

std::string micros(Nanos time) { return fmt::format("{}.{:03}", time / 1000, time % 1000); }

std::string_view category(const Timeline& timeline, const Span& span) {
  if (is_busy(timeline, span)) return "compute";
  switch (timeline.tracks[span.track].stream) {
    case StreamKind::host: return "host";
    case StreamKind::copy: return "copy";
    case StreamKind::collective: return "collective";
    case StreamKind::kernel: return "kernel";
    default: break;
  }
  if (span.has_op && is_collective(span.op.kind)) return "collective";
  return "p2p";
}

class Writer {
 public:
  explicit Writer(std::ostream& out) : out_(out) { out_ << "{\"displayTimeUnit\": \"ms\", \"traceEvents\": ["; }
  void event(std::string_view body) {
    out_ << (first_ ? "\n{" : ",\n{") << body << '}';
    first_ = false;
  }
  void finish() { out_ << "\n]}\n"; }

 private:
  std::ostream& out_;
  bool first_ = true;
};

void write_names(Writer& writer, const Timeline& timeline, std::int32_t first_process) {
  for (Rank rank = 0; rank < timeline.ranks; ++rank) {
    const std::string name = timeline.label.empty() ? fmt::format("rank {}", rank)
                                                    : fmt::format("{} rank {}", timeline.label, rank);
    const std::int32_t pid = first_process + rank;
    writer.event(fmt::format(R"("ph": "M", "name": "process_name", "pid": {}, "args": {{"name": {}}})", pid, json_string(name)));
    writer.event(fmt::format(R"("ph": "M", "name": "process_sort_index", "pid": {}, "args": {{"sort_index": {}}})", pid, pid));
  }
  for (std::size_t t = 0; t < timeline.tracks.size(); ++t) {
    const Track& track = timeline.tracks[t];
    const std::string name = track.name.empty() ? std::string(stream_name(track.stream)) : track.name;
    writer.event(fmt::format(R"("ph": "M", "name": "thread_name", "pid": {}, "tid": {}, "args": {{"name": {}}})",
                             first_process + track.rank, t, json_string(name)));
    writer.event(fmt::format(R"("ph": "M", "name": "thread_sort_index", "pid": {}, "tid": {}, "args": {{"sort_index": {}}})",
                             first_process + track.rank, t, static_cast<int>(track.stream)));
  }
}

void write_span(Writer& writer, const Timeline& timeline, const Span& span, std::int32_t first_process) {
  const std::string name = timeline.span_name(span);
  const bool part = is_part(timeline, span);
  std::string why(part ? "" : wait_name(span.wait));
  if (span.waited_for >= 0) {
    const Span& y = timeline.spans[span.waited_for];
    why += part ? timeline.span_name(y) : fmt::format(": {} on rank {}", timeline.span_name(y), rank_of(timeline, y));
  }
  std::string args;
  if (span.has_op) {
    args = fmt::format(R"("stage": {}, "microbatch": {}, "iteration": {}, )", span.op.stage, span.op.microbatch, span.op.iteration);
  }
  if (span.bytes > 0) args += fmt::format(R"("bytes": {}, )", span.bytes);
  writer.event(fmt::format(
      R"("ph": "X", "name": {}, "cat": "{}", "pid": {}, "tid": {}, "ts": {}, "dur": {}, "args": {{{}"{}": {}}})",
      json_string(span.has_op ? "PP:" + name : name), category(timeline, span), first_process + rank_of(timeline, span),
      span.track, micros(span.start), micros(span.duration()), args, part ? "part_of" : "waited", json_string(why)));
}

// An arrow has to start and end inside its slices, and not before it started.
void write_flow(Writer& writer, const Timeline& timeline, const Span& send, const Span& recv, std::int32_t first_process,
                std::int64_t id) {
  const Nanos from = send.start;
  const Nanos to = std::max(recv.start, std::min(from, recv.end));
  writer.event(fmt::format(R"("ph": "s", "name": "message", "cat": "p2p", "id": {}, "pid": {}, "tid": {}, "ts": {})", id,
                           first_process + rank_of(timeline, send), send.track, micros(from)));
  writer.event(fmt::format(R"("ph": "f", "bp": "e", "name": "message", "cat": "p2p", "id": {}, "pid": {}, "tid": {}, "ts": {})",
                           id, first_process + rank_of(timeline, recv), recv.track, micros(to)));
}

}  // namespace

void write_chrome_trace(std::ostream& out, std::span<const Timeline* const> timelines) {
  for (const Timeline* timeline : timelines) SpanIndex check(*timeline);  // before anything is written
  Writer writer(out);
  std::int32_t first_process = 0;
  std::int64_t flow = 0;
  for (const Timeline* timeline : timelines) {
    const SpanIndex index(*timeline);
    write_names(writer, *timeline, first_process);
    for (const Span& span : timeline->spans) {
      write_span(writer, *timeline, span, first_process);
      for (const Op& op : ops_of(*timeline, span)) {
        if (!is_send(op.kind)) continue;
        const std::int32_t received = index.partner(op);
        if (received >= 0) write_flow(writer, *timeline, span, timeline->spans[received], first_process, flow++);
      }
    }
    first_process += timeline->ranks;
  }
  writer.finish();
}

void write_chrome_trace(std::ostream& out, const Timeline& timeline) {
  const std::array<const Timeline*, 1> one = {&timeline};
  write_chrome_trace(out, one);
}

}  // namespace bubblescope
