// `bubblescope export`: schedules as text files, timelines as traces.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "analysis/chrome_trace.hpp"
#include "bench/commands.hpp"
#include "bench/schedule_flags.hpp"
#include "sim/core/error.hpp"
#include "sim/core/psched.hpp"
#include "sim/core/write_file.hpp"
#include "sim/lower/passes.hpp"
#include "sim/lower/torch_csv.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string timeline;
  ScheduleFlags flags;
  std::string format;
  std::string output;
  bool json = false;
};

std::string schedule_text(const Options& options) {
  const auto names = schedule_names(options.flags.schedule);
  if (names.size() != 1) throw InputError("one schedule can be exported at a time");
  require_options_used(names, options.flags.options);
  Program program = generate_from_flags(names.front(), options.flags);
  apply_channel(program, options.flags);
  const std::string& passes = options.flags.lower;
  if (options.format == "psched") return to_psched(passes.empty() ? program : lower(program, passes));
  if (options.format == "torch-comms-csv") return to_torch_csv(lower(program, passes), TorchFormat::compute_comms);
  if (options.format == "torch-csv") {
    if (!passes.empty()) throw InputError(fmt::format("a file of compute order alone cannot hold what '{}' adds; expected --as torch-comms-csv", passes));
    return to_torch_csv(program, TorchFormat::compute_only);
  }
  throw InputError(fmt::format("a schedule cannot be exported as '{}'; expected torch-csv, torch-comms-csv or psched", options.format));
}

int export_file(const Options& options) {
  std::string text;
  if (!options.timeline.empty()) {
    if (options.format != "chrome") throw InputError(fmt::format("a timeline cannot be exported as '{}'; expected chrome", options.format));
    std::ostringstream out;
    write_chrome_trace(out, read_timeline(options.timeline));
    text = std::move(out).str();
  } else if (!options.flags.schedule.empty()) {
    text = schedule_text(options);
  } else {
    throw InputError("nothing to export: expected --schedule NAME or a timeline file");
  }
  if (!options.output.empty()) write_file(options.output, text);
  if (options.json) {
    nlohmann::json result{{"schema_version", 1}, {"format", options.format}};
    if (options.output.empty()) {
      result[options.timeline.empty() ? "program" : "trace"] = std::move(text);
    } else {
      result["file"] = options.output;
    }
    print_json(result);
  } else if (options.output.empty()) {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return 0;
}

}  // namespace

void add_export(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "export", "Writes a schedule as a file for PyTorch or as .psched, or a timeline as a trace",
                                  "bubblescope export --schedule 1f1b --ranks 4 --microbatches 8 --as torch-csv -o 1f1b.csv\n"
                                  "  bubblescope export out/timelines/ppll.measured.json --as chrome -o trace.json");
  command->add_option("timeline", options->timeline, "A timeline file")->type_name("TIMELINE.json");
  add_shape_flags(*command, options->flags);
  add_search_flags(*command, options->flags);
  add_channel_flag(*command, options->flags);
  add_lower_flag(*command, options->flags);
  add_option_flags(*command, options->flags);
  command->add_option("--as", options->format, "torch-csv, torch-comms-csv, psched; chrome for timelines")->required()->type_name("FORMAT");
  command->add_option("-o,--output", options->output, "File to write; default: standard output")->type_name("FILE");
  command->add_flag("--json", options->json, "As JSON: the text, or with -o the file that it was written to");
  command->callback([options, &line] { line.chosen = [options] { return export_file(*options); }; });
}

}  // namespace bubblescope
