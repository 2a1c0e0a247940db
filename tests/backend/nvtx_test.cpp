// NVTX ranges as a tool sees them that attaches the way Nsight does (tests/backend/nvtx_injection.cpp).
#include "backend/nvtx.hpp"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "backend/executor.hpp"
#include "backend/null.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

using testing::Contains;
using testing::ElementsAre;

/// NVTX looks for a tool once, at the first call in the process, so this has to be before any test.
const bool kAttached = setenv("NVTX_INJECTION64_PATH", BUBBLESCOPE_NVTX_INJECTION, 1) == 0;

std::vector<std::string> events() {
  void* tool = dlopen(BUBBLESCOPE_NVTX_INJECTION, RTLD_NOW);
  if (tool == nullptr) {
    ADD_FAILURE() << dlerror();
    return {};
  }
  const auto recorded = reinterpret_cast<const char* (*)()>(dlsym(tool, "recorded_nvtx_events"));
  std::istringstream in(recorded());
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Nvtx, a_range_has_a_domain_a_registered_name_a_category_and_its_iteration) {
  ASSERT_TRUE(kAttached);
  const NvtxName name = nvtx_register("PP:3LB7");
  const std::size_t before = events().size();
  {
    const NvtxRange range(name, Kind::LB, 41);
    const NvtxRange inner(name, Kind::SEND_F, 42);
  }
  auto recorded = events();
  recorded.erase(recorded.begin(), recorded.begin() + static_cast<std::ptrdiff_t>(before));
  // Categories count from 1 in the order of the kinds: F B I W R A LB, ...
  EXPECT_THAT(recorded, ElementsAre("push bubblescope PP:3LB7 category 7 payload 41", "push bubblescope PP:3LB7 category 11 payload 42",
                                    "pop bubblescope", "pop bubblescope"));
}

TEST(Nvtx, every_executed_op_is_a_range_named_after_its_cell) {
  ScheduleShape shape;
  shape.ranks = 1;
  shape.microbatches = 2;
  const Program program = add_send_recv(generate(find_schedule("ppll"), shape));
  NullBackend backend{StageCosts(1)};
  Ranks ranks(backend, program, {});
  const std::size_t before = events().size();
  ExecuteOptions options;
  options.first_iteration = 5;
  execute(program, ranks, options);
  auto recorded = events();
  recorded.erase(recorded.begin(), recorded.begin() + static_cast<std::ptrdiff_t>(before));
  EXPECT_THAT(recorded, Contains("category bubblescope 1 F"));
  EXPECT_THAT(recorded, Contains("category bubblescope 22 SYNC"));
  std::vector<std::string> pushed;
  for (const std::string& event : recorded) {
    if (event.rfind("category", 0) != 0) pushed.push_back(event);
  }
  EXPECT_THAT(pushed, ElementsAre("push bubblescope PP:0F0 category 1 payload 5", "pop bubblescope", "push bubblescope PP:0A0 category 6 payload 5",
                                  "pop bubblescope", "push bubblescope PP:0LB0 category 7 payload 5", "pop bubblescope",
                                  "push bubblescope PP:0U0 category 8 payload 5", "pop bubblescope", "push bubblescope PP:0F1 category 1 payload 5",
                                  "pop bubblescope", "push bubblescope PP:0A1 category 6 payload 5", "pop bubblescope",
                                  "push bubblescope PP:0LB1 category 7 payload 5", "pop bubblescope", "push bubblescope PP:0U1 category 8 payload 5",
                                  "pop bubblescope"));
}

TEST(Nvtx, sends_and_receives_are_ranges_too) {
  ScheduleShape shape;
  shape.ranks = 2;
  shape.microbatches = 1;
  const Program program = add_send_recv(generate(find_schedule("ppll"), shape));
  NullBackend backend{StageCosts(2)};
  Ranks ranks(backend, program, {});
  execute(program, ranks, {});
  EXPECT_THAT(events(), Contains("push bubblescope PP:0SEND_F0 category 11 payload 0"));
  EXPECT_THAT(events(), Contains("push bubblescope PP:1RECV_F0 category 12 payload 0"));
}

}  // namespace
}  // namespace bubblescope
