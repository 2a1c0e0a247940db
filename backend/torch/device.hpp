// The LibTorch device of one rank: runs the compute ops of the stages that the rank holds. The
// executor calls it; modules, batches and optimizers do the work.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "backend/torch/allocations.hpp"
#include "backend/torch/batches.hpp"
#include "backend/torch/config.hpp"
#include "backend/torch/modules.hpp"
#include "backend/torch/optimizer.hpp"
#include "backend/torch/recorder.hpp"
#include "backend/torch/stage_versions.hpp"
#include "backend/torch/weight_gradients.hpp"
#include "sim/core/interlocking.hpp"

namespace bubblescope {

/// What `TorchBackend` hands to all its devices, built once.
struct TorchShared {
  TorchConfig config;
  LayerGraph graph;
  std::vector<AuxiliaryNetwork> auxiliaries;  ///< by stage
  torch::Dtype dtype = torch::kFloat32;       ///< of weights, losses and updates
  bool autocast = false;                      ///< forwards in bfloat16 where that is safe
};

/// Builds it, and sets what is process-wide in LibTorch. Throws InputError where the parts of `config` do not fit each
/// other.
std::shared_ptr<const TorchShared> torch_shared(TorchConfig config);

/// A microbatch's loss, unscaled (the mean over its samples).
struct LossRecord {
  std::int64_t iteration = 0;
  Microbatch microbatch = 0;
  Stage stage = 0;
  double loss = 0;
};

/// Executes F, B, I, W, R, A, LB and U.
///
/// * F of the first stage draws its batch; F of a backprop Program's last stage computes the
///   cross-entropy as well. A computes the local loss of its stage (the last stage's: cross-entropy
///   of the model's own logits). LB goes back through auxiliary network and block, B through the
///   block. U steps the optimizer of block and auxiliary network and drops the gradients.
/// * I is B without the weight gradients of convolutions and linear layers; those are computed by W, at any
///   time before U, from the layers' inputs and output gradients, all that is kept from I to W. The
///   Program says which microbatches are split; F of the others makes an ordinary graph.
/// * Of an interlocking Program, B of a stage's own loss goes back through auxiliary network and block, every
///   other B through the block once more; each sends on the gradient of its own loss alone.
/// * Where a Program recomputes (R), F keeps its input alone and R runs the forward again, with the same random
///   numbers and the weights that the backward uses; running statistics are F's. The loss reported is F's, a local
///   one that of A, which comes after R.
/// * Between two updates a backward uses the version of the weights that the Program's policy says
///   (stage_versions.hpp); policy `latest` lets it use newer ones than its forward.
/// * Gradients are means over everything between two updates: a microbatch's loss counts
///   1 / (backwards of its stage up to the next U).
/// * A stage that replays reads the same input again, with the labels that belong to it.
/// * Randomness comes from the key (seed, layer, iteration, microbatch); autograd runs on the rank's
///   own thread.
/// * A stage is a position in its chain. In Programs of several chains every chain is a whole copy of the model
///   that starts from the same weights. ALLREDUCE adds up the gradients of a stage's copies in rank order (the
///   loss counts 1 / (backwards of all copies)), so copies stay equal bit by bit, optimizer state
///   included; a Program that updates without it is refused. Running statistics of batch norm, which every copy
///   gathers from its own microbatches, become the mean over the copies there.
/// * With recorders every stage's first microbatches run as ever, until one is through; of the later ones each kind of
///   op is recorded once per microbatch that is in flight at the same time, and launched from then on. Inputs, labels and gradients are
///   copied to where the recordings read them, outputs from where they write them, and gradients of
///   weights are zeroed, not dropped. U is a few launches by itself and is not recorded.
/// * Clipping: backprop Programs by the global norm, through `contribution` and `reduced` at SYNC
///   (a Program without SYNC is refused); local ones by each stage's own norm inside U.
class TorchDevice : public Device {
 public:
  /// Weights and everything computed lie on `where`. On a device that works behind its host's back nothing here
  /// waits for it: losses are looked at when they are asked for. Throws InputError where the program cannot be
  /// executed, or cannot be recorded: older weights lie elsewhere, what is recomputed goes in between, dropout is drawn
  /// on the host.
  TorchDevice(std::shared_ptr<const TorchShared> shared, Rank rank, const Program& program, torch::Device where = torch::kCPU, MakeRecorder recorders = nullptr);

  /// Prepares a thread for a device's calls, if it is not the one that made it.
  static void enter_thread(const TorchConfig& config);

