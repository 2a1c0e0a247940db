// The timing rules of channels: every row of the table of channel modes, from the orders it was made with.
#include "sim/engine/timing.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/read_program.hpp"
#include "sim/lower/send_recv.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

Nanos ms(const std::string& text) { return static_cast<Nanos>(std::llround(std::stod(text) * 1e6)); }

TEST(Timing, every_row_of_the_table_of_channel_modes_is_met_by_both_engines) {
  std::ifstream table(oracles() / "channel_modes.csv");
  ASSERT_TRUE(table);
  std::string line;
  std::getline(table, line);
  int checked = 0;
  while (std::getline(table, line)) {
    std::vector<std::string> cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
    ASSERT_EQ(cells.size(), 9U) << line;
    Program program = read_program(oracles() / "orders" / (cells[0] + "_p4_m8.csv"));
    EXPECT_EQ(program.chunks, std::stoi(cells[3])) << cells[0];
    const StageCosts costs = stage_costs(parse_cost_list("F=1,I=1,W=1"), program);
    const std::vector<std::string> modes = channel_mode_names();
    for (std::size_t mode = 0; mode < modes.size(); ++mode) {
      program.channels = {channel_mode(modes[mode])};
      for (const Engine engine : {Engine::sweep, Engine::events}) {
        const Simulation run = simulate(add_send_recv(program), costs, uniform_cluster(4, {ms(cells[4]), 0}), {engine});
        EXPECT_FALSE(run.deadlock) << cells[0] << ' ' << modes[mode];
        EXPECT_EQ(run.timeline.makespan(), ms(cells[5 + mode])) << cells[0] << ' ' << modes[mode] << " comm " << cells[4];
      }
      ++checked;
    }
  }
  EXPECT_EQ(checked, 57 * 4);
}

}  // namespace
}  // namespace bubblescope
