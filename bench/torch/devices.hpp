// Which devices a program with LibTorch has.
#pragma once

#include <memory>

#include "backend/torch/config.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// The backend that the scenario names. Throws RunError where this program does not have it.
std::unique_ptr<Backend> make_backend(const Scenario& scenario, TorchConfig config);

}  // namespace bubblescope
