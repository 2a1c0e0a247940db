// Timelines as JSON. Each span is an array, so that a million of them stay small:
//   [track, start, end, name, iteration, waited_for, wait, bytes, replica, slice, chain]
#include "sim/core/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kStreams{"compute", "host", "communication", "copy", "collective", "link", "worker"};
constexpr std::array<std::string_view, 9> kWaits{"nothing", "stream", "data", "transfer", "channel-order", "capacity", "sync", "host", "input"};

template <std::size_t N>
std::size_t find_name(const std::array<std::string_view, N>& names, const std::string& name, const char* what) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw InputError(fmt::format("unknown {} '{}'", what, name));
  return static_cast<std::size_t>(found - names.begin());
}

Span read_span(const json& row, Timeline& timeline) {
  if (!row.is_array() || (row.size() != 8 && row.size() != 11)) throw InputError("a span is not an array of 8 or 11 values");
  Span span;
  span.track = row[0].get<std::int32_t>();
  span.start = row[1].get<Nanos>();
  span.end = row[2].get<Nanos>();
  const std::string name = row[3].get<std::string>();
  if (const auto op = parse_cell(name)) {
    span.op = *op;
  } else {
    const auto close = name.rfind(')');
    const auto kind = close == std::string::npos ? std::nullopt : kind_from_mnemonic(std::string_view(name).substr(close + 1));
    span.has_op = kind && is_compound(*kind);
    if (span.has_op) span.op.kind = *kind;
    span.name = static_cast<std::int32_t>(timeline.names.size());
    timeline.names.push_back(name);
  }
  span.op.iteration = row[4].get<std::int32_t>();
  span.waited_for = row[5].get<std::int32_t>();
  span.wait = static_cast<Wait>(find_name(kWaits, row[6].get<std::string>(), "wait"));
  span.bytes = row[7].get<std::int64_t>();
  if (row.size() == 11) {
    span.op.replica = row[8].get<std::uint16_t>();
    span.op.slice = row[9].get<std::uint16_t>();
    span.op.chain = row[10].get<std::uint8_t>();
  }
  if (span.end < span.start) throw InputError(fmt::format("span {} ends before it starts", name));
  return span;
}

Timeline read_fields(const json& root) {
  const auto version = root.at("schema_version").get<int>();
  if (version != 1) throw InputError(fmt::format("'schema_version' is {}; expected 1", version));
  Timeline timeline;
  timeline.label = root.at("label").get<std::string>();
  timeline.schedule = root.at("schedule").get<std::string>();
  timeline.ranks = root.at("ranks").get<std::int32_t>();
  timeline.stages = root.at("stages").get<std::int32_t>();
  timeline.microbatches = root.at("microbatches").get<std::int32_t>();
  timeline.iterations = root.at("iterations").get<std::int32_t>();
  timeline.chunks = root.at("chunks").get<std::int32_t>();
  for (const json& track : root.at("tracks")) {
    timeline.tracks.push_back({track.at("rank").get<Rank>(), static_cast<StreamKind>(find_name(kStreams, track.at("stream").get<std::string>(), "stream")),
                               track.at("name").get<std::string>()});
  }
  const json& spans = root.at("spans");
  for (std::size_t i = 0; i < spans.size(); ++i) {
    try {
      timeline.spans.push_back(read_span(spans[i], timeline));
    } catch (const std::exception& error) {
      throw InputError(fmt::format("'spans[{}]': {}", i, error.what()));
    }
    const Span& span = timeline.spans.back();
    if (span.track < 0 || span.track >= static_cast<std::int32_t>(timeline.tracks.size())) throw InputError(fmt::format("'spans[{}]' is on track {}, but there are {}", i, span.track, timeline.tracks.size()));
    if (span.waited_for >= static_cast<std::int32_t>(spans.size())) throw InputError(fmt::format("'spans[{}]' waited for span {}, but there are {}", i, span.waited_for, spans.size()));
  }
  if (root.contains("memory")) {
    for (const json& rank : root.at("memory")) {
      auto& samples = timeline.memory.emplace_back();
      for (const json& sample : rank) samples.push_back({sample.at(0).get<Nanos>(), sample.at(1).get<std::int64_t>()});
    }
  }
  return timeline;
}

}  // namespace

