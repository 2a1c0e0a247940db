// The table of scenario keys, and how each value gets into the typed Scenario.
#include "sim/scenario/keys.hpp"

#include <algorithm>
#include <concepts>
#include <type_traits>

#include "sim/core/cost_list.hpp"
#include "sim/core/program.hpp"
#include "sim/schedules/registry.hpp"
#include "sim/workload/analytic.hpp"
#include "sim/workload/auxiliary.hpp"
#include "sim/workload/hardware.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {
namespace {

// --- from values to fields and back --------------------------------------------------------------

/// What a field of type T is in a KeyValue.
template <typename T>
auto to_value(const T& field) -> KeyValue {
  if constexpr (std::same_as<T, std::filesystem::path>) {
    return field.string();
  } else if constexpr (std::integral<T> && !std::same_as<T, bool>) {
    return static_cast<std::int64_t>(field);
  } else {
    return field;
  }
}

template <typename T>
void from_value(T& field, const KeyValue& value) {
  if constexpr (std::same_as<T, std::filesystem::path>) {
    field = std::get<std::string>(value);
  } else if constexpr (std::integral<T> && !std::same_as<T, bool>) {
    field = static_cast<T>(std::get<std::int64_t>(value));
  } else {
    field = std::get<T>(value);
  }
}

template <typename T, typename First, typename... Rest>
auto& follow(T& object, First first, Rest... rest) {
  if constexpr (sizeof...(Rest) == 0) {
    return object.*first;
  } else {
    return follow(object.*first, rest...);
  }
}

/// Setter and getter of the field that a chain of member pointers leads to.
template <auto... Path>
struct Field {
  static void set(Scenario& scenario, const KeyValue& value) {
    from_value(follow(scenario, Path...), value);
  }
  static KeyValue get(const Scenario& scenario) { return to_value(follow(scenario, Path...)); }
};

/// The same in the newest schedule; without one, `get` gives a new schedule's value.
template <auto Member>
struct ScheduleField {
  static void set(Scenario& scenario, const KeyValue& value) {
    from_value(scenario.schedules.back().*Member, value);
  }
  static KeyValue get(const Scenario& scenario) {
    return to_value((scenario.schedules.empty() ? ScheduleConfig{} : scenario.schedules.back()).*Member);
  }
};

// --- allowed words -------------------------------------------------------------------------------

using Names = std::vector<std::string>;

Names schedule_words() {
  Names names;
  for (const Schedule& schedule : schedules()) names.push_back(schedule.name);
  return names;
}

Names batchnorm_words() { return {"per-microbatch", "frozen"}; }
Names data_words() { return {"generated", "cifar10", "cifar100", "svhn", "stl10"}; }
Names optimizer_words() { return {"sgd", "adamw"}; }
Names rate_words() { return {"constant", "cosine"}; }
Names precision_words() { return {"float32", "float64", "tf32", "bfloat16"}; }
Names source_words() { return {"analytic", "profile", "uniform"}; }
Names cost_words() { return cost_kind_names(); }
Names backend_words() { return {"cpu", "cuda", "null"}; }
Names placement_words() { return {"gpus", "partitions", "streams"}; }
Names transport_words() { return {"share", "copy", "nccl"}; }
Names format_words() { return {"html", "md", "json"}; }

// --- the table -----------------------------------------------------------------------------------

constexpr double kBillion = 1e9;

const std::vector<KeySection> kSections = {
    {"scenario", "What the experiment is called, and its seed."},
    {"model", "The network that is trained. Fields that a model does not have are ignored."},
    {"data", "What it is trained on."},
    {"training", "Batch, optimizer and numbers."},
    {"auxiliary", "The auxiliary network that gives every stage but the last its local loss. Only local "
                  "schedules use it."},
    {"cluster", "The machine that predictions are made for: equal devices, one per rank, and their links."},
    {"partition", "How the model's layers are cut into stages."},
    {"costs", "Where the durations of predictions come from."},
    {"backend", "What executes the schedules in `bubblescope run`."},
    {"run", "How much `bubblescope run` and `calibrate` measure."},
    {"output", "Where reports go."},
    {"schedule", "One schedule to predict and run; as many as wanted, at least one. Besides the keys below "
                 "it takes the options of its schedule (`bubblescope list` shows them).", true},
};

template <auto Member>
using Head = Field<Member>;
template <auto Member>
using Model = Field<&Scenario::model, Member>;
template <auto Member>
using Data = Field<&Scenario::data, Member>;
template <auto Member>
using Train = Field<&Scenario::training, Member>;
template <auto Member>
using Aux = Field<&Scenario::auxiliary, Member>;
template <auto Member>
using Machine = Field<&Scenario::cluster, Member>;
template <auto Member>
using Wire = Field<&Scenario::cluster, &ClusterConfig::link, Member>;
template <auto Member>
using Cut = Field<&Scenario::partition, Member>;
template <auto Member>
using Cost = Field<&Scenario::costs, Member>;
template <auto Member>
using Back = Field<&Scenario::backend, Member>;
template <auto Member>
using Run = Field<&Scenario::run, Member>;
template <auto Member>
using Out = Field<&Scenario::output, Member>;

/// A key whose access is `Access`; the rest of the row is filled in by name.
template <typename Access>
Key row(Key key) {
  key.set = Access::set;
  key.get = Access::get;
  return key;
}

std::vector<Key> make_keys() {
  using enum KeyType;
  using M = ModelConfig;
  using D = DataConfig;
  using T = TrainingConfig;
  using C = ClusterConfig;
  return {
      // [scenario]
      row<Head<&Scenario::name>>({.section = "scenario", .name = "name", .default_text = "the file's name",
          .meaning = "Short name; reports are filed under it."}),
      row<Head<&Scenario::title>>({.section = "scenario", .name = "title", .default_text = "none",
          .meaning = "One line for the head of reports."}),
      row<Head<&Scenario::seed>>({.section = "scenario", .name = "seed", .type = integer, .minimum = 0,
          .meaning = "Seed of everything random: weights, data, dropout. `--seed` overrides it."}),
      // [model]
      row<Model<&M::name>>({.section = "model", .name = "name", .choices = model_names, .open = true,
          .meaning = "The network."}),
      row<Model<&M::image>>({.section = "model", .name = "image", .type = integers, .unit = "pixels", .minimum = 1,
          .maximum = 4096, .meaning = "Channels, height and width of one sample."}),
      row<Model<&M::classes>>({.section = "model", .name = "classes", .type = integer, .minimum = 2,
          .maximum = 1e6, .meaning = "Classes to tell apart."}),
      row<Model<&M::patch>>({.section = "model", .name = "patch", .type = integer, .unit = "pixels", .minimum = 1,
          .maximum = 4096, .meaning = "ViT: side of a square patch; divides the image's height and width."}),
      row<Model<&M::depth>>({.section = "model", .name = "depth", .type = integer, .minimum = 1, .maximum = 10000,
          .meaning = "ViT: blocks. MLP: hidden layers."}),
      row<Model<&M::width>>({.section = "model", .name = "width", .type = integer, .minimum = 1, .maximum = 1e6,
          .meaning = "ViT: size of the embedding (`vit-tiny` and `vit-small` bring their own). MLP: hidden units."}),
      row<Model<&M::heads>>({.section = "model", .name = "heads", .type = integer, .minimum = 1, .maximum = 10000,
          .meaning = "ViT: attention heads; divides the width."}),
      row<Model<&M::dropout>>({.section = "model", .name = "dropout", .type = number, .minimum = 0, .maximum = 0.99,
          .meaning = "ViT, MLP: probability with which a value is dropped."}),
      row<Model<&M::batchnorm>>({.section = "model", .name = "batchnorm", .choices = batchnorm_words,
          .meaning = "`per-microbatch`: batch statistics of each microbatch; `frozen`: running statistics, never "
                     "updated."}),
      // [data]
      row<Data<&D::set>>({.section = "data", .name = "set", .choices = data_words,
          .meaning = "The data set. `generated` is made from the seed and needs no files."}),
      row<Data<&D::path>>({.section = "data", .name = "path", .type = path, .default_text = "none",
          .meaning = "Folder with the data set's files; needed by all but `generated`."}),
      row<Data<&D::samples>>({.section = "data", .name = "samples", .type = integer, .unit = "samples", .minimum = 1,
          .maximum = kBillion, .meaning = "`generated`: training samples."}),
      row<Data<&D::test_samples>>({.section = "data", .name = "test_samples", .type = integer, .unit = "samples",
          .minimum = 0, .maximum = kBillion, .meaning = "`generated`: test samples."}),
      row<Data<&D::augment>>({.section = "data", .name = "augment", .type = boolean,
          .meaning = "Random crops and mirroring of training samples."}),
      // [training]
      row<Train<&T::batch>>({.section = "training", .name = "batch", .type = integer, .unit = "samples", .minimum = 1,
          .maximum = kBillion, .meaning = "Samples per batch. A pipeline cuts it into microbatches; a local schedule "
                                          "takes it whole."}),
      row<Train<&T::epochs>>({.section = "training", .name = "epochs", .type = integer, .minimum = 0, .maximum = 1e6,
          .meaning = "Passes over the data set in a training run."}),
      row<Train<&T::optimizer>>({.section = "training", .name = "optimizer", .choices = optimizer_words,
          .meaning = "Plain or Nesterov SGD, or AdamW."}),
      row<Train<&T::learning_rate>>({.section = "training", .name = "learning_rate", .type = number, .minimum = 0,
          .above_minimum = true, .meaning = "Learning rate after the warm-up."}),
      row<Train<&T::momentum>>({.section = "training", .name = "momentum", .type = number, .minimum = 0,
          .maximum = 1, .meaning = "SGD: momentum."}),
      row<Train<&T::nesterov>>({.section = "training", .name = "nesterov", .type = boolean,
          .meaning = "SGD: Nesterov's form of momentum."}),
      row<Train<&T::weight_decay>>({.section = "training", .name = "weight_decay", .type = number, .minimum = 0,
          .meaning = "SGD: L2 penalty. AdamW: decoupled decay."}),
      row<Train<&T::schedule>>({.section = "training", .name = "schedule", .choices = rate_words,
          .meaning = "Course of the learning rate over the epochs."}),
      row<Train<&T::warmup_epochs>>({.section = "training", .name = "warmup_epochs", .type = integer, .minimum = 0,
          .maximum = 1e6, .meaning = "Epochs over which the learning rate rises linearly from zero."}),
      row<Train<&T::clip_norm>>({.section = "training", .name = "clip_norm", .type = number, .minimum = 0,
          .meaning = "Gradients are scaled down to this norm; 0: never. A pipeline takes the norm over all stages, and "
                     "all ranks wait for each other to know it; a local schedule takes each stage's own."}),
      row<Train<&T::accumulate>>({.section = "training", .name = "accumulate", .type = integer, .unit = "batches",
          .minimum = 1, .maximum = 1e6, .meaning = "Batches whose gradients are added up before a step."}),
      row<Train<&T::precision>>({.section = "training", .name = "precision", .choices = precision_words,
          .meaning = "Numbers of weights and activations."}),
      row<Train<&T::deterministic>>({.section = "training", .name = "deterministic", .type = boolean,
          .meaning = "Only deterministic algorithms: equal seeds give equal bits."}),
      row<Train<&T::checkpoint_every>>({.section = "training", .name = "checkpoint_every", .type = integer,
          .unit = "epochs", .minimum = 0, .maximum = 1e6, .meaning = "How often a checkpoint is written; 0: only at "
                                                                     "the end."}),
      // [auxiliary]
      row<Aux<&AuxiliaryConfig::name>>({.section = "auxiliary", .name = "name", .choices = auxiliary_names,
          .meaning = "The auxiliary network."}),
      row<Aux<&AuxiliaryConfig::blocks>>({.section = "auxiliary", .name = "blocks", .type = integer, .minimum = 0,
          .maximum = 10000, .meaning = "ViT, MLP: extra blocks before the head. `auglocal`: its depth d (0 counts "
                                       "as 1)."}),
      row<Aux<&AuxiliaryConfig::weights>>({.section = "auxiliary", .name = "weights", .type = numbers, .minimum = 0,
          .default_text = "the method's own, InfoPro's those for CIFAR-10",
          .meaning = "Loss weights by name. `infopro*`: `reconstruction_first`, `reconstruction_last`, `task_first`, "
                     "`task_last`. `predsim`: `similarity`, `prediction`. `auglocal`: `pyramid`."}),
      // [cluster]
      row<Machine<&C::ranks>>({.section = "cluster", .name = "ranks", .type = integer, .minimum = 1, .maximum = 4096,
          .meaning = "Devices, and so ranks of every schedule."}),
      row<Machine<&C::device>>({.section = "cluster", .name = "device", .choices = hardware_names,
          .meaning = "The device, from the hardware catalog."}),
      row<Wire<&LinkConfig::latency>>({.section = "cluster", .name = "latency", .type = duration, .minimum = 0,
          .default_text = "the profile's, else 0", .meaning = "Time a message takes besides its bytes, between any two ranks."}),
      row<Wire<&LinkConfig::bandwidth>>({.section = "cluster", .name = "bandwidth", .type = bandwidth, .minimum = 0,
          .default_text = "0 (infinite)", .meaning = "Bytes per second between any two ranks. A profile's link counts only "
                                                     "where none of `latency`, `bandwidth` and `staging` is given."}),
      row<Wire<&LinkConfig::staging>>({.section = "cluster", .name = "staging", .type = bandwidth, .minimum = 0,
          .default_text = "0 (none)",
          .meaning = "Queues of local schedules go through host memory: the sender's compute stream copies out, then "
                     "the receiver's copies in, each at so many bytes per second, instead of the link's bandwidth."}),
      row<Machine<&C::launch>>({.section = "cluster", .name = "launch", .type = duration, .minimum = 0,
          .default_text = "the device's", .meaning = "Host time to launch one kernel. Each rank has a host of its own."}),
      row<Machine<&C::run_ahead>>({.section = "cluster", .name = "run_ahead", .type = integer, .unit = "ops",
          .minimum = 0, .maximum = kBillion, .default_text = "0 (any number)",
          .meaning = "How far a host may launch ahead of its device. 1: it waits for every op, queues' receives "
                     "included, before it launches the next one's kernels."}),
      row<Machine<&C::memory>>({.section = "cluster", .name = "memory", .type = size, .minimum = 0,
          .default_text = "the device's", .meaning = "Capacity of each device; 0: unlimited."}),
      row<Machine<&C::efficiency>>({.section = "cluster", .name = "efficiency", .type = number,
          .minimum = kLeastEfficiency, .maximum = 1,
          .meaning = "Share of the device's peak FLOP/s that analytic costs assume; `memory_efficiency` is that of "
                     "its bandwidth."}),
      row<Machine<&C::memory_efficiency>>({.section = "cluster", .name = "memory_efficiency", .type = number,
          .minimum = kLeastEfficiency, .maximum = 1,
          .meaning = "Share of the device's memory bandwidth that analytic costs assume. The lower it is beside "
                     "`efficiency`, the more a stage's time follows its activations and not its work."}),
      row<Machine<&C::channel>>({.section = "cluster", .name = "channel", .choices = channel_mode_names, .open = true,
          .meaning = "How transfers of pipelines wait for each other: not at all (`async`), or as rendezvous in one "
                     "queue per rank (`rank`), per kind of data (`data`) or per directed edge (`edge`). "
                     "Properties may follow, as `.psched` has them: `\"rank,eager=64KiB\"`, "
                     "`\"edge,capacity=2,send=commit\"`. Local schedules have queues of their own."}),
      // [partition]
      row<Cut<&PartitionConfig::method>>({.section = "partition", .name = "method", .choices = partition_names,
          .meaning = "`flops`: equal work; `layers`: equal numbers of layers; `reference`: the split published for "
                     "the model; `explicit`: `cuts`."}),
      row<Cut<&PartitionConfig::cuts>>({.section = "partition", .name = "cuts", .type = integers, .unit = "layers",
          .minimum = 1, .maximum = 1e6, .meaning = "`explicit`: first layer of every stage but the first, ascending."}),
      // [costs]
      row<Cost<&CostsConfig::source>>({.section = "costs", .name = "source", .choices = source_words,
          .meaning = "`analytic`: layers against the device's roofline; `profile`: what `bubblescope calibrate` "
                     "measured; `uniform`: the times given here."}),
      row<Cost<&CostsConfig::profile>>({.section = "costs", .name = "profile", .type = path, .default_text = "none",
          .meaning = "`profile`: the file."}),
      row<Cost<&CostsConfig::uniform>>({.section = "costs", .name = "uniform", .type = durations,
          .choices = cost_words, .minimum = 0,
          .meaning = "`uniform`: time of a whole rank's share of one microbatch by kind of op; a list sets ranks (or "
                     "stages) apart. `B` is `I` + `W` unless given, `B` alone is half each; `LB` defaults to `B` and `R` to `F`; "
                     "`FB` is an overlapped pair (default: the sum); what else is missing takes no time."}),
      // [backend]
      row<Back<&BackendConfig::name>>({.section = "backend", .name = "name", .choices = backend_words,
          .meaning = "`cpu` and `cuda` compute with LibTorch; `null` waits for as long as the costs say."}),
      row<Back<&BackendConfig::threads>>({.section = "backend", .name = "threads", .type = integer, .minimum = 1,
          .maximum = 1024, .meaning = "Threads that each rank computes with."}),
      row<Back<&BackendConfig::cores>>({.section = "backend", .name = "cores", .type = core_sets, .minimum = 0,
          .maximum = 65535, .default_text = "spread over the machine",
          .meaning = "Processor cores that each rank is pinned to: one list per rank."}),
      row<Back<&BackendConfig::devices>>({.section = "backend", .name = "devices", .choices = placement_words,
          .meaning = "`cuda`: rank r on GPU r (`gpus`), or all ranks on one GPU: on parts with SMs of their own "
                     "(`partitions`), or sharing all SMs (`streams`)."}),
      row<Back<&BackendConfig::gpu>>({.section = "backend", .name = "gpu", .type = integer, .minimum = 0, .maximum = 1023,
          .meaning = "`cuda`: the first GPU, or the only one."}),
      row<Back<&BackendConfig::transport>>({.section = "backend", .name = "transport", .choices = transport_words,
          .meaning = "`cuda`: how messages cross: between ranks of one GPU the receiver reads the sender's memory "
                     "(`share`), or a copy (`copy`), as between GPUs; `nccl` sends them over NCCL."}),
      row<Back<&BackendConfig::cublas_sms>>({.section = "backend", .name = "cublas_sms", .type = boolean,
          .meaning = "`cuda`, `partitions`: cuBLAS chooses kernels for the SMs of its rank instead of the whole GPU's."}),
      row<Back<&BackendConfig::graphs>>({.section = "backend", .name = "graphs", .type = boolean,
          .meaning = "`cuda`: forwards, backwards and losses are launched as CUDA graphs, one order of the host each."}),
      // [run]
      row<Run<&RunConfig::iterations>>({.section = "run", .name = "iterations", .type = integer, .minimum = 1,
          .maximum = 1e6, .meaning = "Measured iterations per repetition. A local schedule needs several, so that its "
                                     "steady state shows."}),
      row<Run<&RunConfig::warmup>>({.section = "run", .name = "warmup", .type = integer, .unit = "iterations",
          .minimum = 0, .maximum = 1e6, .meaning = "Iterations before the first measured one."}),
      row<Run<&RunConfig::repeats>>({.section = "run", .name = "repeats", .type = integer, .minimum = 1,
          .maximum = 1e4, .meaning = "How often calibration and runs follow each other; medians are reported."}),
      row<Run<&RunConfig::noise>>({.section = "run", .name = "noise", .type = number, .minimum = 0, .maximum = 1,
          .meaning = "Each calibration goes on until the standard error of every op's mean, relative to it, is this small "
                     "(`0.005`: half a percent); ops that take less than a hundredth of the walk do not count. 0: a "
                     "fixed number of rounds."}),
      row<Run<&RunConfig::calibrate_for>>({.section = "run", .name = "calibrate_for", .type = duration, .minimum = 0,
          .meaning = "For how long at most, where `noise` is set."}),
      row<Run<&RunConfig::steal>>({.section = "run", .name = "steal", .type = number, .minimum = 0, .maximum = 1,
          .meaning = "On a virtual machine: a calibration or run in which other guests of the host took more than this part "
                     "of a core's time (steal time; `0.02`: 2 %) is done again, up to 20 times. 1: never."}),
      row<Run<&RunConfig::kernels>>({.section = "run", .name = "kernels", .type = boolean,
          .meaning = "`cuda`: one more run of every schedule after the measured ones, in which kernels are recorded, so "
                     "that the report splits ops into kernels, copies and gaps. It is slower and no figure of "
                     "iterations comes from it. `--kernels` sets it."}),
      // [output]
      row<Out<&OutputConfig::folder>>({.section = "output", .name = "folder", .type = path,
          .meaning = "Folder for results, relative to where the program is started. `--out` overrides it."}),
      row<Out<&OutputConfig::formats>>({.section = "output", .name = "formats", .type = texts,
          .choices = format_words, .meaning = "Forms of the report."}),
      // [[schedule]]
      row<ScheduleField<&ScheduleConfig::name>>({.section = "schedule", .name = "name", .choices = schedule_words,
          .default_text = "must be given", .meaning = "The schedule."}),
      row<ScheduleField<&ScheduleConfig::label>>({.section = "schedule", .name = "label",
          .default_text = "name and options", .meaning = "What results are called; no two schedules share one."}),
      row<ScheduleField<&ScheduleConfig::microbatches>>({.section = "schedule", .name = "microbatches",
          .type = integer, .minimum = 1, .maximum = 1e6, .default_text = "see above",
          .meaning = "Pipelines: microbatches per batch; divides it. Local schedules: batches per iteration."}),
      row<ScheduleField<&ScheduleConfig::recompute>>({.section = "schedule", .name = "recompute",
          .type = stages, .minimum = 0, .default_text = "none",
          .meaning = "Activation checkpointing: these stages, by their place in the chain, keep only the input of a "
                     "forward and run it again (`R`) right before its backward."}),
  };
}

}  // namespace

std::span<const KeySection> key_sections() { return kSections; }

std::span<const Key> scenario_keys() {
  static const std::vector<Key> keys = make_keys();
  return keys;
}

const Key* find_key(std::string_view section, std::string_view name) {
  const auto keys = scenario_keys();
  const auto found = std::find_if(keys.begin(), keys.end(),
                                  [&](const Key& key) { return key.section == section && key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

std::vector<std::string> key_names(std::string_view section) {
  std::vector<std::string> names;
  for (const Key& key : scenario_keys()) {
    if (key.section == section) names.emplace_back(key.name);
  }
  return names;
}

}  // namespace bubblescope
