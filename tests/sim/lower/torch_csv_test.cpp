// PyTorch's schedule files: dialects, both formats, what is refused.
#include "sim/lower/torch_csv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <filesystem>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

Program read(const std::string& text) { return from_torch_csv(text, "x.csv"); }

template <typename Call>
std::string input_error(Call call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}
std::string read_error(const std::string& text) {
  return input_error([&] { read(text); });
}

TEST(TorchCsv, every_oracle_order_is_valid_and_is_written_as_it_was_read) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(oracles() / "orders")) {
    const std::string name = entry.path().stem().string();
    if (name.rfind("chimera", 0) == 0 || name == "dualpipe_p4_m8") continue;  // two chains: not PyTorch's
    const std::string text = text_of(entry.path());
    const Program program = read(text);
    EXPECT_EQ(to_torch_csv(program, TorchFormat::compute_only), text) << name;
    EXPECT_TRUE(validate(program).empty()) << name;
    EXPECT_EQ(program.microbatches, 8) << name;
    ++files;
  }
  EXPECT_EQ(files, 19);
}

TEST(TorchCsv, communication_round_trips) {
  const std::string text = text_of(oracles() / "lowered/dualpipev_p4_m8.csv");
  EXPECT_EQ(to_torch_csv(read(text), TorchFormat::compute_comms), text);
  const std::string passes = "0UNSHARD,0F0,0B0,0REDUCE_GRAD,0RESHARD\n";
  EXPECT_EQ(to_torch_csv(read(passes), TorchFormat::compute_comms), passes);
}

TEST(TorchCsv, a_stage_is_on_the_rank_in_whose_row_it_first_appears) {
  const Program program = read("0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n");
  EXPECT_EQ(program.stage_rank, (std::vector<Rank>{0, 1, 1, 0}));
  EXPECT_EQ(program.chains, (std::vector<std::vector<Stage>>{{0, 1, 2, 3}}));
  EXPECT_EQ(program.chunks, 2);
  EXPECT_EQ(program.microbatches, 1);
  EXPECT_EQ(program.profile, Profile::backprop);
}

TEST(TorchCsv, line_ends_blanks_and_idle_slots_do_not_matter) {
  EXPECT_EQ(read("\xef\xbb\xbf" "0F0,0F1,, 0B0 ,,0B1\r\n,1F0,1B0,1F1,1B1,\r\n\r\n"), read("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1"));
}

TEST(TorchCsv, the_oldest_dialect_writes_microbatch_first) {
  EXPECT_EQ(rows_of(read("F0_s0,F1_s0,B0_s0,B1_s0\n,F0_s1,B0_s1,F1_s1,B1_s1\n")),
            (std::vector<std::string>{"0F0,0F1,0B0,0B1", "1F0,1B0,1F1,1B1"}));
}

TEST(TorchCsv, the_dialect_of_2024_writes_b_for_the_input_gradient_and_bw_for_the_full_backward) {
  EXPECT_EQ(rows_of(read("0F0,0F1,0BW0,0B1,0W1\n")), (std::vector<std::string>{"0F0,0F1,0B0,0I1,0W1"}));
  // Without any BW it is told by B and W of one microbatch.
  EXPECT_EQ(rows_of(read("0F0,0F1,0B0,0W0,0B1,0W1\n")), (std::vector<std::string>{"0F0,0F1,0I0,0W0,0I1,0W1"}));
  EXPECT_EQ(rows_of(read("0F0,(0F1;0B0)OVERLAP_F_B,0W0,0BW1\n")), (std::vector<std::string>{"0F0,(0F1;0I0)OVERLAP_F_B,0W0,0B1"}));
}

TEST(TorchCsv, the_words_of_two_versions_in_one_file_are_refused) {
  EXPECT_THAT(read_error("0F0,0F1,0BW0,0I1,0W1\n"), testing::HasSubstr("both I and BW"));
}

TEST(TorchCsv, a_batch_of_transfers_is_read_and_refused_by_name_and_place) {
  const std::string text = "0F0,0SEND_F0,0F1,(0SEND_F1;0RECV_B0)BATCH_P2P,0B0,0RECV_B1,0B1\n1RECV_F0,1F0,1B0,(1SEND_B0;1RECV_F1)BATCH_P2P,1F1,1B1,1SEND_B1\n";
  const Program program = read(text);
  EXPECT_EQ(rows_of(program)[0] + "\n" + rows_of(program)[1] + "\n", text);
  EXPECT_EQ(from_psched(to_psched(program), "x.psched").parts, program.parts);
  const auto findings = validate(program);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(describe(findings.front()),
            "rank 0, op 3 ((0SEND_F1;0RECV_B0)BATCH_P2P): a batch of transfers is only read and written; expected its sends and receives one by one");
  EXPECT_THAT(input_error([&] { to_torch_csv(program, TorchFormat::compute_comms); }), testing::StartsWith("rank 0, op 3 ((0SEND_F1;0RECV_B0)BATCH_P2P): PyTorch has no word"));
  EXPECT_THAT(read_error("0F0,(0SEND_F0;0F1)BATCH_P2P\n1F0\n"), testing::StartsWith("x.csv:1:15: '0F1' in a compound; expected sends and receives"));
  EXPECT_THAT(read_error("0F0,(0F1;0B0)BATCH\n"), testing::StartsWith("x.csv:1:5: "));
}

