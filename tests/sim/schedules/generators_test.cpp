// Whole orders against the oracle files (p = 4, m = 8), cell by cell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

struct Order {
  std::string schedule;
  std::map<std::string, std::string> options;
  std::string oracle;
};

class Orders : public testing::TestWithParam<Order> {};

/// Without the updates, which the files do not hold.
Program without_updates(Program program) {
  for (auto& row : program.rows) std::erase_if(row, [](const Op& op) { return op.kind == Kind::U; });
  return program;
}

TEST_P(Orders, equal_the_oracle) {
  const Program program = generate(find_schedule(GetParam().schedule), {.ranks = 4, .microbatches = 8, .options = GetParam().options});
  EXPECT_EQ(rows_of(without_updates(program)), oracle_rows(GetParam().oracle));
}

INSTANTIATE_TEST_SUITE_P(All, Orders,
                         testing::Values(Order{"gpipe", {}, "gpipe"}, Order{"1f1b", {}, "1f1b"}, Order{"pipedream-flush", {}, "1f1b"},
                                         Order{"eager-1f1b", {}, "eager1f1b"}, Order{"looped-bfs", {}, "loopedbfs_v2"},
                                         Order{"looped-bfs", {{"chunks", "4"}}, "loopedbfs_v4"}, Order{"interleaved-1f1b", {}, "interleaved1f1b_v2"},
                                         Order{"interleaved-1f1b", {{"chunks", "4"}}, "interleaved1f1b_v4"}, Order{"interleaved-zb", {}, "interleavedzb_v2"},
                                         Order{"interleaved-zb", {{"chunks", "4"}}, "interleavedzb_v4"}, Order{"zb1p", {}, "zb1p_torch"},
                                         Order{"zbv", {}, "zbv_torch"}, Order{"dualpipev", {}, "dualpipev"}, Order{"dualpipe", {}, "dualpipe"},
                                         Order{"chimera", {}, "chimera_2pipes"}),
                         [](const auto& one) {
                           std::string name = one.param.schedule + "_of_" + one.param.oracle;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace bubblescope
