// The table of schedules, and what `generate` refuses.
#include "sim/schedules/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/lower/send_recv.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

template <typename Call>
std::string input_error(Call call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Registry, holds_the_schedules_by_name) {
  std::set<std::string> names;
  for (const Schedule& schedule : schedules()) {
    EXPECT_TRUE(names.insert(schedule.name).second) << schedule.name;
    EXPECT_EQ(&find_schedule(schedule.name), &schedule);
    for (const std::string* text : {&schedule.title, &schedule.paper, &schedule.memory, &schedule.bubble}) {
      EXPECT_FALSE(text->empty()) << schedule.name;
    }
  }
  for (const char* name : {"naive", "gpipe", "1f1b", "interleaved-1f1b", "sequential-local", "ppll"}) {
    EXPECT_EQ(names.count(name), 1U) << name;
  }
}

TEST(Registry, every_program_bears_the_name_it_was_asked_for_and_its_flags) {
  for (const Schedule& schedule : schedules()) {
    const Program program = generate(schedule, {.ranks = 2, .microbatches = 4});
    EXPECT_EQ(program.schedule, schedule.name);
    EXPECT_EQ(program.microbatches, 4) << schedule.name;
    EXPECT_EQ(program.weights == WeightPolicy::flush, schedule.flush) << schedule.name;
    EXPECT_EQ(is_local(program.profile), schedule.local) << schedule.name;
  }
}

TEST(Registry, chains_have_as_many_stages_as_the_table_says) {
  for (const Schedule& schedule : schedules()) {
    for (const char* option : {"chunks", "waves"}) {
      ScheduleShape shape{.ranks = 4, .microbatches = 8};
      const bool has = std::any_of(schedule.options.begin(), schedule.options.end(), [&](const ScheduleOption& one) { return one.name == option; });
      if (has) shape.options[option] = "3";
      const Program program = generate(schedule, shape);
      EXPECT_EQ(program.chains.size(), static_cast<std::size_t>(schedule.chains)) << schedule.name;
      for (const auto& chain : program.chains) EXPECT_EQ(chain.size(), static_cast<std::size_t>(stages_per_chain(schedule, shape))) << schedule.name;
    }
  }
}

TEST(Registry, an_unknown_name_is_answered_with_the_nearest) {
  EXPECT_THAT(input_error([] { find_schedule("gpip"); }), testing::HasSubstr("did you mean 'gpipe'?"));
}

TEST(Registry, an_unknown_option_is_answered_with_the_nearest) {
  const auto text = input_error([] { generate(find_schedule("ppll"), {.ranks = 2, .options = {{"queu", "1"}}}); });
  EXPECT_THAT(text, testing::HasSubstr("schedule 'ppll' has no option 'queu'"));
  EXPECT_THAT(text, testing::HasSubstr("did you mean 'queue'?"));
}

TEST(Registry, option_values_must_be_of_their_kind_and_range) {
  const auto error_for = [](const char* schedule, const char* option, const char* value) {
    return input_error([&] { generate(find_schedule(schedule), {.ranks = 2, .options = {{option, value}}}); });
  };
  for (const char* value : {"-1", "1.5", "two", "", "1e300", "nan", "2 ", "1000001"}) {
    EXPECT_THAT(error_for("ppll", "queue", value), testing::HasSubstr("expected an integer of at least 0 and at most 1000000")) << value;
  }
  EXPECT_EQ(error_for("ppll", "queue", "1000000"), "no error");
  EXPECT_THAT(error_for("interleaved-1f1b", "chunks", "0"), testing::HasSubstr("at least 1"));
  EXPECT_THAT(error_for("ppll", "forward", "lat"), testing::HasSubstr("did you mean 'late'?"));
  EXPECT_THAT(error_for("gpipe", "clip", "2"), testing::HasSubstr("expected 0, 1"));
}

