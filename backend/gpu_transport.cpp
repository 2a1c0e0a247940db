// Lines from GPU to GPU: connecting, keeping the order, completion, and the end.
#include "backend/gpu_transport.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <future>
#include <thread>
#include <type_traits>

#include "backend/fields.hpp"
#include "backend/parcel_check.hpp"
#include "backend/poll_turn.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

/// Begins the heads that are this transport's own; the next byte says what they are.
constexpr char kMark = '\xb5';
enum class Says : std::uint8_t {
  plain,    ///< the rest is a head that begins with the mark by chance
  connect,  ///< the sender's GPU, the wire's id
  body,     ///< the sender's GPU, number, bytes; the parcel's head
  totals,   ///< round, totals
};

/// For what cannot be told to end.
constexpr auto kPatience = std::chrono::seconds(2);

FieldsOut begin(Says says) {
  FieldsOut head;
  head.add(kMark).add(says);
  return head;
}

}  // namespace

/// A wire that connects on a thread.
class GpuTransport::Line {
 public:
  Line(std::string between, std::unique_ptr<GpuWire> wire) : between_(std::move(between)), state_(std::make_shared<State>()) {
    state_->wire = std::move(wire);
    thread_ = std::thread([state = state_] {
      std::exception_ptr failure;
      try {
        state->wire->connect();
      } catch (...) {
        failure = std::current_exception();
      }
      const std::lock_guard lock(state->mutex);
      state->failure = failure;
      state->ready = true;
      state->changed.notify_all();
    });
  }
  ~Line() {
    if (!disconnected_) abort();
    std::unique_lock lock(state_->mutex);
    // The thread keeps what it uses.
    const bool ready = state_->changed.wait_for(lock, kPatience, [this] { return state_->ready; });
    lock.unlock();
    ready ? thread_.join() : thread_.detach();
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  /// Whether it can be used.
  bool is_connected() {
    const std::lock_guard lock(state_->mutex);
    if (state_->failure) in_words([&] { std::rethrow_exception(state_->failure); });
    return state_->ready;
  }
  /// Calls `work` with the wire; what that throws says between whom.
  template <class Work>
  std::invoke_result_t<Work, GpuWire&> with(const Work& work) const {
    return in_words([&] { return work(*state_->wire); });
  }
  void disconnect() {
    with([](GpuWire& wire) { wire.disconnect(); });
    disconnected_ = true;
  }
  void abort() noexcept { state_->wire->abort(); }

 private:
  struct State {
    std::unique_ptr<GpuWire> wire;
    std::mutex mutex;
    std::condition_variable changed;
    bool ready = false;
    std::exception_ptr failure;
  };

  template <class Work>
  std::invoke_result_t<Work> in_words(const Work& work) const {
    try {
      return work();
    } catch (const std::exception& error) {
      throw RunError(fmt::format("{}: {}", between_, error.what()));
    }
  }

  std::string between_;
  std::shared_ptr<State> state_;
  bool disconnected_ = false;
  std::thread thread_;
};

struct GpuTransport::Outgoing {
  struct Body {
    Parcel parcel;
    std::function<void()> left;
    std::shared_ptr<void> given;
  };
  std::int32_t to = 0, gpu = 0;
  std::unique_ptr<Line> line;
  std::deque<Body> waiting;    ///< for the connection
  std::deque<Body> under_way;
  std::int64_t begun = 0, done = 0;
};

struct GpuTransport::Incoming {
  std::int32_t from = 0;
  std::unique_ptr<Line> line;  ///< null: a head came before the connect
  std::map<std::int64_t, Parcel> heads;  ///< by number, with the bytes of their bodies
  std::deque<Parcel> under_way;
  std::int64_t begun = 0, done = 0;
};

GpuTransport::GpuTransport(std::unique_ptr<Transport> host, std::unique_ptr<GpuWires> wires) : host_(std::move(host)), wires_(std::move(wires)) {
  host_->set_handler([this](std::int32_t from, Parcel parcel) { handle(from, std::move(parcel)); });
}

GpuTransport::~GpuTransport() {
  if (!closed_) abandon();
}

void GpuTransport::set_handler(Handler handler) { handler_ = std::move(handler); }

void GpuTransport::send(std::int32_t to, Parcel parcel, std::function<void()> left) {
  if (parcel.gpu < 0) {
    if (parcel.head.starts_with(kMark)) parcel.head.insert(0, begin(Says::plain).take());
    check_parcel(*this, to, parcel);
    counts_.count_sent();
    return host_->send(to, std::move(parcel), std::move(left));
  }
  check_receiver(*this, to);
  if (static_cast<std::int64_t>(parcel.head.size()) > kMostGpuHead) throw RunError(fmt::format("the head of a parcel has {} bytes; at most {} are sent with a body on a GPU", parcel.head.size(), kMostGpuHead));
  if (parcel.bytes <= 0 || !parcel.body) throw RunError(fmt::format("a parcel with {} bytes on GPU {} has no body there", parcel.bytes, parcel.gpu));
  const std::int32_t gpu = parcel.gpu;
  auto given = wires_->given(gpu);
  const std::lock_guard lock(mutex_);
  Outgoing& line = line_to(to, gpu);
  under_way_.fetch_add(1, std::memory_order_relaxed);
  counts_.count_sent();
  line.waiting.push_back({std::move(parcel), std::move(left), std::move(given)});
  if (line.line->is_connected()) send_waiting(line);
}

GpuTransport::Outgoing& GpuTransport::line_to(std::int32_t to, std::int32_t gpu) {
  const std::pair key(to, gpu);
  if (const auto known = outgoing_.find(key); known != outgoing_.end()) return *known->second;
  const std::string id = wires_->new_id();
  auto made = std::make_unique<Outgoing>();
  made->to = to;
  made->gpu = gpu;
  made->line = std::make_unique<Line>(fmt::format("{} from process {} to process {}", wires_->name(), process(), to), wires_->outgoing(id, gpu));
  host_->send(to, {begin(Says::connect).add(gpu).add(id).take(), nullptr, 0}, {});
  any_lines_ = true;
  const std::lock_guard lock(lines_mutex_);
  return *outgoing_.emplace(key, std::move(made)).first->second;
}

GpuTransport::Incoming& GpuTransport::line_from(std::int32_t from, std::int32_t gpu) {
  const std::lock_guard lock(lines_mutex_);
  auto& known = incoming_[{from, gpu}];
  if (!known) known = std::make_unique<Incoming>();
  known->from = from;
  return *known;
}

/// What fails here has been counted already, and the other end waits for it: all that this can do is to fail whenever it is polled.
void GpuTransport::send_waiting(Outgoing& line) {
  try {
    while (!line.waiting.empty()) {
      Outgoing::Body body = std::move(line.waiting.front());
      line.waiting.pop_front();
      line.line->with([&](GpuWire& wire) { wire.send(body.parcel, body.given); });
      host_->send(line.to, {begin(Says::body).add(line.gpu).add(line.begun++).add(body.parcel.bytes).take() + body.parcel.head, nullptr, 0}, {});
      line.under_way.push_back(std::move(body));
    }
  } catch (const std::exception& error) {
    failure_ = error.what();
    throw;
  }
}

void GpuTransport::handle(std::int32_t from, Parcel parcel) {
  if (!parcel.head.starts_with(kMark)) return counts_.hand_over(handler_, from, std::move(parcel));
  const std::string head = std::move(parcel.head);
  FieldsIn fields(head);
  fields.get<char>();
  switch (fields.get<Says>()) {
    case Says::plain:
      parcel.head = fields.rest();
      return counts_.hand_over(handler_, from, std::move(parcel));
    case Says::connect: {
      const auto gpu = fields.get<std::int32_t>();
      const auto id = fields.get<std::string>();
      const std::lock_guard lock(mutex_);
      Incoming& known = line_from(from, gpu);
      auto made = std::make_unique<Line>(fmt::format("{} from process {} to process {}", wires_->name(), from, process()), wires_->incoming(id));
      const std::lock_guard lines(lines_mutex_);
      known.line = std::move(made);
      any_lines_ = true;
      return;
    }
    case Says::body: {
      const auto gpu = fields.get<std::int32_t>();
      const auto number = fields.get<std::int64_t>();
      const auto bytes = fields.get<std::int64_t>();
      const std::lock_guard lock(mutex_);
      line_from(from, gpu).heads[number] = {std::string(fields.rest()), nullptr, bytes};
      under_way_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    case Says::totals: {
      const auto round = fields.get<std::int64_t>();
      const std::lock_guard lock(mutex_);
      totals_[{round, from}] = fields.get<ParcelTotals>();
      return;
    }
  }
  throw RunError(fmt::format("process {} sent something that is no parcel; do all processes run the same build?", from));
}

bool GpuTransport::poll() {
  const PollTurn turn(polling_);
  if (!turn.mine()) return false;
  bool moved = host_->poll();
  if (any_lines_.load(std::memory_order_acquire)) moved |= move_on();
  return moved;
}

bool GpuTransport::move_on() {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw RunError(failure_);
    for (const auto& [key, line] : outgoing_) move_on(*line);
    for (const auto& [key, line] : incoming_) move_on(*line);
  }
  return tell();
}

void GpuTransport::move_on(Outgoing& line) {
  if (line.under_way.empty() && line.waiting.empty()) return;
  if (!line.line->is_connected()) return;
  send_waiting(line);
  for (const std::int64_t done = line.line->with([](GpuWire& wire) { return wire.done(); }); line.done < done; ++line.done) {
    if (line.under_way.front().left) left_.push_back(std::move(line.under_way.front().left));
    line.under_way.pop_front();
    under_way_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void GpuTransport::move_on(Incoming& line) {
  if (!line.line || (line.under_way.empty() && line.heads.empty()) || !line.line->is_connected()) return;
  for (auto next = line.heads.begin(); next != line.heads.end() && next->first == line.begun; next = line.heads.erase(next), ++line.begun) {
    Parcel received = line.line->with([&](GpuWire& wire) { return wire.receive(next->second.bytes); });
    received.head = std::move(next->second.head);
    line.under_way.push_back(std::move(received));
  }
  for (const std::int64_t done = line.line->with([](GpuWire& wire) { return wire.done(); }); line.done < done; ++line.done) {
    arrived_.emplace_back(line.from, std::move(line.under_way.front()));
    line.under_way.pop_front();
    under_way_.fetch_sub(1, std::memory_order_relaxed);
  }
}

/// Calls the handler and `left` for what is done. They may throw; the others are for the next poll then.
bool GpuTransport::tell() {
  bool any = false;
  for (;; any = true) {
    std::function<void()> left;
    std::pair<std::int32_t, Parcel> arrived{-1, {}};
    {
      const std::lock_guard lock(mutex_);
      if (!left_.empty()) {
        left = std::move(left_.front());
        left_.pop_front();
      } else if (!arrived_.empty()) {
        arrived = std::move(arrived_.front());
        arrived_.pop_front();
      } else {
        return any;
      }
    }
    if (left) {
      left();
    } else {
      counts_.hand_over(handler_, arrived.first, std::move(arrived.second));
    }
  }
}

ParcelTotals GpuTransport::exchange_totals(std::int64_t round) {
  ParcelTotals all = counts_.totals();
  const std::string head = begin(Says::totals).add(round).add(all).take();
  for (std::int32_t p = 0; p < processes(); ++p) {
    if (p != process()) host_->send(p, {head, nullptr, 0}, {});
  }
  for (std::int32_t p = 0; p < processes(); ++p) {
    if (p == process()) continue;
    poll_until(*this, kClosePatience, [&] {
      const std::lock_guard lock(mutex_);
      const auto found = totals_.find({round, p});
      if (found == totals_.end()) return false;
      all.handed_over += found->second.handed_over;
      all.sent += found->second.sent;
      totals_.erase(found);
      return true;
    });
  }
  return all;
}

/// Both ends of a line at the same time: everybody in the same order. The host is polled meanwhile, since what it was given last
/// may still be on its way to somebody who has not come here yet.
void GpuTransport::disconnect() {
  std::map<std::array<std::int32_t, 3>, Line*> lines;  // by sender, receiver and GPU
  for (const auto& [key, line] : outgoing_) lines[{process(), key.first, key.second}] = line->line.get();
  for (const auto& [key, line] : incoming_) lines[{key.first, process(), key.second}] = line->line.get();
  if (lines.empty()) return;
  const EndInTime in_time(wires_->name(), process());
  auto done = std::async(std::launch::async, [&lines] {
    for (const auto& [key, line] : lines) line->disconnect();
  });
  while (done.wait_for(std::chrono::microseconds(50)) != std::future_status::ready) poll();
  done.get();
}

void GpuTransport::close() {
  if (closed_) return;
  std::int64_t round = 0;
  await_all_parcels(kClosePatience, [&] { return exchange_totals(round++); });
  poll_until(*this, kClosePatience, [this] { return !busy(); });
  disconnect();
  host_->close();
  PollTurn::keep(polling_);
  closed_ = true;
}

/// Takes no mutex that somebody holds who waits for a wire, which only this may end.
void GpuTransport::abandon() {
  host_->abandon();
  const std::lock_guard lock(lines_mutex_);
  wires_->together([this] {
    for (const auto& [key, line] : outgoing_) line->line->abort();
    for (const auto& [key, line] : incoming_) {
      if (line->line) line->line->abort();
    }
  });
}

}  // namespace bubblescope
