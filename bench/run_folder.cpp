// Run folders: writing and reading them.
#include "bench/run_folder.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "backend/lifeline_meeting.hpp"
#include "sim/core/error.hpp"
#include "sim/core/read_file.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {

using nlohmann::json;

namespace {

std::string file_stem(const std::string& label) {
  std::string stem;
  for (const char c : label) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || byte >= 0x80 || (c == '.' && !stem.empty())) {
      stem += c;
    } else if (!stem.empty() && stem.back() != '-') {
      stem += '-';
    }
  }
  return stem.empty() ? "schedule" : stem;
}

void remove_stale(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::remove(file, error);
  if (error) throw RunError(fmt::format("{}: cannot be replaced: {}", file.string(), error.message()));
}

std::string machine_text(const CostProfile& profile) {
  std::string text = profile.device.empty() ? "" : profile.device + "; ";
  text += fmt::format("{}, {} cores", profile.cpu, profile.cores);
  for (const auto& [software, version] : profile.versions) text += fmt::format("; {} {}", software, version);
  return text;
}

/// Serial local learning if it is there: what local parallelism is measured against; else the first.
std::string baseline_of(const MeasuredRun& run) {
  for (const Measured& measured : run.schedules) {
    const ScheduleConfig& config = measured.experiment.config;
    const auto variant = config.options.find("variant");
    if (config.name == "sequential-local" && (variant == config.options.end() || variant->second == "serial")) return config.label;
  }
  return run.schedules.empty() ? "" : run.schedules.front().experiment.config.label;
}

}  // namespace

std::vector<std::string> file_stems(const std::vector<std::string>& labels) {
  std::vector<std::string> stems;
  std::set<std::string> taken;
  for (const std::string& label : labels) {
    const std::string plain = file_stem(label);
    std::string stem = plain;
    for (int number = 2; !taken.insert(stem).second; ++number) stem = fmt::format("{}-{}", plain, number);
    stems.push_back(std::move(stem));
  }
  return stems;
}

ReportModel report_model(const Scenario& scenario, const MeasuredRun& run, const std::string& command) {
  ReportModel model;
  model.title = scenario.title.empty() ? scenario.name : scenario.title;
  model.command = command;
  model.scenario = scenario.text;
  model.machine = machine_text(run.profile);
  model.date = run.profile.date;
  model.baseline = baseline_of(run);
  model.notes.push_back(fmt::format("{} rounds, each calibrating and then running every schedule; {} warm-up and {} measured iterations per run. Every round is predicted from its own calibration, and medians over the rounds are compared; predicted timelines come from the median calibration of every op.",
                                    run.rounds, scenario.run.warmup, scenario.run.iterations));
  model.notes.insert(model.notes.end(), run.notes.begin(), run.notes.end());
  if (!run.lost.empty()) model.notes.push_back(fmt::format("The run ended after {} of {} rounds: {}.", run.rounds, scenario.run.repeats, run.lost));
  model.partial = run.stopped || !run.failures.empty();
  if (run.stopped && run.lost.empty()) model.notes.push_back(fmt::format("The run was interrupted after {} of {} rounds.", run.rounds, scenario.run.repeats));
  if (scenario.run.kernels) {
    model.notes.push_back("Kernels were recorded in one more run of every schedule after all rounds, because recording slows it: predictions, iteration times, idle times and errors come from the rounds alone.");
  }
  for (const Measured& measured : run.schedules) {
    if (!measured.kernels_note.empty()) model.notes.push_back(measured.kernels_note);
    ScheduleReport report;
    report.label = measured.experiment.config.label;
    report.schedule = measured.experiment.config.name;
    report.ranks = measured.experiment.program.ranks();
    report.microbatches = measured.experiment.program.microbatches;
    report.samples = measured.experiment.iteration_samples;
    report.predicted_timeline = measured.predicted.timeline;
    report.measured_timeline = measured.measured.timeline;
    report.kernel_timeline = measured.kernels;
    report.predicted.emplace();
    report.predicted->iteration = measured.predicted_iteration();
    report.predicted->repeats = measured.predicted_repeats;
    report.predicted->idle_repeats = measured.predicted_idle_repeats;
    report.measured.emplace();
    report.measured->iteration = measured.iteration.median;
    report.measured->repeats = measured.iteration_repeats;
    report.measured->idle_repeats = measured.idle_repeats;
    for (const RankMemory& rank : measured.predicted.memory) {
      if (measured.predicted.has_bytes) report.predicted->peak_bytes.push_back(rank.peak_bytes);
    }
    model.schedules.push_back(std::move(report));
  }
  for (const FailedSchedule& failed : run.failures) {
    if (failed.rounds > 0) {
      model.notes.push_back(fmt::format("{} failed in round {}; the rounds before are kept. {}", failed.config.label, failed.rounds + 1, failed.failure));
      continue;
    }
    ScheduleReport& report = model.schedules.emplace_back();
    report.label = failed.config.label;
    report.schedule = failed.config.name;
    report.failure = failed.failure;
    report.ranks = failed.ranks;
    report.microbatches = failed.microbatches;
  }
  return model;
}

