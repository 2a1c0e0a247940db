// Collectives, sessions and clocks, over parcels.
#include "backend/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "backend/fields.hpp"
#include "backend/lifeline_meeting.hpp"

namespace bubblescope {
namespace {

/// What a parcel is for; the first byte of its head.
enum class For : std::uint8_t {
  collective,  ///< its number; the bytes
  session,     ///< number of the session; then the session's own head
  clock_ask,   ///< process 0's clock
  clock_say,   ///< ... given back, and the clock of who was asked
};

constexpr std::size_t kBurst = 40;  ///< questions about the clock in a row
constexpr Nanos kClockPeriod = 100 * kMillisecond;
constexpr Nanos kPollsBeforeSleep = 2 * kMillisecond;  ///< that who waits polls without a break
constexpr Nanos kShortSleep = 30 * kMicrosecond;
constexpr Nanos kLongSleep = kMillisecond;  ///< while nobody waits; each waking costs a rank 10 us and more
constexpr Nanos kSlowerBy = 4;              ///< pauses are so small a part of the time since something moved
constexpr Nanos kGrace = 3 * kSecond;  ///< for the lifeline, to say which process is lost where the transport fails

}  // namespace

RankRange ranks_of_process(std::int32_t process, std::int32_t processes, std::int32_t ranks) {
  if (processes < 1 || ranks % processes != 0) {
    std::string even;
    for (std::int32_t p = 1; p <= ranks; ++p) {
      if (ranks % p == 0) even += fmt::format("{}{}", even.empty() ? "" : ", ", p);
    }
    throw InputError(fmt::format("{} ranks cannot be shared evenly among {} processes; expected one of {} processes", ranks, processes, even));
  }
  const std::int32_t each = ranks / processes;
  return {process * each, (process + 1) * each};
}

std::int32_t process_of_rank(Rank rank, std::int32_t processes, std::int32_t ranks) { return rank / (ranks / processes); }

World::World(std::unique_ptr<Transport> transport) : transport_(std::move(transport)), clocks_(static_cast<std::size_t>(transport_->processes())) {
  transport_->set_handler([this](std::int32_t from, Parcel parcel) { handle(from, std::move(parcel)); });
  mover_ = std::thread([this] { move_on(); });
}

World::~World() {
  // Whoever comes here first must not be missed by those who are still on their way.
  if (!lost() && !ended_early_) {
    try {
      barrier();
      if (lifeline_) lifeline_->leave();
    } catch (const std::exception& error) {
      lose(error.what());
    }
  }
  if (lifeline_ && lost()) lifeline_->leave(why_lost());  // the others may not know
  ends_ = true;
  mover_.join();
  lifeline_.reset();
  if (lost() || ended_early_) return;
  try {
    transport_->close();
  } catch (const std::exception&) {  // the others have gone: nothing is left to be said to them
  }
}

void World::watch(std::string name, LifelineOptions options) {
  if (processes() < 2) return;
  try {
    lifeline_ = std::make_unique<Lifeline>(process(), processes(), std::move(name), [this](std::string mine) { return broadcast(std::move(mine)); }, [this](std::string why) { lose(std::move(why)); }, options);
  } catch (...) {
    ended_early_ = true;  // some of the others may go on; they are not to be waited for
    throw;
  }
  has_lifeline_ = true;
}

World::Activity::Activity(World* world, Lifeline::State state) : world_(world) {
  if (world_ != nullptr) world_->set_state_source(std::move(state));
}

World::Activity::~Activity() {
  if (world_ != nullptr) world_->set_state_source([] { return std::string("it was between two executions"); });
}

void World::set_state_source(Lifeline::State state) {
  if (lifeline_) lifeline_->set_state_source(std::move(state));
}

void World::end_early(const std::string& why, bool refused) {
  ended_early_ = true;
  if (lifeline_) lifeline_->leave(why, refused);  // does nothing where it has lost somebody itself
}

void World::move_on() {
  use_exact_timers();
  Nanos asked = steady_now(), next_pause = kShortSleep;
  while (!ends_.load() && !lost()) {
    try {
      const bool moved = poll();
      if (watching_ && first() && steady_now() - asked > kClockPeriod) {
        asked = steady_now();
        for (std::int32_t p = 1; p < processes(); ++p) ask_clock(p);
      }
      next_pause = moved ? kShortSleep : pause(next_pause);
    } catch (const std::exception& error) {
      give_up(error.what());
    }
  }
  if (lost()) transport_->abandon();
}

/// Returns how long the next one may be.
Nanos World::pause(Nanos longest) {
  std::unique_lock lock(hurry_mutex_);
  if (waiters_ > 0) longest = kShortSleep;
  const bool hurried = hurry_.wait_for(lock, std::chrono::nanoseconds(longest), [this] { return hurried_; });
  hurried_ = false;
  return hurried ? kShortSleep : std::min(longest + longest / kSlowerBy, kLongSleep);
}

void World::hurry() {
  {
    const std::lock_guard lock(hurry_mutex_);
    hurried_ = true;
  }
  hurry_.notify_one();
}

void World::attend(int more) {
  waiters_ += more;
  if (more > 0) hurry();
}

bool World::poll() {
  check();
  if (fails_.load(std::memory_order_acquire)) return false;
  try {
    if (any_unsent_.exchange(false)) {
      const std::lock_guard lock(mutex_);
      throw RunError(unsent_);
    }
    const bool moved = transport_->poll();
    return tell_left() || moved;
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

/// Where a process is killed its connections end at once; the lifeline says a little later which one it was.
void World::give_up(std::string why) {
  fails_.store(true, std::memory_order_release);
  for (const Nanos until = steady_now() + (has_lifeline_ ? kGrace : 0); !lost() && steady_now() < until;) wait_until(steady_now() + kMillisecond);
  lose(std::move(why));
}

void World::fail(std::string why) {
  give_up(std::move(why));
  throw LostError(why_lost());
}

void World::wait(const std::function<bool()>& ready) {
  Nanos until = steady_now() + kPollsBeforeSleep;
  while (!ready()) {
    if (poll()) until = steady_now() + kPollsBeforeSleep;
    if (steady_now() > until) wait_until(steady_now() + kShortSleep);
  }
}

void World::lose(std::string why) {
  const std::lock_guard handling(handling_);
  std::vector<std::function<void()>> to_tell;
  {
    const std::lock_guard lock(mutex_);
    if (lost()) return;
    why_ = std::move(why);
    lost_.store(true, std::memory_order_release);
    for (const auto& [number, session] : session_) {
      if (session.open) to_tell.push_back(session.lost);
    }
  }
  for (const auto& tell : to_tell) tell();
}

std::string World::why_lost() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

void World::check() const {
  if (lost()) throw LostError(why_lost());
}

void World::handle(std::int32_t from, Parcel parcel) {
  const std::string head = std::move(parcel.head);
  FieldsIn fields(head);
  switch (fields.get<For>()) {
    case For::collective: {
      const auto number = fields.get<std::int64_t>();
      parcel.head = fields.rest();
      return handle_collective(from, number, parcel);
    }
    case For::session: {
      const auto number = fields.get<std::int64_t>();
      parcel.head = fields.rest();
      return handle_session(from, number, parcel);
    }
    case For::clock_ask: {
      const auto asked = fields.get<Nanos>();
      transport_->send(from, {FieldsOut().add(For::clock_say).add(asked).add(steady_now()).take(), nullptr, 0});
      return;
    }
    case For::clock_say: {
      const auto asked = fields.get<Nanos>();
      const auto theirs = fields.get<Nanos>();
      const Nanos now = steady_now();
      const Nanos middle = asked + (now - asked) / 2;
      const std::lock_guard lock(mutex_);
      clocks_[static_cast<std::size_t>(from)].push_back({middle, middle - theirs, (now - asked + 1) / 2});
      return;
    }
  }
  throw RunError(fmt::format("process {} sent something of a kind that is not known; do all processes run the same build?", from));
}

void World::handle_collective(std::int32_t from, std::int64_t number, Parcel& parcel) {
  std::string bytes = std::move(parcel.head);
  if (parcel.body) bytes.assign(static_cast<const char*>(parcel.body.get()), static_cast<std::size_t>(parcel.bytes));
  const std::lock_guard lock(mutex_);
  mail_[number].came[from] = std::move(bytes);
}

void World::send_collective(std::int32_t to, std::int64_t number, const std::string& bytes) {
  Parcel parcel{FieldsOut().add(For::collective).add(number).take(), nullptr, 0};
  if (bytes.size() <= 1024) {
    parcel.head += bytes;
  } else {
    const auto kept = std::make_shared<const std::string>(bytes);
    parcel.body = std::shared_ptr<const void>(kept, kept->data());
    parcel.bytes = static_cast<std::int64_t>(kept->size());
  }
  try {
    transport_->send(to, std::move(parcel));
  } catch (const std::exception& error) {  // without its part the others are out of step
    fail(error.what());
  }
}

std::string World::await_from(std::int64_t number, std::int32_t from) {
  std::string bytes;
  wait([&] {
    const std::lock_guard lock(mutex_);
    const auto box = mail_.find(number);
    if (box == mail_.end()) return false;
    const auto came = box->second.came.find(from);
    if (came == box->second.came.end()) return false;
    bytes = std::move(came->second);
    box->second.came.erase(came);
    if (box->second.came.empty()) mail_.erase(box);
    return true;
  });
  return bytes;
}

std::vector<std::string> World::gather(std::string mine) {
  check();
  const std::int64_t number = collectives_++;
  if (!first()) {
    send_collective(0, number, mine);
    return {};
  }
  std::vector<std::string> all(static_cast<std::size_t>(processes()));
  all.front() = std::move(mine);
  for (std::int32_t p = 1; p < processes(); ++p) all[static_cast<std::size_t>(p)] = await_from(number, p);
  return all;
}

std::string World::broadcast(std::string mine) {
  check();
  const std::int64_t number = collectives_++;
  if (!first()) return await_from(number, 0);
  for (std::int32_t p = 1; p < processes(); ++p) send_collective(p, number, mine);
  return mine;
}

std::vector<std::string> World::gather_all(std::string mine) {
  const std::vector<std::string> gathered = gather(std::move(mine));
  const std::string joined = broadcast([&] {
    FieldsOut out;
    for (const std::string& one : gathered) out.add(one);
    return out.take();
  }());
  if (first()) return gathered;
  FieldsIn in(joined);
  std::vector<std::string> all;
  for (std::int32_t p = 0; p < processes(); ++p) all.push_back(in.get<std::string>());
  return all;
}

bool World::any(bool mine) {
  const std::vector<std::string> all = gather_all(mine ? "1" : "");
  return std::any_of(all.begin(), all.end(), [](const std::string& one) { return !one.empty(); });
}

std::vector<std::string> World::hosts() { return gather_all(host_name()); }

void World::barrier() { gather_all({}); }

std::int64_t World::new_session() {
  const std::lock_guard lock(mutex_);
  session_[sessions_];  // what comes for it from now on is kept
  return sessions_++;
}

void World::open(std::int64_t number, Handler handler, std::function<void()> lost) {
  std::unique_lock lock(mutex_);
  Session& session = session_[number];
  session.handler = std::move(handler);
  session.lost = std::move(lost);
  // What came before goes first; meanwhile more may come.
  while (!session.early.empty()) {
    std::vector<std::pair<std::int32_t, Parcel>> early = std::exchange(session.early, {});
    lock.unlock();
    const std::lock_guard handling(handling_);
    for (auto& [from, parcel] : early) {
      const std::string head = std::move(parcel.head);
      session.handler(from, head, parcel);
    }
    lock.lock();
  }
  session.open = true;
  lock.unlock();
  if (lost_) session.lost();
}

void World::close(std::int64_t session) {
  const std::lock_guard handling(handling_);
  const std::lock_guard lock(mutex_);
  session_.erase(session);
}

void World::handle_session(std::int32_t from, std::int64_t number, Parcel& parcel) {
  const std::lock_guard handling(handling_);
  Handler* handler = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (number < sessions_ && !session_.contains(number)) return;  // closed
    Session& session = session_[number];
    if (!session.open) {
      session.early.emplace_back(from, std::move(parcel));
      return;
    }
    handler = &session.handler;
  }
  const std::string head = std::move(parcel.head);
  (*handler)(from, head, parcel);
}

void World::send(std::int64_t session, std::int32_t to, Parcel parcel, std::function<void()> left) {
  parcel.head.insert(0, FieldsOut().add(For::session).add(session).take());
  const bool has_body = parcel.body != nullptr;
  // Whoever sends may hold what `left` takes, and some transports call this before they return.
  std::function<void()> remember;
  if (left) {
    remember = [this, session, left = std::move(left)] {
      const std::lock_guard lock(mutex_);
      left_.emplace_back(session, left);
      any_left_ = true;
    };
  }
  try {
    transport_->send(to, std::move(parcel), std::move(remember));
  } catch (const std::exception& error) {
    // The other end waits for it without end. Whoever sends may hold what `lost` takes: the mover tells.
    {
      const std::lock_guard lock(mutex_);
      unsent_ = error.what();
    }
    any_unsent_ = true;
    hurry();
    throw;
  }
  if (any_left_ || (has_body && transport_->busy())) hurry();  // it moves on only while somebody looks
}

bool World::tell_left() {
  if (!any_left_.load(std::memory_order_acquire)) return false;
  const std::lock_guard handling(handling_);
  std::vector<std::pair<std::int64_t, std::function<void()>>> left;
  {
    const std::lock_guard lock(mutex_);
    left = std::exchange(left_, {});
    any_left_ = false;
    std::erase_if(left, [this](const auto& one) { return !session_.contains(one.first); });
  }
  for (const auto& [session, tell] : left) tell();
  return !left.empty();
}

void World::ask_clock(std::int32_t process) { transport_->send(process, {FieldsOut().add(For::clock_ask).add(steady_now()).take(), nullptr, 0}); }

void World::compare_clocks() {
  std::vector<Nanos> offsets(static_cast<std::size_t>(processes()), 0);
  for (std::int32_t p = 1; p < processes(); ++p) {
    barrier();  // everybody else is polling, too
    if (!first()) continue;
    auto& samples = clocks_[static_cast<std::size_t>(p)];
    if (!watching_) {
      const std::lock_guard lock(mutex_);
      samples.clear();
    }
    const auto count = [&] {
      const std::lock_guard lock(mutex_);
      return samples.size();
    };
    const std::size_t before = count();
    for (std::size_t i = 0; i < kBurst; ++i) {
      ask_clock(p);
      wait([&] { return count() > before + i; });
    }
    const std::lock_guard lock(mutex_);
    const auto smaller = [](const ClockSample& a, const ClockSample& b) { return a.error < b.error; };
    offsets[static_cast<std::size_t>(p)] = std::min_element(samples.begin() + static_cast<std::ptrdiff_t>(before), samples.end(), smaller)->offset;
  }
  const std::string told = broadcast(FieldsOut().add(offsets).take());
  offset_ = FieldsIn(told).get<std::vector<Nanos>>().at(static_cast<std::size_t>(process()));
}

std::vector<ClockSample> World::take_clock_samples(std::int32_t process) {
  const std::lock_guard lock(mutex_);
  return std::exchange(clocks_[static_cast<std::size_t>(process)], {});
}

}  // namespace bubblescope
