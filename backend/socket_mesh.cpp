// Everybody connects to those before it and is connected to by those after it.
#include "backend/socket_mesh.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <utility>

#include "backend/lifeline_meeting.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

constexpr int kLook = 20;  ///< milliseconds between looks at whether to go on
constexpr auto kOneVisitor = std::chrono::seconds(10);

/// Takes in the processes after this one, on a thread: they must be answered while this one looks for those before it.
class Door {
 public:
  Door(std::int32_t process, std::int32_t processes, std::vector<MeshConnection>& connections, const Socket& listening, const MeetingPlace& place)
      : process_(process), processes_(processes), connections_(connections), listening_(listening), place_(place), thread_([this](const std::stop_token& stop) { keep_open(stop); }) {}

  /// Waits for those that are missing, and throws what went wrong.
  void wait(Deadline deadline, std::chrono::milliseconds timeout) {
    deadline_ = deadline;
    timed_ = true;
    thread_.join();
    if (failure_) std::rethrow_exception(failure_);
    std::string missing;
    for (std::int32_t p = process_ + 1; p < processes_; ++p) {
      if (!connections_[at(p)].socket.is_open()) missing += fmt::format("{}process {}", missing.empty() ? "" : ", ", p);
    }
    if (!missing.empty()) throw RunError(fmt::format("process {} waits for {}: not connected within {:g} s", process_, missing, std::chrono::duration<double>(timeout).count()));
  }

 private:
  bool all_here() const {
    return std::all_of(connections_.begin() + process_ + 1, connections_.end(), [](const MeshConnection& one) { return one.socket.is_open(); });
  }

  void keep_open(const std::stop_token& stop) {
    try {
      while (!stop.stop_requested() && !all_here()) {
        if (timed_ && std::chrono::steady_clock::now() >= deadline_) return;
        look();
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  void look() {
    std::vector<pollfd> ready{{listening_.file(), POLLIN, 0}};
    for (const Visitor& visitor : visitors_) ready.push_back({visitor.socket().file(), POLLIN, 0});
    poll(ready.data(), ready.size(), kLook);
    const auto now = std::chrono::steady_clock::now();
    std::vector<Visitor> staying;
    for (Visitor& visitor : visitors_) {
      const Visitor::Step step = visitor.move_on(place_, processes_);
      if (step == Visitor::Step::joins && visitor.process() > process_) {
        connections_[at(visitor.process())] = {visitor.take_socket(), visitor.take_rest()};
      } else if (step == Visitor::Step::waits && now < visitor.deadline()) {
        staying.push_back(std::move(visitor));
      }
    }
    visitors_ = std::move(staying);
    for (Socket socket = accept_from(listening_); socket.is_open(); socket = accept_from(listening_)) visitors_.emplace_back(std::move(socket), now + kOneVisitor);
  }

  std::int32_t process_;
  std::int32_t processes_;
  std::vector<MeshConnection>& connections_;  ///< those after this process's are the thread's
  const Socket& listening_;
  const MeetingPlace& place_;
  std::vector<Visitor> visitors_;
  Deadline deadline_;
  std::atomic<bool> timed_{false};  ///< `deadline_` is set
  std::exception_ptr failure_;
  std::jthread thread_;  ///< last: it uses the others
};

}  // namespace

std::vector<MeshConnection> connect_mesh(std::int32_t process, std::int32_t processes, const GatherAll& gather_all, std::chrono::milliseconds timeout) {
  const Socket listening = listen_everywhere();
  const std::string name = fmt::format("process {}", process);
  const MeetingPlace mine = meeting_place(port_of(listening), name);
  std::vector<MeshConnection> connections(at(processes));
  const std::vector<std::string> places = gather_all(encoded(mine));
  if (places.size() != at(processes)) throw RunError(fmt::format("{} of {} processes have told where they are", places.size(), processes));
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  Door door(process, processes, connections, listening, mine);
  for (std::int32_t p = 0; p < process; ++p) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    connections[at(p)].socket = join(read_place(places[at(p)]), process, name, std::max(left, std::chrono::milliseconds(0)));
  }
  door.wait(deadline, timeout);
  return connections;
}

}  // namespace bubblescope
