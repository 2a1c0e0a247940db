// Sends, posted receives and their completion; the end of MPI.
#include "backend/mpi/mpi_transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "backend/mpi/errors.hpp"
#include "backend/parcel_check.hpp"
#include "backend/poll_turn.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

constexpr int kTag = 0;
constexpr std::size_t kSlots = 32;

/// Begins every message with a head.
struct Sizes {
  std::int64_t body = 0;   ///< bytes; -1: none
  std::int64_t head = 0;
};
constexpr std::int64_t kMostMessage = static_cast<std::int64_t>(sizeof(Sizes)) + Transport::kMostHead + MpiTransport::kMostInline;

/// So many bytes as one thing.
class Bytes {
 public:
  explicit Bytes(std::int64_t bytes) {
    if (bytes <= MpiTransport::kMostPlain) {
      count_ = static_cast<int>(bytes);
      return;
    }
    constexpr std::int64_t kBlock = std::int64_t{1} << 20;
    MPI_Datatype block = MPI_DATATYPE_NULL;
    check_mpi(MPI_Type_contiguous(static_cast<int>(kBlock), MPI_BYTE, &block), "MPI_Type_contiguous");
    const int lengths[2] = {static_cast<int>(bytes / kBlock), static_cast<int>(bytes % kBlock)};
    const MPI_Aint offsets[2] = {0, static_cast<MPI_Aint>(bytes / kBlock * kBlock)};
    const MPI_Datatype types[2] = {block, MPI_BYTE};
    check_mpi(MPI_Type_create_struct(2, lengths, offsets, types, &type_), "MPI_Type_create_struct");
    check_mpi(MPI_Type_commit(&type_), "MPI_Type_commit");
    check_mpi(MPI_Type_free(&block), "MPI_Type_free");
  }
  /// What is under way keeps its type.
  ~Bytes() {
    if (type_ != MPI_BYTE) MPI_Type_free(&type_);
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  int count() const { return count_; }
  MPI_Datatype type() const { return type_; }

 private:
  int count_ = 1;
  MPI_Datatype type_ = MPI_BYTE;
};

const char* level_name(int level) {
  switch (level) {
    case MPI_THREAD_SINGLE: return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED: return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED: return "MPI_THREAD_SERIALIZED";
    default: return "an unknown level";
  }
}

/// Whether this started it.
bool start_mpi() {
  int ended = 0;
  check_mpi(MPI_Finalized(&ended), "MPI_Finalized");
  if (ended != 0) throw RunError("MPI has ended in this process; it cannot be started again");
  int started = 0;
  check_mpi(MPI_Initialized(&started), "MPI_Initialized");
  int granted = MPI_THREAD_SINGLE;
  if (started != 0) {
    check_mpi(MPI_Query_thread(&granted), "MPI_Query_thread");
  } else {
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &granted), "MPI_Init_thread");
  }
  if (granted != MPI_THREAD_MULTIPLE) {
    throw RunError(fmt::format("MPI granted {}; expected MPI_THREAD_MULTIPLE, since several threads send: use an MPI that is built with it", level_name(granted)));
  }
  return started == 0;
}

/// Memory that MPI may still read from or write to; others write to it, too, so it must stay.
void keep_forever(void* memory) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<void*>;
  const std::lock_guard lock(mutex);
  kept.push_back(memory);
}

}  // namespace

MpiTransport::MpiTransport() : started_mpi_(start_mpi()), memory_(std::make_unique<Memory>()) {
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  for (MPI_Comm* const comm : {&heads_, &bodies_}) {
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, comm), "MPI_Comm_dup");
    check_mpi(MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  check_mpi(MPI_Comm_size(heads_, &processes_), "MPI_Comm_size");
  check_mpi(MPI_Comm_rank(heads_, &process_), "MPI_Comm_rank");
  order_ = std::vector<std::mutex>(at(processes_));
  memory_->slots.resize(kSlots);
  for (Slot& slot : memory_->slots) {
    slot.message.resize(at(kMostMessage));
    check_mpi(MPI_Recv_init(slot.message.data(), static_cast<int>(kMostMessage), MPI_BYTE, MPI_ANY_SOURCE, kTag, heads_, &slot.request), "MPI_Recv_init");
    check_mpi(MPI_Start(&slot.request), "MPI_Start");
  }
}

MpiTransport::~MpiTransport() {
  if (!closed_) keep_forever(memory_.release());
}

MpiTransport::Task* MpiTransport::new_task() {
  const std::lock_guard lock(mutex_);
  if (unused_.empty()) return &memory_->tasks.emplace_back();
  Task* const task = unused_.back();
  unused_.pop_back();
  return task;
}

void MpiTransport::drop(Task* task) {
  task->parcel = {};
  task->left = nullptr;
  const std::lock_guard lock(mutex_);
  unused_.push_back(task);
}

