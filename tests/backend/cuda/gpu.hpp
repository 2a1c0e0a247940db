// Tests that need a GPU.
#pragma once

#include <gtest/gtest.h>

#include "backend/cuda/lanes.hpp"

/// Skips the test where there is none.
#define BUBBLESCOPE_NEEDS_GPU() \
  if (::bubblescope::count_gpus() == 0) GTEST_SKIP() << "no GPU here (or no driver): not tested on a device"
