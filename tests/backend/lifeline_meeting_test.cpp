// What lifelines say keeps its form, and only those of the same job meet.
#include "backend/lifeline_meeting.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <thread>

#include "backend/fields.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

Deadline in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

TEST(LifelineMessage, is_read_when_it_is_complete) {
  const std::string all = encoded(Notice::state, "rank 2 was in op 5") + encoded(Notice::alive) + encoded(Notice::bye);
  std::string came;
  std::vector<std::string> told;
  for (const char next : all) {
    came += next;
    if (const auto message = cut_message(came)) told.push_back(static_cast<char>(message->notice) + message->text);
  }
  EXPECT_EQ(told, (std::vector<std::string>{"srank 2 was in op 5", ".", "b"}));
  EXPECT_EQ(came, "");
}

TEST(LifelineMessage, long_texts_are_cut_and_longer_ones_refused) {
  std::string came = encoded(Notice::lost, std::string(kMostLifelineText + 1, 'x'));
  EXPECT_EQ(cut_message(came)->text.size(), kMostLifelineText);
  std::string huge = "s" + FieldsOut().add(static_cast<std::uint32_t>(kMostLifelineText + 1)).take();
  EXPECT_THROW(cut_message(huge), RunError);
  std::string unknown = "?";
  EXPECT_THROW(cut_message(unknown), RunError);
}

TEST(MeetingPlace, survives_the_broadcast_and_is_unlike_any_other) {
  const MeetingPlace place = meeting_place(4242, "process 0"), read = read_place(encoded(place));
  EXPECT_EQ(encoded(read), encoded(place));
  EXPECT_EQ(read.port, 4242);
  EXPECT_EQ(read.host, host_name());
  EXPECT_EQ(place.greeting.size(), 32u);
  EXPECT_NE(place.greeting, place.answer);
  EXPECT_NE(place.greeting, meeting_place(4242, "process 0").greeting);
}

/// Process 0 of a job of three, until `ends`.
class Door {
 public:
  Door() : listening_(listen_everywhere()), place(meeting_place(port_of(listening_), "process 0")) {
    place.addresses.clear();
    thread_ = std::thread([this] { serve(); });
  }
  ~Door() {
    ends_ = true;
    thread_.join();
  }

 private:
  Socket listening_;

 public:
  MeetingPlace place;
  std::atomic<int> joined{0}, went{0}, process{0};

 private:
  void serve() {
    std::vector<Visitor> visitors;
    while (!ends_) {
      std::this_thread::sleep_for(1ms);
      if (Socket socket = accept_from(listening_); socket.is_open()) visitors.emplace_back(std::move(socket), in(5s));
      std::erase_if(visitors, [&](Visitor& visitor) {
        const Visitor::Step step = visitor.move_on(place, 3);
        if (step == Visitor::Step::joins) process = visitor.process();
        if (step == Visitor::Step::joins) ++joined;
        if (step == Visitor::Step::goes) ++went;
        return step != Visitor::Step::waits;
      });
    }
  }
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

void await(const std::function<bool()>& ready) {
  for (const Deadline end = in(10s); !ready() && std::chrono::steady_clock::now() < end;) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(ready());
}

TEST(Join, leads_to_process_0_wherever_its_host_says_it_is) {
  Door door;
  for (const char* host : {"elsewhere", ""}) {
    MeetingPlace place = door.place;
    place.host = *host ? host : host_name();
    const int before = door.joined;
    const Socket socket = join(place, 2, "process 2", 10s);
    await([&] { return door.joined > before; });
    EXPECT_EQ(door.process, 2);
  }
}

TEST(Join, strangers_are_dropped) {
  Door door;
  const std::string right = door.place.greeting;
  const std::vector<std::string> said{
      "GET / HTTP/1.1\r\n\r\n",
      std::string(1 << 20, '\0'),
      right.substr(0, 31) + "?",
      right + FieldsOut().add(std::int32_t{0}).take(),
      right + FieldsOut().add(std::int32_t{-1}).take(),
      right + FieldsOut().add(std::int32_t{3}).take(),
      right + FieldsOut().add(std::int32_t{1}).take() + "n\xff\xff\xff\xff",
      right + FieldsOut().add(std::int32_t{1}).take() + encoded(Notice::state, "no name"),
  };
  for (std::size_t i = 0; i < said.size(); ++i) {
    SCOPED_TRACE(i);
    Socket stranger = connect_to("127.0.0.1", door.place.port, in(5s));
    try {
      send_all(stranger, said[i], in(5s));
    } catch (const RunError&) {  // dropped before it had said all
    }
    await([&] { return door.went == static_cast<int>(i) + 1; });
  }
  EXPECT_EQ(door.joined, 0);
}

TEST(Join, somebody_else_at_the_port_is_not_taken_for_process_0) {
  Door other_job;
  MeetingPlace place = other_job.place;
  place.greeting = std::string(32, 'x');
  place.addresses = {"127.0.0.2"};
  try {
    join(place, 1, "process 1", 300ms);
    FAIL() << "joined";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("process 1 does not reach process 0"));
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.1: "));
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.2: "));
  }
  EXPECT_EQ(other_job.joined, 0);
}

TEST(Join, an_answer_of_another_job_is_not_taken_either) {
  Door other_job;
  MeetingPlace place = other_job.place;
  place.answer = std::string(32, 'x');
  try {
    join(place, 1, "process 1", 300ms);
    FAIL() << "joined";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.1: something else answers"));
  }
}

// One that no connection is allowed or possible to, and one that is none.
TEST(Join, goes_on_to_the_next_address_where_one_leads_nowhere) {
  Door door;
  MeetingPlace place = door.place;
  place.host = "elsewhere";
  place.addresses = {"255.255.255.255", "nonsense"};
  const Socket socket = join(place, 1, "process 1", 20s);
  await([&] { return door.joined == 1; });
}

}  // namespace
}  // namespace bubblescope
