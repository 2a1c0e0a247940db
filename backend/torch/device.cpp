// The LibTorch device of one rank.
#include "backend/torch/device.hpp"

#include <ATen/Parallel.h>
#include <c10/core/AutogradState.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "backend/recordable.hpp"
#include "backend/torch/allocations.hpp"
#include "backend/torch/random.hpp"
#include "sim/core/error.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {

namespace {

constexpr std::uint64_t kExample = 21;

BatchPlan batch_plan(const TorchShared& shared, const Program& program, torch::Device where) {
  const TorchConfig& config = shared.config;
  return {config.seed, config.batch, config.microbatch, program.microbatches, config.augment, shared.dtype, where};
}

/// The microbatches whose backward one update of the stage takes, for one update after the other.
std::vector<std::vector<Microbatch>> updates_of(const Program& program, Stage stage) {
  std::vector<std::vector<Microbatch>> updates(1);
  const Rank rank = program.stage_rank[static_cast<std::size_t>(stage)];
  for (const Op& op : program.rows[static_cast<std::size_t>(rank)]) {
    for (const Op& part : program.parts_of(op)) {
      if (part.stage != stage || part.iteration != 0) continue;
      auto& pending = updates.back();
      // The backwards of an interlocking microbatch count once.
      if (is_backward(part.kind) && (pending.empty() || pending.back() != part.microbatch)) pending.push_back(part.microbatch);
      if (part.kind == Kind::U) updates.emplace_back();
    }
  }
  return updates;
}

/// 1 / (backwards of the stage and its copies up to the next update), by microbatch. Later iterations
/// repeat the first.
std::map<Microbatch, double> loss_scales(const Program& program, Stage stage, std::int32_t position) {
  std::vector<std::size_t> backwards;  // by update
  for (const auto& chain : program.chains) {
    const auto updates = updates_of(program, chain[static_cast<std::size_t>(position)]);
    backwards.resize(std::max(backwards.size(), updates.size()));
    for (std::size_t u = 0; u < updates.size(); ++u) backwards[u] += updates[u].size();
  }
  std::map<Microbatch, double> scales;
  const auto updates = updates_of(program, stage);
  for (std::size_t u = 0; u < updates.size(); ++u) {
    for (const Microbatch microbatch : updates[u]) scales[microbatch] = 1.0 / static_cast<double>(backwards[u]);
  }
  return scales;
}

/// The microbatches that have an op of this kind at this stage. Later iterations repeat the first.
std::set<Microbatch> microbatches_with(Kind kind, const Program& program, Rank rank, Stage stage) {
  std::set<Microbatch> found;
  for (const Op& op : program.rows[static_cast<std::size_t>(rank)]) {
    for (const Op& part : program.parts_of(op)) {
      if (part.stage == stage && part.iteration == 0 && part.kind == kind) found.insert(part.microbatch);
    }
  }
  return found;
}

/// Copies of a stage must have added up all their gradients when they update.
void require_reduced(const Program& program) {
  if (program.chains.size() == 1) return;
  for (const auto& row : program.rows) {
    std::set<Stage> own;  // with gradients that its copies do not have
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) {
        if (is_backward(part.kind) || part.kind == Kind::W) own.insert(part.stage);
        if (part.kind == Kind::ALLREDUCE) own.erase(part.stage);
        if (part.kind == Kind::U && own.contains(part.stage)) {
          throw InputError(fmt::format("the schedule's {} chains are copies of the model and need an ALLREDUCE between the backwards and the update of "
                                       "every stage; stage {} has none", program.chains.size(), part.stage));
        }
      }
    }
  }
}

bool has_dropout(std::span<const Layer> layers) {
  return std::any_of(layers.begin(), layers.end(), [](const Layer& layer) {
    return std::any_of(layer.primitives.begin(), layer.primitives.end(), [](const Primitive& p) { return p.kind == PrimitiveKind::dropout && p.probability > 0; });
  });
}

