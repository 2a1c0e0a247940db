// Parcels whose bodies lie on GPUs, on top of a transport of the host: heads travel over that, bodies from GPU to GPU.
//
//   sender                               receiver
//   connect [id]         --- host --->   connects, too; meanwhile sends wait in a queue
//   send of the body     ~~~ GPU ~~~~>   (only now the head, so that no receive waits for a send that is yet to come)
//   body [number|head]   --- host --->   receive of the body, in the order of the numbers
//   done: `left`                         done: handed over
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/closing.hpp"
#include "backend/gpu_wires.hpp"
#include "backend/transport.hpp"

namespace bubblescope {

/// Every directed pair of processes (and every GPU of a sender) has a wire of its own, made at the first message. Bodies of
/// the host, and parcels without one, pass through. Heads of parcels with bodies on GPUs may be `kMostGpuHead` bytes.
class GpuTransport final : public Transport {
 public:
  static constexpr std::int64_t kMostGpuHead = kMostHead - 64;

  GpuTransport(std::unique_ptr<Transport> host, std::unique_ptr<GpuWires> wires);
  /// Unless it was closed: ends what is under way.
  ~GpuTransport() override;
  GpuTransport(const GpuTransport&) = delete;
  GpuTransport& operator=(const GpuTransport&) = delete;

  std::string name() const override { return host_->name() + " and " + wires_->name(); }
  std::int32_t processes() const override { return host_->processes(); }
  std::int32_t process() const override { return host_->process(); }
  void set_handler(Handler handler) override;
  void send(std::int32_t to, Parcel parcel, std::function<void()> left) override;
  bool poll() override;
  bool busy() const override { return host_->busy() || under_way_.load(std::memory_order_relaxed) > 0; }
  void close() override;
  void abandon() override;

 private:
  class Line;
  struct Outgoing;
  struct Incoming;

  void handle(std::int32_t from, Parcel parcel);
  Outgoing& line_to(std::int32_t to, std::int32_t gpu);
  Incoming& line_from(std::int32_t from, std::int32_t gpu);
  bool move_on();
  void move_on(Outgoing& line);
  void move_on(Incoming& line);
  void send_waiting(Outgoing& line);
  bool tell();
  ParcelTotals exchange_totals(std::int64_t round);
  void disconnect();

  std::unique_ptr<Transport> host_;
  std::unique_ptr<GpuWires> wires_;
  Handler handler_;
  std::mutex mutex_;        ///< guards what follows; who holds it may wait for a wire
  std::mutex lines_mutex_;  ///< is taken besides where lines are added, so that `abandon` can do with this one
  std::map<std::pair<std::int32_t, std::int32_t>, std::unique_ptr<Outgoing>> outgoing_;  ///< by process and own GPU
  std::map<std::pair<std::int32_t, std::int32_t>, std::unique_ptr<Incoming>> incoming_;  ///< by process and its GPU
  std::map<std::pair<std::int64_t, std::int32_t>, ParcelTotals> totals_;  ///< by round and process
  std::deque<std::pair<std::int32_t, Parcel>> arrived_;
  std::deque<std::function<void()>> left_;
  std::string failure_;  ///< of a send; empty: none has failed
  std::atomic<bool> any_lines_{false};
  std::atomic<std::int64_t> under_way_{0};  ///< bodies that are sent or received, or wait for that
  ParcelCounts counts_;
  bool closed_ = false;
  std::atomic_flag polling_;  ///< set while a thread polls
};

}  // namespace bubblescope
