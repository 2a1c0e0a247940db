// The program `bubblescope`: reads the command line, runs one subcommand, prints errors.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "bench/commands.hpp"
#include "bench/version.hpp"
#include "sim/core/error.hpp"

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
  add_run(line);
  add_calibrate(line);
  add_compare(line);
  add_report(line);
  add_export(line);
  try {
    app.parse(argc, argv);
    return action ? action() : 2;
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::string hint;
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
    if (app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-') hint = suggestion(argv[1], names);
    fmt::print(stderr, "bubblescope: {}{}\nRun 'bubblescope --help' for what there is.\n", error.what(), hint);
    return 2;
  } catch (const InputError& error) {
    fmt::print(stderr, "bubblescope: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bubblescope: {}\n", error.what());
    return 1;
  }
}
