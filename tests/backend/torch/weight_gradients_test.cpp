// Split backward of whole models: the same bits as an ordinary backward, and no kernel runs twice.
#include "backend/torch/weight_gradients.hpp"

#include <ATen/record_function.h>
#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <set>

#include "backend/torch/modules.hpp"
#include "sim/workload/models.hpp"
#include "tests/backend/torch/reference.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;

/// What the calling thread computes while one lives: multiply-adds of matrix products, gradients of
/// convolutions by what they are of, calls of all other kernels by name. Views, allocations and the
/// wrappers around a kernel are not counted.
class Kernels {
 public:
  using Counts = std::map<std::string, std::int64_t>;

  Kernels() {
    counts_ = &mine_;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&Kernels::note).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  ~Kernels() {
    at::removeCallback(handle_);
    counts_ = nullptr;
  }
  const Counts& counts() const { return mine_; }

 private:
  static std::unique_ptr<at::ObserverContext> note(const at::RecordFunction& function) {
    static const std::set<std::string> kNotCounted{
        "aten::t", "aten::transpose", "aten::view", "aten::reshape", "aten::_unsafe_view", "aten::as_strided", "aten::detach",
        "detach", "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::expand", "aten::squeeze", "aten::unsqueeze",
        "aten::_reshape_alias", "aten::resolve_conj", "aten::alias", "aten::flatten", "aten::conj", "aten::matmul",
        "aten::_slow_conv2d_backward", "aten::permute", "aten::select", "aten::narrow", "aten::slice", "aten::view_as",
        // Memory is made and filled, nothing computed.
        "aten::as_strided_", "aten::resize_", "aten::resize_as_", "aten::clone", "aten::contiguous", "aten::copy_", "aten::fill_", "aten::zero_",
        "aten::zeros", "aten::zeros_like", "aten::ones_like", "aten::new_zeros", "aten::_nnpack_available", "aten::randn", "aten::normal_"};
    const std::string name = function.name();
    if (kNotCounted.contains(name) || name.starts_with("autograd::")) return nullptr;  // a graph's nodes are no kernels
    const auto inputs = function.inputs();
    Counts& counts = *counts_;
    if (name == "aten::convolution_backward") {
      const auto wanted = inputs[10].toBoolList();
      if (wanted[0]) ++counts["convolution: input gradient"];
      if (wanted[1]) ++counts["convolution: weight gradient"];
      if (wanted[2]) ++counts["convolution: bias gradient"];
    } else if (name == "aten::mm") {
      const auto a = inputs[0].toTensor(), b = inputs[1].toTensor();
      counts["multiply-adds"] += a.size(0) * a.size(1) * b.size(1);
      ++counts[name];
    } else {
      ++counts[name];
    }
    return nullptr;
  }

  static thread_local Counts* counts_;
  Counts mine_;
  at::CallbackHandle handle_ = 0;
};
thread_local Kernels::Counts* Kernels::counts_ = nullptr;

Kernels::Counts sum(Kernels::Counts a, const Kernels::Counts& b) {
  for (const auto& [name, count] : b) a[name] += count;
  return a;
}

struct Case {
  std::string model;
  torch::Dtype dtype;
  bool first;  ///< the first stage: its input needs no gradient
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model; }

/// Layers that leave their weights to W.
bool is_deferred(const std::string& parameter) {
  for (const char* norm : {"bn", "norm", "tokens"}) {
    if (parameter.find(norm) != std::string::npos) return false;
  }
  return true;
}

/// One model and one microbatch after another through it.
struct Passes {
  StageModule module;
  torch::Tensor input{}, output{};
  c10::intrusive_ptr<WeightGradients> waiting{};

  void forward(const Case& c, std::int64_t microbatch, bool split) {
    std::vector<std::int64_t> shape{4, 3, 16, 16};
    auto generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<std::uint64_t>(11 + microbatch));
    input = torch::randn(shape, generator, c.dtype).requires_grad_(!c.first);
    waiting = split ? c10::make_intrusive<WeightGradients>() : nullptr;
    output = module.forward(input, {.microbatch = microbatch, .deferred = waiting});
  }
  void backward() {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
    output.backward(torch::randn(output.sizes(), generator, output.options().requires_grad(false)));
    output = torch::Tensor();
  }
  Tensors gradients() const {
    Tensors all;
    for (const NamedTensor& t : module.parameters()) {
      if (t.tensor.grad().defined()) all[t.name] = t.tensor.grad();
    }
    return all;
  }
};

