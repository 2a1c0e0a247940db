// A connection between every two processes, which are threads here.
#include "backend/socket_mesh.hpp"

#include <gmock/gmock.h>

#include "backend/fields.hpp"
#include "backend/lifeline_meeting.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/together.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::HasSubstr;
using namespace std::chrono_literals;

Deadline soon() { return std::chrono::steady_clock::now() + 20s; }

TEST(SocketMesh, connects_every_two_processes) {
  constexpr std::int32_t kProcesses = 5;
  Together together(kProcesses);
  std::vector<std::vector<MeshConnection>> mesh(kProcesses);
  ASSERT_THAT(on_each(kProcesses, [&](std::int32_t p) { mesh[at(p)] = connect_mesh(p, kProcesses, together.gather_all(p), 20s); }), Each(""));
  for (std::int32_t from = 0; from < kProcesses; ++from) {
    EXPECT_FALSE(mesh[at(from)][at(from)].socket.is_open());
    for (std::int32_t to = 0; to < kProcesses; ++to) {
      if (from != to) send_all(mesh[at(from)][at(to)].socket, FieldsOut().add(from).add(to).take(), soon());
    }
  }
  for (std::int32_t to = 0; to < kProcesses; ++to) {
    for (std::int32_t from = 0; from < kProcesses; ++from) {
      if (from == to) continue;
      MeshConnection& connection = mesh[at(to)][at(from)];
      EXPECT_EQ(connection.came + receive(connection.socket, 8 - connection.came.size(), soon()), FieldsOut().add(from).add(to).take());
    }
  }
}

TEST(SocketMesh, strangers_neither_enter_nor_delay) {
  Together together(2);
  std::vector<Socket> strangers;
  EXPECT_THAT(on_each(2, [&](std::int32_t p) {
    connect_mesh(p, 2, [&](const std::string& mine) {
      if (p == 0) {
        const std::uint16_t port = read_place(mine).port;
        for (const std::string word : {"", "GET / HTTP/1.0\r\n\r\n", "x"}) {
          strangers.push_back(connect_to("127.0.0.1", port, soon()));
          send_all(strangers.back(), word, soon());
        }
      }
      return together.gather_all(p)(mine);
    }, 8s);  // a silent stranger may stay for ten
  }), Each(""));
}

TEST(SocketMesh, says_who_has_not_come) {
  Together together(3);
  const std::vector<std::string> failures = on_each(3, [&](std::int32_t p) {
    if (p < 2) {
      connect_mesh(p, 3, together.gather_all(p), 500ms);
    } else {
      together.gather_all(p)(encoded(meeting_place(1, "process 2")));
    }
  });
  EXPECT_THAT(failures[0], HasSubstr("process 0 waits for process 2: not connected within 0.5 s"));
  EXPECT_THAT(failures[1], HasSubstr("process 1 waits for process 2: not connected within 0.5 s"));
}

TEST(SocketMesh, says_who_was_not_reached) {
  Together together(2);
  const std::vector<std::string> failures = on_each(2, [&](std::int32_t p) {
    if (p == 1) {
      connect_mesh(p, 2, together.gather_all(p), 500ms);
    } else {
      together.gather_all(p)(encoded(meeting_place(1, "process 0")));
    }
  });
  EXPECT_THAT(failures[1], HasSubstr("process 1 does not reach process 0"));
}

TEST(SocketMesh, too_few_places_are_an_error) {
  EXPECT_THROW(connect_mesh(0, 3, [](const std::string& mine) { return std::vector<std::string>{mine}; }, 500ms), RunError);
}

}  // namespace
}  // namespace bubblescope
