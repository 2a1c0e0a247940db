// Frames of parcels on TCP connections.
#include "backend/socket_transport.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "backend/fields.hpp"
#include "backend/parcel_check.hpp"
#include "backend/poll_turn.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

/// Begins every frame; the head follows, then the body.
struct Sizes {
  std::int64_t body = 0;  ///< bytes, or one of the following
  std::int64_t head = 0;
};
constexpr std::int64_t kNoBody = -1;
constexpr std::int64_t kTotals = -2;  ///< no parcel: the head is how many of them the sender has sent and handed over

constexpr std::size_t kInbox = 64 * 1024;  ///< more than any sizes and head together
constexpr std::size_t kMostAtOnce = 1 << 20;  ///< bytes that who sends waits for the system to copy
constexpr std::int64_t kMostPerPoll = 8 << 20;  ///< bytes from one process before the others have their turn
static_assert(kInbox >= 2 * (sizeof(Sizes) + Transport::kMostHead));

bool later(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

struct SocketTransport::Peer {
  struct Outgoing {
    std::string front;  ///< sizes and head
    Parcel parcel;      ///< its body
    std::size_t sent = 0;
    std::function<void()> left;
    std::size_t bytes() const { return front.size() + at(parcel.bytes); }
  };

  Socket socket;
  std::mutex mutex;  ///< guards the next two
  std::deque<Outgoing> outgoing;
  int cut = 0;  ///< nothing can be sent any more: for this error
  std::atomic<bool> waits{false};  ///< something is in `outgoing`

  // Of the thread that polls:
  std::vector<std::byte> inbox = std::vector<std::byte>(kInbox);
  std::size_t begin = 0, end = 0;  ///< what has come and was not taken yet lies between
  bool open = false;    ///< sizes and head have come, the body not
  Parcel parcel;        ///< if so
  std::byte* body = nullptr;
  std::int64_t filled = 0;  ///< bytes of the body that have come
  std::deque<ParcelTotals> totals;
  std::string ended;    ///< why nothing more comes; empty: more may

  std::int64_t missing() const { return open ? parcel.bytes - filled : 0; }
};

SocketTransport::SocketTransport(std::int32_t process, std::int32_t processes, const GatherAll& gather_all, SocketTransportOptions options) : process_(process), options_(options) {
  std::vector<MeshConnection> connections = connect_mesh(process, processes, gather_all, options.connect_timeout);
  for (std::int32_t p = 0; p < processes; ++p) {
    auto& peer = peers_.emplace_back();
    if (p == process) continue;
    peer = std::make_unique<Peer>();
    peer->socket = std::move(connections[at(p)].socket);
    const std::string& came = connections[at(p)].came;
    peer->inbox.resize(std::max(kInbox, came.size()));
    std::copy_n(reinterpret_cast<const std::byte*>(came.data()), came.size(), peer->inbox.begin());
    peer->end = came.size();
  }
}

SocketTransport::~SocketTransport() = default;

void SocketTransport::send(std::int32_t to, Parcel parcel, std::function<void()> left) {
  check_parcel(*this, to, parcel);
  const Sizes sizes{parcel.body ? parcel.bytes : kNoBody, static_cast<std::int64_t>(parcel.head.size())};
  std::string front = FieldsOut().add(sizes).take() + parcel.head;
  counts_.count_sent();
  queue(*peers_[at(to)], std::move(front), std::move(parcel), std::move(left));
}

void SocketTransport::queue(Peer& peer, std::string front, Parcel parcel, std::function<void()> left) {
  bool alone = false;
  {
    const std::lock_guard lock(peer.mutex);
    if (peer.cut != 0) return;  // `poll` tells
    alone = peer.outgoing.empty();
    peer.outgoing.push_back({std::move(front), std::move(parcel), 0, std::move(left)});
    under_way_.fetch_add(1, std::memory_order_relaxed);
    peer.waits = true;
  }
  if (alone) flush(peer, kMostAtOnce);
}

/// Sends what can be sent now, at most `most` bytes or a little more. Returns whether something has left.
bool SocketTransport::flush(Peer& peer, std::size_t most) {
  std::vector<Peer::Outgoing> gone;
  {
    const std::lock_guard lock(peer.mutex);
    while (!peer.outgoing.empty() && most > 0) {
      Peer::Outgoing& out = peer.outgoing.front();
      const std::size_t front = std::min(out.sent, out.front.size()), body = out.sent - front;
      std::array<iovec, 2> parts{{{out.front.data() + front, out.front.size() - front}, {nullptr, 0}}};
      // sendmsg only reads.
      if (out.parcel.bytes > 0) parts[1] = {const_cast<std::byte*>(static_cast<const std::byte*>(out.parcel.body.get())) + body, std::min(at(out.parcel.bytes) - body, most)};
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      const ssize_t count = sendmsg(peer.socket.file(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && later(errno)) break;
      if (count < 0) {
        peer.cut = errno;
        shutdown(peer.socket.file(), SHUT_RDWR);  // so that whoever reads comes to the end, too, and tells
        under_way_.fetch_sub(static_cast<std::int64_t>(peer.outgoing.size()), std::memory_order_relaxed);
        peer.outgoing.clear();
        break;
      }
      out.sent += static_cast<std::size_t>(count);
      most -= std::min(most, static_cast<std::size_t>(count));
      if (out.sent < out.bytes()) continue;
      gone.push_back(std::move(out));
      peer.outgoing.pop_front();
      under_way_.fetch_sub(1, std::memory_order_relaxed);
    }
    peer.waits = !peer.outgoing.empty();
  }
  for (Peer::Outgoing& out : gone) {
    out.parcel = {};
    if (out.left) out.left();
  }
  return !gone.empty();
}

bool SocketTransport::poll() {
  const PollTurn turn(polling_);
  if (!turn.mine()) return false;

  std::vector<pollfd> ready(peers_.size(), {-1, POLLIN, 0});
  bool moved = false;
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    if (!peers_[p]) continue;
    while (take_next(static_cast<std::int32_t>(p))) moved = true;  // what came before a handler threw
    if (!peers_[p]->ended.empty() && !closing_) throw RunError(peers_[p]->ended);
    if (peers_[p]->ended.empty()) ready[p].fd = peers_[p]->socket.file();
    if (peers_[p]->waits) ready[p].events |= POLLOUT;
  }
  if (::poll(ready.data(), ready.size(), 0) <= 0) return moved;
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    if ((ready[p].revents & POLLOUT) != 0) moved |= flush(*peers_[p], at(kMostPerPoll));
    if ((ready[p].revents & (POLLIN | POLLHUP | POLLERR)) != 0) moved |= receive(static_cast<std::int32_t>(p));
  }
  return moved;
}