class SplitBackward : public testing::TestWithParam<Case> {
 protected:
  static LayerGraph model() {
    ModelSpec spec;
    spec.name = GetParam().model;
    spec.image = {3, 16, 16};
    spec.depth = 3;
    spec.width = 24;
    spec.dropout = 0.1;
    return build_model(spec);
  }
  static Passes passes() {
    torch::set_num_threads(1);
    const LayerGraph graph = model();
    return {StageModule(graph, 0, graph.size(), {.dtype = GetParam().dtype, .seed = 3})};
  }
};

INSTANTIATE_TEST_SUITE_P(Models, SplitBackward,
                         testing::Values(Case{"resnet32", torch::kFloat32, false}, Case{"resnet32", torch::kFloat64, true},
                                         Case{"vit", torch::kFloat32, false}, Case{"vit", torch::kFloat64, true},
                                         Case{"mlp", torch::kFloat32, true}, Case{"mlp", torch::kFloat64, false}),
                         [](const auto& test) {
                           return test.param.model + (test.param.dtype == torch::kFloat32 ? "_float32" : "_float64");
                         });

// Two microbatches, so that gradients are added up as well; the second W after both I.
TEST_P(SplitBackward, input_and_weight_gradients_are_those_of_the_full_backward_bit_by_bit) {
  Passes full = passes(), split = passes();
  std::vector<c10::intrusive_ptr<WeightGradients>> waiting;
  for (std::int64_t microbatch = 0; microbatch < 2; ++microbatch) {
    full.forward(GetParam(), microbatch, false);
    split.forward(GetParam(), microbatch, true);
    EXPECT_TRUE(same_bits(split.output, full.output));
    full.backward();
    split.backward();
    if (!GetParam().first) {
      EXPECT_TRUE(same_bits(split.input.grad(), full.input.grad()));
    }
    waiting.push_back(split.waiting);
  }
  for (const auto& [name, gradient] : split.gradients()) EXPECT_FALSE(is_deferred(name)) << name;
  for (auto& gradients : waiting) gradients->accumulate();
  EXPECT_THAT(differences(split.gradients(), full.gradients()), IsEmpty());
}

TEST_P(SplitBackward, computes_what_the_full_backward_computes_and_nothing_twice) {
  Passes full = passes(), split = passes();
  full.forward(GetParam(), 0, false);
  split.forward(GetParam(), 0, true);
  std::optional<Kernels> kernels(std::in_place);
  full.backward();
  const auto b = kernels->counts();
  kernels.emplace();
  split.backward();
  const auto i = kernels->counts();
  kernels.emplace();
  split.waiting->accumulate();
  const auto w = kernels->counts();
  kernels.reset();
  EXPECT_THAT(sum(i, w), UnorderedElementsAreArray(b));
  EXPECT_EQ(i.count("convolution: weight gradient"), 0u);
  for (const auto& [name, count] : w) {
    EXPECT_TRUE(name == "convolution: weight gradient" || name == "convolution: bias gradient" || name == "aten::mm" ||
                name == "multiply-adds" || name == "aten::sum") << name;
  }
  // Of n layers in all, I computes n (or n - 1 at the first stage) input gradients, W n weight gradients.
  std::int64_t layers = 0, found = 0;
  for (const NamedTensor& t : full.module.parameters()) layers += is_deferred(t.name) && t.tensor.dim() > 1;
  for (const char* name : {"aten::mm", "convolution: weight gradient"}) found += w.contains(name) ? w.at(name) : 0;
  EXPECT_EQ(found, layers);
}

// The forward's memory but for the layers' inputs goes in I, those and the output gradients in W.
TEST_P(SplitBackward, keeps_layer_inputs_and_output_gradients_and_drops_them_as_they_are_used) {
  Passes split = passes();
  split.forward(GetParam(), 0, true);
  EXPECT_EQ(split.waiting->bytes(), 0);
  split.backward();
  EXPECT_GT(split.waiting->bytes(), 0);
  const auto image = split.input.storage().getWeakStorageImpl();
  const bool reads_image = split.waiting->shares_memory_of(split.input);
  EXPECT_TRUE(reads_image);
  split.input = torch::Tensor();
  EXPECT_FALSE(image.expired());
  split.waiting->accumulate();
  EXPECT_TRUE(image.expired());
  EXPECT_EQ(split.waiting->bytes(), 0);
}

}  // namespace
}  // namespace bubblescope
