// A LibTorch device on a GPU whose calls return when their work is done.
#pragma once

#include <c10/cuda/CUDAStream.h>

#include <memory>
#include <span>

#include "backend/torch/device.hpp"

namespace bubblescope {

/// For ranks in several processes: there the host waits for every op, where ranks of one process wait for each other's
/// events on the GPU alone. All work goes to the stream that is current when this is made.
class WaitingDevice final : public TorchDevice {
 public:
  WaitingDevice(std::shared_ptr<const TorchShared> shared, Rank rank, const Program& program, const c10::cuda::CUDAStream& stream)
      : TorchDevice(std::move(shared), rank, program, stream.device()), stream_(stream) {
    wait();
  }

  void execute(const Op& op) override {
    TorchDevice::execute(op);
    wait();
  }
  Payload output(const Op& send) override { return waited(TorchDevice::output(send)); }
  void input(const Op& recv, Payload payload) override {
    TorchDevice::input(recv, std::move(payload));
    wait();
  }
  Payload contribution(const Op& collective) override { return waited(TorchDevice::contribution(collective)); }
  void reduced(const Op& collective, std::span<const Payload> contributions) override {
    TorchDevice::reduced(collective, contributions);
    wait();
  }
  Payload example(const Op& recv) override { return waited(TorchDevice::example(recv)); }
  Payload message(std::int64_t bytes) override { return waited(TorchDevice::message(bytes)); }
  void restore(const std::shared_ptr<const void>& snapshot) override {
    TorchDevice::restore(snapshot);
    wait();
  }

 private:
  void wait() const;
  Payload waited(Payload payload) const {
    wait();
    return payload;
  }

  c10::cuda::CUDAStream stream_;
};

}  // namespace bubblescope
