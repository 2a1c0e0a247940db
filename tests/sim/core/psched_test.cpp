// `.psched`: exact round trip, what may be left out, and messages.
#include "sim/core/psched.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

std::string read_error(const std::string& text) {
  try {
    from_psched(text, "x.psched");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

template <typename Enum>
Enum any_of_first(int count) {
  return static_cast<Enum>(*rc::gen::inRange(0, count));
}

/// An op of any kind but compounds, any field drawn.
Op any_op(const Program& program) {
  Op op;
  do {
    op.kind = any_of_first<Kind>(kKinds);
  } while (is_compound(op.kind));
  op.stage = static_cast<std::int16_t>(*rc::gen::inRange(0, program.stages()));
  op.microbatch = *rc::gen::inRange(-1, 12);
  op.iteration = *rc::gen::weightedElement<std::int32_t>({{5, 0}, {1, 1}, {1, 12345}});
  op.replica = *rc::gen::weightedElement<std::uint16_t>({{5, 0}, {1, 3}, {1, 65535}});
  op.slice = *rc::gen::weightedElement<std::uint16_t>({{5, 0}, {1, 2}, {1, 65535}});
  op.chain = *rc::gen::weightedElement<std::uint8_t>({{5, 0}, {1, 1}, {1, 255}});
  return op;
}

Program any_program() {
  const auto ranks = *rc::gen::inRange(1, 5);
  const auto stages = *rc::gen::inRange(1, 9);
  std::vector<Rank> placement;
  for (Stage s = 0; s < stages; ++s) placement.push_back(*rc::gen::inRange(0, ranks));
  Program program = make_program(*rc::gen::arbitrary<std::string>(), ranks, *rc::gen::inRange(0, 100), placement);
  program.iterations = *rc::gen::inRange(1, 4);
  program.chunks = *rc::gen::inRange(0, 5);
  program.profile = any_of_first<Profile>(5);
  program.weights = any_of_first<WeightPolicy>(4);
  program.ordering = any_of_first<Ordering>(3);
  const auto cut = *rc::gen::inRange(-1, stages);
  if (cut < 0) {
    program.chains.clear();
  } else if (cut > 0) {
    auto& first = program.chains.front();
    const std::vector<Stage> second(first.begin() + cut, first.end());
    first.resize(static_cast<std::size_t>(cut));
    program.chains.push_back(second);
  }
  program.channels.clear();
  std::vector<Channel> edges{Channel{}};
  for (const auto& chain : program.chains) {
    for (std::size_t i = 1; i < chain.size(); ++i) edges.push_back({.from = chain[i - 1], .to = chain[i]});
  }
  const auto channels = *rc::gen::inRange<std::size_t>(0, edges.size() + 1);
  for (std::size_t c = 0; c < channels; ++c) {
    Channel channel = edges[c];
    channel.fifo = any_of_first<Fifo>(4);
    channel.capacity = *rc::gen::element(kUnbounded, 0, 7);
    channel.eager_bytes = *rc::gen::element<std::int64_t>(0, 1, std::int64_t{1} << 40);
    channel.receive = any_of_first<Receive>(2);
    channel.send = any_of_first<Send>(3);
    program.channels.push_back(channel);
  }
  if (*rc::gen::arbitrary<bool>()) {
    for (std::size_t r = 0; r < program.rows.size(); ++r) {
      program.overlap.push_back(*rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, 9)));
    }
  }
  for (auto& row : program.rows) {
    const auto count = *rc::gen::inRange(0, 12);
    for (int i = 0; i < count; ++i) {
      if (*rc::gen::inRange(0, 4) > 0) {
        row.push_back(any_op(program));
        continue;
      }
      std::vector<Op> parts;
      const auto size = *rc::gen::inRange(1, 4);
      for (int k = 0; k < size; ++k) parts.push_back(any_op(program));
      Op compound = program.make_compound(*rc::gen::element(Kind::OVERLAP_F_B, Kind::BATCH_P2P), parts);
      compound.iteration = *rc::gen::element(compound.iteration, 2);
      row.push_back(compound);
    }
  }
  return program;
}

TEST(Psched, reading_what_was_written_gives_the_same_program) {
  EXPECT_TRUE(rc::check([] {
    const Program program = any_program();
    const std::string text = to_psched(program);
    const Program back = from_psched(text, "x.psched");
    RC_ASSERT(back == program);
    RC_ASSERT(to_psched(back) == text);
  }));
}

