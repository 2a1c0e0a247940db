// A TCP connection between every two processes of a job.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/socket.hpp"

namespace bubblescope {

/// What every process gives, in order, in every process: how they find one another before there are connections. Every
/// process calls it.
using GatherAll = std::function<std::vector<std::string>(const std::string& mine)>;

/// The connection to one other process, and what has come over it already.
struct MeshConnection {
  Socket socket;
  std::string came;
};

/// By process; this one's own is not open. Collective: waits until this process is connected to all others; strangers
/// that connect meanwhile are sent away. Throws RunError after `timeout` naming who was not reached or has not come, and what
/// `gather_all` throws.
std::vector<MeshConnection> connect_mesh(std::int32_t process, std::int32_t processes, const GatherAll& gather_all, std::chrono::milliseconds timeout);

}  // namespace bubblescope
