// Opens a file and hands its text to the reader of its form.
#include "sim/lower/read_program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "sim/core/error.hpp"
#include "sim/core/psched.hpp"
#include "sim/core/read_file.hpp"
#include "sim/lower/torch_csv.hpp"

namespace bubblescope {

Program read_program(const std::filesystem::path& file) {
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  if (ending != ".psched" && ending != ".csv") {
    throw InputError(fmt::format("{}: unknown ending '{}'; expected a .psched or .csv file", file.string(), ending));
  }
  const std::string text = read_file(file, "a schedule");
  return ending == ".csv" ? from_torch_csv(text, file.string()) : from_psched(text, file.string());
}

}  // namespace bubblescope
