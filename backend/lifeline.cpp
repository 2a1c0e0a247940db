// The lifeline's thread: it sends signs of life, reads those of others, and says what follows when they end.
#include "backend/lifeline.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "backend/lifeline_meeting.hpp"
#include "backend/socket.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kToSayLastWords = std::chrono::seconds(1);
constexpr auto kForVisitors = std::chrono::seconds(5);  ///< to say who they are
constexpr std::size_t kMostStrangers = 64;

double seconds(SteadyClock::duration time) { return std::chrono::duration<double>(time).count(); }

/// The other end of a connection.
struct Peer {
  std::string name;
  Socket socket;
  std::string came, leaves;  ///< what is not yet handled, what is not yet sent
  std::string state;
  SteadyClock::time_point heard;
  bool gone = false;  ///< in good order, or it does not matter any more
};

/// Signals are for the other threads.
template <class Body>
std::thread thread_without_signals(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

class Lifeline::Line {
 public:
  Line(std::int32_t process, std::int32_t processes, std::string name, const Broadcast& broadcast, Lost lost, LifelineOptions options);
  ~Line();

  void set_state_source(State state);
  void leave(std::optional<std::string> why, bool refused = false);
  bool refused() const { return refused_; }

 private:
  void listen(const Broadcast& broadcast);
  void start();
  void await_all();

  void run();
  void turn();
  void note_own_pause();
  void tell_state();
  void await_news();
  void admit();
  void hear(Peer& peer);
  void handle(Peer& peer, LifelineMessage told);
  void handle_closed(Peer& peer);
  void judge_silence();

  void lose(const Peer* peer, const std::string& for_others, std::string own);
  void lose(const Peer& peer, const std::string& what);
  void lose_for_own_silence(const Peer& peer);
  SteadyClock::duration own_pause() const;
  void say_last_words(const Peer* not_for = nullptr);
  void say_goodbye();

  const std::int32_t process_, processes_;
  const std::string name_;
  const Lost lost_;
  const LifelineOptions options_;
  MeetingPlace place_;
  Socket wakes_;  ///< an eventfd: `leave` was called

  // Of the thread.
  Socket listening_;
  bool accepts_ = true;  ///< false: not before the next period
  std::vector<Visitor> visitors_;
  std::vector<Peer> peers_;
  std::string state_;
  SteadyClock::time_point last_turn_, next_tell_, woke_;
  SteadyClock::duration pause_{0};  ///< the last long time that this thread did not run, until `woke_`
  bool over_ = false;               ///< a process is lost

  std::mutex state_mutex_;
  State source_;  ///< under state_mutex_

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> joined_;             ///< process 0: by process
  bool ended_ = false;                   ///< the thread has no more to do
  bool leaves_ = false;                  ///< `leave` was called
  std::optional<std::string> why_left_;  ///< because of what
  bool left_refused_ = false;            ///< that was wrong input
  std::atomic<bool> refused_{false};     ///< who is lost left because its input was wrong
  std::atomic<std::thread::id> runs_in_{};
  std::mutex join_mutex_;
  std::thread thread_;
};

Lifeline::Line::Line(std::int32_t process, std::int32_t processes, std::string name, const Broadcast& broadcast, Lost lost, LifelineOptions options)
    : process_(process), processes_(processes), name_(std::move(name)), lost_(std::move(lost)), options_(options), wakes_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (process_ == 0) {
    listen(broadcast);
    joined_.assign(static_cast<std::size_t>(processes_), false);
    joined_[0] = true;
    start();
    await_all();
    return;
  }
  place_ = read_place(broadcast({}));
  if (place_.port == 0) throw RunError(fmt::format("process 0 cannot be connected to: {}", place_.host));
  Peer first;
  first.name = place_.name;
  first.socket = join(place_, process_, name_, options_.connect_timeout);
  peers_.push_back(std::move(first));
  start();
}

Lifeline::Line::~Line() { leave(std::nullopt); }

/// The others wait for the broadcast, whether or not this process can listen.
void Lifeline::Line::listen(const Broadcast& broadcast) {
  try {
    listening_ = listen_everywhere();
    place_ = meeting_place(port_of(listening_), name_);
  } catch (const RunError& error) {
    place_ = {};
    place_.host = error.what();
    broadcast(encoded(place_));
    throw;
  }
  broadcast(encoded(place_));
}

void Lifeline::Line::start() {
  last_turn_ = next_tell_ = SteadyClock::now();
  for (Peer& peer : peers_) peer.heard = last_turn_;
  thread_ = thread_without_signals([this] { run(); });
}

