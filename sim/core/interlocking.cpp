// Counting the losses of a Program.
#include "sim/core/interlocking.hpp"

#include <algorithm>

namespace bubblescope {

Interlocking::Interlocking(const Program& program) : stages_(program.stages()) {
  if (program.profile != Profile::interlocking) return;
  for (const auto& row : program.rows) {
    for (const Op& op : row) losses_ = std::max<std::int32_t>(losses_, op.slice + 1);
  }
}

}  // namespace bubblescope
