// TCP sockets: connections to this host, and the deadlines.
#include "backend/socket.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <functional>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using namespace std::chrono_literals;

Deadline in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

struct Connection {
  Socket one, other;
};

Connection connection(const std::string& address = "127.0.0.1") {
  const Socket listening = listen_everywhere();
  Connection both;
  both.one = connect_to(address, port_of(listening), in(5s));
  pollfd ready{listening.file(), POLLIN, 0};
  poll(&ready, 1, 5000);
  both.other = accept_from(listening);
  return both;
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const RunError& error) {
    return error.what();
  }
  return "none";
}

TEST(Socket, carries_bytes_both_ways_at_every_address_of_this_host) {
  std::vector<std::string> addresses = own_addresses();
  addresses.push_back("127.0.0.1");
  for (const std::string& address : addresses) {
    SCOPED_TRACE(address);
    Connection both = connection(address);
    ASSERT_TRUE(both.other.is_open());
    send_all(both.one, "there", in(5s));
    send_all(both.other, "and back", in(5s));
    EXPECT_EQ(receive(both.other, 5, in(5s)), "there");
    EXPECT_EQ(receive(both.one, 8, in(5s)), "and back");
  }
}

TEST(Socket, own_addresses_are_no_loopback) {
  for (const std::string& address : own_addresses()) EXPECT_THAT(address, ::testing::Not(::testing::AnyOf(::testing::StartsWith("127."), "::1", ::testing::StartsWith("fe80"))));
}

TEST(Socket, nothing_waits_to_be_read_or_accepted) {
  const Socket listening = listen_everywhere();
  EXPECT_FALSE(accept_from(listening).is_open());
  Connection both = connection();
  std::string came;
  EXPECT_TRUE(both.one.read(came));
  EXPECT_EQ(came, "");
}

TEST(Socket, reading_tells_what_came_before_the_end_and_then_the_end) {
  Connection both = connection();
  send_all(both.one, "last words", in(5s));
  both.one.close();
  EXPECT_EQ(receive(both.other, 10, in(5s)), "last words");
  EXPECT_EQ(error_of([&] { receive(both.other, 1, in(5s)); }), "the other side has closed the connection");
}

// What the other side does not read fills the buffers of both hosts; then no more is taken.
TEST(Socket, writing_takes_what_fits_and_keeps_the_rest) {
  Connection both = connection();
  std::string bytes(64 << 20, 'x');
  EXPECT_TRUE(both.one.write(bytes));
  EXPECT_GT(bytes.size(), 0u);
  EXPECT_LT(bytes.size(), std::size_t{64} << 20);
  EXPECT_GT(both.one.unacknowledged(), 0);
  EXPECT_EQ(error_of([&] { send_all(both.one, bytes, in(50ms)); }), "no answer in time");
}

TEST(Socket, writing_to_a_closed_connection_fails_without_a_signal) {
  Connection both = connection();
  both.other.close();
  std::string bytes;
  bool open = true;
  for (const Deadline end = in(5s); open && std::chrono::steady_clock::now() < end;) {
    bytes = "x";
    open = both.one.write(bytes);
  }
  EXPECT_FALSE(open);
  EXPECT_EQ(both.one.unacknowledged(), 0);
}

// A connection that was reset while bytes were under way has none any more, so that nobody waits for them.
TEST(Socket, what_nobody_will_acknowledge_is_not_waited_for) {
  Connection both = connection();
  std::string bytes(64 << 20, 'x');
  both.one.write(bytes);
  both.other.close();
  for (const Deadline end = in(5s); both.one.unacknowledged() > 0 && std::chrono::steady_clock::now() < end;) poll(nullptr, 0, 1);
  EXPECT_EQ(both.one.unacknowledged(), 0);
}

TEST(Socket, receiving_ends_at_the_deadline) {
  Connection both = connection();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(error_of([&] { receive(both.one, 1, in(100ms)); }), "no answer in time");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 100ms);
}

TEST(Socket, connecting_says_why_it_failed) {
  std::uint16_t port = 0;
  {
    const Socket listening = listen_everywhere();
    port = port_of(listening);
  }
  EXPECT_EQ(error_of([&] { connect_to("127.0.0.1", port, in(5s)); }), "Connection refused");
  EXPECT_EQ(error_of([&] { connect_to("a name", port, in(5s)); }), "not a numeric address");
}

TEST(Socket, is_closed_when_it_is_assigned_or_moved_from) {
  Connection both = connection(), second = connection();
  both.one = std::move(second.one);
  EXPECT_FALSE(second.one.is_open());
  EXPECT_EQ(error_of([&] { receive(both.other, 1, in(5s)); }), "the other side has closed the connection");
}

}  // namespace
}  // namespace bubblescope
