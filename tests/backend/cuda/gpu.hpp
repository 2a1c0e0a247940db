// Tests that need a GPU.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cuda/lanes.hpp"

/// Read when CUDA starts, which looking for GPUs does; a run would set it in time.
inline const int kConnections = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0);

/// Skips the test where there is none.
#define BUBBLESCOPE_NEEDS_GPU() \
  if (::bubblescope::count_gpus() == 0) GTEST_SKIP() << "no GPU here (or no driver): not tested on a device"