void Lifeline::Line::await_all() {
  std::vector<std::size_t> missing;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, options_.connect_timeout, [&] { return ended_ || std::ranges::count(joined_, false) == 0; });
    for (std::size_t i = 0; !ended_ && i < joined_.size(); ++i) {
      if (!joined_[i]) missing.push_back(i);
    }
  }
  if (missing.empty()) return;
  const std::string why = fmt::format("process{} {} of {} did not connect to it within {:g} s", missing.size() > 1 ? "es" : "", fmt::join(missing, ", "), processes_, seconds(options_.connect_timeout));
  leave(why);
  throw RunError(fmt::format("{}: {} (on {}, port {}, at {})", name_, why, place_.host, place_.port, fmt::join(place_.addresses, ", ")));
}

void Lifeline::Line::set_state_source(State state) {
  const std::lock_guard lock(state_mutex_);
  source_ = std::move(state);
}

void Lifeline::Line::leave(std::optional<std::string> why, bool refused) {
  {
    const std::lock_guard lock(mutex_);
    if (!leaves_) {
      why_left_ = std::move(why);
      left_refused_ = refused;
    }
    leaves_ = true;
  }
  eventfd_write(wakes_.file(), 1);
  if (std::this_thread::get_id() == runs_in_) return;
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void Lifeline::Line::run() {
  runs_in_ = std::this_thread::get_id();
  while (!over_) {
    {
      const std::lock_guard lock(mutex_);
      if (leaves_) break;
    }
    turn();
  }
  if (!over_) say_goodbye();
  listening_.close();
  visitors_.clear();
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

/// What came while this thread did not run is read before anybody's silence is judged.
void Lifeline::Line::turn() {
  if (SteadyClock::now() >= next_tell_) tell_state();
  await_news();
  note_own_pause();
  admit();
  for (std::size_t i = 0; i < peers_.size() && !over_; ++i) hear(peers_[i]);
  if (!over_) judge_silence();
}

/// Where this process was stopped, the others may have been, too: everybody has time anew.
void Lifeline::Line::note_own_pause() {
  const auto now = SteadyClock::now();
  const auto gap = now - last_turn_;
  last_turn_ = now;
  if (gap <= options_.silence / 2) return;
  pause_ = gap;
  woke_ = now;
  for (Peer& peer : peers_) peer.heard = now;
}

void Lifeline::Line::tell_state() {
  next_tell_ = SteadyClock::now() + options_.period;
  accepts_ = true;
  std::string state;
  {
    const std::lock_guard lock(state_mutex_);
    if (source_) state = source_();
  }
  const bool changed = state != state_;
  state_ = std::move(state);
  for (Peer& peer : peers_) {
    if (peer.gone) continue;
    if (changed) peer.leaves += encoded(Notice::state, state_);
    else if (peer.leaves.empty()) peer.leaves += encoded(Notice::alive);
    peer.socket.write(peer.leaves);
  }
}

/// Waits for the next period, `leave`, the end of a connection, or a visitor. What is said on a connection can wait for
/// the next period: so a process with many others does not wake for each of them.
void Lifeline::Line::await_news() {
  std::vector<pollfd> files{{wakes_.file(), POLLIN, 0}};
  for (const Peer& peer : peers_) {
    if (!peer.gone) files.push_back({peer.socket.file(), POLLRDHUP, 0});
  }
  for (const Visitor& visitor : visitors_) files.push_back({visitor.socket().file(), POLLIN, 0});
  if (listening_.is_open() && accepts_) files.push_back({listening_.file(), POLLIN, 0});
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_tell_ - SteadyClock::now());
  poll(files.data(), files.size(), static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
}

void Lifeline::Line::admit() {
  if (!listening_.is_open()) return;
  const auto now = SteadyClock::now();
  while (accepts_ && visitors_.size() < kMostStrangers + static_cast<std::size_t>(processes_)) {
    Socket socket = accept_from(listening_);
    if (!socket.is_open()) break;
    visitors_.emplace_back(std::move(socket), now + kForVisitors);
  }
  accepts_ = false;
  std::erase_if(visitors_, [&](Visitor& visitor) {
    const Visitor::Step step = visitor.move_on(place_, processes_);
    const std::lock_guard lock(mutex_);
    const std::size_t who = static_cast<std::size_t>(visitor.process());
    if (step != Visitor::Step::joins || joined_[who]) return step != Visitor::Step::waits || now > visitor.deadline();
    joined_[who] = true;
    changed_.notify_all();
    Peer peer;
    peer.name = visitor.name();
    peer.socket = visitor.take_socket();
    peer.came = visitor.take_rest();
    peer.leaves = encoded(Notice::state, state_);
    peer.heard = now;
    peers_.push_back(std::move(peer));
    return true;
  });
  if (peers_.size() + 1 < static_cast<std::size_t>(processes_)) return;
  listening_.close();  // nobody else is expected
  visitors_.clear();
}

void Lifeline::Line::hear(Peer& peer) {
  if (peer.gone) return;
  const std::size_t before = peer.came.size();
  const bool open = peer.socket.read(peer.came);
  if (peer.came.size() > before) peer.heard = SteadyClock::now();
  try {
    while (!over_ && !peer.gone) {
      std::optional<LifelineMessage> told = cut_message(peer.came);
      if (!told) break;
      handle(peer, std::move(*told));
    }
  } catch (const RunError& error) {
    return lose(peer, fmt::format("said what is no sign of life ({})", error.what()));
  }
  if (!open && !over_ && !peer.gone) handle_closed(peer);
}

void Lifeline::Line::handle(Peer& peer, LifelineMessage told) {
  switch (told.notice) {
    case Notice::alive:
    case Notice::name:
      return;
    case Notice::state:
      peer.state = std::move(told.text);
      return;
    case Notice::bye:
      peer.gone = true;
      peer.socket.close();
      return;
    case Notice::refused:
      refused_ = true;
      [[fallthrough]];
    case Notice::failed: {
      const std::string why = fmt::format("{} ended early: {}", peer.name, told.text);
      return lose(&peer, why, why);
    }
    case Notice::lost_refused:
      refused_ = true;
      [[fallthrough]];
    case Notice::lost:
      return lose(&peer, {}, told.text);
    case Notice::given_up:
      return lose_for_own_silence(peer);
  }
}

void Lifeline::Line::handle_closed(Peer& peer) {
  // Nobody else is lost where this process was stopped for so long that the others had to give it up.
  if (own_pause() + 2 * options_.period >= options_.silence) return lose_for_own_silence(peer);
  lose(peer, "was killed or has ended");
}

void Lifeline::Line::lose_for_own_silence(const Peer& peer) {
  const double silent = seconds(std::max<SteadyClock::duration>(own_pause(), options_.silence));
  const std::string what = fmt::format("was silent for {:.1f} s; the others have gone on without it", silent);
  lose(&peer, fmt::format("{} {}", name_, what), fmt::format("this process {}", what));
}

/// How long this thread did not run, where that was just now.
SteadyClock::duration Lifeline::Line::own_pause() const { return SteadyClock::now() - woke_ < options_.silence ? pause_ : SteadyClock::duration(0); }

void Lifeline::Line::judge_silence() {
  const auto now = SteadyClock::now();
  if (now - last_turn_ > options_.silence / 2) return;  // stopped in between: the next turn notes it
  for (Peer& peer : peers_) {
    if (peer.gone || now - peer.heard < options_.silence) continue;
    peer.leaves += encoded(Notice::given_up);
    peer.socket.write(peer.leaves);
    return lose(peer, fmt::format("has not answered for {:g} s (stopped, or its host hangs)", seconds(options_.silence)));
  }
}

void Lifeline::Line::lose(const Peer& peer, const std::string& what) {
  const std::string why = fmt::format("{} {}{}{}", peer.name, what, peer.state.empty() ? "" : "; ", peer.state);
  lose(&peer, why, why);
}

/// `peer` is not told: it is the one that is lost, or that told it.
void Lifeline::Line::lose(const Peer* peer, const std::string& for_others, std::string own) {
  over_ = true;
  for (Peer& other : peers_) {
    if (&other != peer && !other.gone) other.leaves += encoded(refused_ ? Notice::lost_refused : Notice::lost, for_others);
  }
  say_last_words(peer);
  if (lost_) lost_(std::move(own));
}

void Lifeline::Line::say_goodbye() {
  const std::string words = why_left_ ? encoded(left_refused_ ? Notice::refused : Notice::failed, *why_left_) : encoded(Notice::bye);
  for (Peer& peer : peers_) {
    if (!peer.gone) peer.leaves += words;
  }
  say_last_words();
}

/// Returns when the others' hosts have what was said: from then on it is read whatever becomes of this process.
void Lifeline::Line::say_last_words(const Peer* not_for) {
  const Deadline end = SteadyClock::now() + kToSayLastWords;
  for (bool all = false; !all && SteadyClock::now() < end;) {
    all = true;
    for (Peer& peer : peers_) {
      if (&peer == not_for || peer.gone) continue;
      if (!peer.socket.write(peer.leaves)) peer.gone = true;
      else if (!peer.leaves.empty() || peer.socket.unacknowledged() > 0) all = false;
    }
    if (!all) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Lifeline::Lifeline(std::int32_t process, std::int32_t processes, std::string name, const Broadcast& broadcast, Lost lost, LifelineOptions options) {
  if (processes > 1) line_ = std::make_unique<Line>(process, processes, std::move(name), broadcast, std::move(lost), options);
}

Lifeline::~Lifeline() = default;

void Lifeline::set_state_source(State state) {
  if (line_) line_->set_state_source(std::move(state));
}

void Lifeline::leave() {
  if (line_) line_->leave(std::nullopt);
}

void Lifeline::leave(std::string why, bool refused) {
  if (line_) line_->leave(std::move(why), refused);
}

bool Lifeline::refused() const { return line_ && line_->refused(); }

}  // namespace bubblescope