TEST(Registry, shapes_must_be_positive_and_not_beyond_what_ops_can_number) {
  const auto error_for = [](std::int32_t ranks, std::int32_t microbatches, const char* chunks) {
    return input_error([&] {
      generate(find_schedule("interleaved-1f1b"), {.ranks = ranks, .microbatches = microbatches, .options = {{"chunks", chunks}}});
    });
  };
  EXPECT_THAT(error_for(0, 1, "2"), testing::HasSubstr("0 ranks"));
  EXPECT_THAT(error_for(1, 0, "2"), testing::HasSubstr("0 microbatches"));
  EXPECT_THAT(error_for(20000, 1, "2"), testing::HasSubstr("40000 stages"));
  // What a schedule has more than one of per rank counts, with or without an option that says so.
  for (const char* twice : {"zbv", "dualpipe", "dualpipev", "chimera", "hanayo", "v-half"}) {
    EXPECT_THAT(input_error([&] { generate(find_schedule(twice), {.ranks = 20000, .microbatches = 2}); }), testing::HasSubstr("40000 stages")) << twice;
  }
  EXPECT_THAT(input_error([] { generate(find_schedule("hanayo"), {.ranks = 100, .options = {{"waves", "200"}}}); }), testing::HasSubstr("40000 stages"));
  EXPECT_THAT(error_for(1, 1, "1000000000"), testing::HasSubstr("1000000000 stages"));
  EXPECT_THAT(error_for(1000, 2000000000, "1"), testing::HasSubstr("product"));
}

TEST(Registry, a_shape_that_only_this_schedule_cannot_have_is_an_error_of_its_own_kind) {
  // 9 microbatches on 3 ranks: bidirectional schedules need even numbers.
  const std::set<std::string> even{"dualpipe", "chimera"};
  for (const Schedule& schedule : schedules()) {
    if (even.contains(schedule.name)) {
      EXPECT_THROW(generate(schedule, {.ranks = 3, .microbatches = 9}), ShapeError);
    } else {
      EXPECT_NO_THROW(generate(schedule, {.ranks = 3, .microbatches = 9})) << schedule.name;
    }
    try {
      generate(schedule, {.ranks = 0, .microbatches = 9});
      ADD_FAILURE() << schedule.name;
    } catch (const ShapeError&) {
      ADD_FAILURE() << schedule.name << ": no schedule has 0 ranks";
    } catch (const InputError&) {
    }
  }
}

TEST(Registry, options_are_read_as_given_or_by_default) {
  const Schedule& ppll = find_schedule("ppll");
  EXPECT_EQ(option_number(ppll, {}, "queue"), 2);
  EXPECT_EQ(option_text(ppll, {}, "forward"), "early");
  EXPECT_EQ(option_number(ppll, {.options = {{"queue", "7"}}}, "queue"), 7);
}

/// A schedule, and options for it drawn from what its table allows.
struct Request {
  const Schedule* schedule;
  ScheduleShape shape;
};

Request any_request() {
  const auto all = schedules();
  Request request{&all[*rc::gen::inRange<std::size_t>(0, all.size())], {}};
  request.shape.ranks = *rc::gen::inRange(1, 7);
  request.shape.microbatches = request.shape.ranks * *rc::gen::inRange(1, 5);
  for (const ScheduleOption& option : request.schedule->options) {
    if (!option.choices.empty()) {
      request.shape.options[option.name] = *rc::gen::elementOf(option.choices);
    } else if (!option.integer) {
      request.shape.options[option.name] = *rc::gen::elementOf(std::vector<std::string>{"1", "1.5", "2"});
    } else if (option.name != "accumulate") {
      request.shape.options[option.name] = std::to_string(static_cast<int>(option.minimum) + *rc::gen::inRange(0, 4));
    }
  }
  return request;
}

TEST(Registry, every_schedule_is_valid_before_and_after_lowering) {
  EXPECT_TRUE(rc::check([] {
    const Request request = any_request();
    const Program program = generate_fitting(*request.schedule, request.shape);
    for (const Program& checked : {program, add_send_recv(program)}) {
      for (const Finding& finding : validate(checked)) RC_FAIL(request.schedule->name + ": " + describe(finding));
    }
  }));
}

}  // namespace
}  // namespace bubblescope