  void execute(const Op& op) override;
  Payload output(const Op& send) override;
  void input(const Op& recv, Payload payload) override;
  Payload contribution(const Op& collective) override;
  void reduced(const Op& collective, std::span<const Payload> contributions) override;
  Payload example(const Op& recv) override;
  Payload message(std::int64_t bytes) override;
  /// Weights, buffers, gradients, optimizer state, messages, what was allocated for microbatches between
  /// their F and their backward, autograd's part included, older versions of weights, and what waits between I and W. A tensor that two ranks share
  /// because they share memory counts on both, as it would on two devices.
  MemoryUse memory() const override { return {held_bytes(), peak_}; }
  std::shared_ptr<const void> snapshot() const override;
  void restore(const std::shared_ptr<const void>& snapshot) override;
  double last_loss() const override;
  /// Looks at the losses; one that is not a number is an error, and forgotten with those after it.
  void settle() override;

  /// Where its weights lie.
  const torch::Device& where() const { return where_; }
  /// What it has in common with its backend's other devices.
  const TorchShared& shared() const { return *shared_; }

  /// The losses computed since the last call.
  std::vector<LossRecord> take_losses();

  /// One stage of this rank. Modules must only be used while the rank is idle.
  struct StageView {
    Stage stage = 0;
    std::uint8_t chain = 0;
    std::int32_t position = 0;  ///< in its chain
    StageModule* module = nullptr;
    AuxiliaryModule* auxiliary = nullptr;  ///< null where the stage computes no loss
  };
  std::vector<StageView> stages();

  /// Everything that training changes, by name: `model.X`, `auxiliary.STAGE.X`, `optimizer.STAGE.X`,
  /// `updates.STAGE`, with STAGE the position in the chain. Of several chains the first one's: the others are
  /// copies. Tensors are shared with the device, not copied.
  std::map<std::string, torch::Tensor> state() const;
  /// Copies them in, into every chain's stages; names of other ranks' stages are ignored. Throws InputError naming a tensor that
  /// is missing or has another shape or precision.
  void load(const std::map<std::string, torch::Tensor>& state);

 private:
  /// What recordings of microbatches have in common: whether the backward is split, and the scale of the loss.
  using Recipe = std::pair<bool, double>;
  /// A microbatch between its F and its backward. With recordings its place is taken by one microbatch after
  /// another.
  struct InFlight {
    torch::Tensor input;   ///< a leaf; requires a gradient where one is sent back
    torch::Tensor output;  ///< with its graph
    torch::Tensor loss;    ///< with its graph; undefined before it is computed
    torch::Tensor labels, images;   ///< that the loss compares with
    torch::Tensor output_gradient;  ///< that the backward starts from
    c10::intrusive_ptr<WeightGradients> deferred;  ///< null where the backward is not split
    std::int64_t bytes = 0;  ///< allocated for it on this rank and not yet freed
    std::int64_t most = 0;   ///< that its recordings ever needed
    bool has_loss = false;   ///< `loss` is this microbatch's
    bool recorded = false;   ///< its tensors stay where they are
    Recipe recipe;           ///< where it is recorded
    std::unique_ptr<Recorder> recorder;  ///< of its own: microbatches in flight take turns in any order
    std::map<Kind, std::unique_ptr<Recording>> recordings;
  };
  /// A microbatch between its I and its W.
  struct Waiting {
    std::shared_ptr<InFlight> flight;  ///< nothing but the deferred gradients, unless it is recorded
    std::int64_t bytes = 0;        ///< of memory that they keep
    std::int64_t input_bytes = 0;  ///< the stage's input among it
  };
  struct Held {
    Stage stage = 0;
    std::uint8_t chain = 0;
    std::int32_t position = 0;  ///< in its chain
    Stage previous = -1;        ///< neighbours in its chain, -1 at its ends
    Stage next = -1;
    bool first = false;
    bool last = false;
    std::unique_ptr<StageModule> module;
    std::unique_ptr<AuxiliaryModule> auxiliary;
    std::unique_ptr<StageOptimizer> optimizer;
    StageVersions versions;
    std::int64_t updates = 0;
    std::int64_t weight_bytes = 0;     ///< buffers included
    std::int64_t parameter_bytes = 0;
    std::int64_t gradient_bytes = 0;   ///< 0 right after an update
    std::int64_t optimizer_bytes = 0;
    std::map<Microbatch, double> scale;  ///< of the loss, by microbatch
    std::set<Microbatch> split;          ///< microbatches with I and W
    std::set<Microbatch> recomputed;     ///< microbatches with R
    bool warm = false;  ///< a microbatch is through, and libraries have set themselves up
    std::vector<std::shared_ptr<InFlight>> places;  ///< with recordings
    std::map<Recipe, std::vector<std::shared_ptr<InFlight>>> free_places;
    std::map<std::pair<std::int64_t, Microbatch>, std::shared_ptr<InFlight>> flying;
    std::map<std::pair<std::int64_t, Microbatch>, Waiting> waiting;
  };
  /// (stage, iteration, microbatch, slice)
  using Key = std::tuple<Stage, std::int64_t, Microbatch, std::uint16_t>;

