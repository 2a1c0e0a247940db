// TCP sockets: POSIX calls, and what becomes of their errors.
#include "backend/socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

[[noreturn]] void fail(const char* what) { throw RunError(fmt::format("{}: {}", what, std::strerror(errno))); }

/// Throws RunError at the deadline.
void wait_for(const Socket& socket, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd ready{socket.file(), events, 0};
    const int count = poll(&ready, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000)));
    if (count > 0) return;
    if (count < 0 && errno != EINTR) fail("poll");
    if (count == 0 && std::chrono::steady_clock::now() >= deadline) throw RunError("no answer in time");
  }
}

/// What is sent are few small messages that must not wait for one another.
void send_at_once(const Socket& socket) {
  const int on = 1;
  setsockopt(socket.file(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

template <class Address>
bool listen_at(const Socket& socket, const Address& address) {
  return socket.is_open() && bind(socket.file(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && listen(socket.file(), SOMAXCONN) == 0;
}

Socket make_socket(int family) { return Socket(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    file_ = std::exchange(other.file_, -1);
  }
  return *this;
}

void Socket::close() {
  if (file_ >= 0) ::close(file_);
  file_ = -1;
}

bool Socket::read(std::string& into, std::size_t most) {
  std::array<char, 4096> piece;
  while (most > 0) {
    const ssize_t count = recv(file_, piece.data(), std::min(piece.size(), most), 0);
    if (count == 0) return false;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    into.append(piece.data(), static_cast<std::size_t>(count));
    most -= static_cast<std::size_t>(count);
    if (static_cast<std::size_t>(count) < piece.size()) break;  // more may come, but later
  }
  return true;
}

bool Socket::write(std::string& bytes) {
  while (!bytes.empty()) {
    const ssize_t count = send(file_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    bytes.erase(0, static_cast<std::size_t>(count));
  }
  return true;
}

int Socket::unacknowledged() const {
  pollfd broken{file_, 0, 0};  // then the count would stay
  if (poll(&broken, 1, 0) != 0) return 0;
  int bytes = 0;
  return ioctl(file_, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

Socket listen_everywhere() {
  Socket both = make_socket(AF_INET6);
  const int off = 0;
  if (both.is_open()) setsockopt(both.file(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  any6.sin6_addr = in6addr_any;
  if (listen_at(both, any6)) return both;
  Socket four = make_socket(AF_INET);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  if (!listen_at(four, any)) fail("no TCP port can be listened at");
  return four;
}

std::uint16_t port_of(const Socket& listening) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  if (getsockname(listening.file(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0) fail("getsockname");
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

Socket accept_from(const Socket& listening) {
  Socket socket(accept4(listening.file(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.is_open()) send_at_once(socket);
  return socket;
}

Socket connect_to(const std::string& address, std::uint16_t port, Deadline deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) throw RunError("not a numeric address");
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  Socket socket = make_socket(found->ai_family);
  if (!socket.is_open()) fail("socket");
  if (connect(socket.file(), found->ai_addr, found->ai_addrlen) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) throw RunError(std::strerror(errno));
    wait_for(socket, POLLOUT, deadline);
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(socket.file(), SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) throw RunError(std::strerror(error));
  }
  send_at_once(socket);
  return socket;
}

void send_all(Socket& socket, std::string_view bytes, Deadline deadline) {
  std::string left(bytes);
  for (;;) {
    if (!socket.write(left)) throw RunError("the other side has closed the connection");
    if (left.empty()) return;
    wait_for(socket, POLLOUT, deadline);
  }
}

std::string receive(Socket& socket, std::size_t bytes, Deadline deadline) {
  std::string all;
  while (all.size() < bytes) {
    wait_for(socket, POLLIN, deadline);
    if (!socket.read(all, bytes - all.size())) throw RunError("the other side has closed the connection");
  }
  return all;
}

std::vector<std::string> own_addresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  std::vector<std::string> addresses, longer;
  std::array<char, INET6_ADDRSTRLEN> text{};
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || !(entry->ifa_flags & IFF_UP) || (entry->ifa_flags & IFF_LOOPBACK)) continue;
    if (entry->ifa_addr->sa_family == AF_INET) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text.data(), text.size());
      addresses.emplace_back(text.data());
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_LOOPBACK(&address)) continue;
      inet_ntop(AF_INET6, &address, text.data(), text.size());
      longer.emplace_back(text.data());
    }
  }
  addresses.insert(addresses.end(), longer.begin(), longer.end());
  return addresses;
}

}  // namespace bubblescope
