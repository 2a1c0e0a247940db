// Streams made of threads: every lane is a thread that does its work in order. They stand in for a device's own,
// so that whatever drives them can be tried on any machine.
#pragma once

#include <functional>
#include <memory>

#include "backend/reported_kernels.hpp"
#include "backend/streams.hpp"

namespace bubblescope {

struct HostStreamOptions {
  /// Called on a lane's thread, before anything else there.
  std::function<void(Rank)> enter{};
  /// Slept on the lane before each piece of work, by lane and number of the work: what a device would be late by.
  std::function<Nanos(std::int32_t lane, std::int64_t number)> delay{};
  /// Slept for carrying a message of so many bytes.
  std::function<Nanos(std::int64_t bytes)> carrying{};
  /// Counts the host's time for issuing, as devices do whose kernels are launched one by one.
  bool host_counts = false;
  /// Waits that are left out, by lane and event: to see that a test notices.
  std::function<bool(std::int32_t lane, std::int32_t event)> forget{};
  /// Where the devices report kernels; null: they have none. Must outlive the backend.
  ReportedKernels* kernels = nullptr;
};

std::unique_ptr<Streams> host_streams(std::span<const LaneSpec> lanes, std::size_t events, HostStreamOptions options = {});

/// Devices of another backend, on threads for streams. Their calls come from the lanes' threads: those of a rank's
/// first lane alone, but one at a time.
class HostStreamBackend : public Backend, public StreamSource {
 public:
  /// `devices` must outlive this.
  explicit HostStreamBackend(Backend& devices, HostStreamOptions options = {}) : devices_(devices), options_(std::move(options)) {}
  std::string name() const override { return devices_.name() + " on host streams"; }
  std::unique_ptr<Device> device(Rank rank, const Program& program) override { return devices_.device(rank, program); }
  StreamSource* stream_source() override { return this; }
  std::unique_ptr<Streams> streams(std::span<const LaneSpec> lanes, std::size_t events) override { return host_streams(lanes, events, options_); }
  std::unique_ptr<KernelActivity> kernel_activity() override { return options_.kernels == nullptr ? nullptr : options_.kernels->activity(); }

 private:
  Backend& devices_;
  HostStreamOptions options_;
};

}  // namespace bubblescope
