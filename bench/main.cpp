// The program `bubblescope`: reads the command line, runs one subcommand, prints errors.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <set>
#include <string>

#include "bench/commands.hpp"
#include "bench/job.hpp"
#include "bench/version.hpp"
#include "sim/core/error.hpp"

namespace {

/// Results that nobody got are no success: a full disk shows when standard output is flushed.
int delivered(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  fmt::print(stderr, "bubblescope: standard output cannot be written: {}\n", std::strerror(errno));
  return code == 0 ? 1 : code;
}

/// Commands that work for long share their work among the processes that a launcher started; others are for one.
void require_alone(const CLI::App& app) {
  const std::set<std::string> shared{"run", "calibrate", "sweep"};
  for (const CLI::App* command : app.get_subcommands()) {
    if (!shared.contains(command->get_name())) bubblescope::require_alone(command->get_name());
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace bubblescope;
  CLI::App app{"Bubblescope predicts, executes and explains training schedules across devices."};
  app.name("bubblescope");
  app.set_version_flag("--version", version_text());
  app.set_help_all_flag("--help-all", "Help of all subcommands");
  app.require_subcommand(1);
  Action action;
  CommandLine line{app, action, {argv + 1, argv + argc}};
  add_list(line);
  add_check(line);
  add_predict(line);
  add_sweep(line);
  add_run(line);
  add_campaign(line);
  add_calibrate(line);
  add_compare(line);
  add_report(line);
  add_export(line);
  try {
    app.parse(argc, argv);
    require_alone(app);
    return delivered(action ? action() : 2);
  } catch (const CLI::Success& success) {
    return delivered(app.exit(success));
  } catch (const CLI::ParseError& error) {
    std::string hint;
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
    if (app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-') hint = suggestion(argv[1], names);
    if (!is_for_others_to_print(error)) fmt::print(stderr, "bubblescope: {}{}\nRun 'bubblescope --help' for what there is.\n", error.what(), hint);
    return 2;
  } catch (const InputError& error) {
    if (!is_for_others_to_print(error)) fmt::print(stderr, "bubblescope: {}\n", error.what());
    return 2;
  } catch (const std::bad_alloc& error) {
    if (!is_for_others_to_print(error)) fmt::print(stderr, "bubblescope: not enough memory for this\n");
    return 1;
  } catch (const std::exception& error) {
    if (delivered(0) != 0) return 1;  // that was it
    if (!is_for_others_to_print(error)) fmt::print(stderr, "bubblescope: {}\n", error.what());
    return 1;
  }
}
