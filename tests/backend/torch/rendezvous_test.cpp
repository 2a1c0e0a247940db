// Processes, which are threads here, meet at a real TCPStore.
#include "backend/torch/rendezvous.hpp"

#include <gmock/gmock.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <map>
#include <thread>

#include "backend/socket_transport.hpp"
#include "backend/world.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/together.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

/// As torchrun's agent has one.
c10::intrusive_ptr<c10d::TCPStore> agent_store() {
  c10d::TCPStoreOptions options;
  options.port = 0;
  options.isServer = true;
  options.waitWorkers = false;
  return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

std::uint16_t free_port() { return port_of(listen_everywhere()); }

Rendezvous place(std::int32_t process, std::int32_t processes, std::uint16_t port, bool serves = false) { return {"127.0.0.1", port, process, processes, serves, "test"}; }

class TorchrunEnvironment : public testing::Test {
 protected:
  TorchrunEnvironment() {
    set("MASTER_ADDR", "10.0.0.5");
    set("MASTER_PORT", "29501");
    set("WORLD_SIZE", "4");
    set("RANK", "3");
    set("TORCHELASTIC_RUN_ID", "job7");
    set("TORCHELASTIC_RESTART_COUNT", "2");
    set("TORCHELASTIC_USE_AGENT_STORE", "True");
  }
  ~TorchrunEnvironment() override {
    for (const auto& [name, before] : before_) before ? setenv(name.c_str(), before->c_str(), 1) : unsetenv(name.c_str());
  }
  void set(const std::string& name, const char* value) {
    const char* const before = std::getenv(name.c_str());
    before_.try_emplace(name, before != nullptr ? std::optional<std::string>(before) : std::nullopt);
    value != nullptr ? setenv(name.c_str(), value, 1) : unsetenv(name.c_str());
  }
  std::string failure() const {
    try {
      torchrun_rendezvous();
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(TorchrunEnvironment, tells_the_place) {
  const Rendezvous place = torchrun_rendezvous();
  EXPECT_EQ(place.address, "10.0.0.5");
  EXPECT_EQ(place.port, 29501);
  EXPECT_EQ(place.processes, 4);
  EXPECT_EQ(place.process, 3);
  EXPECT_FALSE(place.serves);
  EXPECT_EQ(place.prefix, "bubblescope/job7/2");
  set("TORCHELASTIC_USE_AGENT_STORE", "False");
  EXPECT_TRUE(torchrun_rendezvous().serves);
  set("TORCHELASTIC_USE_AGENT_STORE", nullptr);
  EXPECT_TRUE(torchrun_rendezvous().serves);
}

TEST_F(TorchrunEnvironment, must_be_whole_and_make_sense) {
  set("MASTER_PORT", "http");
  EXPECT_THAT(failure(), HasSubstr("MASTER_PORT is 'http'; expected a number from 1 to 65535"));
  set("MASTER_PORT", "29501");
  set("RANK", "4");
  EXPECT_THAT(failure(), HasSubstr("RANK is '4'; expected a number from 0 to 3"));
  set("MASTER_ADDR", nullptr);
  EXPECT_THAT(failure(), HasSubstr("MASTER_ADDR is not set"));
}

TEST(Rendezvous, everybody_gets_what_everybody_gives_again_and_again) {
  const auto store = agent_store();
  EXPECT_THAT(on_each(3, [&](std::int32_t p) {
    const GatherAll gather_all = gather_over_store(place(p, 3, store->getPort()));
    for (const std::string round : {"a", "b"}) {
      const std::string mine = round + std::string(1, '\0') + std::to_string(p);
      EXPECT_THAT(gather_all(mine), ElementsAre(round + std::string(1, '\0') + "0", round + std::string(1, '\0') + "1", round + std::string(1, '\0') + "2"));
    }
  }), Each(""));
}

TEST(Rendezvous, the_first_process_has_the_store_where_the_agent_has_none) {
  const std::uint16_t port = free_port();
  EXPECT_THAT(on_each(3, [&](std::int32_t p) {
    if (p == 0) std::this_thread::sleep_for(100ms);  // the others wait for it
    EXPECT_THAT(gather_over_store(place(p, 3, port, true))(std::to_string(p)), ElementsAre("0", "1", "2"));
  }), Each(""));
}

TEST(Rendezvous, says_who_has_not_come) {
  const auto store = agent_store();
  const auto failures = on_each(2, [&](std::int32_t p) { gather_over_store(place(p, 3, store->getPort()), 700ms)("x"); });
  EXPECT_THAT(failures, Each(HasSubstr("was not visited by process 2 within 0.7 s")));
}

TEST(Rendezvous, says_that_the_store_is_not_reached) {
  const std::uint16_t port = free_port();
  const auto failures = on_each(1, [&](std::int32_t) { gather_over_store(place(1, 2, port), 700ms)("x"); });
  EXPECT_THAT(failures[0], HasSubstr(std::to_string(port) + " is not reached within 0.7 s"));
}

TEST(Rendezvous, processes_that_met_there_work_together_over_sockets) {
  const auto store = agent_store();
  EXPECT_THAT(on_each(3, [&](std::int32_t p) {
    World world(std::make_unique<SocketTransport>(p, 3, gather_over_store(place(p, 3, store->getPort()))));
    const std::string large(300'000, static_cast<char>('a' + p));
    for (int round = 0; round < 3; ++round) {
      EXPECT_THAT(world.gather_all(large), ElementsAre(std::string(300'000, 'a'), std::string(300'000, 'b'), std::string(300'000, 'c')));
    }
    EXPECT_TRUE(world.any(p == 2));
  }), Each(""));
}

}  // namespace
}  // namespace bubblescope
