// Defaults of the Device interface.
#include "backend/backend.hpp"

#include <limits>

namespace bubblescope {

double Device::last_loss() const { return std::numeric_limits<double>::quiet_NaN(); }

}  // namespace bubblescope