void require_recordable(const Program& program, const TorchShared& shared) {
  const auto refuse = [&](std::string_view why) { throw InputError(fmt::format("{} cannot run as CUDA graphs: {}; expected 'backend.graphs = false'", program.schedule, why)); };
  if (const std::string why = not_recordable(program); !why.empty()) refuse(why);
  bool dropout = has_dropout(shared.graph.layers);
  for (const AuxiliaryNetwork& network : shared.auxiliaries) {
    for (const Branch& branch : network.branches) dropout = dropout || has_dropout(branch.graph.layers);
  }
  if (dropout) refuse(kDropoutNotRecordable);
}

void require_executable(const Program& program, const TorchShared& shared) {
  const std::size_t stages = shared.config.cuts.size() + 1;
  for (const auto& chain : program.chains) {
    if (chain.size() == stages) continue;
    throw InputError(fmt::format("the schedule has {} stages per chain; the model is cut into {}", chain.size(), stages));
  }
  if (shared.autocast && has_gradients(program.profile) && program.weights == WeightPolicy::latest) {
    throw InputError(fmt::format("{} takes gradients at the newest weights, but in bfloat16 a backward uses its forward's short copies of them; expected another precision", program.schedule));
  }
  require_reduced(program);
  if (shared.config.clip_norm <= 0 || is_local(program.profile)) return;
  for (const auto& row : program.rows) {
    bool whole = true;  // all gradients so far are in the global norm
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) {
        if (is_backward(part.kind) || part.kind == Kind::W || part.kind == Kind::ALLREDUCE) whole = false;
        if (part.kind == Kind::SYNC) whole = true;
        if (part.kind == Kind::U && !whole) {
          throw InputError("clipping by the global norm needs a SYNC between the backwards and the update of a schedule; this one has none");
        }
      }
    }
  }
}

/// Of every microbatch of every stage the batch it works on; empty where no stage replays.
std::vector<std::vector<Microbatch>> data_by_stage(const Program& program) {
  std::vector<std::vector<Microbatch>> data;
  if (program.sources.empty()) return data;
  Op op;
  for (op.stage = 0; op.stage < program.stages(); ++op.stage) {
    auto& of_stage = data.emplace_back();
    for (op.microbatch = 0; op.microbatch < program.microbatches; ++op.microbatch) of_stage.push_back(data_of(program, op));
  }
  return data;
}

Program without_ops(Program program) {
  for (auto& row : program.rows) row = {};
  program.compounds = {};
  program.parts = {};
  return program;
}

}  // namespace

TorchDevice::TorchDevice(std::shared_ptr<const TorchShared> shared, Rank rank, const Program& program, torch::Device where, MakeRecorder recorders)
    : shared_(std::move(shared)),
      where_(where),
      graphs_(std::move(recorders)),
      local_(is_local(program.profile)),
      gradients_cross_(has_gradients(program.profile)),
      interlocks_(program.profile == Profile::interlocking),
      interlocking_(program),
      layout_(without_ops(program)),
      data_(data_by_stage(program)),
      read_(outputs_read(program)),
      batches_(shared_->config.data, batch_plan(*shared_, program, where)) {
  require_executable(program, *shared_);
  if (graphs_) require_recordable(program, *shared_);
  enter_thread(shared_->config);

  const ModuleOptions options{.dtype = shared_->dtype, .device = where, .seed = shared_->config.seed, .autocast = shared_->autocast};
  const std::vector<StageRange> ranges = stage_ranges(shared_->graph, shared_->config.cuts);
  const ChainLinks links = chain_links(program);
  for (Stage stage = 0; stage < program.stages(); ++stage) {
    const auto s = static_cast<std::size_t>(stage);
    if (program.stage_rank[s] != rank) continue;
    Held& held = held_[stage];
    held.stage = stage;
    held.chain = links.chain[s];
    held.position = links.position[s];
    held.previous = links.previous[s];
    held.next = links.next[s];
    held.first = held.previous < 0;
    held.last = held.next < 0;
    const auto position = static_cast<std::size_t>(held.position);
    const StageRange range = ranges[position];
    held.module = std::make_unique<StageModule>(shared_->graph, range.first, range.last, options);
    std::vector<NamedTensor> parameters = held.module->parameters();
    if (local_ || held.last) {
      const AuxiliaryNetwork network = held.last ? output_loss() : shared_->auxiliaries[position];
      held.auxiliary = std::make_unique<AuxiliaryModule>(network, held.position, options);
      for (const NamedTensor& parameter : held.auxiliary->parameters()) {
        parameters.push_back({"auxiliary." + parameter.name, parameter.tensor});
      }
      for (const NamedTensor& buffer : held.auxiliary->buffers()) held.weight_bytes += bytes_of(buffer.tensor);
    }
    for (const NamedTensor& parameter : parameters) held.parameter_bytes += bytes_of(parameter.tensor);
    held.weight_bytes += held.parameter_bytes;
    for (const NamedTensor& buffer : held.module->buffers()) held.weight_bytes += bytes_of(buffer.tensor);
    held.versions = StageVersions(program.weights, parameters);
    held.optimizer = std::make_unique<StageOptimizer>(shared_->config.optimizer, std::move(parameters));
    held.scale = loss_scales(program, stage, held.position);
    held.split = microbatches_with(Kind::I, program, rank, stage);
    held.recomputed = microbatches_with(Kind::R, program, rank, stage);
  }
}

