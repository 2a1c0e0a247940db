// The words of `.psched`, in the order of the enumerations they stand for. Writer and reader share them.
#pragma once

#include <string>
#include <vector>

namespace bubblescope::psched {

inline const std::vector<std::string> kWeights{"flush", "latest", "stash", "double-buffered"};
inline const std::vector<std::string> kOrderings{"in-order", "priority", "self-timed"};
inline const std::vector<std::string> kDirectives{"psched", "schedule", "ranks",      "microbatches", "iterations", "chunks",
                                           "profile", "weights", "ordering",   "stage-rank",   "chain",      "channel",
                                           "overlap", "sources"};

}  // namespace bubblescope::psched
