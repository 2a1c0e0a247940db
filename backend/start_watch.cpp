// Looks through /proc, and counts for how long a process is stopped in looks, not by a clock: where all are stopped together
// (Ctrl-Z at the launcher) nobody looks, and nobody is lost when they go on.
#include "backend/start_watch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace bubblescope {
namespace {

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Status {
  char state = 0;
  pid_t parent = 0;
};

/// `PID (NAME) STATE PARENT ...`; a name may have brackets and spaces.
std::optional<Status> status_of(const std::filesystem::path& process) {
  const std::string text = text_of(process / "stat");
  const auto name_end = text.rfind(") ");
  if (name_end == std::string::npos || name_end + 4 >= text.size()) return std::nullopt;
  const std::string_view parent = std::string_view(text).substr(name_end + 4);
  const auto found = number(parent.substr(0, parent.find(' ')));
  if (!found) return std::nullopt;
  return Status{text[name_end + 2], static_cast<pid_t>(*found)};
}

/// The number that its environment has under that name.
std::optional<std::int64_t> variable_of(const std::filesystem::path& process, const std::string& name) {
  const std::string text = '\0' + text_of(process / "environ");
  const std::string before = '\0' + name + '=';
  const auto found = text.find(before);
  if (found == std::string::npos) return std::nullopt;
  const auto begin = found + before.size();
  return number(std::string_view(text).substr(begin, text.find('\0', begin) - begin));
}

}  // namespace

std::vector<Sibling> siblings(pid_t parent, const std::string& rank_variable) {
  std::vector<Sibling> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    if (!number(entry->path().filename().string())) continue;
    const auto status = status_of(entry->path());
    if (!status || status->parent != parent) continue;
    const auto process = variable_of(entry->path(), rank_variable);
    if (process) found.push_back({static_cast<std::int32_t>(*process), status->state == 'T'});
  }
  std::sort(found.begin(), found.end(), [](const Sibling& a, const Sibling& b) { return a.process < b.process; });
  return found;
}

StartWatch::StartWatch(const Launch& launch, std::function<void(std::string why)> stopped, std::function<void()> waiting, StartWatchOptions options)
    : stopped_(std::move(stopped)), waiting_(std::move(waiting)), thread_([this, launch, options] { look(launch, options); }) {}

StartWatch::~StartWatch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StartWatch::look(const Launch& launch, const StartWatchOptions& options) {
  const pid_t parent = options.parent != 0 ? options.parent : getppid();
  std::map<std::int32_t, std::int32_t> looks_stopped;  // process -> looks, one after the other
  for (std::int32_t looks = 1;; ++looks) {
    {
      std::unique_lock lock(mutex_);
      if (wake_.wait_for(lock, options.period, [this] { return over_; })) return;
    }
    if (looks == options.looks_until_word) waiting_();
    const std::vector<Sibling> all = siblings(parent, launch.rank_variable);
    const auto goes = std::find_if(all.begin(), all.end(), [](const Sibling& one) { return !one.stopped; });
    for (const Sibling& one : all) {
      std::int32_t& count = looks_stopped[one.process];
      count = one.stopped ? count + 1 : 0;
      if (count < options.looks || goes == all.end() || goes->process != launch.process) continue;
      return stopped_(fmt::format("process {} was stopped while the processes of the job were starting", one.process));
    }
  }
}

}  // namespace bubblescope
