// Hardware catalog: named devices with their data-sheet figures.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/cluster.hpp"

namespace bubblescope {

/// Arithmetic of the training run. `tf32` keeps float32 tensors and rounds inside matrix products.
enum class Precision : std::uint8_t { float64, float32, tf32, bfloat16 };
/// `float64`, `float32`, `tf32`, `bfloat16`. Throws InputError.
Precision precision_from_name(std::string_view name);
/// Bytes of one element in memory.
std::int64_t precision_bytes(Precision precision);
/// Of a weight, its gradient and what the optimizer keeps: where activations are shorter than float32 (mixed
/// precision) these are not.
std::int64_t weight_bytes(Precision precision);

/// Dense (no sparsity) peaks of one device; 0 where it has no such unit.
struct Hardware {
  std::string name;
  std::string description;
  double float64 = 0;  ///< FLOP/s
  double float32 = 0;
  double tf32 = 0;
  double bfloat16 = 0;
  double memory_bandwidth = 0;    ///< bytes/s
  std::int64_t memory_bytes = 0;
  Nanos launch = 0;               ///< host time per kernel launch
};

const std::vector<Hardware>& hardware_catalog();
std::vector<std::string> hardware_names();
/// Throws InputError with the nearest known name.
const Hardware& hardware(std::string_view name);
/// What a Cluster holds of it. Throws InputError where the device has no such precision.
DeviceSpec device_spec(const Hardware& device, Precision precision);

}  // namespace bubblescope
