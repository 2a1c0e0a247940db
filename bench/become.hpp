// Becoming another program of this build.
#pragma once

#include <string>
#include <vector>

namespace bubblescope {

/// Replaces this process by the program `name` beside it, with the same arguments. Where the variable
/// BUBBLESCOPE_LIBTORCH names a folder (with torch/ and nvidia/ in it), its libraries come before those that the
/// program was built with; those of a folder lib/ beside the program (a carried build) come second. Throws RunError, `missing` among its words, where there is no such program.
[[noreturn]] void become(const std::string& name, const std::vector<std::string>& arguments, const std::string& missing);

}  // namespace bubblescope