void MpiTransport::write_message(Task& task, bool is_inline) const {
  const Parcel& parcel = task.parcel;
  const Sizes sizes{parcel.body ? parcel.bytes : -1, static_cast<std::int64_t>(parcel.head.size())};
  task.message.resize(sizeof sizes + parcel.head.size() + (is_inline ? at(parcel.bytes) : 0));
  std::byte* const out = task.message.data();
  std::memcpy(out, &sizes, sizeof sizes);
  std::memcpy(out + sizeof sizes, parcel.head.data(), parcel.head.size());
  if (is_inline && parcel.bytes > 0) std::memcpy(out + sizeof sizes + parcel.head.size(), parcel.body.get(), at(parcel.bytes));
}

void MpiTransport::send(std::int32_t to, Parcel parcel, std::function<void()> left) {
  check_parcel(*this, to, parcel);
  Task* const task = new_task();
  task->from = -1;
  task->parcel = std::move(parcel);
  counts_.count_sent();
  if (task->parcel.bytes <= kMostInline) {
    send_small(task, to);
    if (left) left();
  } else {
    task->left = std::move(left);
    send_large(task, to);
  }
}

void MpiTransport::send_small(Task* task, std::int32_t to) {
  write_message(*task, true);
  task->parcel = {};
  task->open = 1;
  MPI_Request request = MPI_REQUEST_NULL;
  {
    const std::lock_guard lock(order_[at(to)]);
    check_mpi(MPI_Isend(task->message.data(), static_cast<int>(task->message.size()), MPI_BYTE, to, kTag, heads_, &request), "MPI_Isend");
  }
  int complete = 0;
  check_mpi(MPI_Test(&request, &complete, MPI_STATUS_IGNORE), "MPI_Test");
  if (complete != 0) return drop(task);  // mostly
  under_way_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  posted_.push_back({request, task});
  any_posted_.store(true, std::memory_order_release);
}

void MpiTransport::send_large(Task* task, std::int32_t to) {
  under_way_.fetch_add(1, std::memory_order_relaxed);
  task->open = 2;
  MPI_Request head = MPI_REQUEST_NULL;
  MPI_Request body = MPI_REQUEST_NULL;
  {
    const std::lock_guard lock(order_[at(to)]);
    write_message(*task, false);
    check_mpi(MPI_Isend(task->message.data(), static_cast<int>(task->message.size()), MPI_BYTE, to, kTag, heads_, &head), "MPI_Isend");
    const Bytes bytes(task->parcel.bytes);
    check_mpi(MPI_Isend(task->parcel.body.get(), bytes.count(), bytes.type(), to, kTag, bodies_, &body), "MPI_Isend");
  }
  int complete = 0;
  check_mpi(MPI_Test(&head, &complete, MPI_STATUS_IGNORE), "MPI_Test");
  if (complete != 0) task->open = 1;
  const std::lock_guard lock(mutex_);
  if (complete == 0) posted_.push_back({head, task});
  posted_.push_back({body, task});
  any_posted_.store(true, std::memory_order_release);
}

bool MpiTransport::poll() {
  const PollTurn turn(polling_);
  if (!turn.mine()) return false;
  adopt_sends();
  if (used_slots_ == kSlots) post_slots();  // handlers have thrown
  const bool moved = move_on();
  // Otherwise when there is nothing better to do.
  if (!moved || used_slots_ > kSlots / 2) post_slots();
  return moved;
}

/// Asks MPI once for everything: an answer that nothing is complete costs it a look at all its networks.
bool MpiTransport::move_on() {
  requests_[0] = memory_->slots[next_slot_].request;
  complete_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  if (requests_.size() == 1) {
    complete_[0] = 0;
    check_mpi(MPI_Test(requests_.data(), &count, statuses_.data()), "MPI_Test");
  } else {
    const int result = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, complete_.data(), statuses_.data());
    for (std::size_t i = 0; result == MPI_ERR_IN_STATUS && i < at(count); ++i) check_mpi(statuses_[i].MPI_ERROR, "MPI_Testsome");
    check_mpi(result, "MPI_Testsome");
  }
  complete_.resize(at(std::max(count, 0)));  // MPI_UNDEFINED is negative
  const bool any = !complete_.empty() || !finished_.empty();
  const auto head = std::find(complete_.begin(), complete_.end(), 0);
  if (requests_.size() > 1 && !complete_.empty()) sort_out();
  if (head != complete_.end()) take_head(statuses_[at(head - complete_.begin())]);
  finish_tasks();
  return any;
}

/// Takes what is complete off the lists.
void MpiTransport::sort_out() {
  for (const int which : complete_) {
    if (which == 0) continue;
    Task* const task = std::exchange(owners_[at(which)], nullptr);
    if (--task->open == 0) finished_.push_back(task);
  }
  std::size_t kept = 1;
  for (std::size_t i = 1; i < owners_.size(); ++i) {
    if (owners_[i] == nullptr) continue;
    requests_[kept] = requests_[i];
    owners_[kept++] = owners_[i];
  }
  requests_.resize(kept);
  owners_.resize(kept);
}

void MpiTransport::adopt_sends() {
  if (!any_posted_.load(std::memory_order_acquire)) return;
  {
    const std::lock_guard lock(mutex_);
    adopted_.swap(posted_);
    any_posted_.store(false, std::memory_order_relaxed);
  }
  for (const Posted& posted : adopted_) await(posted);
  adopted_.clear();
}

