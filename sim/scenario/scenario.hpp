// Scenario: everything a user says about one experiment, typed. Read from TOML through one table of
// keys (keys.cpp) that also documents itself in scenarios/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/time.hpp"

namespace bubblescope {

struct ModelConfig {
  std::string name = "resnet32";  ///< resnet20.., resnet32, resnet110, vit-tiny, vit-small, vit, mlp
  std::vector<std::int64_t> image = {3, 32, 32};  ///< channels, height, width
  std::int64_t classes = 10;
  std::int64_t patch = 4;    ///< vit
  std::int64_t depth = 12;   ///< vit, mlp: blocks or hidden layers
  std::int64_t width = 192;  ///< vit, mlp
  std::int64_t heads = 3;    ///< vit
  double dropout = 0;
  std::string batchnorm = "per-microbatch";  ///< or "frozen"
};

struct DataConfig {
  std::string set = "generated";  ///< generated, cifar10, cifar100, svhn, stl10
  std::filesystem::path path;     ///< folder with the files
  std::int64_t samples = 2048;    ///< of the generated set
  std::int64_t test_samples = 512;
  bool augment = false;
};

struct TrainingConfig {
  std::int64_t batch = 128;  ///< samples per batch; one optimizer step per `accumulate` batches
  std::int64_t epochs = 1;
  std::string optimizer = "sgd";  ///< sgd, adamw
  double learning_rate = 0.1;
  double momentum = 0.9;
  bool nesterov = true;
  double weight_decay = 1e-4;
  std::string schedule = "constant";  ///< constant, cosine
  std::int64_t warmup_epochs = 0;
  double clip_norm = 0;               ///< 0: off
  std::int64_t accumulate = 1;        ///< batches whose gradients are added up before a step
  std::string precision = "float32";  ///< float32, float64
  bool deterministic = true;
  std::int64_t checkpoint_every = 0;  ///< epochs; 0: only at the end
};

struct AuxiliaryConfig {
  std::string name = "greedy";  ///< greedy, dgl, dgl-mlp, dgl-cnn, dgl-auglocal, dgl-man, infopro, infopro-2c2f, auglocal, ...
  std::int64_t blocks = 0;      ///< vit: extra blocks in the head; auglocal: depth d
  std::map<std::string, double> weights;  ///< named loss weights (infopro)
};

/// -1: not given. Where none of them is, the link is the profile's, else one that takes no time.
struct LinkConfig {
  Nanos latency = -1;
  double bandwidth = -1;  ///< bytes/s, 0 infinite
  double staging = -1;    ///< bytes/s of a queue's copies through host memory, 0 none (sim/core/cluster.hpp)

  bool given() const { return latency >= 0 || bandwidth >= 0 || staging >= 0; }
};

struct ClusterConfig {
  std::int32_t ranks = 2;
  std::string device = "cpu";  ///< name in the hardware catalog
  LinkConfig link;
  Nanos launch = -1;           ///< per kernel; -1: the catalog's
  std::int64_t run_ahead = 0;  ///< ops a host may be ahead of its device; 0: any number
  std::int64_t memory = -1;    ///< bytes per device; -1: the catalog's
  double efficiency = 1.0;     ///< of the device's peak FLOP/s that the analytic costs assume
  double memory_efficiency = 1.0;  ///< of the device's memory bandwidth, likewise
  std::string channel = "async";  ///< channel mode of pipelines, as of `--channel`
};

struct PartitionConfig {
  std::string method = "flops";  ///< flops, layers, reference (the published split), explicit
  std::vector<std::int64_t> cuts;  ///< explicit: first layer of every stage but the first
};

struct CostsConfig {
  std::string source = "analytic";  ///< analytic, profile, uniform
  std::filesystem::path profile;
  /// Kind -> time of a whole rank's share of one microbatch: one value, or one per rank (or stage).
  std::map<std::string, std::vector<Nanos>> uniform;
};

struct BackendConfig {
  std::string name = "cpu";  ///< cpu, cuda, null
  std::int64_t threads = 1;  ///< intra-op threads per rank
  std::vector<std::vector<int>> cores;  ///< rank -> cores; empty: spread over the machine
  std::string devices = "gpus";     ///< cuda: gpus, partitions, streams
  std::int64_t gpu = 0;             ///< cuda: the first, or the only one
  std::string transport = "share";  ///< cuda: share, copy, nccl
  bool cublas_sms = true;           ///< cuda: on partitions cuBLAS is told their size
  bool graphs = false;              ///< cuda: ops are launched as CUDA graphs
};

struct ScheduleConfig {
  std::string name;
  std::string label;               ///< in reports; default: name and options, `ppll queue=2`
  std::int64_t microbatches = 0;   ///< per iteration; 0: the default (sim/scenario/build.hpp)
  std::string recompute;           ///< stages that run their forwards again: `all`, `0:2`; empty: none
  std::map<std::string, std::string> options;

  /// `ppll queue=2 forward=late`: the name and what else was asked for.
  std::string default_label() const;
};

struct RunConfig {
  std::int64_t iterations = 10;  ///< measured iterations per repetition
  std::int64_t warmup = 2;
  std::int64_t repeats = 5;      ///< calibration and runs interleaved this many times
  double noise = 0;              ///< relative error of means that a calibration goes on for; 0: it does not
  Nanos calibrate_for = 15 * kSecond;  ///< at most, where it does
  double steal = 1;              ///< part of a core's time that other guests of the host may take; where they take more, once more
  bool kernels = false;          ///< record kernels in one more run of every schedule
};

struct OutputConfig {
  std::filesystem::path folder = "out";
  std::vector<std::string> formats = {"html", "md", "json"};
};

struct Scenario {
  std::string name;
  std::string title;
  std::uint64_t seed = 0;
  ModelConfig model;
  DataConfig data;
  TrainingConfig training;
  AuxiliaryConfig auxiliary;
  ClusterConfig cluster;
  PartitionConfig partition;
  CostsConfig costs;
  BackendConfig backend;
  RunConfig run;
  OutputConfig output;
  std::vector<ScheduleConfig> schedules;
  std::string text;  ///< the file, verbatim, and a comment with the overrides: goes into reports
  std::filesystem::path file;
};

/// Reads a scenario. Unknown key, wrong type or impossible value: InputError `file:line:col: what is
/// wrong; what was expected`, with the nearest known name.
///
/// `overrides` are texts `SECTION.KEY=VALUE`, each in place of what the file says, the last of a key
/// counts; for schedules `schedule.NAME.KEY=VALUE`, NAME being the name or the given label: all that
/// match. VALUE is TOML where it can be read as such, else a text. They pass the same table and checks
/// as the file; their place in errors is `--set SECTION.KEY=VALUE`.
Scenario read_scenario(const std::filesystem::path& file, std::span<const std::string> overrides = {});
Scenario parse_scenario(std::string_view text, const std::string& file, std::span<const std::string> overrides = {});

/// scenarios/README.md's reference of all keys, from the loader's own table.
std::string scenario_reference();

}  // namespace bubblescope
