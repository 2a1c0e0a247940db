// Kernels on their way into a Timeline.
#include "backend/kernels.hpp"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <limits>
#include <memory>
#include <utility>

#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

Rank rank_of(const Timeline& timeline, const Span& span) { return timeline.tracks[at(span.track)].rank; }

/// By rank: how far its kernels are to be moved. An op whose kernels reach from `first` to `last` fits in [start, end)
/// for moves from start - first to end - last. What sticks out of all ops together is a convex, piecewise linear
/// function of the move, least between the middle two of all those bounds.
std::vector<Nanos> moves(const Timeline& timeline, std::span<const std::int32_t> span_of, std::span<const KernelRecord> records) {
  struct Extent {
    Nanos first = std::numeric_limits<Nanos>::max();
    Nanos last = std::numeric_limits<Nanos>::min();
  };
  std::vector<Extent> extents(timeline.spans.size());
  for (const KernelRecord& record : records) {
    Extent& extent = extents[at(span_of[at(record.op)])];
    extent.first = std::min(extent.first, record.start);
    extent.last = std::max(extent.last, record.end);
  }
  std::vector<std::vector<Nanos>> bounds(at(timeline.ranks));
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Span& span = timeline.spans[i];
    // What a collective issues before it meets the others lies outside its span.
    if (extents[i].last < extents[i].first || !is_compute(span.op.kind)) continue;
    auto& of_rank = bounds[at(rank_of(timeline, span))];
    of_rank.push_back(span.start - extents[i].first);
    of_rank.push_back(span.end - extents[i].last);
  }
  std::vector<Nanos> result;
  for (auto& of_rank : bounds) {
    std::sort(of_rank.begin(), of_rank.end());
    const std::size_t half = of_rank.size() / 2;
    result.push_back(of_rank.empty() ? 0 : std::clamp<Nanos>(0, of_rank[half - 1], of_rank[half]));
  }
  return result;
}

/// Tracks of one kind, per rank as many as it takes to keep what overlaps apart.
class Spread {
 public:
  Spread(Timeline& timeline, StreamKind kind) : timeline_(timeline), kind_(kind), tracks_(at(timeline.ranks)) {}

  /// Spans come in the order of their start.
  std::int32_t track(Rank rank, Nanos start, Nanos end) {
    auto& of_rank = tracks_[at(rank)];
    auto free = std::find_if(of_rank.begin(), of_rank.end(), [&](const auto& track) { return track.until <= start; });
    if (free == of_rank.end()) {
      timeline_.tracks.push_back({rank, kind_, of_rank.empty() ? fmt::format("rank {} {}", rank, what()) : fmt::format("rank {} {} {}", rank, what(), of_rank.size() + 1)});
      of_rank.push_back({static_cast<std::int32_t>(timeline_.tracks.size()) - 1, 0});
      free = of_rank.end() - 1;
    }
    free->until = end;
    return free->number;
  }

 private:
  struct Used {
    std::int32_t number;
    Nanos until;
  };
  const char* what() const { return kind_ == StreamKind::kernel ? "kernels" : "copies"; }

  Timeline& timeline_;
  StreamKind kind_;
  std::vector<std::vector<Used>> tracks_;
};

/// Where the parameter list begins: the first parenthesis that is in no brackets and opens no nameless namespace.
std::size_t parameters(std::string_view name) {
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<' || name[i] == '{') ++depth;
    if (name[i] == '>' || name[i] == '}') --depth;
    if (name[i] == '(' && depth == 0 && !name.substr(i).starts_with("(anonymous namespace)")) return i;
  }
  return name.size();
}

std::string without_namespaces(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size();) {
    if (name.substr(i).starts_with("(anonymous namespace)::")) {
      i += std::string_view("(anonymous namespace)::").size();
      continue;
    }
    std::size_t word = i;
    while (word < name.size() && (std::isalnum(static_cast<unsigned char>(name[word])) || name[word] == '_')) ++word;
    if (word == i) {
      out += name[i++];
    } else if (name.substr(word).starts_with("::")) {
      i = word + 2;
    } else {
      out += name.substr(i, word - i);
      i = word;
    }
  }
  return out;
}

}  // namespace

Nanos add_kernels(Timeline& timeline, std::span<const std::int32_t> span_of, const KernelRecords& activity) {
  std::vector<KernelRecord> records;
  for (const KernelRecord& record : activity.records) {
    if (record.op >= 0 && at(record.op) < span_of.size() && span_of[at(record.op)] >= 0) records.push_back(record);
  }
  std::stable_sort(records.begin(), records.end(), [](const KernelRecord& a, const KernelRecord& b) { return std::pair(a.start, a.end) < std::pair(b.start, b.end); });
  const std::vector<Nanos> moved = moves(timeline, span_of, records);
  const auto first_name = static_cast<std::int32_t>(timeline.names.size());
  timeline.names.insert(timeline.names.end(), activity.names.begin(), activity.names.end());
  Spread kernels(timeline, StreamKind::kernel), copies(timeline, StreamKind::copy);
  for (const KernelRecord& record : records) {
    const std::int32_t of = span_of[at(record.op)];
    const Rank rank = rank_of(timeline, timeline.spans[at(of)]);
    Span span;
    span.has_op = false;
    span.op.iteration = timeline.spans[at(of)].op.iteration;
    span.waited_for = of;
    span.wait = Wait::stream;
    span.start = record.start + moved[at(rank)];
    span.end = record.end + moved[at(rank)];
    span.name = first_name + record.name;
    span.bytes = std::max<std::int64_t>(0, record.bytes);
    span.track = (record.bytes < 0 ? kernels : copies).track(rank, span.start, span.end);
    timeline.spans.push_back(span);
  }
  return moved.empty() ? 0 : *std::max_element(moved.begin(), moved.end(), [](Nanos a, Nanos b) { return std::abs(a) < std::abs(b); });
}

std::string kernel_name(std::string_view symbol) {
  const std::string text(symbol);
  std::string name = text;
  if (text.starts_with("_Z")) {
    int status = -1;
    const std::unique_ptr<char, decltype(&std::free)> plain(abi::__cxa_demangle(text.c_str(), nullptr, nullptr, &status), &std::free);
    if (status == 0 && plain) {
      name = plain.get();
      if (name.starts_with("void ")) name.erase(0, 5);  // kernels return nothing
      name = without_namespaces(std::string_view(name).substr(0, parameters(name)));
    }
  }
  constexpr std::size_t kLongest = 72;
  if (name.size() > kLongest) name = name.substr(0, kLongest - 3) + "...";
  return name;
}

}  // namespace bubblescope
