// Timelines as JSON. Each span is an array, so that a million of them stay small:
//   [track, start, end, name, iteration, waited_for, wait, bytes, replica, slice, chain]
#include "sim/core/timeline.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "sim/core/json_reader.hpp"
#include "sim/core/read_file.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, kStreamKinds> kStreams{"compute", "host", "communication", "copy", "collective", "link", "worker", "kernel"};
constexpr std::array<std::string_view, 9> kWaits{"nothing", "stream", "data", "transfer", "channel-order", "capacity", "sync", "host", "input"};

constexpr std::int64_t kMostRanks = std::numeric_limits<std::int16_t>::max();  // as many as stages can be numbered

/// Which of `names` the value is; `reader()` says where it stands where it is none.
template <std::size_t N, typename Where>
std::size_t find_name(const std::array<std::string_view, N>& names, const json& value, Where reader) {
  const auto found = value.is_string() ? std::find(names.begin(), names.end(), value.get_ref<const std::string&>()) : names.end();
  if (found == names.end()) reader().refuse(fmt::format("one of {}", fmt::join(names, ", ")));
  return static_cast<std::size_t>(found - names.begin());
}

/// One span's array. A million of them are read, so places are put together only for messages.
class SpanReader {
 public:
  SpanReader(const json& row, std::size_t number, const std::string& file) : row_(row), number_(number), file_(file) {}

  Span read(Timeline& timeline, std::size_t spans) const {
    if (!row_.is_array() || (row_.size() != 8 && row_.size() != 11)) reader().refuse("an array of 8 or 11 values");
    Span span;
    span.track = number<std::int32_t>(0, 0, static_cast<std::int64_t>(timeline.tracks.size()) - 1);
    span.start = number<Nanos>(1, 0, kLongest);
    span.end = number<Nanos>(2, span.start, kLongest);
    const std::string name = row_[3].is_string() ? row_[3].get<std::string>() : reader(3).text();
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
    span.op.iteration = number<std::int32_t>(4, 0);
    span.waited_for = number<std::int32_t>(5, -1, static_cast<std::int64_t>(spans) - 1);
    span.wait = static_cast<Wait>(find_name(kWaits, row_[6], [this] { return reader(6); }));
    span.bytes = number<std::int64_t>(7, 0);
    if (row_.size() == 11) {
      span.op.replica = number<std::uint16_t>(8, 0);
      span.op.slice = number<std::uint16_t>(9, 0);
      span.op.chain = number<std::uint8_t>(10, 0);
    }
    return span;
  }

 private:
  JsonReader reader() const { return {row_, fmt::format("spans[{}]", number_), file_}; }
  JsonReader reader(std::size_t i) const { return {row_[i], fmt::format("spans[{}][{}]", number_, i), file_}; }

  template <typename Integer>
  Integer number(std::size_t i, std::int64_t minimum, std::int64_t maximum = std::numeric_limits<Integer>::max()) const {
    const json& value = row_[i];
    if (value.is_number_integer()) {
      const auto found = value.get<std::int64_t>();
      if (found >= minimum && found <= maximum && !(value.is_number_unsigned() && found < 0)) return static_cast<Integer>(found);
    }
    return reader(i).as<Integer>(minimum, maximum);  // says what is wrong
  }

  const json& row_;
  std::size_t number_;
  const std::string& file_;
};

Timeline read_fields(const JsonReader& root, const std::string& file) {
  root.at("schema_version").number(1, 1);
  Timeline timeline;
  timeline.label = root.at("label").text();
  timeline.schedule = root.at("schedule").text();
  timeline.ranks = root.at("ranks").as<std::int32_t>(0, kMostRanks);
  timeline.stages = root.at("stages").as<std::int32_t>(0, kMostRanks);
  timeline.microbatches = root.at("microbatches").as<std::int32_t>();
  timeline.iterations = root.at("iterations").as<std::int32_t>();
  timeline.chunks = root.at("chunks").as<std::int32_t>();
  if (root.has("chains")) {
    for (const JsonReader& chain : root.at("chains").items()) {
      auto& stages = timeline.chains.emplace_back();
      for (const JsonReader& stage : chain.items()) stages.push_back(stage.as<Stage>(0, timeline.stages - 1));
    }
  }
  for (const JsonReader& track : root.at("tracks").items()) {
    const JsonReader stream = track.at("stream");
    timeline.tracks.push_back({track.at("rank").as<Rank>(0, timeline.ranks - 1),
                               static_cast<StreamKind>(find_name(kStreams, stream.value(), [&] { return stream; })), track.at("name").text()});
  }
  const JsonReader spans = root.at("spans");
  if (!spans.value().is_array()) spans.refuse("an array");
  timeline.spans.reserve(spans.value().size());
  for (std::size_t i = 0; i < spans.value().size(); ++i) {
    timeline.spans.push_back(SpanReader(spans.value()[i], i, file).read(timeline, spans.value().size()));
  }
  if (!root.has("memory")) return timeline;
  const auto ranks = root.at("memory").items();
  if (ranks.size() != static_cast<std::size_t>(timeline.ranks)) root.at("memory").refuse(fmt::format("one list per rank, {} of them", timeline.ranks));
  for (const JsonReader& rank : ranks) {
    auto& samples = timeline.memory.emplace_back();
    for (const JsonReader& sample : rank.items()) {
      const auto pair = sample.items();
      if (pair.size() != 2) sample.refuse("a time and a number of bytes");
      samples.push_back({pair[0].as<Nanos>(0, kLongest), pair[1].as<std::int64_t>()});
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
      "{{\"schema_version\": 1, \"label\": {}, \"schedule\": {}, \"ranks\": {}, \"stages\": {}, \"microbatches\": {}, \"iterations\": {}, \"chunks\": {},",
      json(timeline.label).dump(), json(timeline.schedule).dump(), timeline.ranks, timeline.stages, timeline.microbatches, timeline.iterations, timeline.chunks);
  const auto out = std::back_inserter(text);
  if (!timeline.chains.empty()) text += fmt::format(" \"chains\": {},", json(timeline.chains).dump());
  text += "\n\"tracks\": [";
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
  const json document = parse_json(text, file, "a timeline");
  return read_fields(JsonReader(document, "", file), file);
}

void write_timeline(const Timeline& timeline, const std::filesystem::path& file) { write_file(file, timeline_to_json(timeline)); }

Timeline read_timeline(const std::filesystem::path& file) {
  return timeline_from_json(read_file(file, "a timeline in JSON"), file.string());
}

}  // namespace bubblescope