void TorchDevice::enter_thread(const TorchConfig& config) {
  // OpenMP keeps the number of threads per calling thread, so this sets it for this rank alone.
  at::set_num_threads(config.threads);
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}

TorchDevice::Held& TorchDevice::held(const Op& op) {
  const auto found = held_.find(op.stage);
  if (found == held_.end()) throw RunError(fmt::format("{}: this rank does not hold stage {}", cell(op), op.stage));
  return found->second;
}

TorchDevice::InFlight& TorchDevice::flying(Held& stage, const Op& op) {
  const auto found = stage.flying.find({op.iteration, op.microbatch});
  if (found == stage.flying.end()) throw RunError(fmt::format("{} of iteration {}: its forward has not run", cell(op), op.iteration));
  return *found->second;
}

ForwardContext TorchDevice::context(const Op& op) const {
  return {.seed = shared_->config.seed, .iteration = op.iteration, .microbatch = op.microbatch};
}

torch::Tensor TorchDevice::take(std::map<Key, torch::Tensor>& messages, const Op& op, std::string_view what) {
  const auto found = messages.find(Key{op.stage, op.iteration, op.microbatch, op.slice});
  if (found == messages.end()) throw RunError(fmt::format("{} of iteration {}: there is no {}", cell(op), op.iteration, what));
  torch::Tensor tensor = std::move(found->second);
  messages.erase(found);
  return tensor;
}

void TorchDevice::execute(const Op& op) {
  try {
    Held& stage = held(op);
    const std::int64_t before = held_bytes();
    const AllocationScope allocated(where_);
    allocated_ = &allocated;
    run(stage, op);
    peak_ = before + allocated.peak();
    const auto flight = stage.flying.find({op.iteration, op.microbatch});
    if (flight != stage.flying.end() && !flight->second->recorded) flight->second->bytes += allocated.live();
  } catch (const c10::Error& error) {
    throw RunError(fmt::format("{} of iteration {}: {}", cell(op), op.iteration, error.what_without_backtrace()));
  }
}

void TorchDevice::run(Held& stage, const Op& op) {
  switch (op.kind) {
    case Kind::F: return forward(stage, op);
    case Kind::B:
    case Kind::I: return interlocks_ ? interlocked_backward(stage, op) : backward(stage, op);
    case Kind::W: return weights(stage, op);
    case Kind::R: return recompute(stage, op);
    case Kind::A: return compute_loss(stage, op, flying(stage, op));
    case Kind::LB: return local_backward(stage, op);
    case Kind::U: return update(stage, op);
    default: throw RunError(fmt::format("{}: LibTorch devices have no {}", cell(op), mnemonic(op.kind)));
  }
}