TEST(Psched, every_schedule_round_trips) {
  for (const Schedule& schedule : schedules()) {
    const Program program = generate_fitting(schedule, {.ranks = 3, .microbatches = 6});
    EXPECT_EQ(from_psched(to_psched(program), "x.psched"), program) << schedule.name;
  }
}

TEST(Psched, a_program_reads_as_directives_and_rows) {
  const Program program = generate(find_schedule("ppll"), {.ranks = 2, .microbatches = 1});
  EXPECT_EQ(to_psched(program),
            "#psched 1\n#schedule ppll\n#ranks 2\n#microbatches 1\n#iterations 1\n#chunks 1\n#profile local\n"
            "#weights latest\n#ordering in-order\n#stage-rank 0 1\n#chain 0 1\n"
            "#channel default fifo=edge capacity=2 receive=use send=hold\n"
            "0F0,0A0,0LB0,0U0\n1F0,1A0,1LB0,1U0\n");
}

TEST(Psched, identities_beyond_stage_kind_and_microbatch_are_suffixes) {
  Program program = program_of({"0F7"}, "#stage-rank 0 0\n#chain 0\n#chain 1\n");
  Op& op = program.rows[0][0];
  op.iteration = 1;
  op.replica = 2;
  op.slice = 3;
  EXPECT_THAT(to_psched(program), testing::EndsWith("\n0F7@1!r2/s3\n"));
  op.stage = 1;
  op.chain = 1;  // the stage's chain: not written
  EXPECT_THAT(to_psched(program), testing::EndsWith("\n1F7@1!r2/s3\n"));
  op.chain = 0;
  EXPECT_THAT(to_psched(program), testing::EndsWith("\n1F7@1!r2!c0/s3\n"));
}

TEST(Psched, what_directives_leave_out_is_read_off_the_rows) {
  const Program program = from_psched("# a comment\n#psched 1\n\n 0F0 , 3F0@1\n1F1,2F0\n", "x.psched");
  EXPECT_EQ(program.stage_rank, (std::vector<Rank>{0, 1, 1, 0}));
  EXPECT_EQ(program.chains, (std::vector<std::vector<Stage>>{{0, 1, 2, 3}}));
  EXPECT_EQ(program.channels, std::vector<Channel>{Channel{}});
  EXPECT_EQ(program.microbatches, 2);
  EXPECT_EQ(program.iterations, 2);
  EXPECT_EQ(program.chunks, 2);
}

TEST(Psched, rules_of_one_edge_leave_the_other_edges_the_default) {
  const std::vector<std::string> rows{"0F0", "1F0", "2F0"};
  const Channel queue{.from = 0, .to = 1, .fifo = Fifo::edge, .capacity = 2};
  const Program first = program_of(rows, "#channel 0->1 fifo=edge capacity=2\n");
  EXPECT_EQ(first.channels, (std::vector<Channel>{Channel{}, queue}));
  EXPECT_EQ(first.channel(0, 1), queue);
  EXPECT_EQ(first.channel(1, 2), Channel{});
  // The default stands first wherever the file has it.
  const Program later = program_of(rows, "#channel 0->1 fifo=edge capacity=2\n#channel default capacity=0\n");
  EXPECT_EQ(later.channels, (std::vector<Channel>{Channel{.capacity = 0}, queue}));
}

TEST(Psched, an_unknown_directive_or_word_is_answered_with_the_nearest) {
  EXPECT_THAT(read_error("#psched 1\n  #profle local\n0F0\n"), testing::AllOf(testing::StartsWith("x.psched:2:4: "), testing::HasSubstr("did you mean 'profile'?")));
  EXPECT_THAT(read_error("#psched 1\n#profile locl\n"), testing::AllOf(testing::StartsWith("x.psched:2:10: "), testing::HasSubstr("did you mean 'local'?")));
  EXPECT_THAT(read_error("#psched 1\n#channel default capcity=2\n"), testing::AllOf(testing::StartsWith("x.psched:2:18: "), testing::HasSubstr("did you mean 'capacity'?")));
}

