// Transports whose processes are threads of this one: for tests, of what would take several machines otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/transport.hpp"
#include "sim/core/time.hpp"

namespace bubblescope {

struct ThreadTransportOptions {
  Nanos most_delay = 0;    ///< every parcel is under way for up to that, so that parcels overtake one another
  std::uint64_t seed = 0;  ///< of the delays
  bool copies = true;      ///< bodies arrive in memory of their own, as between processes; else they are shared
};

/// One transport for each of `processes`, each to be used by a thread (or several) of its own, since `close` waits for the
/// others. A transport that goes without `close` leaves what is under way to it where it is.
std::vector<std::unique_ptr<Transport>> thread_transports(std::int32_t processes, ThreadTransportOptions options = {});

}  // namespace bubblescope
