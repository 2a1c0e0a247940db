// The levels of validation in turn. V1 is in completeness.cpp, V2 and V3 in progress.cpp.
#include "sim/core/validate.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/core/completeness.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

std::vector<Finding> validate(const Program& program, int up_to_level) {
  if (up_to_level < 1) return {};
  std::vector<Finding> findings = check_completeness(program);
  if (!findings.empty() || up_to_level < 2) return findings;
  findings = check_progress(program);
  std::erase_if(findings, [&](const Finding& finding) { return finding.level > up_to_level; });
  return findings;
}

void require_valid(const Program& program) {
  const std::vector<Finding> findings = validate(program);
  if (findings.empty()) return;
  std::string text = "the program is not valid; " + describe(findings.front());
  if (findings.size() > 1) text += fmt::format(" (and {} more)", findings.size() - 1);
  throw RunError(text);
}

std::string describe(const Finding& finding) {
  std::string text;
  if (finding.rank >= 0) text += fmt::format("rank {}", finding.rank);
  if (finding.position >= 0) text += fmt::format(", op {}", finding.position);
  if (!finding.op.empty()) text += fmt::format(" ({})", finding.op);
  if (!text.empty()) text += ": ";
  text += finding.message;
  if (!finding.cycle.empty()) text += fmt::format(" [{}]", fmt::join(finding.cycle, " -> "));
  return text;
}

}  // namespace bubblescope