void MpiTransport::await(const Posted& posted) {
  requests_.push_back(posted.request);
  owners_.push_back(posted.task);
}

void MpiTransport::post_slots() {
  for (; used_slots_ > 0; --used_slots_) {
    Slot& slot = memory_->slots[(next_slot_ + kSlots - used_slots_) % kSlots];
    check_mpi(MPI_Start(&slot.request), "MPI_Start");
  }
}

void MpiTransport::take_head(MPI_Status status) {
  const Slot& slot = memory_->slots[next_slot_];
  next_slot_ = (next_slot_ + 1) % kSlots;
  ++used_slots_;
  int count = 0;
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
  Sizes sizes;
  std::memcpy(&sizes, slot.message.data(), sizeof sizes);
  const bool is_inline = sizes.body <= kMostInline;
  const std::int64_t small = is_inline ? std::max<std::int64_t>(sizes.body, 0) : 0;
  if (count != static_cast<std::int64_t>(sizeof sizes) + sizes.head + small) {
    throw RunError(fmt::format("process {} sent a message of {} bytes that says otherwise of itself; do all processes run the same build?", status.MPI_SOURCE, count));
  }
  const std::byte* const head = slot.message.data() + sizeof sizes;
  Parcel parcel{std::string(reinterpret_cast<const char*>(head), at(sizes.head)), nullptr, std::max<std::int64_t>(sizes.body, 0)};
  if (!is_inline) return receive_body(status.MPI_SOURCE, std::move(parcel));
  if (sizes.body >= 0) {
    auto body = pool_.take(sizes.body);
    std::memcpy(body.get(), head + sizes.head, at(sizes.body));
    parcel.body = std::move(body);
  }
  counts_.hand_over(handler_, status.MPI_SOURCE, std::move(parcel));
}

void MpiTransport::receive_body(std::int32_t from, Parcel parcel) {
  const Bytes bytes(parcel.bytes);
  auto body = pool_.take(parcel.bytes);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(body.get(), bytes.count(), bytes.type(), from, kTag, bodies_, &request), "MPI_Irecv");
  parcel.body = std::move(body);
  int complete = 0;
  check_mpi(MPI_Test(&request, &complete, MPI_STATUS_IGNORE), "MPI_Test");
  if (complete != 0) return counts_.hand_over(handler_, from, std::move(parcel));
  under_way_.fetch_add(1, std::memory_order_relaxed);
  Task* const task = new_task();
  task->parcel = std::move(parcel);
  task->from = from;
  task->open = 1;
  await({request, task});
}

/// What it calls may throw; the others are for the next poll then.
void MpiTransport::finish_tasks() {
  while (!finished_.empty()) {
    Task* const task = finished_.front();
    finished_.pop_front();
    finish(task);
  }
}

void MpiTransport::finish(Task* task) {
  const std::int32_t from = task->from;
  Parcel parcel = std::move(task->parcel);
  const std::function<void()> left = std::move(task->left);
  drop(task);
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  if (from >= 0) {
    counts_.hand_over(handler_, from, std::move(parcel));
  } else {
    parcel = {};
    if (left) left();
  }
}

void MpiTransport::wait_for(MPI_Request& request) {
  poll_until(*this, kClosePatience, [&] {
    int complete = 0;
    check_mpi(MPI_Test(&request, &complete, MPI_STATUS_IGNORE), "MPI_Test");
    return complete != 0;
  });
}

ParcelTotals MpiTransport::exchange_totals() {
  static_assert(sizeof(ParcelTotals) == 2 * sizeof(std::int64_t));
  memory_->own_totals = counts_.totals();
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(&memory_->own_totals, &memory_->all_totals, 2, MPI_INT64_T, MPI_SUM, heads_, &request), "MPI_Iallreduce");
  wait_for(request);
  return memory_->all_totals;
}

void MpiTransport::close() {
  if (closed_) return;
  await_all_parcels(kClosePatience, [this] { return exchange_totals(); });
  poll_until(*this, kClosePatience, [this] { return !busy(); });
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(heads_, &request), "MPI_Ibarrier");
  wait_for(request);
  end_mpi();
}

void MpiTransport::end_mpi() {
  PollTurn::keep(polling_);
  post_slots();
  for (Slot& slot : memory_->slots) {
    check_mpi(MPI_Cancel(&slot.request), "MPI_Cancel");
    check_mpi(MPI_Wait(&slot.request, MPI_STATUS_IGNORE), "MPI_Wait");
    check_mpi(MPI_Request_free(&slot.request), "MPI_Request_free");
  }
  closed_ = true;  // only now MPI writes to no memory of this
  const EndInTime in_time("MPI", process());
  for (MPI_Comm* const comm : {&heads_, &bodies_}) check_mpi(MPI_Comm_free(comm), "MPI_Comm_free");
  if (started_mpi_) check_mpi(MPI_Finalize(), "MPI_Finalize");
}

}  // namespace bubblescope

/// What backend/mpi_loader.cpp looks for; the caller owns it.
extern "C" [[gnu::visibility("default")]] bubblescope::Transport* bubblescope_mpi_transport() { return new bubblescope::MpiTransport; }
