// Contradictions between the keys of a scenario.
#include "sim/scenario/check.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/core/error.hpp"
#include "sim/core/program.hpp"
#include "sim/lower/recompute.hpp"
#include "sim/scenario/build.hpp"
#include "sim/schedules/registry.hpp"
#include "sim/workload/auxiliary.hpp"
#include "sim/workload/hardware.hpp"
#include "sim/workload/models.hpp"

namespace bubblescope {
namespace {

struct Context {
  const Scenario& scenario;
  const Places& places;
  const std::string& file;

  [[noreturn]] void fail(std::string_view key, std::string_view text) const {
    throw InputError(fmt::format("{}: {}", place_text(file, places, key), text));
  }
  bool given(std::string_view key) const { return places.find(key) != places.end(); }
};

/// The images and classes of the published sets.
struct ImageFormat {
  std::string_view set;
  std::array<std::int64_t, 3> image;
  std::int64_t classes;
};
constexpr std::array kFormats = {ImageFormat{"cifar10", {3, 32, 32}, 10}, ImageFormat{"cifar100", {3, 32, 32}, 100},
                                 ImageFormat{"svhn", {3, 32, 32}, 10}, ImageFormat{"stl10", {3, 96, 96}, 10}};

void check_model(const Context& context) {
  const ModelConfig& model = context.scenario.model;
  if (model.image.size() != 3) {
    context.fail("model.image", fmt::format("'image' has {} numbers; expected channels, height and width", model.image.size()));
  }
  if (model.name.starts_with("vit")) {
    for (const std::size_t side : {1, 2}) {
      if (model.image[side] % model.patch == 0) continue;
      context.fail(context.given("model.patch") ? "model.patch" : "model.image",
                   fmt::format("patches of {} do not divide an image of {} x {}; expected a divisor of both",
                               model.patch, model.image[1], model.image[2]));
    }
    if (model.name == "vit" && model.width % model.heads != 0) {
      context.fail(context.given("model.heads") ? "model.heads" : "model.width",
                   fmt::format("{} heads do not divide a width of {}; expected a divisor of it", model.heads, model.width));
    }
  }
  try {
    build_model(model_spec(model));
  } catch (const InputError& error) {
    context.fail("model.name", error.what());
  }
}

void check_data(const Context& context) {
  const DataConfig& data = context.scenario.data;
  const ModelConfig& model = context.scenario.model;
  if (data.set != "generated" && data.path.empty()) {
    context.fail("data.set", fmt::format("the set '{}' is read from files, but 'path' is missing; expected path = \"FOLDER\"",
                                         data.set));
  }
  if (data.set == "generated" && !data.path.empty()) {
    context.fail("data.path", "'path' is given, but the set 'generated' is not read from files; expected one of cifar10, "
                              "cifar100, svhn, stl10 as 'set', or no 'path'");
  }
  for (const ImageFormat& format : kFormats) {
    if (format.set != data.set) continue;
    if (!std::equal(format.image.begin(), format.image.end(), model.image.begin(), model.image.end())) {
      context.fail(context.given("model.image") ? "model.image" : "data.set",
                   fmt::format("the model takes images of {}, but those of {} are {}; expected image = [{}]",
                               fmt::join(model.image, " x "), data.set, fmt::join(format.image, " x "),
                               fmt::join(format.image, ", ")));
    }
    if (format.classes != model.classes) {
      context.fail(context.given("model.classes") ? "model.classes" : "data.set",
                   fmt::format("the model tells {} classes apart, but {} has {}; expected classes = {}", model.classes,
                               data.set, format.classes, format.classes));
    }
  }
  if (data.set == "generated" && data.samples < context.scenario.training.batch) {
    context.fail(context.given("data.samples") ? "data.samples" : "training.batch",
                 fmt::format("{} samples do not fill one batch of {}; expected at least as many", data.samples,
                             context.scenario.training.batch));
  }
}

void check_training(const Context& context) {
  const TrainingConfig& training = context.scenario.training;
  if (training.nesterov && training.optimizer == "sgd" && training.momentum == 0) {
    context.fail("training.momentum", "Nesterov's form needs momentum, but 'momentum' is 0; expected a momentum above 0, "
                                      "or nesterov = false");
  }
  if (training.epochs > 0 && training.warmup_epochs > training.epochs) {
    context.fail("training.warmup_epochs", fmt::format("{} warm-up epochs do not fit into {} epochs; expected at most as many",
                                                       training.warmup_epochs, training.epochs));
  }
  const std::string& backend = context.scenario.backend.name;
  if (training.precision == "tf32" && backend == "cpu") {
    context.fail("training.precision", "the backend 'cpu' does not compute in tf32; expected float32, float64 or bfloat16, or the backend 'cuda' or 'null'");
  }
}

void check_partition(const Context& context) {
  const PartitionConfig& partition = context.scenario.partition;
  const auto& cuts = partition.cuts;
  if ((partition.method == "explicit") == cuts.empty()) {
    context.fail(cuts.empty() ? "partition.method" : "partition.cuts",
                 cuts.empty() ? "the method 'explicit' has no cuts; expected cuts = [...]"
                              : fmt::format("'cuts' are given, but the method is '{}'; expected method = \"explicit\"",
                                            partition.method));
  }
  if (std::adjacent_find(cuts.begin(), cuts.end(), std::greater_equal<>()) != cuts.end()) {
    context.fail("partition.cuts", fmt::format("the cuts {} do not ascend; expected each above the one before it",
                                               fmt::join(cuts, ", ")));
  }
}

void check_costs(const Context& context) {
  const CostsConfig& costs = context.scenario.costs;
  const auto require = [&](std::string_view source, std::string_view key, bool present) {
    if ((costs.source == source) == present) return;
    const std::string place = fmt::format("costs.{}", key);
    if (present) {
      context.fail(place, fmt::format("'{}' is given, but the source of costs is '{}'; expected source = \"{}\"", key,
                                      costs.source, source));
    }
    context.fail("costs.source", fmt::format("the source '{}' needs '{}', which is missing; expected {} = ...", source, key, key));
  };
  require("profile", "profile", !costs.profile.empty());
  require("uniform", "uniform", !costs.uniform.empty());
}

void check_cluster(const Context& context) {
  const Scenario& scenario = context.scenario;
  try {
    device_spec(hardware(scenario.cluster.device), precision_from_name(scenario.training.precision));
  } catch (const InputError& error) {
    context.fail(context.given("training.precision") ? "training.precision" : "cluster.device", error.what());
  }
  try {
    channel_mode(scenario.cluster.channel);
  } catch (const InputError& error) {
    context.fail("cluster.channel", error.what());
  }
}

void check_backend(const Context& context) {
  const std::string& name = context.scenario.backend.name;
  for (const char* key : {"backend.devices", "backend.gpu", "backend.transport", "backend.cublas_sms", "backend.graphs"}) {
    if (name != "cuda" && context.given(key)) context.fail(key, fmt::format("'{}' is for the backend 'cuda', not '{}'", std::string_view(key).substr(8), name));
  }
  if (name != "cuda" && context.scenario.run.kernels) {
    context.fail("run.kernels", fmt::format("the backend '{}' cannot record kernels; expected backend.name = \"cuda\", or kernels = false", name));
  }
  const auto& cores = context.scenario.backend.cores;
  const std::int32_t ranks = context.scenario.cluster.ranks;
  if (!cores.empty() && static_cast<std::int64_t>(cores.size()) != ranks) {
    context.fail("backend.cores", fmt::format("'cores' has {} lists for {} ranks; expected one list per rank", cores.size(), ranks));
  }
  for (std::size_t rank = 0; rank < cores.size(); ++rank) {
    std::set<int> seen;
    for (const int core : cores[rank]) {
      if (seen.insert(core).second) continue;
      context.fail("backend.cores", fmt::format("'cores' gives rank {} core {} twice; expected it once", rank, core));
    }
  }
}

/// Stages that a schedule cuts the model into.
std::int64_t stages_of(const Scenario& scenario, const ScheduleConfig& config) {
  return stages_per_chain(find_schedule(config.name), {.ranks = scenario.cluster.ranks, .options = config.options});
}

/// An auxiliary network that this model or its cuts cannot have. What cannot be cut at all is told
/// when the experiments are built.
void check_auxiliary(const Context& context) {
  const Scenario& scenario = context.scenario;
  std::set<std::int32_t> stages;
  for (const ScheduleConfig& config : scenario.schedules) {
    if (!find_schedule(config.name).local) continue;
    const std::int64_t count = stages_of(scenario, config);
    if (count <= std::numeric_limits<std::int16_t>::max()) stages.insert(static_cast<std::int32_t>(count));
  }
  if (stages.empty() || !needs_model(scenario)) return;
  const LayerGraph model = build_model(model_spec(scenario.model));
  for (const std::int32_t count : stages) {
    std::vector<std::int32_t> cuts;
    try {
      cuts = cut_points(scenario, model, count);
    } catch (const InputError& error) {
      context.fail(context.given("partition.cuts") ? "partition.cuts" : "partition.method", error.what());
    }
    try {
      build_auxiliaries(auxiliary_spec(scenario.auxiliary), model, cuts);
    } catch (const InputError& error) {
      context.fail("auxiliary.name", error.what());
    }
  }
}

void check_schedule(const Context& context, std::size_t index) {
  const ScheduleConfig& config = context.scenario.schedules[index];
  const Schedule& schedule = find_schedule(config.name);
  const std::string path = fmt::format("schedule.{}", index);
  for (const auto& [name, value] : config.options) {
    const std::string place = fmt::format("{}.{}", path, name);
    if (const auto key = derived_from(name); !key.empty()) {
      context.fail(place, fmt::format("the option '{}' follows from {}; expected it there only", name, key));
    }
    try {
      option_text(schedule, {.ranks = 1, .microbatches = 1, .options = config.options}, name);
    } catch (const InputError& error) {
      context.fail(place, error.what());
    }
  }
  try {
    recompute_positions(config.recompute, stages_of(context.scenario, config));
  } catch (const InputError& error) {
    context.fail(path + ".recompute", error.what());
  }
  try {
    check_microbatches(config, context.scenario);
  } catch (const InputError& error) {
    context.fail(context.given(path + ".microbatches") ? path + ".microbatches" : path, error.what());
  }
}

void check_schedules(const Context& context) {
  const auto& schedules = context.scenario.schedules;
  if (schedules.empty()) context.fail("", "there is no schedule; expected at least one section [[schedule]]");
  std::set<std::string_view> labels;
  for (std::size_t i = 0; i < schedules.size(); ++i) {
    check_schedule(context, i);
    if (labels.insert(schedules[i].label).second) continue;
    context.fail(fmt::format("schedule.{}", i),
                 fmt::format("two schedules are called '{}'; expected labels that differ (label = \"...\")", schedules[i].label));
  }
}

}  // namespace

std::string_view derived_from(std::string_view option) {
  if (option == "clip") return "training.clip_norm";
  if (option == "accumulate") return "training.accumulate";
  return {};
}

std::string place_text(const std::string& file, const Place& place) {
  return place.flag.empty() ? fmt::format("{}:{}:{}", file, place.line, place.column) : place.flag;
}

std::string place_text(const std::string& file, const Places& places, std::string_view key) {
  for (auto end = key.size(); end != std::string_view::npos && end > 0; end = key.substr(0, end).rfind('.')) {
    if (const auto found = places.find(key.substr(0, end)); found != places.end()) {
      return place_text(file, found->second);
    }
  }
  return file;
}

void check_scenario(const Scenario& scenario, const Places& places, const std::string& file) {
  const Context context{scenario, places, file};
  check_model(context);
  check_data(context);
  check_training(context);
  check_partition(context);
  check_costs(context);
  check_cluster(context);
  check_backend(context);
  check_schedules(context);
  check_auxiliary(context);
}

}  // namespace bubblescope
