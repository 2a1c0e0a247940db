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

/// On a GPU cut in as many parts as there are ranks.
SmallRun on_gpu(const TorchConfig& config, Program what, Transport transport = Transport::share) {
  return {cuda_backend(config, {.placement = Placement::partitions, .transport = transport}), std::move(what)};
}

TEST(CudaBackend, ppll_is_bit_identical_to_serial_local_learning) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const TorchConfig& config : {resnet(2), vit(2)}) {
    SmallRun serial = on_gpu(config, program("sequential-local", 2, 5));
    const auto expected = serial.iterations(4).state();
    const auto losses = serial.losses();
    for (const Transport transport : {Transport::share, Transport::copy}) {
      for (const char* queue : {"0", "1", "2"}) {
        SmallRun ppll = on_gpu(config, program("ppll", 2, 5, {{"queue", queue}}), transport);
        EXPECT_THAT(differences(ppll.iterations(4).state(), expected), IsEmpty()) << "queue " << queue;
        EXPECT_EQ(ppll.losses(), losses) << "queue " << queue;
      }
    }
  }
}

TEST(CudaBackend, every_schedule_gives_the_cpus_weights_within_rounding) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const char* name : {"gpipe", "1f1b", "zb-h1", "zbv", "dualpipe", "pipedream"}) {
    const Program what = program(name, 2, 4);
    TorchConfig config = resnet(static_cast<std::int32_t>(what.chains.front().size()));
    config.precision = "float64";
    config.microbatch = 2;
    config.batch = find_schedule(name).whole_batches ? 2 : 8;
    EXPECT_LT(relative_error(on_gpu(config, what).iterations(2).state(), SmallRun(config, what).iterations(2).state()), 1e-10) << name;
  }
}

}  // namespace
}  // namespace bubblescope