void TorchDevice::forward(Held& stage, const Op& op) {
  InFlight& flight = take_off(stage, op);
  put(flight, flight.input, input_of(stage, op));
  const bool leaf = gradients_cross_ && !stage.first;
  const bool with_loss = stage.last && !local_;
  if (with_loss) put_targets(stage, op, flight);
  ForwardContext how = context(op);
  const bool split = stage.split.contains(op.microbatch);
  {
    const auto version = stage.versions.forward(op.iteration, op.microbatch, stage.updates);
    perform(flight, Kind::F, [&stage, &flight, how, split, leaf, with_loss, keeps = !stage.recomputed.contains(op.microbatch)]() mutable {
      if (leaf) flight.input = flight.input.detach().requires_grad_(true);
      if (split) how.deferred = flight.deferred = c10::make_intrusive<WeightGradients>();
      // Where R will run the forward again nothing but the input is kept.
      const torch::AutoGradMode graph(keeps);
      flight.output = stage.module->forward(flight.input, how);
      if (with_loss) flight.loss = stage.auxiliary->loss(flight.output, flight.labels, flight.images, how);
    });
    if (with_loss) note_loss(op, flight);
  }
  if (!stage.last && is_read(op)) {
    auto& onward = here(stage.next) ? activations_[Key{stage.next, op.iteration, op.microbatch, op.slice}]
                                    : outgoing_activations_[Key{op.stage, op.iteration, op.microbatch, op.slice}];
    onward = taken_from(flight, flight.output.detach());
  }
  if (stage.recomputed.contains(op.microbatch)) {
    // The output belongs to whoever waits for it, and is counted there.
    if (!stage.last && is_read(op)) flight.bytes = -bytes_of(flight.output);
    flight.output = flight.loss = torch::Tensor();
  }
}

torch::Tensor TorchDevice::input_of(const Held& stage, const Op& op) {
  if (stage.first) return batches_.batch(op.iteration, op.microbatch).images;
  const Op source = source_of(layout_, op);
  if (is_last_reader(layout_, op)) return take(activations_, source, "input");
  const auto found = activations_.find({source.stage, source.iteration, source.microbatch, source.slice});
  if (found == activations_.end()) throw RunError(fmt::format("{} of iteration {}: there is no input", cell(op), op.iteration));
  return found->second;
}

bool TorchDevice::is_read(const Op& op) const {
  const auto& read = read_[static_cast<std::size_t>(op.stage)];
  return read.empty() || read[static_cast<std::size_t>(op.microbatch)];
}

void TorchDevice::put_targets(Held& stage, const Op& op, InFlight& flight) {
  put(flight, flight.labels, batches_.labels(op.iteration, data(op)));
  if (stage.auxiliary->needs_images()) put(flight, flight.images, batches_.pictures(op.iteration, data(op)));
}

void TorchDevice::compute_loss(Held& stage, const Op& op, InFlight& flight) {
  if (!stage.auxiliary) throw RunError(fmt::format("{}: stage {} has no local loss", cell(op), op.stage));
  if (!flight.output.defined()) throw RunError(fmt::format("{} of iteration {}: its R has not run", cell(op), op.iteration));
  put_targets(stage, op, flight);
  perform(flight, Kind::A, [&stage, &flight, how = context(op)] { flight.loss = stage.auxiliary->loss(flight.output, flight.labels, flight.images, how); });
  flight.has_loss = true;
  note_loss(op, flight);
}

void TorchDevice::note_loss(const Op& op, const InFlight& flight) {
  losses_.push_back({op.iteration, op.microbatch, op.stage, std::numeric_limits<double>::quiet_NaN()});
  newest_loss_ = taken_from(flight, flight.loss.detach());
  unseen_losses_.emplace_back(op, newest_loss_);
  if (where_.is_cpu()) settle();
}