namespace {

/// Paths of a folder that may not be there.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::error_code none;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) files.push_back(entry.path());
  return files;
}

constexpr std::array kReports = {"report.html", "report.md", "report.json"};

/// Removes the files of an earlier run, first the one that ties them together; timelines too, since this run may have other schedules.
void clear_run_folder(const std::filesystem::path& folder) {
  for (const char* name : {"run.json", "profile.json", "unfinished.profile.json"}) remove_stale(folder / name);
  for (const char* report : kReports) remove_stale(folder / report);
  std::vector<std::filesystem::path> timelines = files_in(folder / "timelines");
  std::erase_if(timelines, [](const auto& file) { return !file.string().ends_with(".predicted.json") && !file.string().ends_with(".measured.json"); });
  for (const auto& file : timelines) remove_stale(file);
  for (const auto& file : files_in(folder / "kernels")) {
    if (file.extension() == ".json") remove_stale(file);
  }
}

void write_files(const std::filesystem::path& folder, const ReportModel& model, const CostProfile& profile) {
  json schedules = json::array();
  std::vector<std::string> labels;
  for (const ScheduleReport& schedule : model.schedules) labels.push_back(schedule.label);
  const std::vector<std::string> stems = file_stems(labels);
  auto stem = stems.begin();
  for (const ScheduleReport& schedule : model.schedules) {
    json entry = {{"label", schedule.label}, {"schedule", schedule.schedule}, {"failure", schedule.failure}, {"ranks", schedule.ranks}, {"microbatches", schedule.microbatches}, {"samples", schedule.samples}};
    const auto side = [&](const char* name, const std::optional<Timeline>& timeline, const std::optional<SideNumbers>& numbers) {
      if (!timeline || !numbers) return;
      const std::string file = fmt::format("timelines/{}.{}.json", *stem, name);
      write_timeline(*timeline, folder / file);
      entry[name] = {{"timeline", file}, {"iteration_ns", numbers->iteration}, {"repeats_ns", numbers->repeats}, {"idle_repeats", numbers->idle_repeats}, {"peak_bytes", numbers->peak_bytes}};
    };
    side("predicted", schedule.predicted_timeline, schedule.predicted);
    side("measured", schedule.measured_timeline, schedule.measured);
    if (schedule.kernel_timeline) {
      const std::string file = fmt::format("kernels/{}.json", *stem);
      write_timeline(*schedule.kernel_timeline, folder / file);
      entry["kernels"] = file;
    }
    schedules.push_back(std::move(entry));
    ++stem;
  }
  write_profile(profile, folder / "profile.json");
  const json root = {{"schema_version", 1}, {"title", model.title},   {"command", model.command}, {"scenario", model.scenario}, {"machine", model.machine},
                     {"date", model.date},  {"notes", model.notes},   {"partial", model.partial}, {"baseline", model.baseline}, {"schedules", schedules}};
  write_file(folder / "run.json", root.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

/// Moves what is (still) in `staged` to `folder`, run.json last.
void move_in(const std::filesystem::path& staged, const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const char* part : {".", "timelines", "kernels"}) {
    if (std::filesystem::exists(staged / part, error)) std::filesystem::create_directories(folder / part, error);
    for (const auto& file : files_in(staged / part)) {
      const auto name = (std::filesystem::path(part) / file.filename()).lexically_normal();
      if (name != "run.json" && std::filesystem::is_regular_file(file, error)) files.push_back(name);
    }
  }
  files.push_back("run.json");
  error.clear();
  for (const auto& file : files) {
    std::filesystem::rename(staged / file, folder / file, error);
    if (error) throw RunError(fmt::format("{}: cannot be written: {}", (folder / file).string(), error.message()));
  }
  std::filesystem::remove_all(staged, error);
}

/// Where a process of this host writes a run before it is whole.
std::filesystem::path staged_by(const std::filesystem::path& folder, pid_t writer) { return folder / fmt::format("run.{}.{}.partial", host_name(), writer); }

/// Whether `staged` holds a whole run, or what is left of one, whose writer was killed while it moved it. What other hosts
/// write is not looked at: nobody here knows whether they still do.
bool cut_off(const std::filesystem::path& folder, const std::filesystem::path& staged) {
  const std::string name = staged.filename().string();
  const std::string begin = fmt::format("run.{}.", host_name());
  pid_t writer = 0;
  if (!name.starts_with(begin)) return false;
  std::from_chars(name.data() + begin.size(), name.data() + name.size(), writer);
  std::error_code unknown;
  if (writer <= 0 || staged != staged_by(folder, writer) || !std::filesystem::exists(staged / "run.json", unknown)) return false;
  return writer == getpid() || (kill(writer, 0) != 0 && errno == ESRCH);  // this process is at no such thing
}

}  // namespace

