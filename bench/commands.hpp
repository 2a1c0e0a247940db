// The subcommands of `bubblescope`: one file each. A command registers its options and what to do; its
// exit code is 0 good, 1 the work failed, 2 bad usage or input (errors are thrown, main prints them).
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace bubblescope {

/// What a command does once the command line is read; returns the exit code.
using Action = std::function<int()>;

struct CommandLine {
  CLI::App& app;
  Action& chosen;          ///< set by the subcommand that was given
  std::vector<std::string> arguments;  ///< as typed, without the program's name
};

void add_list(CommandLine& line);
void add_check(CommandLine& line);
void add_predict(CommandLine& line);
void add_sweep(CommandLine& line);
void add_run(CommandLine& line);
void add_campaign(CommandLine& line);
void add_calibrate(CommandLine& line);
void add_compare(CommandLine& line);
void add_report(CommandLine& line);
void add_export(CommandLine& line);

/// Adds a subcommand with its help text, example included.
CLI::App* add_command(CommandLine& line, const std::string& name, const std::string& what, const std::string& example);

/// Prints a command's `--json` answer; bytes that are no UTF-8 (of a file's name) are replaced.
void print_json(const nlohmann::json& answer);

}  // namespace bubblescope