TEST(TorchCsv, what_is_no_cell_is_named_with_line_and_column) {
  EXPECT_THAT(read_error("0F0,0B0\n1F0, 1Q0\n"), testing::StartsWith("x.csv:2:6: '1Q0' is not a cell"));
  EXPECT_THAT(read_error("0F0x\n"), testing::StartsWith("x.csv:1:1: '0F0x' is not a cell"));
  EXPECT_THAT(read_error("0F0,(0F1;0B0\n"), testing::StartsWith("x.csv:1:5: "));
  EXPECT_THAT(read_error("0F0,(0F1;0B)OVERLAP_F_B\n"), testing::StartsWith("x.csv:1:10: '0B' has no microbatch"));
  EXPECT_THAT(read_error("0F0,()OVERLAP_F_B\n"), testing::StartsWith("x.csv:1:6: "));
  EXPECT_THAT(read_error("0F0,0LB0\n"), testing::StartsWith("x.csv:1:5: PyTorch has no LB"));
  EXPECT_THAT(read_error("0F0,99999F0\n"), testing::StartsWith("x.csv:1:5: "));
}

TEST(TorchCsv, files_that_cannot_be_schedules_are_refused) {
  EXPECT_THAT(read_error(""), testing::HasSubstr("empty file"));
  EXPECT_THAT(read_error("0F0\n\n1F0\n"), testing::StartsWith("x.csv:2:1: empty row"));
  EXPECT_THAT(read_error("0F0,2F0\n"), testing::HasSubstr("stage 1 is in no row"));
  EXPECT_THAT(read_error("0F0,0F2000000000\n"), testing::StartsWith("x.csv:1:5: '0F2000000000' is a microbatch beyond"));
  EXPECT_THAT(read_error("0F0,,0SEND_F0\n1RECV_F0,1F0\n"), testing::StartsWith("x.csv:1:5: idle slot"));
}

TEST(TorchCsv, the_updates_of_a_flush_are_left_out) {
  const Program program = generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 1});
  EXPECT_EQ(to_torch_csv(program, TorchFormat::compute_only), "0F0,0B0\n1F0,1B0\n");
  EXPECT_EQ(to_torch_csv(add_send_recv(program), TorchFormat::compute_comms),
            "0F0,0SEND_F0,0RECV_B0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n");
  EXPECT_EQ(to_torch_csv(add_send_recv(program), TorchFormat::compute_only), "0F0,0B0\n1F0,1B0\n");
}

TEST(TorchCsv, an_op_that_pytorch_has_no_word_for_is_refused_by_name_and_place) {
  const auto write_error = [](const std::vector<std::string>& rows, const std::string& directives = "") {
    return input_error([&] { to_torch_csv(program_of(rows, directives), TorchFormat::compute_only); });
  };
  EXPECT_THAT(input_error([] { to_torch_csv(generate(find_schedule("ppll"), {.ranks = 2}), TorchFormat::compute_only); }),
              testing::StartsWith("rank 0, op 1 (0A0): PyTorch has no word for it"));
  EXPECT_THAT(write_error({"0F0,0B0,0U0"}), testing::StartsWith("rank 0, op 2 (0U0): "));
  EXPECT_THAT(write_error({"0F0,0B0", "1F0,1SYNC,1B0"}), testing::StartsWith("rank 1, op 1 (1SYNC): "));
  EXPECT_THAT(write_error({"0F0,0UNSHARD,0B0"}), testing::StartsWith("rank 0, op 1 (0UNSHARD): no compute op"));
  EXPECT_THAT(write_error({"0F0,0F0@1"}), testing::HasSubstr("one iteration"));
  EXPECT_THAT(write_error({"0F0,0F0/s1"}), testing::HasSubstr("no replicas or slices"));
  EXPECT_THAT(write_error({"0F0,1F1"}, "#stage-rank 0 0\n#chain 0\n#chain 1\n"), testing::StartsWith("rank 0, op 1 (1F1): 2 chains"));
  EXPECT_THAT(write_error({"0F0,1F0"}, "#chain 1 0\n"), testing::StartsWith("rank 0, op 0 (0F0): the chain's stages are not numbered 0, 1, 2"));
  EXPECT_THAT(write_error({"0F0,0LB0"}, "#profile local\n"), testing::StartsWith("rank 0, op 1 (0LB0): PyTorch has no word for it"));
  EXPECT_THAT(input_error([] { to_torch_csv(generate(find_schedule("dualpipe"), {.ranks = 2, .microbatches = 4}), TorchFormat::compute_only); }),
              testing::ContainsRegex("^rank [01], op [0-9]+ \\(.*\\): 2 chains; PyTorch's schedule files hold one"));
}

TEST(TorchCsv, the_format_with_communication_needs_communication) {
  const Program program = generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 1});
  EXPECT_THAT(input_error([&] { to_torch_csv(program, TorchFormat::compute_comms); }), testing::HasSubstr("no sends and receives"));
  const Program alone = generate(find_schedule("gpipe"), {.ranks = 1, .microbatches = 1});
  EXPECT_EQ(to_torch_csv(alone, TorchFormat::compute_comms), "0F0,0B0\n");
}

TEST(TorchCsv, any_bytes_are_read_or_refused) {
  const std::string valid = text_of(oracles() / "lowered/dualpipev_p4_m8.csv");
  EXPECT_TRUE(rc::check([&] {
    std::string text = valid.substr(0, *rc::gen::inRange<std::size_t>(0, valid.size()));
    const auto edits = *rc::gen::inRange(0, 8);
    for (int i = 0; i < edits && !text.empty(); ++i) {
      const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
      text[at] = *rc::gen::weightedOneOf<char>({{3, rc::gen::elementOf(std::string("0123456789FBIW,;()_s\n"))}, {1, rc::gen::arbitrary<char>()}});
    }
    try {
      validate(read(text));
    } catch (const InputError&) {
    }
  }));
}

}  // namespace
}  // namespace bubblescope