void TorchDevice::settle() {
  auto record = losses_.end() - static_cast<std::ptrdiff_t>(unseen_losses_.size());
  for (const auto& [op, loss] : std::exchange(unseen_losses_, {})) {
    record->loss = loss.item<double>();
    if (!std::isfinite(record->loss)) {
      const double diverged = record->loss;
      losses_.erase(record, losses_.end());
      throw RunError(fmt::format("{}: the loss of stage {} in iteration {} is {}; training has diverged", cell(op), op.stage, op.iteration, diverged));
    }
    ++record;
  }
}

void TorchDevice::backward(Held& stage, const Op& op) {
  if (local_) throw RunError(fmt::format("{}: {} in a schedule with local losses", cell(op), mnemonic(op.kind)));
  InFlight& flight = flying(stage, op);
  if ((op.kind == Kind::I) != static_cast<bool>(flight.deferred)) {
    throw RunError(fmt::format("{} of iteration {}: the schedule has another backward for this microbatch", cell(op), op.iteration));
  }
  if (!flight.output.defined()) throw RunError(fmt::format("{} of iteration {}: its R has not run", cell(op), op.iteration));
  if (!stage.last) put(flight, flight.output_gradient, take(gradients_, op, "gradient of its output"));
  {
    const auto version = stage.versions.backward(op.iteration, op.microbatch, stage.updates);
    perform(flight, op.kind, [&stage, &flight, scale = stage.scale.at(op.microbatch)] {
      if (stage.last) {
        flight.loss.backward(torch::full_like(flight.loss, scale), /*retain_graph=*/flight.recorded);
      } else {
        flight.output.backward(flight.output_gradient, /*retain_graph=*/flight.recorded);
      }
    });
  }
  if (!flight.deferred) stage.versions.release(op.iteration, op.microbatch);
  if (!stage.first) {
    const Key previous{stage.previous, op.iteration, op.microbatch, op.slice};
    auto& onward = here(stage.previous) ? gradients_[previous] : outgoing_gradients_[Key{op.stage, op.iteration, op.microbatch, op.slice}];
    onward = taken_from(flight, flight.input.grad());
  }
  const std::pair key{op.iteration, op.microbatch};
  const auto whole = std::move(stage.flying.at(key));
  stage.flying.erase(key);
  if (flight.deferred) {
    auto kept = whole;
    if (!flight.recorded) {
      kept = std::make_shared<InFlight>();
      kept->deferred = flight.deferred;
    }
    const bool keeps_input = !flight.recorded && flight.deferred->shares_memory_of(flight.input);
    stage.waiting[key] = {kept, flight.recorded ? 0 : flight.deferred->bytes(), keeps_input ? bytes_of(flight.input) : 0};
  } else {
    land(stage, whole);
  }
  count_gradients(stage);
}

void TorchDevice::weights(Held& stage, const Op& op) {
  const auto found = stage.waiting.find({op.iteration, op.microbatch});
  if (found == stage.waiting.end()) throw RunError(fmt::format("{} of iteration {}: its I has not run", cell(op), op.iteration));
  const auto flight = found->second.flight;
  perform(*flight, Kind::W, [flight = flight.get()] {  // reads no weights
    if (flight->recorded) {
      WeightGradients(*flight->deferred).accumulate();  // what they hold stays where it is
    } else {
      flight->deferred->accumulate();
    }
  });
  stage.versions.release(op.iteration, op.microbatch);
  stage.waiting.erase(found);
  land(stage, flight);
  count_gradients(stage);
}

void TorchDevice::update(Held& stage, const Op& op) {
  if (!stage.waiting.empty()) {
    const auto& [iteration, microbatch] = stage.waiting.begin()->first;
    throw RunError(fmt::format("{}: the weight gradients of microbatch {} of iteration {} still wait for their W", cell(op), microbatch, iteration));
  }
  const double limit = shared_->config.clip_norm;
  if (local_ && limit > 0) stage.optimizer->clip(stage.optimizer->squared_norm(), limit);
  stage.versions.before_update(op.iteration, stage.updates);
  stage.optimizer->step(shared_->config.rate.at(stage.updates++), graphs_ ? Used::zeroed : Used::dropped);
  if (!graphs_) stage.gradient_bytes = 0;
  if (stage.optimizer_bytes == 0) stage.optimizer_bytes = stage.optimizer->state_bytes();
}

