// Sends, posted receives and their completion; the end of MPI.
#include "backend/mpi/mpi_transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "backend/mpi/errors.hpp"
#include "backend/parcel_check.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

constexpr int kHeadTag = 1;
constexpr int kBodyTag = 2;
constexpr std::size_t kSlots = 16;
constexpr int kMostHeadsPerPoll = 64;

/// Begins every message with a head.
struct Sizes {
  std::int64_t body = 0;   ///< bytes; -1: none
  std::int64_t head = 0;
};
constexpr std::int64_t kMostMessage = static_cast<std::int64_t>(sizeof(Sizes)) + Transport::kMostHead + MpiTransport::kMostInline;

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

void pause_after(int idle) {
  if (idle < 100) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

/// Memory that MPI may still read from or write to; others write to it, too, so it must stay.
void keep_forever(void* memory) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<void*>;
  const std::lock_guard lock(mutex);
  kept.push_back(memory);
}

}  // namespace

/// Holds the right to poll, where it was free.
class MpiTransport::Polling {
 public:
  explicit Polling(MpiTransport& transport) : transport_(transport), mine_(!transport.polling_.test_and_set(std::memory_order_acquire)) {}
  ~Polling() {
    if (mine_) transport_.polling_.clear(std::memory_order_release);
  }
  Polling(const Polling&) = delete;
  Polling& operator=(const Polling&) = delete;
  bool mine() const { return mine_; }

 private:
  MpiTransport& transport_;
  bool mine_;
};

MpiTransport::MpiTransport() : started_mpi_(start_mpi()), memory_(std::make_unique<Memory>()) {
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_size(comm_, &processes_), "MPI_Comm_size");
  check_mpi(MPI_Comm_rank(comm_, &process_), "MPI_Comm_rank");
  order_ = std::vector<std::mutex>(at(processes_));
  memory_->slots.resize(kSlots);
  for (Slot& slot : memory_->slots) {
    slot.message.resize(at(kMostMessage));
    check_mpi(MPI_Recv_init(slot.message.data(), static_cast<int>(kMostMessage), MPI_BYTE, MPI_ANY_SOURCE, kHeadTag, comm_, &slot.request), "MPI_Recv_init");
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
  task->requests.clear();
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

/// MPI's status; what was posted is among the task's requests even where it failed.
int MpiTransport::post_sends(Task& task, std::int32_t to, bool is_inline) {
  const std::int64_t body = is_inline ? 0 : task.parcel.bytes;
  const auto* const bytes = static_cast<const std::byte*>(task.parcel.body.get());
  task.requests.reserve(1 + at((body + kPiece - 1) / kPiece));
  const std::lock_guard lock(order_[at(to)]);
  MPI_Request request = MPI_REQUEST_NULL;
  int status = MPI_Isend(task.message.data(), static_cast<int>(task.message.size()), MPI_BYTE, to, kHeadTag, comm_, &request);
  if (status == MPI_SUCCESS) task.requests.push_back(request);
  for (std::int64_t offset = 0; status == MPI_SUCCESS && offset < body; offset += kPiece) {
    status = MPI_Isend(bytes + offset, static_cast<int>(std::min(kPiece, body - offset)), MPI_BYTE, to, kBodyTag, comm_, &request);
    if (status == MPI_SUCCESS) task.requests.push_back(request);
  }
  return status;
}

void MpiTransport::send(std::int32_t to, Parcel parcel, std::function<void()> left) {
  check_parcel(*this, to, parcel);
  const bool is_inline = parcel.bytes <= kMostInline;
  Task* const task = new_task();
  task->from = -1;
  task->parcel = std::move(parcel);
  write_message(*task, is_inline);
  if (is_inline) {
    task->parcel = {};
  } else {
    task->left = std::move(left);
  }
  const int posted = post_sends(*task, to, is_inline);
  sent_.fetch_add(1, std::memory_order_relaxed);
  int complete = 0;
  // Small messages are mostly gone by now.
  if (is_inline && posted == MPI_SUCCESS) check_mpi(MPI_Test(task->requests.data(), &complete, MPI_STATUS_IGNORE), "MPI_Test");
  if (complete != 0) {
    drop(task);
  } else if (!task->requests.empty()) {
    under_way_.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    posted_.push_back(task);
    any_posted_.store(true, std::memory_order_release);
  }
  check_mpi(posted, "MPI_Isend");
  if (is_inline && left) left();
}

bool MpiTransport::poll() {
  const Polling polling(*this);
  if (!polling.mine()) return false;
  bool moved = take_heads();
  if (any_posted_.load(std::memory_order_acquire)) adopt_sends();
  complete_requests();
  moved |= finish_tasks();
  return moved;
}

void MpiTransport::adopt_sends() {
  {
    const std::lock_guard lock(mutex_);
    adopted_.swap(posted_);
    any_posted_.store(false, std::memory_order_relaxed);
  }
  for (Task* const task : adopted_) await(task);
  adopted_.clear();
}

void MpiTransport::await(Task* task) {
  task->open = task->requests.size();
  requests_.insert(requests_.end(), task->requests.begin(), task->requests.end());
  owners_.insert(owners_.end(), task->requests.size(), task);
}

bool MpiTransport::take_heads() {
  for (int taken = 0; taken < kMostHeadsPerPoll; ++taken) {
    Slot& slot = memory_->slots[next_slot_];
    int complete = 0;
    MPI_Status status;
    check_mpi(MPI_Test(&slot.request, &complete, &status), "MPI_Test");
    if (complete == 0) return taken > 0;
    take_head(slot, status);
  }
  return true;
}

void MpiTransport::take_head(Slot& slot, const MPI_Status& status) {
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
  if (is_inline && sizes.body >= 0) {
    auto body = pool_.take(sizes.body);
    std::memcpy(body.get(), head + sizes.head, at(sizes.body));
    parcel.body = std::move(body);
  }
  check_mpi(MPI_Start(&slot.request), "MPI_Start");
  next_slot_ = (next_slot_ + 1) % kSlots;
  if (is_inline) {
    hand_over(status.MPI_SOURCE, std::move(parcel));
  } else {
    receive_body(status.MPI_SOURCE, std::move(parcel));
  }
}

void MpiTransport::receive_body(std::int32_t from, Parcel parcel) {
  auto body = pool_.take(parcel.bytes);
  auto* const bytes = static_cast<std::byte*>(body.get());
  parcel.body = std::move(body);
  Task* const task = new_task();
  task->from = from;
  task->parcel = std::move(parcel);
  under_way_.fetch_add(1, std::memory_order_relaxed);
  for (std::int64_t offset = 0; offset < task->parcel.bytes; offset += kPiece) {
    MPI_Request request = MPI_REQUEST_NULL;
    const auto piece = static_cast<int>(std::min(kPiece, task->parcel.bytes - offset));
    check_mpi(MPI_Irecv(bytes + offset, piece, MPI_BYTE, from, kBodyTag, comm_, &request), "MPI_Irecv");
    task->requests.push_back(request);
  }
  await(task);
}

void MpiTransport::complete_requests() {
  if (requests_.empty()) return;
  complete_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int result = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, complete_.data(), statuses_.data());
  if (result == MPI_ERR_IN_STATUS) {
    for (std::size_t i = 0; i < at(count); ++i) check_mpi(statuses_[i].MPI_ERROR, "MPI_Testsome");
  }
  check_mpi(result, "MPI_Testsome");
  if (count <= 0) return;
  complete_.resize(at(count));
  for (const int index : complete_) {
    Task* const task = owners_[at(index)];
    if (--task->open == 0) finished_.push_back(task);
    owners_[at(index)] = nullptr;
  }
  std::erase(owners_, nullptr);
  std::erase(requests_, MPI_REQUEST_NULL);
}

