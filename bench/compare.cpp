// `bubblescope compare`: two stored timelines, op by op.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/comparison.hpp"
#include "analysis/table.hpp"
#include "bench/commands.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string a, b;
  bool json = false;
};

int compare_files(const Options& options) {
  const Timeline a = read_timeline(options.a);
  const Timeline b = read_timeline(options.b);
  const Comparison comparison = compare(a, b);
  if (options.json) {
    print_json({{"schema_version", 1}, {"a", options.a}, {"b", options.b}, {"comparison", nlohmann::json(comparison_json(comparison))}});
    return 0;
  }
  fmt::print("{} ({}) against {} ({}): errors are (a - b) / b\n\n{}", options.a, a.label, options.b, b.label, to_text(error_table(comparison)));
  for (const std::string& line : comparison_lines(comparison)) fmt::print("{}\n", line);
  return 0;
}

}  // namespace

void add_compare(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "compare", "Compares two timelines: ops by identity, errors per kind and rank, where they first diverge",
                                  "bubblescope compare out/timelines/ppll.predicted.json out/timelines/ppll.measured.json");
  command->add_option("a", options->a, "A timeline, usually the prediction")->required()->type_name("A.json");
  command->add_option("b", options->b, "The timeline it is held against")->required()->type_name("B.json");
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options] { return compare_files(*options); }; });
}

}  // namespace bubblescope