Payload TorchDevice::output(const Op& send) {
  torch::Tensor tensor = send.kind == Kind::SEND_F ? take(outgoing_activations_, send, "output")
                                                   : take(outgoing_gradients_, send, "gradient of its input");
  const std::int64_t bytes = bytes_of(tensor);
  return {std::make_shared<torch::Tensor>(std::move(tensor)), bytes};
}

void TorchDevice::input(const Op& recv, Payload payload) {
  auto& tensors = recv.kind == Kind::RECV_F ? activations_ : gradients_;
  if (!payload.data) throw RunError(fmt::format("{} of iteration {}: nothing has come", cell(recv), recv.iteration));
  const auto& tensor = *std::static_pointer_cast<torch::Tensor>(payload.data);
  keep_for_this_stream(tensor);
  tensors[Key{recv.stage, recv.iteration, recv.microbatch, recv.slice}] = tensor.to(where_);  // from another process it may lie elsewhere
}

Payload TorchDevice::example(const Op& recv) {
  const std::vector<StageRange> ranges = stage_ranges(shared_->graph, shared_->config.cuts);
  const StageRange range = ranges[static_cast<std::size_t>(held(recv).position)];
  const Shape& shape = recv.kind == Kind::RECV_F ? shared_->graph.layers[static_cast<std::size_t>(range.first)].input
                                                 : shared_->graph.layers[static_cast<std::size_t>(range.last) - 1].output;
  std::vector<std::int64_t> sizes{shared_->config.microbatch};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  torch::Tensor& known = examples_[{recv.kind, recv.stage}];
  if (known.defined()) return {std::make_shared<torch::Tensor>(known), bytes_of(known)};
  torch::Tensor tensor = torch::empty(sizes, type_after(recv.kind == Kind::RECV_F ? range.first - 1 : range.last - 1));
  auto generator = at::detail::createCPUGenerator(mix_key({shared_->config.seed, kExample, static_cast<std::uint64_t>(recv.stage)}));
  tensor.normal_(0, 1, generator);
  tensor = tensor.to(where_);
  // Drawing and copying one would keep the host for longer than the op takes.
  if (!where_.is_cpu()) known = tensor;
  const std::int64_t bytes = bytes_of(tensor);
  return {std::make_shared<torch::Tensor>(std::move(tensor)), bytes};
}

Payload TorchDevice::message(std::int64_t bytes) {
  return {std::make_shared<torch::Tensor>(torch::empty({bytes}, torch::TensorOptions(torch::kUInt8).device(where_))), bytes};
}

torch::Dtype TorchDevice::type_after(std::int32_t layer) {
  if (!shared_->autocast || layer < 0) return shared_->dtype;
  const auto known = types_.find(layer);
  if (known != types_.end()) return known->second;
  // Autocast decides op by op: two samples go through the model up to there.
  const torch::NoGradGuard no_grad;
  StageModule until(shared_->graph, 0, layer + 1, {.device = where_, .seed = shared_->config.seed, .autocast = true});
  std::vector<std::int64_t> sizes{2};
  const Shape& shape = shared_->graph.layers.front().input;
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return types_[layer] = until.forward(torch::zeros(sizes, torch::TensorOptions(shared_->dtype).device(where_)), {.training = false}).scalar_type();
}

std::vector<LossRecord> TorchDevice::take_losses() {
  settle();
  return std::exchange(losses_, {});
}

double TorchDevice::last_loss() const { return newest_loss_.defined() ? newest_loss_.item<double>() : std::numeric_limits<double>::quiet_NaN(); }

std::vector<TorchDevice::StageView> TorchDevice::stages() {
  std::vector<StageView> views;
  for (auto& [number, stage] : held_) views.push_back({number, stage.chain, stage.position, stage.module.get(), stage.auxiliary.get()});
  return views;
}

}  // namespace bubblescope
