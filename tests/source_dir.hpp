// Where this checkout lies, for tests that read its files.
#pragma once

#include <filesystem>

namespace bubblescope {

std::filesystem::path source_dir();

}  // namespace bubblescope