  /// Out of `messages` what `op` needs; `what` says it where there is none (RunError).
  static torch::Tensor take(std::map<Key, torch::Tensor>& messages, const Op& op, std::string_view what);
  Held& held(const Op& op);
  InFlight& flying(Held& stage, const Op& op);
  /// A new one, or where ops are recorded a place that is free.
  InFlight& take_off(Held& stage, const Op& op);
  /// Its last op has run.
  static void land(Held& stage, const std::shared_ptr<InFlight>& flight);
  /// Runs the part of an op that is the device's, recorded where the microbatch's ops are. `work` may use what lies in
  /// `flight` and `stage`, nothing else that changes.
  void perform(InFlight& flight, Kind kind, std::function<void()> work);
  /// Sets a tensor of `flight`, in place where it is recorded.
  static void put(InFlight& flight, torch::Tensor& place, const torch::Tensor& value);
  /// What may leave `flight`, whose own tensors are written again where it is recorded.
  static torch::Tensor taken_from(const InFlight& flight, const torch::Tensor& tensor) { return flight.recorded ? tensor.clone() : tensor; }
  ForwardContext context(const Op& op) const;
  void forward(Held& stage, const Op& op);
  void recompute(Held& stage, const Op& op);
  void compute_loss(Held& stage, const Op& op, InFlight& flight);
  /// Before the loss of a microbatch is computed: what it compares with.
  void put_targets(Held& stage, const Op& op, InFlight& flight);
  /// After that.
  void note_loss(const Op& op, const InFlight& flight);
  /// The type in which values leave layer `layer` (-1: the model's input).
  torch::Dtype type_after(std::int32_t layer);
  void backward(Held& stage, const Op& op);
  void interlocked_backward(Held& stage, const Op& op);
  void weights(Held& stage, const Op& op);
  void local_backward(Held& stage, const Op& op);
  void update(Held& stage, const Op& op);
  void reduce_copies(Held& stage, std::span<const Payload> contributions);
  static std::map<std::string, torch::Tensor> state_of(const Held& stage);
  static void count_gradients(Held& stage);
  /// What F reads: the batch, or the output of the stage before.
  torch::Tensor input_of(const Held& stage, const Op& op);
  /// The labels and pictures of the batch that a replaying stage works on are those of its input.
  Microbatch data(const Op& op) const { return layout_.sources.empty() ? op.microbatch : data_[static_cast<std::size_t>(op.stage)][static_cast<std::size_t>(op.microbatch)]; }
  bool is_read(const Op& op) const;
  bool here(Stage stage) const { return held_.contains(stage); }
  void run(Held& stage, const Op& op);
  std::int64_t held_bytes() const;

  std::shared_ptr<const TorchShared> shared_;
  torch::Device where_;
  MakeRecorder graphs_;  ///< null: ops are not recorded
  const AllocationScope* allocated_ = nullptr;  ///< by the op that runs
  bool local_ = false;
  bool gradients_cross_ = true;  ///< between stages
  bool interlocks_ = false;
  Interlocking interlocking_;
  Program layout_;  ///< without its ops
  std::vector<std::vector<Microbatch>> data_;  ///< stage -> microbatch -> batch, where stages replay
  std::vector<std::vector<bool>> read_;  ///< stage -> outputs that the next stage reads
  Batches batches_;
  std::map<Stage, Held> held_;
  std::map<Key, torch::Tensor> activations_;  ///< inputs that wait for their F
  std::map<Key, torch::Tensor> gradients_;    ///< of outputs, waiting for their B
  std::map<Key, torch::Tensor> outgoing_activations_;  ///< outputs that wait for their SEND_F
  std::map<Key, torch::Tensor> outgoing_gradients_;    ///< of inputs, waiting for their SEND_B
  std::vector<LossRecord> losses_;
  std::vector<std::pair<Op, torch::Tensor>> unseen_losses_;  ///< of the newest of them, which the host has not looked at
  torch::Tensor newest_loss_;
  std::map<std::pair<Kind, Stage>, torch::Tensor> examples_;  ///< off the CPU
  std::map<std::int32_t, torch::Dtype> types_;  ///< under autocast, by layer
  std::int64_t peak_ = 0;  ///< bytes held while the last op ran
};

}  // namespace bubblescope
