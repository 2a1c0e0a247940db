// The null backend: waits instead of computing. Executes any Program with any number of ranks on any
// machine; tests executor, queues and channels, and shows a schedule in real time.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.hpp"
#include "sim/core/costs.hpp"

namespace bubblescope {

struct NullOptions {
  Nanos spin = 0;  ///< the last part of every wait is polled, not slept: exact, but it takes a core
  bool bodies = false;  ///< messages consist of bytes that cross to other processes, instead of a size alone
};

/// Devices whose ops take the time that `costs` says, asleep, and whose messages have its bytes.
class NullBackend : public Backend {
 public:
  explicit NullBackend(StageCosts costs, NullOptions options = {});
  std::string name() const override { return "null"; }
  std::unique_ptr<Device> device(Rank rank, const Program& program) override;
  const PayloadCodec& codec() const override;

 private:
  StageCosts costs_;
  NullOptions options_;
};

}  // namespace bubblescope
