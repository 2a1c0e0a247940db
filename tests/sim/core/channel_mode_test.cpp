// Channel modes as the command line, scenarios and `.psched` write them.
#include "sim/core/channel_mode.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

TEST(ChannelMode, a_mode_is_a_rendezvous_over_its_fifo_and_properties_change_it) {
  EXPECT_EQ(channel_mode("async"), Channel{});
  EXPECT_EQ(channel_mode("rank"), (Channel{.fifo = Fifo::rank, .capacity = 0}));
  EXPECT_EQ(channel_mode("data"), (Channel{.fifo = Fifo::data, .capacity = 0}));
  EXPECT_EQ(channel_mode("edge"), (Channel{.fifo = Fifo::edge, .capacity = 0}));
  EXPECT_EQ(channel_mode("rank,eager=64KiB"), (Channel{.fifo = Fifo::rank, .capacity = 0, .eager_bytes = 65536}));
  EXPECT_EQ(channel_mode("rank,eager=65536"), channel_mode("rank,eager=64KiB"));
  EXPECT_EQ(channel_mode("rank,eager").eager_bytes, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(channel_mode("edge,capacity=2,send=commit"), (Channel{.fifo = Fifo::edge, .capacity = 2, .send = Send::commit}));
  EXPECT_EQ(channel_mode("async,capacity=3,receive=use,send=hold"), (Channel{.capacity = 3, .receive = Receive::at_use, .send = Send::holding}));
  EXPECT_EQ(channel_mode("data,capacity=unbounded"), (Channel{.fifo = Fifo::data}));
}

TEST(ChannelMode, a_mistake_is_named_with_what_was_expected) {
  const auto error = [](const char* text) -> std::string {
    try {
      channel_mode(text);
    } catch (const InputError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(error("rnk"), "unknown channel mode 'rnk'; expected async, rank, data or edge; did you mean 'rank'?");
  EXPECT_THAT(error(""), testing::HasSubstr("unknown channel mode ''"));
  EXPECT_THAT(error("none"), testing::HasSubstr("unknown channel mode 'none'"));
  EXPECT_THAT(error("rank,egaer=1"), testing::AllOf(testing::StartsWith("channel 'rank,egaer=1': unknown property 'egaer'"), testing::HasSubstr("did you mean 'eager'?")));
  EXPECT_THAT(error("rank,eager=much"), testing::HasSubstr("'much' is not a size"));
  EXPECT_THAT(error("rank,eager=-1"), testing::HasSubstr("'-1' is not a size"));
  EXPECT_THAT(error("edge,capacity=-1"), testing::HasSubstr("expected an integer from 0"));
  EXPECT_THAT(error("edge,capacity=2147483648"), testing::HasSubstr("expected an integer from 0"));
  EXPECT_THAT(error("edge,send=holding"), testing::HasSubstr("expected immediate, commit, hold"));
  EXPECT_THAT(error("rank,"), testing::HasSubstr("ends with a comma"));
  EXPECT_THAT(error("rank,,eager"), testing::HasSubstr("a property without a value"));
  EXPECT_THAT(error("rank,eager="), testing::HasSubstr("a property without a value"));
  EXPECT_THAT(error("edge,fifo=rank"), testing::HasSubstr("the mode says what a FIFO is"));
  EXPECT_THAT(error("edge,capacity=1,capacity=2"), testing::HasSubstr("'capacity' twice"));
}

}  // namespace
}  // namespace bubblescope
