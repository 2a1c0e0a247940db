// Reports belong to the op that their thread works on.
#include "backend/reported_kernels.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace bubblescope {
namespace {

TEST(ReportedKernels, belong_to_the_op_of_their_thread) {
  ReportedKernels reports;
  reports.report("before anyone records", 0, 1);
  const auto activity = reports.activity();
  {
    const KernelScope scope(activity.get(), 3);
    reports.report("a", 0, 1);
    std::thread([&] {
      const KernelScope other(activity.get(), 5);
      reports.report("b", 1, 2);
      reports.report("a", 2, 3, 16);
    }).join();
    reports.report("b", 3, 4);
  }
  reports.report("of no op", 5, 6);
  const KernelRecords found = activity->take();
  ASSERT_EQ(found.records.size(), 4u);
  EXPECT_EQ(found.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(found.lost, 1);
  const OpIndex ops[] = {3, 5, 5, 3};
  const std::int32_t names[] = {0, 1, 0, 1};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found.records[i].op, ops[i]);
    EXPECT_EQ(found.records[i].name, names[i]);
    EXPECT_EQ(found.records[i].start, static_cast<Nanos>(i));
  }
  EXPECT_EQ(found.records[2].bytes, 16);
  EXPECT_EQ(found.records[0].bytes, -1);
  EXPECT_TRUE(activity->take().records.empty());
}

}  // namespace
}  // namespace bubblescope
