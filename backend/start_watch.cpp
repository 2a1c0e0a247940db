// Reads /proc/PID/stat of all processes, and the environments of the launcher's children.
#include "backend/start_watch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace bubblescope {
namespace {

constexpr std::array kMarks{"PMIX_NAMESPACE", "SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "MASTER_PORT"};

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Status {
  char state = 0;
  pid_t parent = 0;
};

/// `PID (NAME) STATE PARENT ...`; a name may have brackets and spaces.
Status status_of(const std::filesystem::path& process) {
  const std::string text = text_of(process / "stat");
  const auto name_end = text.rfind(") ");
  Status status;
  if (name_end != std::string::npos) std::istringstream(text.substr(name_end + 2)) >> status.state >> status.parent;
  return status;
}

/// `environment`: NAME=VALUE after NAME=VALUE, each ended by 0.
std::optional<std::string> variable_in(const std::string& environment, const std::string& name) {
  const std::string before = '\0' + name + '=';
  const auto found = ('\0' + environment).find(before);
  if (found == std::string::npos) return std::nullopt;
  const auto begin = found + before.size() - 1;  // without the 0 in front
  return environment.substr(begin, environment.find('\0', begin) - begin);
}

}  // namespace

JobMarks job_marks() {
  JobMarks marks;
  for (const char* const name : kMarks) {
    const char* const value = std::getenv(name);
    marks[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
  }
  return marks;
}

std::vector<Sibling> siblings(pid_t parent, const std::string& rank_variable, const JobMarks& marks) {
  std::vector<Sibling> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::filesystem::path& process = entry->path();
    if (process.filename().string().find_first_not_of("0123456789") != std::string::npos) continue;
    const Status status = status_of(process);
    if (status.parent != parent) continue;
    const std::string environment = text_of(process / "environ");
    const auto text = variable_in(environment, rank_variable);
    std::int32_t number = 0;
    if (!text || std::from_chars(text->data(), text->data() + text->size(), number).ptr != text->data() + text->size()) continue;
    if (!std::ranges::all_of(marks, [&](const auto& mark) { return variable_in(environment, mark.first) == mark.second; })) continue;
    found.push_back({number, status.state == 'T'});
  }
  std::sort(found.begin(), found.end(), [](const Sibling& a, const Sibling& b) { return a.process < b.process; });
  return found;
}

std::optional<std::int32_t> StopCounter::look(const std::vector<Sibling>& all) {
  std::optional<std::int32_t> lost;
  for (const Sibling& one : all) {
    std::int32_t& count = stopped_[one.process];
    count = one.stopped ? count + 1 : 0;
    if (count >= looks_ && !lost) lost = one.process;
  }
  return lost;
}

StartWatch::StartWatch(const Launch& launch, std::function<void(const std::string& why)> stopped, std::function<void()> waiting, StartWatchOptions options)
    : stopped_(std::move(stopped)), waiting_(std::move(waiting)), thread_([this, launch, marks = job_marks(), options] { look(launch, marks, options); }) {}

StartWatch::~StartWatch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StartWatch::look(const Launch& launch, const JobMarks& marks, const StartWatchOptions& options) {
  const pid_t parent = options.parent != 0 ? options.parent : getppid();
  StopCounter counter(options.looks);
  for (std::int32_t looks = 1;; ++looks) {
    {
      std::unique_lock lock(mutex_);
      if (wake_.wait_for(lock, options.period, [this] { return over_; })) return;
    }
    const std::vector<Sibling> all = siblings(parent, launch.rank_variable, marks);
    const auto lost = counter.look(all);
    const auto goes = std::find_if(all.begin(), all.end(), [](const Sibling& one) { return !one.stopped; });
    if (goes != all.end() && goes->process != launch.process) continue;  // that one speaks
    if (lost) return stopped_(fmt::format("process {} was stopped while the processes of the job were starting", *lost));
    if (looks == options.looks_until_word) waiting_();
  }
}

}  // namespace bubblescope