TEST(Psched, mistakes_are_named_with_line_and_column) {
  const auto begins = [](const char* text, const char* expected) { EXPECT_THAT(read_error(text), testing::StartsWith(expected)); };
  begins("", "x.psched:1:1: not a .psched file");
  begins("0F0\n", "x.psched:1:1: not a .psched file");
  begins("#ranks 1\n#psched 1\n", "x.psched:1:2: not a .psched file");
  begins("#psched 2\n", "x.psched:1:9: version '2'; expected 1");
  begins("#psched 1\n#ranks two\n", "x.psched:2:8: 'two' is no number here");
  begins("#psched 1\n#ranks 99999999999\n", "x.psched:2:8: ");
  begins("#psched 1\n#ranks 2\n0F0\n", "x.psched:2:8: 2 ranks, but 1 rows follow");
  begins("#psched 1\n#ranks 2\n#ranks 2\n", "x.psched:3:2: '#ranks' twice");
  begins("#psched 1\n0F0\n#ranks 1\n", "x.psched:3:2: directive '#ranks' after a row");
  begins("#psched 1\n#stage-rank 0 1\n0F0\n", "x.psched:2:13: a stage on rank 1");
  begins("#psched 1\n#stage-rank 0\n0F0,1F0\n", "x.psched:3:5: stage 1; expected one of the 1 stages");
  begins("#psched 1\n#chain 0 1\n0F0\n", "x.psched:2:8: stage 1; expected stages below 1");
  begins("#psched 1\n#channel 0-1\n0F0\n", "x.psched:2:10: '0-1'; expected 'default' or 'FROM->TO'");
  begins("#psched 1\n#channel 0->4\n0F0\n", "x.psched:2:10: stage 4");
  begins("#psched 1\n#channel 0->1\n#channel 0->4\n0F0\n1F0\n", "x.psched:3:10: stage 4");
  begins("#psched 1\n#channel default\n#channel 0->4\n0F0\n1F0\n", "x.psched:3:10: stage 4");
  begins("#psched 1\n#channel 0->1\n#channel 0->1\n0F0\n1F0\n", "x.psched:3:10: channel 0->1 twice; expected once");
  begins("#psched 1\n#channel default\n#channel default\n0F0\n1F0\n", "x.psched:3:10: channel default twice; expected once");
  begins("#psched 1\n#channel 0->2\n0F0\n1F0\n2F0\n", "x.psched:2:10: 0->2 are no neighbours; expected a stage and the next one of its chain");
  begins("#psched 1\n#channel 1->0\n0F0\n1F0\n", "x.psched:2:10: 1->0 are no neighbours");
  begins("#psched 1\n#channel default capacity=-2\n0F0\n", "x.psched:2:27: '-2' is no number here");
  begins("#psched 1\n0F0,,0B0\n", "x.psched:2:5: '' is not a cell");
  begins("#psched 1\n0F0,0BW0\n", "x.psched:2:5: '0BW0' is not a cell");
  begins("#psched 1\n0F0@x\n", "x.psched:2:5: 'x' is no number here");
  begins("#psched 1\n0F0!q1\n", "x.psched:2:4: unknown suffix '!q1'");
  begins("#psched 1\n(0F0;0B0\n", "x.psched:2:1: '(0F0;0B0' is not closed");
  begins("#psched 1\n(0F0;0B0)OVERLAP\n", "x.psched:2:10: unknown compound 'OVERLAP'");
  begins("#psched 1\n0F0,2F0\n", "x.psched: stage 1 is in no row");
}

TEST(Psched, any_bytes_are_read_or_refused) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) {
    try {
      validate(from_psched(*rc::gen::arbitrary<bool>() ? "#psched 1\n" + bytes : bytes, "x.psched"));
    } catch (const InputError&) {
    }
  }));
}

TEST(Psched, any_change_of_a_valid_file_is_read_or_refused) {
  EXPECT_TRUE(rc::check([] {
    std::string text = to_psched(any_program());
    const auto edits = *rc::gen::inRange(1, 6);
    const auto character = rc::gen::weightedOneOf<char>(
        {{4, rc::gen::elementOf(std::string("0123456789FBIWU,;()@!/ #->=\n-"))}, {1, rc::gen::arbitrary<char>()}});
    for (int i = 0; i < edits && !text.empty(); ++i) {
      const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
      switch (*rc::gen::inRange(0, 3)) {
        case 0: text[at] = *character; break;
        case 1: text.insert(at, 1, *character); break;
        default: text.erase(at, *rc::gen::inRange<std::size_t>(1, 30)); break;
      }
    }
    try {
      validate(from_psched(text, "x.psched"));
    } catch (const InputError&) {
    }
  }));
}

}  // namespace
}  // namespace bubblescope