std::string_view stream_name(StreamKind kind) { return kStreams[static_cast<std::size_t>(kind)]; }
std::string_view wait_name(Wait wait) { return kWaits[static_cast<std::size_t>(wait)]; }

StreamKind stream_of(Kind kind) {
  if (is_p2p(kind)) return StreamKind::communication;
  switch (kind) {
    case Kind::ALLREDUCE:
    case Kind::UNSHARD:
    case Kind::RESHARD:
    case Kind::REDUCE_GRAD:
    case Kind::SYNC:
      return StreamKind::collective;
    case Kind::D2H:
    case Kind::H2D:
      return StreamKind::copy;
    default:
      return StreamKind::compute;
  }
}

Nanos Timeline::makespan() const {
  Nanos latest = 0;
  for (const Span& span : spans) latest = std::max(latest, span.end);
  return latest;
}

std::string Timeline::span_name(const Span& span) const {
  return span.has_op && !is_compound(span.op.kind) ? cell(span.op) : names[static_cast<std::size_t>(span.name)];
}

std::string timeline_to_json(const Timeline& timeline) {
  std::string text = fmt::format(
      "{{\"schema_version\": 1, \"label\": {}, \"schedule\": {}, \"ranks\": {}, \"stages\": {}, \"microbatches\": {}, \"iterations\": {}, \"chunks\": {},\n\"tracks\": [",
      json(timeline.label).dump(), json(timeline.schedule).dump(), timeline.ranks, timeline.stages, timeline.microbatches, timeline.iterations, timeline.chunks);
  const auto out = std::back_inserter(text);
  for (std::size_t i = 0; i < timeline.tracks.size(); ++i) {
    const Track& track = timeline.tracks[i];
    fmt::format_to(out, "{}\n {{\"rank\": {}, \"stream\": \"{}\", \"name\": {}}}", i ? "," : "", track.rank, stream_name(track.stream), json(track.name).dump());
  }
  text += "],\n\"spans\": [";
  for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
    const Span& span = timeline.spans[i];
    fmt::format_to(out, "{}\n [{},{},{},{},{},{},\"{}\",{}", i ? "," : "", span.track, span.start, span.end, json(timeline.span_name(span)).dump(), span.op.iteration, span.waited_for, wait_name(span.wait), span.bytes);
    if (span.op.replica != 0 || span.op.slice != 0 || span.op.chain != 0) fmt::format_to(out, ",{},{},{}", span.op.replica, span.op.slice, span.op.chain);
    text += ']';
  }
  text += ']';
  if (!timeline.memory.empty()) {
    text += ",\n\"memory\": [";
    for (std::size_t r = 0; r < timeline.memory.size(); ++r) {
      text += r ? ",\n [" : "\n [";
      for (std::size_t i = 0; i < timeline.memory[r].size(); ++i) fmt::format_to(out, "{}[{},{}]", i ? "," : "", timeline.memory[r][i].time, timeline.memory[r][i].bytes);
      text += ']';
    }
    text += ']';
  }
  text += "}\n";
  return text;
}

Timeline timeline_from_json(std::string_view text, const std::string& file) {
  try {
    return read_fields(json::parse(text));
  } catch (const json::parse_error& error) {
    throw InputError(fmt::format("{}: not JSON, or cut short, at byte {}; expected a timeline", file, error.byte));
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: not a timeline: {}", file, error.what()));
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", file, error.what()));
  }
}

void write_timeline(const Timeline& timeline, const std::filesystem::path& file) { write_file(file, timeline_to_json(timeline)); }

Timeline read_timeline(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw InputError(fmt::format("{}: cannot be read; expected a timeline in JSON", file.string()));
  std::ostringstream text;
  text << in.rdbuf();
  return timeline_from_json(text.view(), file.string());
}

}  // namespace bubblescope
