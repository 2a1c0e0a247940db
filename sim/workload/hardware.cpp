// The catalog; see hardware.hpp. Peaks are the vendor's, dense; memory sizes in the data sheets'
// binary gigabytes. Launch times are no data-sheet figures: 5 us per kernel is what an eager
// framework's dispatch and launch take on a server processor; scenarios set their own.
#include "sim/workload/hardware.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;
constexpr std::int64_t kGiB = std::int64_t{1} << 30;
constexpr Nanos kLaunch = 5 * kMicrosecond;

}  // namespace

const std::vector<Hardware>& hardware_catalog() {
  static const std::vector<Hardware> kCatalog{
      // NVIDIA H200 data sheet (SXM; tensor-core figures there are with sparsity, twice the dense ones).
      {"h200", "NVIDIA H200 SXM 141 GB", 34 * kTera, 67 * kTera, 494.5 * kTera, 989.5 * kTera, 4800 * kGiga, 141 * kGiB, kLaunch},
      // NVIDIA H100 data sheet (SXM), likewise.
      {"h100", "NVIDIA H100 SXM 80 GB", 34 * kTera, 67 * kTera, 494.5 * kTera, 989.5 * kTera, 3350 * kGiga, 80 * kGiB, kLaunch},
      // NVIDIA A100 80GB data sheet (SXM).
      {"a100-80g", "NVIDIA A100 SXM 80 GB", 9.7 * kTera, 19.5 * kTera, 156 * kTera, 312 * kTera, 2039 * kGiga, 80 * kGiB, kLaunch},
      // NVIDIA V100 data sheet (SXM2). Its tensor cores know neither TF32 nor bfloat16.
      {"v100", "NVIDIA V100 SXM2 32 GB", 7.8 * kTera, 15.7 * kTera, 0, 0, 900 * kGiga, 32 * kGiB, kLaunch},
      // NVIDIA Ampere GA102 white paper, table of GeForce RTX 3090 (float64 at 1/64 of float32).
      {"rtx3090", "NVIDIA GeForce RTX 3090 24 GB", 35.6 / 64 * kTera, 35.6 * kTera, 35.6 * kTera, 71 * kTera, 936 * kGiga, 24 * kGiB, kLaunch},
      // NVIDIA Tesla P40 data sheet (float64 at 1/32 of float32, as all of GP102).
      {"p40", "NVIDIA Tesla P40 24 GB", 12.0 / 32 * kTera, 12 * kTera, 0, 0, 346 * kGiga, 24 * kGiB, kLaunch},
      // NVIDIA Titan Xp specification: 3840 cores at 1582 MHz, two operations each; float64 at 1/32.
      {"titan-xp", "NVIDIA Titan Xp 12 GB", 12.15 / 32 * kTera, 12.15 * kTera, 0, 0, 547.7 * kGiga, 12 * kGiB, kLaunch},
      // Not a product: one core with two 256-bit multiply-add units at 3 GHz and 10 GB/s of its own.
      {"cpu", "one generic AVX2 core, 3 GHz", 48 * kGiga, 96 * kGiga, 0, 0, 10 * kGiga, 0, 0},
  };
  return kCatalog;
}

Precision precision_from_name(std::string_view name) {
  if (name == "float64") return Precision::float64;
  if (name == "float32") return Precision::float32;
  if (name == "tf32") return Precision::tf32;
  if (name == "bfloat16") return Precision::bfloat16;
  const std::vector<std::string> known{"float64", "float32", "tf32", "bfloat16"};
  throw InputError(fmt::format("unknown precision '{}'; expected one of {}{}", name, fmt::join(known, ", "), suggestion(name, known)));
}

std::int64_t precision_bytes(Precision precision) {
  switch (precision) {
    case Precision::float64: return 8;
    case Precision::bfloat16: return 2;
    default: return 4;
  }
}

std::int64_t weight_bytes(Precision precision) { return std::max<std::int64_t>(4, precision_bytes(precision)); }

std::vector<std::string> hardware_names() {
  std::vector<std::string> names;
  for (const Hardware& device : hardware_catalog()) names.push_back(device.name);
  return names;
}

const Hardware& hardware(std::string_view name) {
  const auto& catalog = hardware_catalog();
  const auto found = std::find_if(catalog.begin(), catalog.end(), [&](const Hardware& h) { return h.name == name; });
  if (found != catalog.end()) return *found;
  throw InputError(fmt::format("unknown device '{}'; expected one of {}{}", name, fmt::join(hardware_names(), ", "),
                               suggestion(name, hardware_names())));
}

DeviceSpec device_spec(const Hardware& device, Precision precision) {
  DeviceSpec spec;
  spec.name = device.name;
  switch (precision) {
    case Precision::float64: spec.flops = device.float64; break;
    case Precision::float32: spec.flops = device.float32; break;
    case Precision::tf32: spec.flops = device.tf32; break;
    case Precision::bfloat16: spec.flops = device.bfloat16; break;
  }
  if (spec.flops <= 0) {
    throw InputError(fmt::format("device '{}' has no units for this precision; expected one it has, such as float32", device.name));
  }
  spec.memory_bandwidth = device.memory_bandwidth;
  spec.memory_bytes = device.memory_bytes;
  spec.launch = device.launch;
  return spec;
}

}  // namespace bubblescope