void finish_run_folder(const std::filesystem::path& folder) {
  std::error_code unknown;
  if (std::filesystem::exists(folder / "run.json", unknown)) return;
  for (const auto& staged : files_in(folder)) {
    if (!cut_off(folder, staged)) continue;
    for (const char* report : kReports) remove_stale(folder / report);
    return move_in(staged, folder);
  }
}

void prepare_run_folder(const std::filesystem::path& folder) {
  finish_run_folder(folder);
  require_writable(folder);
}

void write_run_folder(const std::filesystem::path& folder, const ReportModel& model, const CostProfile& profile) {
  // Beside the files of an earlier run, which make room only for a whole one.
  const std::filesystem::path staged = staged_by(folder, getpid());
  std::error_code ignored;
  std::filesystem::remove_all(staged, ignored);  // of one that could not be moved
  try {
    write_files(staged, model, profile);
  } catch (...) {
    std::filesystem::remove_all(staged, ignored);
    throw;
  }
  clear_run_folder(folder);
  move_in(staged, folder);
}

ReportModel read_run_folder(const std::filesystem::path& folder) {
  finish_run_folder(folder);
  const auto file = folder / "run.json";
  const std::string text = read_file(file, "the folder that 'bubblescope run --out' made");
  ReportModel model;
  try {
    const json root = json::parse(text);
    if (root.at("schema_version") != 1) throw InputError(fmt::format("{}: 'schema_version' is {}; expected 1", file.string(), root.at("schema_version").dump()));
    model.title = root.at("title");
    model.command = root.at("command");
    model.scenario = root.at("scenario");
    model.machine = root.at("machine");
    model.date = root.at("date");
    model.notes = root.at("notes").get<std::vector<std::string>>();
    model.partial = root.value("partial", false);
    model.baseline = root.at("baseline");
    for (const json& entry : root.at("schedules")) {
      ScheduleReport& schedule = model.schedules.emplace_back();
      schedule.label = entry.at("label");
      schedule.schedule = entry.at("schedule");
      schedule.failure = entry.at("failure");
      schedule.ranks = entry.at("ranks");
      schedule.microbatches = entry.at("microbatches");
      schedule.samples = entry.value("samples", std::int64_t{0});
      const auto side = [&](const char* name, std::optional<Timeline>& timeline, std::optional<SideNumbers>& numbers) {
        if (!entry.contains(name)) return;
        const json& from = entry.at(name);
        timeline = read_timeline(folder / from.at("timeline").get<std::string>());
        numbers.emplace();
        numbers->iteration = from.at("iteration_ns");
        numbers->repeats = from.at("repeats_ns").get<std::vector<Nanos>>();
        numbers->idle_repeats = from.value("idle_repeats", std::vector<double>{});
        numbers->peak_bytes = from.at("peak_bytes").get<std::vector<std::int64_t>>();
        // Folders that do not say how many samples there are say this.
        if (from.contains("speedup") && !from.at("speedup").is_null()) numbers->speedup = from.at("speedup").get<double>();
      };
      side("predicted", schedule.predicted_timeline, schedule.predicted);
      side("measured", schedule.measured_timeline, schedule.measured);
      if (entry.contains("kernels")) schedule.kernel_timeline = read_timeline(folder / entry.at("kernels").get<std::string>());
    }
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: not a run, or cut short: {}", file.string(), error.what()));
  }
  return model;
}

}  // namespace bubblescope