/// Reads what has arrived, and hands over what is whole. Returns whether anything came.
bool SocketTransport::receive(std::int32_t from) {
  Peer& peer = *peers_[at(from)];
  std::int64_t taken = 0;
  while (taken < kMostPerPoll) {
    if (peer.begin > 0) {
      std::copy(peer.inbox.begin() + static_cast<std::ptrdiff_t>(peer.begin), peer.inbox.begin() + static_cast<std::ptrdiff_t>(peer.end), peer.inbox.begin());
      peer.end -= std::exchange(peer.begin, 0);
    }
    std::array<iovec, 2> parts{{{peer.body + peer.filled, at(peer.missing())}, {peer.inbox.data() + peer.end, peer.inbox.size() - peer.end}}};
    const std::size_t room = parts[0].iov_len + parts[1].iov_len;
    const ssize_t count = readv(peer.socket.file(), parts.data(), static_cast<int>(parts.size()));
    if (count < 0 && later(errno)) break;
    if (count <= 0) {
      peer.ended = why_ended(peer, from, count == 0 ? 0 : errno);
      break;
    }
    taken += count;
    const std::int64_t to_body = std::min<std::int64_t>(count, peer.missing());
    peer.filled += to_body;
    peer.end += static_cast<std::size_t>(count - to_body);
    while (take_next(from)) {
    }
    if (static_cast<std::size_t>(count) < room) break;  // more may come, but later
  }
  return taken > 0;
}

