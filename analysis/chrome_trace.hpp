// Export to Chrome's trace format (JSON), which Perfetto and chrome://tracing open.
#pragma once

#include <iosfwd>
#include <span>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Writes one Timeline, or several as process groups one after another (predicted, measured).
/// Process = rank (those of the second Timeline are numbered on), thread = track. Every span is a
/// complete event named `PP:<cell>` (spans without an op have their own name), category `compute`,
/// `p2p`, `collective`, `copy`, `kernel` or `host`, with arguments stage, microbatch, iteration and what it
/// waited for; of kernels and copies without an op what they are part of. Flow arrows join sends and receives. Times are microseconds with three decimals.
/// Streams: holds no copy of the events. The stream's state tells whether writing worked. Throws
/// InputError where a Timeline is inconsistent.
void write_chrome_trace(std::ostream& out, std::span<const Timeline* const> timelines);
void write_chrome_trace(std::ostream& out, const Timeline& timeline);

}  // namespace bubblescope
