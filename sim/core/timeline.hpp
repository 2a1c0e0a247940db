// Timeline: what happened when: predicted, measured or imported. All analysis works on this alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/op.hpp"

namespace bubblescope {

/// What kind of resource a track is. `kernel`: what a device ran of ops that other tracks show whole.
enum class StreamKind : std::uint8_t { compute, host, communication, copy, collective, link, worker, kernel };
inline constexpr int kStreamKinds = static_cast<int>(StreamKind::kernel) + 1;
std::string_view stream_name(StreamKind kind);

/// The stream an op of that kind runs on.
StreamKind stream_of(Kind kind);

/// What a span waited for last before it could start: the binding constraint.
enum class Wait : std::uint8_t {
  nothing,        ///< started at time zero
  stream,         ///< the span before it on its own track
  data,           ///< an op of another track that was still computing what it needs
  transfer,       ///< its data was on the wire
  channel_order,  ///< its transfer stood behind another one in a FIFO
  capacity,       ///< the queue was full, or the partner of a rendezvous had not come
  sync,           ///< other members of a barrier or collective
  host,           ///< the host had not issued it yet
  input,          ///< the input pipeline
};
std::string_view wait_name(Wait wait);

/// One interval on one track.
struct Span {
  Nanos start = 0;
  Nanos end = 0;
  Op op;                        ///< valid where `has_op`; else its iteration alone
  std::int32_t track = 0;
  std::int32_t waited_for = -1; ///< the span it waited for last; of a kernel or copy without an op: the op it is part of; or -1
  std::int64_t bytes = 0;       ///< moved, for transfers; sent by its rank, for collectives
  Wait wait = Wait::nothing;
  bool has_op = true;
  std::int32_t name = -1;       ///< index into Timeline::names where it has no op

  Nanos duration() const { return end - start; }
};

struct Track {
  Rank rank = 0;
  StreamKind stream = StreamKind::compute;
  std::string name;
  friend bool operator==(const Track&, const Track&) = default;
};

/// Bytes a rank holds from `time` on.
struct MemorySample {
  Nanos time = 0;
  std::int64_t bytes = 0;
};

/// Tracks with spans. The spans of a compute track are in order of their start; those of other tracks
/// are in the order in which the rank issued them.
struct Timeline {
  std::string label;     ///< `predicted`, `measured`, `imported`
  std::string schedule;
  std::int32_t ranks = 0;
  std::int32_t stages = 0;
  std::int32_t microbatches = 0;
  std::int32_t iterations = 1;
  std::int32_t chunks = 1;
  /// Where there are several: the stages of each in forward order; those at one position are copies.
  std::vector<std::vector<Stage>> chains;
  std::vector<Track> tracks;
  std::vector<Span> spans;
  std::vector<std::string> names;   ///< of spans without an op; compounds' cells, too
  std::vector<std::vector<MemorySample>> memory;  ///< rank -> samples; empty if unknown

  /// Latest end of any span, with time zero at the run's start.
  Nanos makespan() const;
  /// `0F3`, a compound's cell, or the span's own name.
  std::string span_name(const Span& span) const;
};

/// JSON, schema version 1; times in integer nanoseconds. Reading throws InputError that names the
/// file and the key; writing goes to a temporary name first, so a file of the final name is whole.
void write_timeline(const Timeline& timeline, const std::filesystem::path& file);
Timeline read_timeline(const std::filesystem::path& file);
std::string timeline_to_json(const Timeline& timeline);
Timeline timeline_from_json(std::string_view text, const std::string& file);

}  // namespace bubblescope
