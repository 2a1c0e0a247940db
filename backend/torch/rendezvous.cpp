// torchrun's environment, and what everybody writes into the store and reads from it.
#include "backend/torch/rendezvous.hpp"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "backend/mpi_loader.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr || *value == 0) throw InputError(fmt::format("the environment variable {} is not set; expected it from torchrun", name));
  return value;
}

std::int32_t number_in(const char* name, std::int32_t least, std::int32_t most) {
  variable(name);  // or there is none
  return number_of_variable(name, least, most);
}

/// One meeting of all processes.
class Meeting {
 public:
  Meeting(const Rendezvous& rendezvous, std::int64_t number, std::chrono::milliseconds timeout)
      : place_(rendezvous), prefix_(fmt::format("{}/{}/", rendezvous.prefix, number)), timeout_(timeout) {
    c10d::TCPStoreOptions options;
    options.port = place_.port;
    options.isServer = place_.serves && place_.process == 0;
    options.waitWorkers = false;
    options.timeout = timeout;
    options.multiTenant = true;
    say("is not reached", [&] { store_ = c10::make_intrusive<c10d::TCPStore>(place_.address, options); });
  }

  std::vector<std::string> gather_all(const std::string& mine) {
    say("does not answer", [&] { store_->set(key(place_.process), std::vector<std::uint8_t>(mine.begin(), mine.end())); });
    std::vector<std::string> all;
    const auto end = std::chrono::steady_clock::now() + timeout_;
    for (std::int32_t p = 0; p < place_.processes; ++p) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      say(fmt::format("was not visited by process {}", p), [&] {
        store_->wait({key(p)}, std::max(left, std::chrono::milliseconds(1)));
        const std::vector<std::uint8_t> bytes = store_->get(key(p));
        all.emplace_back(bytes.begin(), bytes.end());
      });
    }
    leave(end);
    return all;
  }

 private:
  std::string key(std::int32_t process) const { return prefix_ + std::to_string(process); }

  /// Who has the store keeps it until everybody has read it.
  void leave(Deadline end) {
    const std::string readers = prefix_ + "readers";
    say("does not answer", [&] { store_->add(readers, 1); });
    if (!place_.serves || place_.process != 0) return;
    const auto read_by = [&] {
      std::int64_t count = 0;
      say("does not answer", [&] { count = store_->add(readers, 0); });
      return count;
    };
    while (std::chrono::steady_clock::now() < end && read_by() < place_.processes) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  template <class Work>
  void say(const std::string& what, const Work& work) const {
    try {
      work();
    } catch (const c10::Error& error) {
      throw RunError(fmt::format("the store of torchrun at {}:{} {} within {:g} s: {}", place_.address, place_.port, what, std::chrono::duration<double>(timeout_).count(), error.what_without_backtrace()));
    }
  }

  Rendezvous place_;
  std::string prefix_;
  std::chrono::milliseconds timeout_;
  c10::intrusive_ptr<c10d::TCPStore> store_;
};

}  // namespace

Rendezvous torchrun_rendezvous() {
  Rendezvous place;
  place.address = variable("MASTER_ADDR");
  place.port = static_cast<std::uint16_t>(number_in("MASTER_PORT", 1, 65535));
  place.processes = number_in("WORLD_SIZE", 1, 1 << 24);
  place.process = number_in("RANK", 0, place.processes - 1);
  const char* const agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  place.serves = agent == nullptr || std::string(agent) != "True";  // as Python writes it
  const char* const restarts = std::getenv("TORCHELASTIC_RESTART_COUNT");
  place.prefix = fmt::format("bubblescope/{}/{}", variable("TORCHELASTIC_RUN_ID"), restarts != nullptr ? restarts : "0");
  return place;
}

GatherAll gather_over_store(Rendezvous rendezvous, std::chrono::milliseconds timeout) {
  return [place = std::move(rendezvous), timeout, meetings = std::int64_t{0}](const std::string& mine) mutable { return Meeting(place, meetings++, timeout).gather_all(mine); };
}

}  // namespace bubblescope
