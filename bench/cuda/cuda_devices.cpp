// LibTorch on GPUs, and on CPUs; which GPUs are whose where several processes share the ranks.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "backend/cuda/backend.hpp"
#include "backend/cuda/environment.hpp"
#include "backend/cuda/errors.hpp"
#include "backend/cuda/nccl_transport.hpp"
#include "backend/fields.hpp"
#include "backend/socket_transport.hpp"
#include "backend/torch/rendezvous.hpp"
#include "bench/torch/devices.hpp"
#include "bench/torch_backend.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// This process's part, set before there are backends; none: it has all ranks.
struct OwnGpus {
  int first = 0;
  CudaShare ranks;
};
std::optional<OwnGpus> own_gpus;

/// By which a GPU is known to all processes, whatever each of them calls it.
std::string identity(int gpu) {
  cudaDeviceProp found{};
  check_cuda(cudaGetDeviceProperties(&found, gpu), "cudaGetDeviceProperties");
  return {found.uuid.bytes, sizeof found.uuid.bytes};
}

/// The ranks of a host take its GPUs in turn, from `gpu` on. A process that was given too few for that (by
/// CUDA_VISIBLE_DEVICES, as Slurm does) counts its own from there. Throws InputError where these are too few.
int first_gpu(int gpu, std::int32_t before, std::int32_t count) {
  const int there = count_gpus();
  if (gpu + before + count <= there) return gpu + before;
  if (gpu + count <= there) return gpu;
  throw InputError(fmt::format("its ranks need {} GPU{} from GPU {} on, and it finds {}", count, count == 1 ? "" : "s", gpu, there == 0 ? "none (no device, or no driver)" : std::to_string(there)));
}

}  // namespace

std::unique_ptr<Transport> gpu_transport(const Launch& launch) {
  set_cuda_environment(/*several_processes=*/true);  // first: MPI may know CUDA and start it
  std::unique_ptr<Transport> host;
  if (launch.by == "torchrun") {
    host = std::make_unique<SocketTransport>(launch.process, launch.processes, gather_over_store(torchrun_rendezvous()));
  } else {
    host = load_mpi();
  }
  return nccl_transport(std::move(host), [] { return own_gpus ? own_gpus->first : 0; });
}

void share_gpus(const Scenario& scenario, World& world) {
  const RankRange own = ranks_of_process(world.process(), world.processes(), scenario.cluster.ranks);
  const std::vector<std::string> hosts = world.hosts();
  const auto before = std::count(hosts.begin(), hosts.begin() + world.process(), hosts[static_cast<std::size_t>(world.process())]) * own.count();
  std::string failure;
  std::vector<std::string> identities;
  try {
    own_gpus = {first_gpu(static_cast<int>(scenario.backend.gpu), static_cast<std::int32_t>(before), own.count()), {own.first, own.count()}};
    for (std::int32_t i = 0; i < own.count(); ++i) identities.push_back(identity(own_gpus->first + i));
  } catch (const std::exception& error) {
    failure = error.what();
  }
  FieldsOut mine;
  mine.add(failure).add(static_cast<std::int32_t>(identities.size()));
  for (const std::string& one : identities) mine.add(one);
  const std::vector<std::string> all = world.gather_all(mine.take());
  std::map<std::string, std::size_t> owner;
  for (std::size_t p = 0; p < all.size(); ++p) {
    FieldsIn fields(all[p]);
    if (const auto why = fields.get<std::string>(); !why.empty()) throw InputError(fmt::format("process {} (host {}): {}", p, hosts[p], why));
    for (auto left = fields.get<std::int32_t>(); left > 0; --left) {
      const auto [known, is_new] = owner.emplace(fields.get<std::string>(), p);
      if (is_new) continue;
      throw InputError(fmt::format("processes {} and {} (host {}) would share a GPU, which NCCL does not allow; expected a GPU for every rank, or one process with 'backend.devices = \"partitions\"'",
                                   known->second, p, hosts[p]));
    }
  }
}

void need_backend(const std::string&, const std::vector<std::string>&) {}

std::unique_ptr<Backend> make_backend(const Scenario& scenario, TorchConfig config) {
  const BackendConfig& backend = scenario.backend;
  if (backend.name == "cpu") return torch_backend(std::move(config));
  CudaConfig cuda;
  cuda.placement = backend.devices == "partitions" ? Placement::partitions : backend.devices == "streams" ? Placement::streams : Placement::gpus;
  cuda.gpu = own_gpus ? own_gpus->first : static_cast<int>(backend.gpu);
  if (own_gpus) cuda.share = own_gpus->ranks;
  cuda.streams.transport = backend.transport == "copy" ? Carrying::copy : backend.transport == "nccl" ? Carrying::nccl : Carrying::share;
  cuda.tell_cublas_sms = backend.cublas_sms;
  cuda.graphs = backend.graphs;
  return cuda_backend(std::move(config), cuda);
}

}  // namespace bubblescope
