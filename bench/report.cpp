// `bubblescope report`: reports from what a run has stored.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"
#include "bench/commands.hpp"
#include "bench/run_folder.hpp"
#include "bench/version.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::vector<std::string> inputs;
  std::string out;
  std::string title;
  std::vector<std::string> formats{"html", "md", "json"};
  bool json = false;
};

/// One schedule from one or two timeline files.
ReportModel from_timelines(const std::vector<std::string>& files, const CommandLine& line) {
  if (files.size() > 2) throw InputError("expected one or two timelines, or one folder of a run");
  ReportModel model;
  model.command = "bubblescope";
  for (const std::string& argument : line.arguments) model.command += ' ' + argument;
  model.date = timestamp();
  ScheduleReport& schedule = model.schedules.emplace_back();
  for (std::size_t i = 0; i < files.size(); ++i) {
    Timeline timeline = read_timeline(files[i]);
    schedule.label = schedule.schedule = timeline.schedule;
    schedule.ranks = timeline.ranks;
    schedule.microbatches = timeline.microbatches;
    const bool first = i == 0 && (files.size() == 2 || timeline.label == "predicted");
    (first ? schedule.predicted_timeline : schedule.measured_timeline) = std::move(timeline);
  }
  model.title = schedule.label;
  return model;
}

int report(const Options& options, const CommandLine& line) {
  const bool folder = options.inputs.size() == 1 && std::filesystem::is_directory(options.inputs.front());
  ReportModel model = folder ? read_run_folder(options.inputs.front()) : from_timelines(options.inputs, line);
  if (!options.title.empty()) model.title = options.title;
  complete(model);
  const std::filesystem::path out = !options.out.empty() ? options.out : folder ? options.inputs.front() : ".";
  std::vector<std::string> files;
  for (const auto& file : write_report(model, out, "report", options.formats)) files.push_back(file.string());
  if (options.json) {
    print_json({{"schema_version", 1}, {"files", files}});
  } else {
    fmt::print("{}\n", fmt::join(files, "\n"));
  }
  return 0;
}

}  // namespace

void add_report(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "report", "Makes the HTML, Markdown and JSON report of a stored run, or of one or two timelines",
                                  "bubblescope report out/demo\n"
                                  "  bubblescope report predicted.json measured.json --out out/report");
  command->add_option("input", options->inputs, "The folder of a run, or one or two timelines (prediction first)")->required()->type_name("DIR|A.json [B.json]");
  command->add_option("--out", options->out, "Folder to write to; default: the run's own, or this one")->type_name("DIR");
  command->add_option("--title", options->title, "Title of the report");
  command->add_option("--format", options->formats, "html, md, json, separated by commas; default: all")->delimiter(',');
  command->add_flag("--json", options->json, "Which files were written, as JSON");
  command->callback([options, &line] { line.chosen = [options, &line] { return report(*options, line); }; });
}

}  // namespace bubblescope
