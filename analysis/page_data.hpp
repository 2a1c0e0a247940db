// The Timelines of a report as compact JSON columns, which the page's viewer reads.
#pragma once

#include <cstdint>
#include <string>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// How many whole iterations of a Timeline fit into `span_limit` spans, at least one.
std::int32_t iterations_within(const Timeline& timeline, std::size_t span_limit);

/// One Timeline cut to its first `iterations` iterations, as one JSON object of columns (arrays of
/// integers of equal length, spans sorted by track and start):
///   label, ranks, makespan (of all), until (end of what is kept), iterations, shown, spans (of all)
///   tracks: [[rank, stream name], ...]; first: track -> its first span, one more at the end
///   start (difference to the span before on the track), length, kind (index into kinds), stage,
///   microbatch, iteration, wait (index into waits), waited (how many spans back it is that it waited for, or 0)
///   kinds, waits: names; names: {span: text} for compounds and spans without an op
///   path: spans on the critical path, in time order
///   idle: [first piece per rank, one more at the end], [start], [length], [cause]; causes: names
/// Text is escaped so that it may stand inside a <script> of a page.
std::string timeline_columns(const Timeline& timeline, std::int32_t iterations);

}  // namespace bubblescope