/// Takes the next frame off the inbox and hands it over. False where it has not come whole.
bool SocketTransport::take_next(std::int32_t from) {
  Peer& peer = *peers_[at(from)];
  const std::byte* const came = peer.inbox.data() + peer.begin;
  const std::size_t count = peer.end - peer.begin;
  if (!peer.open) {
    Sizes sizes;
    if (count < sizeof sizes) return false;
    std::memcpy(&sizes, came, sizeof sizes);
    if (sizes.head < 0 || sizes.head > kMostHead || sizes.body < kTotals) {
      throw RunError(fmt::format("process {} sent something that is no parcel; do all processes run the same build?", from));
    }
    if (count < sizeof sizes + at(sizes.head)) return false;
    std::string head(reinterpret_cast<const char*>(came) + sizeof sizes, at(sizes.head));
    peer.begin += sizeof sizes + at(sizes.head);
    if (sizes.body == kTotals) {
      peer.totals.push_back(FieldsIn(head).get<ParcelTotals>());
      return true;
    }
    peer.open = true;
    peer.filled = 0;
    peer.parcel = {std::move(head), nullptr, std::max<std::int64_t>(sizes.body, 0)};
    under_way_.fetch_add(1, std::memory_order_relaxed);
    if (sizes.body != kNoBody) {
      auto body = pool_.take(sizes.body);
      peer.body = static_cast<std::byte*>(body.get());
      peer.parcel.body = std::move(body);
    }
  }
  const std::int64_t here = std::min(peer.missing(), static_cast<std::int64_t>(peer.end - peer.begin));
  if (here > 0) std::memcpy(peer.body + peer.filled, peer.inbox.data() + peer.begin, at(here));
  peer.filled += here;
  peer.begin += at(here);
  if (peer.missing() > 0) return false;
  peer.open = false;
  peer.body = nullptr;
  peer.filled = 0;
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  counts_.hand_over(handler_, from, std::exchange(peer.parcel, {}));
  return true;
}

/// `error`: of reading; 0: the connection has ended, perhaps because nothing could be sent any more (`flush`).
std::string SocketTransport::why_ended(Peer& peer, std::int32_t process, int error) {
  {
    const std::lock_guard lock(peer.mutex);
    if (error == 0 && peer.cut != EPIPE) error = peer.cut;
  }
  return error == 0 ? fmt::format("process {} has closed its connection", process) : fmt::format("the connection to process {} is broken: {}", process, std::strerror(error));
}

/// Tells everybody how much this process has sent and handed over, and adds up what everybody tells.
ParcelTotals SocketTransport::exchange_totals() {
  ParcelTotals all = counts_.totals();
  const std::string front = FieldsOut().add(Sizes{kTotals, sizeof all}).add(all).take();
  for (const auto& peer : peers_) {
    if (peer) queue(*peer, front, {}, {});
  }
  for (const auto& peer : peers_) {
    if (!peer) continue;
    poll_until(*this, options_.close_patience, [&] {
      if (peer->totals.empty() && !peer->ended.empty()) throw RunError(peer->ended);
      return !peer->totals.empty();
    });
    all.handed_over += peer->totals.front().handed_over;
    all.sent += peer->totals.front().sent;
    peer->totals.pop_front();
  }
  return all;
}

void SocketTransport::close() {
  if (closing_.exchange(true)) return;
  await_all_parcels(options_.close_patience, [this] { return exchange_totals(); });
  poll_until(*this, options_.close_patience, [this] { return !busy(); });
  PollTurn::keep(polling_);
  for (const auto& peer : peers_) {
    if (peer) peer->socket.close();
  }
}

}  // namespace bubblescope
