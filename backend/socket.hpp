// TCP sockets that close themselves, with deadlines for what may wait.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bubblescope {

using Deadline = std::chrono::steady_clock::time_point;

/// One connection, or the place where others can connect. Never waits, raises no SIGPIPE, and is not inherited by
/// programs that this one starts.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int file) : file_(file) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  Socket& operator=(Socket&& other) noexcept;

  bool is_open() const { return file_ >= 0; }
  int file() const { return file_; }
  void close();

  /// Appends what has arrived, at most `most` bytes of it. False once the other side has closed it or it is broken.
  bool read(std::string& into, std::size_t most = 16 * 1024);
  /// Sends what can be sent at once and removes it from `bytes`. False where it is broken.
  bool write(std::string& bytes);
  /// Bytes sent that the other side's host has not acknowledged yet; 0 where it is broken.
  int unacknowledged() const;

 private:
  int file_ = -1;
};

/// Takes connections at all addresses of this host, at a port that was free. Throws RunError.
Socket listen_everywhere();
std::uint16_t port_of(const Socket& listening);
/// The next that waits to be accepted; not open where there is none, or too many files are open.
Socket accept_from(const Socket& listening);

/// Connects to a numeric IPv4 or IPv6 address. Throws RunError, which says why but not where, also at the deadline.
Socket connect_to(const std::string& address, std::uint16_t port, Deadline deadline);
/// Sends all of it, or reads exactly so many bytes. Throw RunError when the other side closes before, and at the deadline.
void send_all(Socket& socket, std::string_view bytes, Deadline deadline);
std::string receive(Socket& socket, std::size_t bytes, Deadline deadline);

/// Where others may reach this host: IPv4 before IPv6; neither loopback nor addresses that only hold within one link.
std::vector<std::string> own_addresses();

}  // namespace bubblescope
