// Costs given by hand: defaults and division among chunks as the command line promises them.
#include "sim/core/cost_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;

Program shape(std::int32_t ranks, std::int32_t chunks) { return make_program("x", ranks, 1, placement_loop(ranks, chunks)); }

Nanos of(const char* list, Kind kind, Stage stage = 0, std::int32_t ranks = 2, std::int32_t chunks = 1) {
  return stage_costs(parse_cost_list(list), shape(ranks, chunks)).at(stage, kind).duration;
}

TEST(CostList, full_backward_is_input_plus_weight_gradient_unless_given) {
  EXPECT_EQ(of("F=1,I=2,W=3", Kind::B), 5 * kMillisecond);
  EXPECT_EQ(of("F=1,I=2,W=3,B=4", Kind::B), 4 * kMillisecond);
}

TEST(CostList, a_backward_alone_is_halved) {
  EXPECT_EQ(of("B=3ns", Kind::I) + of("B=3ns", Kind::W), 3);
  EXPECT_EQ(of("B=4", Kind::I), 2 * kMillisecond);
}

TEST(CostList, local_backward_defaults_to_the_full_one) {
  EXPECT_EQ(of("F=1,I=1,W=1", Kind::LB), 2 * kMillisecond);
  EXPECT_EQ(of("F=1,B=2,LB=7", Kind::LB), 7 * kMillisecond);
}

TEST(CostList, recomputing_a_forward_costs_a_forward_unless_given) {
  EXPECT_EQ(of("F=3:5,B=2", Kind::R, 1), 5 * kMillisecond);
  EXPECT_EQ(of("F=3,R=0", Kind::R), 0);
  EXPECT_EQ(of("F=3,R=4", Kind::R, 0, 2, 2), 2 * kMillisecond);
}

TEST(CostList, what_is_not_given_costs_nothing) {
  EXPECT_EQ(of("F=1", Kind::U), 0);
  EXPECT_EQ(of("F=1", Kind::A), 0);
}

TEST(CostList, chunks_share_a_rank_s_time_rounded_half_up) {
  EXPECT_EQ(of("F=10ns", Kind::F, 0, 2, 4), 3);  // 2.5
  EXPECT_EQ(of("F=9ns", Kind::F, 0, 2, 4), 2);   // 2.25
}

TEST(CostList, lists_set_ranks_or_stages_apart) {
  // Stage 3 of 4 on 2 ranks is on rank 1.
  EXPECT_EQ(of("F=2ns:4ns", Kind::F, 3, 2, 2), 2);
  EXPECT_EQ(of("F=2ns:4ns:6ns:8ns", Kind::F, 3, 2, 2), 4);
  EXPECT_THROW(of("F=1:2:3", Kind::F, 0, 2, 2), InputError);
}

TEST(CostList, a_compound_costs_the_sum_of_its_parts_unless_given) {
  Program program = shape(2, 1);
  Op f, b;
  f.kind = Kind::F, f.stage = 0, f.microbatch = 1;
  b.kind = Kind::B, b.stage = 1, b.microbatch = 0;
  const Op parts[] = {f, b};
  const Op both = program.make_compound(Kind::OVERLAP_F_B, parts);
  EXPECT_EQ(stage_costs(parse_cost_list("F=1,B=2"), program).of(program, both).duration, 3 * kMillisecond);
  EXPECT_EQ(stage_costs(parse_cost_list("F=1,B=2,FB=2.4"), program).of(program, both).duration, 2'400'000);
  EXPECT_EQ(stage_costs(parse_cost_list("F=1,B=2,FB=0"), program).of(program, both).duration, 0);
}

TEST(CostList, mistakes_are_named) {
  const auto refusal = [](const char* list) -> std::string {
    try {
      parse_cost_list(list);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(refusal(""), HasSubstr("the cost list is empty"));
  EXPECT_THAT(refusal("F"), HasSubstr("'F' in the cost list has no '='"));
  EXPECT_THAT(refusal("F=x"), HasSubstr("'x' is not a duration"));
  EXPECT_THAT(refusal("F=1,F=2"), HasSubstr("the cost of F is given twice"));
  for (const char* list : {"F=", "F=1:", "F=:1", "F=1::2"}) EXPECT_THAT(refusal(list), HasSubstr("a value of F is missing")) << list;
  for (const char* list : {"F=1,", ",F=1", "F=1,,B=1", ","}) EXPECT_THAT(refusal(list), HasSubstr("nothing stands between two commas, or at an end")) << list;
  EXPECT_THAT(refusal("Q=1"), HasSubstr("unknown kind 'Q' in the cost list; expected one of F, B, I, W, R, A, LB, U, FB, LOAD"));
  EXPECT_THAT(refusal("FF=1"), HasSubstr("did you mean 'F"));
}

TEST(CostList, transfers_take_what_their_link_says_and_have_no_cost_of_their_own) {
  for (const char* list : {"F=1,SEND_F=1", "RECV_B=1", "OVERLAP_F_B=1", "SYNC=1"}) {
    try {
      parse_cost_list(list);
      ADD_FAILURE() << list;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("expected one of F, B, I, W, R, A, LB, U, FB, LOAD")) << list;
    }
  }
}

TEST(CostList, every_kind_that_may_be_named_is_read) {
  for (const std::string& name : cost_kind_names()) EXPECT_EQ(parse_cost_list(name + "=1").size(), 1U) << name;
}

}  // namespace
}  // namespace bubblescope
