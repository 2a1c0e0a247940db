// Tests of contradictions between keys: each is refused at the key that has to change.
#include "sim/scenario/check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal(const std::string& text) {
  try {
    parse_scenario(text, "a.toml");
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

const std::string kSchedule = "[[schedule]]\nname = \"gpipe\"\n";
const std::string kLocal = "[[schedule]]\nname = \"ppll\"\n";

TEST(CheckScenario, only_gpus_record_kernels) {
  EXPECT_THAT(refusal("[run]\nkernels = true\n" + kSchedule), AllOf(StartsWith("a.toml:2:1: the backend 'cpu' cannot record kernels"), HasSubstr("expected backend.name = \"cuda\"")));
  EXPECT_THAT(refusal("[run]\nkernels = true\n[backend]\nname = \"null\"\n" + kSchedule), StartsWith("a.toml:2:1: the backend 'null'"));
  EXPECT_EQ(refusal("[run]\nkernels = true\n[backend]\nname = \"cuda\"\n" + kSchedule), "");
  EXPECT_EQ(refusal("[run]\nkernels = false\n" + kSchedule), "");
}

TEST(CheckScenario, patches_must_divide_the_image) {
  EXPECT_THAT(refusal("[model]\nname = \"vit\"\npatch = 5\n" + kSchedule),
              AllOf(StartsWith("a.toml:3:1: patches of 5"), HasSubstr("expected a divisor")));
  // Not given: the image is to blame.
  EXPECT_THAT(refusal("[model]\nname = \"vit\"\nimage = [3, 30, 32]\n" + kSchedule), StartsWith("a.toml:3:1: patches of 4"));
  EXPECT_EQ(refusal("[model]\nname = \"resnet32\"\npatch = 5\n" + kSchedule), "");
}

TEST(CheckScenario, an_image_has_three_numbers) {
  EXPECT_THAT(refusal("[model]\nimage = [32, 32]\n" + kSchedule), StartsWith("a.toml:2:1: 'image' has 2 numbers; expected"));
}

TEST(CheckScenario, heads_must_divide_the_width) {
  EXPECT_THAT(refusal("[model]\nname = \"vit\"\nwidth = 100\nheads = 3\n" + kSchedule), StartsWith("a.toml:4:1: 3 heads"));
}

TEST(CheckScenario, data_from_files_need_a_path_and_generated_data_must_not_have_one) {
  EXPECT_THAT(refusal("[data]\nset = \"cifar10\"\n" + kSchedule),
              AllOf(StartsWith("a.toml:2:1: the set 'cifar10' is read from files"), HasSubstr("expected path")));
  EXPECT_THAT(refusal("[data]\npath = \"x\"\n" + kSchedule), StartsWith("a.toml:2:1: 'path' is given"));
  EXPECT_EQ(refusal("[data]\nset = \"cifar10\"\npath = \"x\"\n" + kSchedule), "");
}

TEST(CheckScenario, the_model_must_fit_the_data) {
  EXPECT_THAT(refusal("[data]\nset = \"stl10\"\npath = \"x\"\n" + kSchedule),
              AllOf(StartsWith("a.toml:2:1: the model takes images of 3 x 32 x 32"), HasSubstr("expected image = [3, 96, 96]")));
  EXPECT_THAT(refusal("[model]\nclasses = 10\n[data]\nset = \"cifar100\"\npath = \"x\"\n" + kSchedule),
              AllOf(StartsWith("a.toml:2:1: "), HasSubstr("expected classes = 100")));
}

TEST(CheckScenario, a_channel_is_a_mode_with_properties) {
  EXPECT_EQ(refusal("[cluster]\nchannel = \"edge,capacity=2,send=commit\"\n" + kSchedule), "");
  EXPECT_THAT(refusal("[cluster]\nchannel = \"ranks\"\n" + kSchedule), AllOf(StartsWith("a.toml:2:1: unknown channel mode 'ranks'"), HasSubstr("did you mean 'rank'?")));
  EXPECT_THAT(refusal("[cluster]\nchannel = \"rank,egaer=1\"\n" + kSchedule), AllOf(StartsWith("a.toml:2:1: channel 'rank,egaer=1': unknown property"), HasSubstr("did you mean 'eager'?")));
}

TEST(CheckScenario, a_generated_set_fills_a_batch) {
  EXPECT_THAT(refusal("[data]\nsamples = 100\n" + kSchedule), StartsWith("a.toml:2:1: 100 samples do not fill one batch of 128"));
}

TEST(CheckScenario, nesterov_needs_momentum) {
  EXPECT_THAT(refusal("[training]\nmomentum = 0\n" + kSchedule), StartsWith("a.toml:2:1: Nesterov"));
  EXPECT_EQ(refusal("[training]\nmomentum = 0\nnesterov = false\n" + kSchedule), "");
}

TEST(CheckScenario, the_warm_up_fits_into_the_training) {
  EXPECT_THAT(refusal("[training]\nepochs = 5\nwarmup_epochs = 6\n" + kSchedule), StartsWith("a.toml:3:1: 6 warm-up epochs"));
}

TEST(CheckScenario, what_only_gpus_have_is_refused_elsewhere) {
  for (const char* line : {"devices = \"streams\"", "gpu = 1", "transport = \"nccl\"", "cublas_sms = false", "graphs = true"}) {
    const std::string key = std::string(line).substr(0, std::string(line).find(' '));
    EXPECT_THAT(refusal("[backend]\n" + std::string(line) + "\n" + kSchedule), StartsWith("a.toml:2:1: '" + key + "' is for the backend 'cuda', not 'cpu'"));
    EXPECT_EQ(refusal("[backend]\nname = \"cuda\"\n" + std::string(line) + "\n" + kSchedule), "");
  }
}

TEST(CheckScenario, the_precision_must_be_one_of_backend_and_device) {
  EXPECT_THAT(refusal("[training]\nprecision = \"tf32\"\n" + kSchedule), StartsWith("a.toml:2:1: the backend 'cpu'"));
  EXPECT_THAT(refusal("[training]\nprecision = \"tf32\"\n[backend]\nname = \"null\"\n[cluster]\ndevice = \"v100\"\n" + kSchedule),
              StartsWith("a.toml:2:1: "));
}

TEST(CheckScenario, cuts_ascend_and_belong_to_the_explicit_method) {
  EXPECT_THAT(refusal("[partition]\nmethod = \"explicit\"\ncuts = [8, 4]\n" + kSchedule), StartsWith("a.toml:3:1: the cuts 8, 4"));
  EXPECT_THAT(refusal("[partition]\nmethod = \"explicit\"\ncuts = [4, 4]\n" + kSchedule), HasSubstr("do not ascend"));
  EXPECT_THAT(refusal("[partition]\nmethod = \"explicit\"\n" + kSchedule), StartsWith("a.toml:2:1: the method 'explicit' has no cuts"));
  EXPECT_THAT(refusal("[partition]\ncuts = [4]\n" + kSchedule), StartsWith("a.toml:2:1: 'cuts' are given"));
}

TEST(CheckScenario, the_source_of_costs_has_what_it_needs_and_nothing_else) {
  EXPECT_THAT(refusal("[costs]\nsource = \"profile\"\n" + kSchedule), StartsWith("a.toml:2:1: the source 'profile' needs 'profile'"));
  EXPECT_THAT(refusal("[costs]\nsource = \"uniform\"\n" + kSchedule), HasSubstr("needs 'uniform'"));
  EXPECT_THAT(refusal("[costs]\nuniform = {F = 1}\n" + kSchedule), StartsWith("a.toml:2:1: 'uniform' is given"));
}

TEST(CheckScenario, every_rank_has_cores_of_its_own_list_or_none_has) {
  EXPECT_THAT(refusal("[cluster]\nranks = 3\n[backend]\ncores = [[0], [1]]\n[training]\nbatch = 129\n" + kSchedule),
              StartsWith("a.toml:4:1: 'cores' has 2 lists for 3 ranks"));
  EXPECT_THAT(refusal("[backend]\ncores = [[0], [1], [2]]\n" + kSchedule), StartsWith("a.toml:2:1: 'cores' has 3 lists for 2 ranks"));
  EXPECT_THAT(refusal("[backend]\ncores = [[0], [1, 2, 1]]\n" + kSchedule), StartsWith("a.toml:2:1: 'cores' gives rank 1 core 1 twice; expected it once"));
  EXPECT_EQ(refusal("[backend]\ncores = [[0, 1], [1, 0]]\n" + kSchedule), "");  // ranks may share cores
}

TEST(CheckScenario, a_schedule_has_only_its_own_options) {
  EXPECT_THAT(refusal(kSchedule + "queue = 2\n"), StartsWith("a.toml:3:1: schedule 'gpipe' has no option 'queue'"));
  EXPECT_THAT(refusal(kLocal + "qeue = 2\n"), AllOf(StartsWith("a.toml:3:1: "), HasSubstr("did you mean 'queue'?")));
  EXPECT_THAT(refusal(kLocal + "queue = -1\n"), AllOf(StartsWith("a.toml:3:1: "), HasSubstr("at least 0")));
  EXPECT_THAT(refusal(kLocal + "queue = 1.5\n"), HasSubstr("'1.5'"));
  EXPECT_THAT(refusal(kLocal + "forward = \"soon\"\n"), HasSubstr("early, late"));
}

TEST(CheckScenario, options_that_follow_from_the_training_are_given_there) {
  EXPECT_THAT(refusal(kLocal + "accumulate = 2\n"), StartsWith("a.toml:3:1: the option 'accumulate' follows from training.accumulate"));
}

TEST(CheckScenario, stages_that_recompute_are_those_of_the_schedules_chain) {
  EXPECT_EQ(refusal(kSchedule + "recompute = [0, 1]\n"), "");
  EXPECT_EQ(refusal(kSchedule + "recompute = [1, 2]\n"), "a.toml:3:1: recompute names stage 2; expected stages from 0 to 1");
  EXPECT_EQ(refusal(kSchedule + "recompute = [1, 1]\n"), "a.toml:3:1: recompute names stage 1 twice; expected it once");
  EXPECT_THAT(refusal(kSchedule + "recompute = [-1]\n"), StartsWith("a.toml:3:14: 'recompute' is -1; expected"));
  // Two chunks per rank by default; two directions of as many stages as ranks.
  EXPECT_EQ(refusal("[[schedule]]\nname = \"interleaved-1f1b\"\nrecompute = [3]\n"), "");
  EXPECT_THAT(refusal("[[schedule]]\nname = \"interleaved-1f1b\"\nchunks = 3\nrecompute = [6]\n"), HasSubstr("expected stages from 0 to 5"));
  EXPECT_THAT(refusal("[[schedule]]\nname = \"dualpipe\"\nrecompute = [2]\n"), HasSubstr("expected stages from 0 to 1"));
  EXPECT_THAT(refusal("[[schedule]]\nname = \"dualpipev\"\nrecompute = [4]\n"), HasSubstr("expected stages from 0 to 3"));
}

TEST(CheckScenario, microbatches_divide_the_batch) {
  EXPECT_THAT(refusal(kSchedule + "microbatches = 3\n"), StartsWith("a.toml:3:1: 3 microbatches of schedule 'gpipe'"));
  EXPECT_THAT(refusal("[cluster]\nranks = 3\n" + kSchedule), AllOf(StartsWith("a.toml:3:"), HasSubstr("3 microbatches (the default)")));
  EXPECT_EQ(refusal(kLocal + "microbatches = 3\n"), "");  // of a local schedule these are whole batches
  EXPECT_THAT(refusal("[training]\naccumulate = 2\n" + kLocal + "microbatches = 3\n"), HasSubstr("no multiple of the 2"));
}

TEST(CheckScenario, an_auxiliary_network_must_exist_for_the_model) {
  // A decoder of image features on the tokens of a ViT: not defined. Only local schedules need it.
  const std::string model = "[model]\nname = \"vit\"\n[auxiliary]\nname = \"infopro\"\n";
  EXPECT_THAT(refusal(model + kLocal), StartsWith("a.toml:4:1: "));
  EXPECT_EQ(refusal(model + kSchedule), "");
}

TEST(CheckScenario, every_number_of_stages_that_local_schedules_ask_for_must_be_possible) {
  // No published split of ResNet-32 has 5 stages; 4 on one rank are fine.
  const std::string one_rank = "[cluster]\nranks = 1\n[partition]\nmethod = \"reference\"\n[[schedule]]\nname = \"sequential-local\"\n";
  EXPECT_EQ(refusal(one_rank + "chunks = 4\n"), "");
  EXPECT_THAT(refusal(one_rank + "chunks = 5\n"), StartsWith("a.toml:4:1: "));
}

TEST(CheckScenario, labels_differ) {
  EXPECT_THAT(refusal(kSchedule + kSchedule), AllOf(StartsWith("a.toml:3:"), HasSubstr("two schedules are called 'gpipe'")));
  EXPECT_EQ(refusal(kSchedule + kSchedule + "label = \"again\"\n"), "");
  EXPECT_EQ(refusal(kLocal + "queue = 1\n" + kLocal + "queue = 2\n"), "");
}

TEST(PlaceText, a_key_that_was_not_given_has_its_sections_place_or_the_file) {
  const Places places{{"training", {3, 2}}, {"training.batch", {4, 1}}};
  EXPECT_EQ(place_text("f", places, "training.batch"), "f:4:1");
  EXPECT_EQ(place_text("f", places, "training.epochs"), "f:3:2");
  EXPECT_EQ(place_text("f", places, "model.name"), "f");
  EXPECT_EQ(place_text("f", places, ""), "f");
}

}  // namespace
}  // namespace bubblescope
