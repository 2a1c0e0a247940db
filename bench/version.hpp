// Versions of the program and of what it was built with.
#pragma once

#include <map>
#include <string>

namespace bubblescope {

/// `bubblescope 0.1.0 (g++ 12.2.0, Release)`.
std::string version_text();

/// What tells builds of one version apart: a hash over the programs beside this one.
std::string build_text();

/// Likewise over this program and its MPI module: what processes that talk with each other have in common.
std::string program_text();

/// Software -> version, for profiles and reports.
std::map<std::string, std::string> versions();

/// Now, ISO 8601, UTC, to the second.
std::string timestamp();

}  // namespace bubblescope
