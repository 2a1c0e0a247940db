// Training on a GPU. What the CPU backend's tests hold LibTorch devices to, in device time.
#include "backend/cuda/backend.hpp"

#include <ATen/cuda/Sleep.h>
#include <gmock/gmock.h>

#include "sim/core/error.hpp"
#include "tests/backend/cuda/gpu.hpp"
#include "tests/backend/torch/small_runs.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(CudaBackend, refuses_what_the_cpu_backend_refuses) {
  TorchConfig config = resnet(2);
  config.precision = "float16";
  EXPECT_THROW(cuda_backend(config, {}), InputError);
}

TEST(CudaBackend, without_a_gpu_making_a_device_says_so) {
  if (count_gpus() > 0) GTEST_SKIP() << "there is a GPU";
  const auto backend = cuda_backend(resnet(2), {.placement = Placement::partitions});
  const Program what = program("ppll", 2, 2);
  try {
    Ranks(*backend, what, {});
    FAIL();
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("finds no GPU"));
  }
}

TEST(CudaBackend, of_several_processes_works_at_once_on_whole_gpus) {
  const CudaShare share{2, 1};
  EXPECT_EQ(cuda_backend(resnet(4), {.share = share})->stream_source(), nullptr);
  EXPECT_NE(cuda_backend(resnet(4), {})->stream_source(), nullptr);
}

TEST(CudaBackend, of_several_processes_computes_what_it_does_of_one) {
  BUBBLESCOPE_NEEDS_GPU();
  // The only rank of its process, and of the Program: another would need another GPU.
  SmallRun streamed(cuda_backend(resnet(1), {}), program("gpipe", 1, 3));
  SmallRun waiting(cuda_backend(resnet(1), {.share = CudaShare{0, 1}}), program("gpipe", 1, 3));
  EXPECT_THAT(differences(waiting.iterations(3).state(), streamed.iterations(3).state()), IsEmpty());
  EXPECT_EQ(waiting.losses(), streamed.losses());
}

/// On a GPU cut in as many parts as there are ranks.
SmallRun on_gpu(const TorchConfig& config, Program what, CudaConfig cuda = {}) {
  cuda.placement = Placement::partitions;
  return {cuda_backend(config, cuda), std::move(what)};
}

/// About 200 us before half of all work: a wait that is missing lets others read what is not there yet.
CudaConfig delayed(Carrying transport, std::uint64_t seed) { return {.streams = {.transport = transport, .longest_delay = 400'000, .seed = seed}}; }

TEST(CudaBackend, ppll_is_bit_identical_to_serial_local_learning) {
  BUBBLESCOPE_NEEDS_GPU();
  TorchConfig infopro = resnet(2);
  infopro.auxiliary.name = "infopro";
  for (const TorchConfig& config : {resnet(2), vit(2), infopro}) {
    SmallRun serial = on_gpu(config, program("sequential-local", 2, 5));
    const auto expected = serial.iterations(4).state();
    const auto losses = serial.losses();
    for (const Carrying transport : {Carrying::share, Carrying::copy, Carrying::nccl}) {
      for (const char* queue : {"0", "1", "2"}) {
        for (const CudaConfig& cuda : {CudaConfig{.streams = {.transport = transport}}, delayed(transport, 7)}) {
          SmallRun ppll = on_gpu(config, program("ppll", 2, 5, {{"queue", queue}}), cuda);
          EXPECT_THAT(differences(ppll.iterations(4).state(), expected), IsEmpty()) << "queue " << queue;
          EXPECT_EQ(ppll.losses(), losses) << "queue " << queue;
        }
      }
    }
  }
}

TEST(CudaBackend, every_schedule_gives_the_cpus_weights_within_rounding) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const char* name : {"naive", "gpipe", "1f1b", "interleaved-1f1b", "zb-h1", "zbv", "dualpipe", "pipedream"}) {
    const Program what = program(name, 2, 4);
    TorchConfig config = resnet(static_cast<std::int32_t>(what.chains.front().size()));
    config.precision = "float64";
    config.microbatch = 2;
    config.batch = find_schedule(name).whole_batches ? 2 : 8;
    config.clip_norm = 0;
    const auto expected = SmallRun(config, what).iterations(2).state();
    EXPECT_LT(relative_error(on_gpu(config, what).iterations(2).state(), expected), 1e-10) << name;
    EXPECT_LT(relative_error(on_gpu(config, what, delayed(Carrying::copy, 3)).iterations(2).state(), expected), 1e-10) << name;
  }
}

TEST(CudaBackend, graphs_compute_what_single_launches_compute) {
  BUBBLESCOPE_NEEDS_GPU();
  TorchConfig without_dropout = vit(2);
  without_dropout.model.dropout = 0;
  for (const TorchConfig& config : {resnet(2), without_dropout}) {
    for (const char* name : {"ppll", "1f1b", "zb-h1"}) {
      Program what = program(name, 2, 4);
      TorchConfig mine = config;
      mine.batch = find_schedule(name).whole_batches ? 4 : 16;
      SmallRun eager = on_gpu(mine, what), graphs = on_gpu(mine, what, {.graphs = true}), late = on_gpu(mine, what, {.streams = {.longest_delay = 400'000, .seed = 5}, .graphs = true});
      const auto expected = eager.iterations(5).state();
      EXPECT_EQ(relative_error(graphs.iterations(5).state(), expected), 0) << name;
      EXPECT_EQ(relative_error(late.iterations(5).state(), expected), 0) << name << " with delays";
    }
  }
}

TEST(CudaBackend, mixed_precision_and_tf32_train) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const char* precision : {"bfloat16", "tf32"}) {
    for (TorchConfig config : {resnet(2), vit(2)}) {
      const double expected = SmallRun(config, program("1f1b", 2, 1)).iterations(1).losses().begin()->second;
      config.precision = precision;
      SmallRun run = on_gpu(config, program("1f1b", 2, 1));
      EXPECT_NEAR(run.iterations(1).losses().begin()->second, expected, 0.03 * expected) << precision;
    }
  }
}

TEST(CudaBackend, says_what_it_computes_with) {
  BUBBLESCOPE_NEEDS_GPU();
  const auto backend = cuda_backend(resnet(2), {.placement = Placement::partitions});
  const Program what = program("ppll", 2, 2);
  const Ranks ranks(*backend, what, {});
  const BackendDescription description = backend->describe();
  EXPECT_FALSE(description.device.empty());
  EXPECT_THAT(description.placement, HasSubstr("2 partitions"));
  for (const char* software : {"CUDA", "CUDA of the driver", "NCCL", "LibTorch"}) EXPECT_TRUE(description.versions.contains(software)) << software;
}

}  // namespace
}  // namespace bubblescope
