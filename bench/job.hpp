// Commands that run as one of several processes, started by mpirun, srun or torchrun.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backend/world.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// The cores and the host of every rank.
struct RankCores {
  std::vector<std::vector<int>> pinned;  ///< rank -> cores of its host; empty: ranks are not pinned
  std::vector<std::vector<int>> distinct;  ///< likewise, with cores of different hosts told apart
};

/// The processes that this one was started with; alone where no launcher started it.
class Job {
 public:
  /// Joins them, and makes sure that all run the same program with the same arguments, scenario and profile. Once in a process, after it has
  /// become the right program. Throws InputError where they differ, where the ranks cannot be shared evenly, or where the
  /// launcher is none for the scenario's backend.
  Job(const Scenario& scenario, const std::vector<std::string>& arguments);
  /// Likewise, without ranks: for work that has none. `text`: the scenario's.
  Job(const std::string& text, const std::vector<std::string>& arguments);

  World* world() const { return world_.get(); }  ///< null: alone
  std::int32_t on_this_host() const { return on_this_host_; }  ///< processes
  /// The command line that starts all processes, as far as it is known.
  std::string command(const std::vector<std::string>& arguments) const;
  /// Whether this process prints and writes files.
  bool speaks() const { return !world_ || world_->first(); }
  /// Throws InputError where processes have different cost profiles under one of these names. What cannot be read anywhere is
  /// for whoever needs it. Collective.
  void require_same_profiles(const std::set<std::filesystem::path>& files) const;

 private:
  using Connect = std::function<std::unique_ptr<Transport>()>;
  void join(const Connect& connect, const std::string& ranks, const std::string& text, const std::vector<std::string>& arguments);

  std::unique_ptr<World> world_;
  std::int32_t on_this_host_ = 1;
};

/// What every rank is pinned to: as the scenario says, or the cores of its host, rank after rank. `world`: null where
/// this process has all ranks; else all processes ask together.
RankCores rank_cores(const Scenario& scenario, World* world);

/// Runs `work`; where it throws, the other processes are told why this one ends. What they throw then says the
/// same, so it is printed once (`is_for_others_to_print`), and is an InputError where this one's is: all end with the
/// same exit code. Returns once all are through; who waits for process 0 then throws LostError where that is lost meanwhile.
/// `world`: null where this process is alone.
int in_job(World* world, const std::function<int()>& work);

/// Tells on standard error which process was lost; what `in_job` has to say of it is then said.
void tell_lost(const std::string& why);

/// Whether another process prints the error that this one ends with, and time for it to do so. Until the processes know of each other all but
/// the first wait for a while, in which the launcher ends them if the first has the same error; then they print theirs.
bool is_for_others_to_print(const std::exception& error);

/// For commands that one process does: throws InputError where a launcher has started several, in all of them; all but
/// the first leave it to that to print it.
void require_alone(const std::string& command);

}  // namespace bubblescope
