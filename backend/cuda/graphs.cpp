// Capturing and launching CUDA graphs through LibTorch.
#include "backend/cuda/graphs.hpp"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>

#include <utility>

#include "backend/cuda/capture_gate.hpp"

namespace bubblescope {
namespace {

class CudaRecording : public Recording {
 public:
  explicit CudaRecording(std::unique_ptr<at::cuda::CUDAGraph> graph) : graph_(std::move(graph)) {}
  void launch() override { graph_->replay(); }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

class CudaRecorder : public Recorder {
 public:
  std::unique_ptr<Recording> record(std::function<void()> work) override {
    const Capturing alone;
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Other ranks' threads look at events meanwhile: only this thread may do nothing that a capture forbids.
    try {
      graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      work();
      graph->capture_end();
    } catch (...) {
      give_up(*graph);
      throw;
    }
    return std::make_unique<CudaRecording>(std::move(graph));
  }

 private:
  /// Ends what a failed capture leaves open: the stream's capture, and the allocator's.
  void give_up(at::cuda::CUDAGraph& graph) noexcept {
    try {
      graph.capture_end();
    } catch (const c10::Error&) {
      // It had failed before; the first failure says more.
    }
    try {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(c10::cuda::current_device(), pool_);
    } catch (const c10::Error&) {
      // It was not open any more.
    }
  }

  at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
};

}  // namespace

std::unique_ptr<Recorder> cuda_recorder() { return std::make_unique<CudaRecorder>(); }

}  // namespace bubblescope
