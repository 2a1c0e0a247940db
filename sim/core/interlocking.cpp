// Counting the losses of a Program.
#include "sim/core/interlocking.hpp"

#include <algorithm>

namespace bubblescope {

Interlocking::Interlocking(const Program& program) : stages_(program.stages()) {
  if (program.profile != Profile::interlocking) return;
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) {
        if (part.kind == Kind::B) losses_ = std::max<std::int32_t>(losses_, part.slice + 1);
      }
    }
  }
}

}  // namespace bubblescope
