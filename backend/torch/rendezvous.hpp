// Where processes that torchrun has started find one another: c10d's TCPStore.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "backend/socket_mesh.hpp"

namespace bubblescope {

/// One process's way to the store.
struct Rendezvous {
  std::string address;  ///< MASTER_ADDR
  std::uint16_t port = 0;  ///< MASTER_PORT
  std::int32_t process = 0;
  std::int32_t processes = 1;
  bool serves = false;  ///< torchrun's agent has no store for its workers: this process has
  std::string prefix;   ///< of all keys: the store outlives the job and its restarts
};

/// As torchrun's environment variables tell. Throws InputError naming the one that is missing or makes no sense.
Rendezvous torchrun_rendezvous();

/// Gathers over the store. What it returns throws RunError where the store is not reached, or naming the process that has
/// not come to it, within `timeout`.
GatherAll gather_over_store(Rendezvous rendezvous, std::chrono::milliseconds timeout = std::chrono::seconds(60));

}  // namespace bubblescope
