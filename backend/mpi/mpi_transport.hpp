// Parcels over MPI. A head and a body of up to 4 KiB are one message; a larger body is a message of its own, from the
// sender's memory into a pooled buffer.
//
//   process 0                                     process 1
//   send: Isend [sizes|head]  ---- heads_ ----->  poll: one of the posted receives, taken in the order posted
//         Isend body          ---- bodies_ ---->        Irecv into a buffer of the size that the head tells
//
// MPI keeps the order of each sender's messages and of the receives posted for it, so each body meets its own receive.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/buffer_pool.hpp"
#include "backend/closing.hpp"
#include "backend/transport.hpp"

namespace bubblescope {

/// One in a process. Where it goes without `close`, MPI is left as it is and nothing is waited for.
class MpiTransport final : public Transport {
 public:
  /// Bodies up to this travel with the head.
  static constexpr std::int64_t kMostInline = 4096;
  /// MPI counts with an int: more than this is sent as one thing of a type made for it.
  static constexpr std::int64_t kMostPlain = std::int64_t{64} << 20;

  /// Starts MPI unless it runs. Throws RunError where it does not let all threads call it.
  MpiTransport();
  ~MpiTransport() override;
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  std::string name() const override { return "MPI"; }
  std::int32_t processes() const override { return processes_; }
  std::int32_t process() const override { return process_; }
  void set_handler(Handler handler) override { handler_ = std::move(handler); }
  void send(std::int32_t to, Parcel parcel, std::function<void()> left) override;
  bool poll() override;
  bool busy() const override { return under_way_.load(std::memory_order_relaxed) > 0; }
  /// Also ends MPI where this started it; nothing can be sent in this process afterwards.
  void close() override;

 private:
  /// A parcel that is being sent, or whose body is being received, and the memory MPI uses meanwhile.
  struct Task {
    Parcel parcel;
    std::function<void()> left;
    std::vector<std::byte> message;  ///< its sizes and head, and a small body
    std::int32_t from = -1;  ///< received: whose it is; -1: sent
    std::int32_t open = 0;   ///< requests that are not complete
  };
  struct Posted {
    MPI_Request request;
    Task* task;
  };
  /// A receive that is posted for heads.
  struct Slot {
    std::vector<std::byte> message;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  struct Memory {
    std::deque<Task> tasks;
    std::vector<Slot> slots;
    ParcelTotals own_totals, all_totals;
  };

  Task* new_task();
  void drop(Task* task);
  void write_message(Task& task, bool is_inline) const;
  void send_small(Task* task, std::int32_t to);
  void send_large(Task* task, std::int32_t to);
  void adopt_sends();
  void await(const Posted& posted);
  bool move_on();
  void sort_out();
  void take_head(MPI_Status status);
  void receive_body(std::int32_t from, Parcel parcel);
  void post_slots();
  void finish_tasks();
  void finish(Task* task);
  void wait_for(MPI_Request& request);
  ParcelTotals exchange_totals();
  void end_mpi();

  MPI_Comm heads_ = MPI_COMM_NULL;
  MPI_Comm bodies_ = MPI_COMM_NULL;
  std::int32_t processes_ = 1;
  std::int32_t process_ = 0;
  bool started_mpi_ = false;
  Handler handler_;
  BufferPool pool_;
  std::unique_ptr<Memory> memory_;
  std::vector<std::mutex> order_;  ///< by destination: a body follows its head
  bool closed_ = false;
  std::atomic<std::int64_t> under_way_{0};
  ParcelCounts counts_;

  std::mutex mutex_;           ///< guards tasks of `memory_` and the next two
  std::vector<Task*> unused_;
  std::vector<Posted> posted_;  ///< sends that the polling thread has not seen
  std::atomic<bool> any_posted_{false};

  std::atomic_flag polling_;   ///< set while a thread polls, which alone uses what follows
  std::size_t next_slot_ = 0;  ///< the one posted first
  std::size_t used_slots_ = 0;  ///< before it, which are not posted again yet
  std::vector<MPI_Request> requests_{MPI_REQUEST_NULL};  ///< all that is asked for; the first one is of the next slot
  std::vector<Task*> owners_{nullptr};                   ///< of the requests
  std::vector<int> complete_;
  std::vector<MPI_Status> statuses_;
  std::deque<Task*> finished_;
  std::vector<Posted> adopted_;
};

}  // namespace bubblescope
