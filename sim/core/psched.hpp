// `.psched`: the text form of any Program: PyTorch's cells, plus directives for what PyTorch lacks.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "sim/core/program.hpp"

namespace bubblescope {

/// Directive lines (`#psched 1`, `#ranks 4`, `#chain 0 1 2 3`, `#channel 0->1 capacity=2
/// receive=use send=hold`, ...; properties as in channel_mode.hpp), then one row of cells per rank. An op of another iteration than 0
/// is written `3F7@1`, of replica r `3F7!r1`, of slice s `3F7/s1`.
std::string to_psched(const Program& program);

/// The inverse of `to_psched`, exactly; compounds are numbered in row order. What the directives leave
/// out is read off the rows. Throws InputError `file:line:col: what; expected`.
Program from_psched(std::string_view text, const std::string& file);

}  // namespace bubblescope