/// What it calls may throw; the others are for the next poll then.
bool MpiTransport::finish_tasks() {
  const bool any = !finished_.empty();
  while (!finished_.empty()) {
    Task* const task = finished_.front();
    finished_.pop_front();
    finish(task);
  }
  return any;
}

void MpiTransport::finish(Task* task) {
  const std::int32_t from = task->from;
  Parcel parcel = std::move(task->parcel);
  const std::function<void()> left = std::move(task->left);
  drop(task);
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  if (from >= 0) {
    hand_over(from, std::move(parcel));
  } else {
    parcel = {};
    if (left) left();
  }
}

void MpiTransport::hand_over(std::int32_t from, Parcel parcel) {
  handler_(from, std::move(parcel));
  // Only now, so that nothing seems to be over while the handler is about to answer.
  handed_over_.fetch_add(1, std::memory_order_relaxed);
}

void MpiTransport::wait_for(MPI_Request& request) {
  int complete = 0;
  for (int idle = 0; complete == 0; ++idle) {
    if (poll()) idle = 0;
    check_mpi(MPI_Test(&request, &complete, MPI_STATUS_IGNORE), "MPI_Test");
    if (complete == 0) pause_after(idle);
  }
}

/// Everything sent anywhere was handed over, and nothing was sent since the totals `before`.
bool MpiTransport::all_has_come(std::int64_t (&before)[2]) {
  const std::int64_t mine[2] = {handed_over_.load(), sent_.load()};
  std::int64_t all[2] = {0, 0};
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(mine, all, 2, MPI_INT64_T, MPI_SUM, comm_, &request), "MPI_Iallreduce");
  wait_for(request);
  const bool over = all[0] == all[1] && std::equal(all, all + 2, before);
  std::copy(all, all + 2, before);
  return over;
}

void MpiTransport::close() {
  if (closed_) return;
  // Totals are of slightly different times at different processes: only where two rounds agree nothing was between them.
  std::int64_t before[2] = {-1, -1};
  while (!all_has_come(before)) {
  }
  for (int idle = 0; busy(); ++idle) {
    if (poll()) idle = 0;
    pause_after(idle);
  }
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(comm_, &request), "MPI_Ibarrier");
  wait_for(request);
  end_mpi();
}

void MpiTransport::end_mpi() {
  // Never given back: nobody polls any more.
  while (polling_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  closed_ = true;
  for (Slot& slot : memory_->slots) {
    check_mpi(MPI_Cancel(&slot.request), "MPI_Cancel");
    check_mpi(MPI_Wait(&slot.request, MPI_STATUS_IGNORE), "MPI_Wait");
    check_mpi(MPI_Request_free(&slot.request), "MPI_Request_free");
  }
  check_mpi(MPI_Comm_free(&comm_), "MPI_Comm_free");
  if (started_mpi_) check_mpi(MPI_Finalize(), "MPI_Finalize");
}

}  // namespace bubblescope

/// What backend/mpi_loader.cpp looks for; the caller owns it.
extern "C" [[gnu::visibility("default")]] bubblescope::Transport* bubblescope_mpi_transport() { return new bubblescope::MpiTransport; }
