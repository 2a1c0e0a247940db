// Joining the other processes of a job.
#include "bench/job.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <thread>

#include "backend/cores.hpp"
#include "backend/fields.hpp"
#include "backend/lifeline_meeting.hpp"
#include "backend/mpi_loader.hpp"
#include "backend/start_watch.hpp"
#include "bench/interrupt.hpp"
#include "bench/torch_backend.hpp"
#include "bench/version.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "sim/core/read_file.hpp"
#include "sim/scenario/build.hpp"

namespace bubblescope {
namespace {

/// What main asks when an error has come through everything else.
bool silent = false;
bool knows_launch = false;  ///< whether it was looked at
std::string told_loss;

/// Launchers bind a process to a core; its ranks are to have all that the processes of its host have together.
void use_cores(const std::set<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);  // where that is not allowed, what it had must do
}

/// By host: the cores that its processes may use together.
std::map<std::string, std::set<int>> cores_by_host(World& world) {
  const std::string mine = FieldsOut().add(host_name()).add(available_core_list()).take();
  std::map<std::string, std::set<int>> cores;
  for (const std::string& one : world.gather_all(mine)) {
    FieldsIn fields(one);
    auto& known = cores[fields.get<std::string>()];
    const auto theirs = fields.get<std::vector<int>>();
    known.insert(theirs.begin(), theirs.end());
  }
  return cores;
}

void require_same(World& world, const std::string& mine, std::string_view what) {
  const std::vector<std::string> all = world.gather_all(mine);
  for (std::size_t p = 1; p < all.size(); ++p) {
    if (all[p] != all.front()) throw InputError(fmt::format("process {} has another {} than process 0; expected the same files and arguments on every host", p, what));
  }
}

/// In which a launcher ends the other processes of a job once one has ended with an error.
constexpr std::chrono::seconds kForOthers{2};

/// An error before the processes know of each other (a scenario that is wrong) is most of the time everybody's. The launcher
/// ends all of them once the first has told it; where it does not, it was this one's alone.
void wait_for_first() {
  const bool by_torchrun = std::getenv("TORCHELASTIC_RUN_ID") != nullptr;
  for (const char* const name : {"RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    const char* const own = std::getenv(name);
    if (own == nullptr || (std::string_view(name) == "RANK" && !by_torchrun)) continue;  // anybody's name for anything
    if (std::string_view(own) != "0") std::this_thread::sleep_for(kForOthers);
    return;
  }
}

/// Of several processes all but the first are silent from now on.
std::optional<Launch> joined_launch() {
  auto launch = launched();
  knows_launch = true;
  if (launch) silent = launch->process != 0;
  return launch;
}

/// The others are not there, and this process hangs in the launcher's or MPI's calls: whatever started it ends the others.
[[noreturn]] void end_start(const std::string& why) {
  std::fputs(("bubblescope: " + why + "\n").c_str(), stderr);
  std::_Exit(1);
}

void say_that_it_waits() { std::fputs("bubblescope: waiting for all processes of the job to start\n", stderr); }

/// What ranks on GPUs have within one process alone. Throws InputError.
void require_gpus_of_their_own(const Scenario& scenario, const Launch& launch) {
  const std::string& devices = scenario.backend.devices;
  if (devices != "gpus") {
    throw InputError(fmt::format("with 'backend.devices = \"{}\"' all ranks share one GPU and one process, but {} has started {}; expected one process, or \"gpus\"", devices, launch.by, launch.processes));
  }
  if (scenario.backend.graphs) throw InputError(fmt::format("CUDA graphs are for ranks of one process, but {} has started {}; expected one process, or 'backend.graphs = false'", launch.by, launch.processes));
  if (scenario.run.kernels) throw InputError(fmt::format("kernels are recorded of ranks of one process, but {} has started {}; expected one process, or no --kernels", launch.by, launch.processes));
}

/// Whoever is lost until all are through is named: by process 0, whose results are whole by then, unless its work has named it
/// or a signal ended all, or by the others, which cannot know whether its results are.
void end_together(World& world) {
  try {
    world.barrier();
  } catch (const LostError& error) {
    if (!world.first()) throw;
    if (error.what() != told_loss && !interrupted()) fmt::print(stderr, "bubblescope: {}; all was done\n", error.what());
  }
}

}  // namespace

Job::Job(const Scenario& scenario, const std::vector<std::string>& arguments) {
  const auto launch = joined_launch();
  if (!launch) return;
  const std::string& backend = scenario.backend.name;
  if (launch->by == "torchrun" && backend != "cuda") {
    throw InputError(fmt::format("torchrun starts processes for GPUs; for 'backend.name = \"{}\"' use 'mpirun -n {} bubblescope ...' or srun", backend, launch->processes));
  }
  if (launch->processes == 1) return;
  const RankRange own = ranks_of_process(launch->process, launch->processes, scenario.cluster.ranks);
  if (backend == "cuda") require_gpus_of_their_own(scenario, *launch);
  const Connect connect = [&] { return backend == "cuda" ? gpu_transport(*launch) : load_mpi(); };
  join(connect, own.count() == 1 ? fmt::format(", rank {}", own.first) : fmt::format(", ranks {} to {}", own.first, own.last - 1), scenario.text, arguments);
  if (scenario.costs.source == "profile") require_same_profiles({scenario.costs.profile});
  if (backend == "cuda") share_gpus(scenario, *world_);
}

Job::Job(const std::string& text, const std::vector<std::string>& arguments) {
  const auto launch = joined_launch();
  if (launch && launch->by == "torchrun") throw InputError(fmt::format("torchrun starts processes for GPUs; use 'mpirun -n {} bubblescope ...' or srun", launch->processes));
  if (launch && launch->processes > 1) join([] { return load_mpi(); }, "", text, arguments);
}

std::string Job::command(const std::vector<std::string>& arguments) const {
  std::string text;
  if (world_) {
    const Launch launch = launched().value();
    const std::string program = launch.by == "torchrun" ? "torchrun" : launch.by == "Slurm" ? "srun" : "mpirun";
    text = program == "torchrun" ? "torchrun ... " : fmt::format("{} -n {} ", program, launch.processes);
  }
  return text + fmt::format("bubblescope {}", fmt::join(arguments, " "));
}

void Job::require_same_profiles(const std::set<std::filesystem::path>& files) const {
  if (!world_) return;
  for (const auto& file : files) {
    std::string text;
    try {
      text = read_file(file, "a profile in JSON");
    } catch (const InputError&) {
    }
    require_same(*world_, text, fmt::format("profile '{}'", file.string()));
  }
}

void Job::join(const Connect& connect, const std::string& ranks, const std::string& text, const std::vector<std::string>& arguments) {
  // Until there is a World an error may be this process's alone (no MPI on its host), and nobody else can tell it.
  silent = knows_launch = false;
  std::optional<StartWatch> watch(std::in_place, *launched(), end_start, say_that_it_waits);
  world_ = std::make_unique<World>(connect());
  const auto launch = joined_launch();
  const std::string host = host_name();
  if (world_->processes() != launch->processes) {
    throw RunError(fmt::format("{} has started {} processes, but {} knows of {}: the launcher belongs to another MPI", launch->by, launch->processes, world_->transport_name(), world_->processes()));
  }
  world_->watch(fmt::format("process {} (host {}{})", world_->process(), host, ranks));
  watch.reset();  // from now on they look after each other
  FieldsOut command;
  for (const std::string& argument : arguments) command.add(argument);
  require_same(*world_, version_text() + program_text(), "program");
  require_same(*world_, command.take(), "command line");
  require_same(*world_, text, "scenario");
  use_cores(cores_by_host(*world_).at(host));
  const std::vector<std::string> hosts = world_->hosts();
  on_this_host_ = static_cast<std::int32_t>(std::count(hosts.begin(), hosts.end(), host));
}

RankCores rank_cores(const Scenario& scenario, World* world) {
  const std::int32_t ranks = scenario.cluster.ranks;
  if (scenario.backend.name == "null") return {scenario.backend.cores, scenario.backend.cores};  // waiting needs no core
  RankCores cores{scenario.backend.cores, {}};
  if (world == nullptr) {
    if (cores.pinned.empty()) cores.pinned = spread_cores(ranks, scenario.backend.threads, available_core_list());
    cores.distinct = cores.pinned;
    return cores;
  }
  const auto available = cores_by_host(*world);
  const std::vector<std::string> host_of = world->hosts();
  const std::int32_t each = ranks / world->processes();
  if (cores.pinned.empty()) {
    cores.pinned.resize(at(ranks));
    for (const auto& [name, list] : available) {
      std::vector<Rank> here;
      for (Rank r = 0; r < ranks; ++r) {
        if (host_of[at(r / each)] == name) here.push_back(r);
      }
      const auto spread = spread_cores(static_cast<std::int32_t>(here.size()), scenario.backend.threads, {list.begin(), list.end()});
      for (std::size_t i = 0; i < here.size(); ++i) cores.pinned[at(here[i])] = spread[i];
    }
  }
  cores.distinct = cores.pinned;
  constexpr int kMostCores = 100'000;  // of a host
  for (std::size_t r = 0; r < cores.distinct.size(); ++r) {
    const auto number = static_cast<int>(std::distance(available.begin(), available.find(host_of[r / at(each)])));
    for (int& core : cores.distinct[r]) core += number * kMostCores;
  }
  return cores;
}

int in_job(World* world, const std::function<int()>& work) {
  try {
    const int code = work();
    if (world != nullptr) end_together(*world);
    return code;
  } catch (const std::exception& error) {
    if (world == nullptr) throw;
    const bool refused = dynamic_cast<const InputError*>(&error) != nullptr;
    world->end_early(error.what(), refused);
    if (!refused && world->refused()) throw InputError(error.what());
    throw;
  }
}

void tell_lost(const std::string& why) {
  told_loss = why;
  fmt::print(stderr, "bubblescope: {}\n", why);
}

bool is_for_others_to_print(const std::exception& error) {
  // Who is left when the first process is gone speaks for itself, unless that one has said why it ended.
  const std::string_view why = error.what();
  const bool lost_first = dynamic_cast<const LostError*>(&error) != nullptr && why.starts_with("process 0 ") && why.find(" ended early: ") == std::string_view::npos;
  if (!knows_launch) wait_for_first();
  if (!silent || (lost_first && launched()->process == 1)) return false;
  // Some launchers end a job at the first exit code that is not 0: not before somebody has spoken. Where the second process was
  // lost with the first, the others speak, and not all at once.
  const auto turn = lost_first ? std::min(launched()->process - 2, 4) * std::chrono::milliseconds(500) : std::chrono::milliseconds(0);
  std::this_thread::sleep_for(kForOthers + turn);
  return !lost_first;
}

void require_alone(const std::string& command) {
  const auto launch = joined_launch();
  if (!launch || launch->processes == 1) return;
  throw InputError(fmt::format("'{}' is done by one process, but {} has started {}; expected 'run', 'calibrate' or 'sweep', or no launcher", command, launch->by, launch->processes));
}

}  // namespace bubblescope
