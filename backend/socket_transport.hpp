// Parcels over TCP, for processes that were started without MPI (torchrun): a connection between every two of them.
//
//   send: [sizes|head] and the body from the sender's memory, as far as the connection takes them now; `poll` goes on.
//   poll: [sizes|head] into the connection's inbox, bodies into pooled buffers, large ones without passing the inbox.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/buffer_pool.hpp"
#include "backend/closing.hpp"
#include "backend/socket_mesh.hpp"
#include "backend/transport.hpp"

namespace bubblescope {

struct SocketTransportOptions {
  std::chrono::milliseconds connect_timeout{60'000};
  std::chrono::milliseconds close_patience = kClosePatience;
};

/// Parcels from one process to another keep their order. Where it goes without `close`, its connections are cut.
class SocketTransport final : public Transport {
 public:
  /// Collective: returns once all processes are connected. Throws as `connect_mesh` does.
  SocketTransport(std::int32_t process, std::int32_t processes, const GatherAll& gather_all, SocketTransportOptions options = {});
  ~SocketTransport() override;
  SocketTransport(const SocketTransport&) = delete;
  SocketTransport& operator=(const SocketTransport&) = delete;

  std::string name() const override { return "TCP"; }
  std::int32_t processes() const override { return static_cast<std::int32_t>(peers_.size()); }
  std::int32_t process() const override { return process_; }
  void set_handler(Handler handler) override { handler_ = std::move(handler); }
  void send(std::int32_t to, Parcel parcel, std::function<void()> left) override;
  bool poll() override;
  bool busy() const override { return under_way_.load(std::memory_order_relaxed) > 0; }
  void close() override;

 private:
  struct Peer;

  void queue(Peer& peer, std::string front, Parcel parcel, std::function<void()> left);
  bool flush(Peer& peer, std::size_t most);
  static std::string why_ended(Peer& peer, std::int32_t process, int error);
  bool receive(std::int32_t from);
  bool take_next(std::int32_t from);
  ParcelTotals exchange_totals();

  std::int32_t process_;
  SocketTransportOptions options_;
  Handler handler_;
  BufferPool pool_;
  std::vector<std::unique_ptr<Peer>> peers_;  ///< null: this process
  std::atomic<std::int64_t> under_way_{0};    ///< parcels queued, and bodies that have not come whole
  ParcelCounts counts_;
  std::atomic<bool> closing_{false};  ///< others may end
  std::atomic_flag polling_;          ///< set while a thread polls
};

}  // namespace bubblescope
