// The one file that knows the path, so that the tests compile to the same in every checkout.
#include "tests/source_dir.hpp"

namespace bubblescope {

std::filesystem::path source_dir() { return BUBBLESCOPE_SOURCE_DIR; }

}  // namespace bubblescope
