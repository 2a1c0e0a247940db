// What stands in the way of recordings.
#include "backend/recordable.hpp"

#include <algorithm>

namespace bubblescope {

std::string not_recordable(const Program& program) {
  if (program.weights == WeightPolicy::stash || program.weights == WeightPolicy::double_buffered) return "it goes back to older weights, which lie elsewhere";
  if (program.profile == Profile::interlocking) return "its stages' backwards interlock";
  const auto recomputes = [&](const Op& op) {
    const auto parts = program.parts_of(op);
    return std::any_of(parts.begin(), parts.end(), [](const Op& part) { return part.kind == Kind::R; });
  };
  const bool any = std::any_of(program.rows.begin(), program.rows.end(), [&](const auto& row) { return std::any_of(row.begin(), row.end(), recomputes); });
  return any ? "recordings keep every microbatch's activations, which recomputing is to save" : "";
}

}  // namespace bubblescope
