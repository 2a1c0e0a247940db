// How the lifelines of a job's processes find process 0 and know that it is it; then what they tell one another.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/socket.hpp"

namespace bubblescope {

/// No text between lifelines is longer; what is, is cut.
constexpr std::size_t kMostLifelineText = 64 * 1024;

/// What lifelines tell one another.
enum class Notice : char {
  alive = '.',     ///< nothing new
  name = 'n',      ///< first of all: what the process is called
  state = 's',     ///< what its ranks do
  bye = 'b',       ///< it ends in good order
  failed = 'f',    ///< it ends because of an error, in words
  refused = 'r',   ///< likewise; its input was wrong
  lost = 'l',      ///< from process 0: who is lost, in words
  lost_refused = 'm',  ///< likewise; its input was wrong
  given_up = 'g',  ///< to who was silent for too long: the others go on without it
};

struct LifelineMessage {
  Notice notice = Notice::alive;
  std::string text;
};

/// One byte, and a length and the text for those that have one.
std::string encoded(Notice notice, std::string_view text = {});
/// Cuts the first off the front of `bytes`; none where it is not complete. Throws RunError where it can be none.
std::optional<LifelineMessage> cut_message(std::string& bytes);

/// Where process 0 is to be found, and what both sides show to be of the same job.
struct MeetingPlace {
  std::uint16_t port = 0;  ///< 0: there is none, `host` says why
  std::string greeting;    ///< what a process that joins begins with; random
  std::string answer;      ///< what process 0 answers; random
  std::string host;
  std::string name;                    ///< of process 0
  std::vector<std::string> addresses;  ///< numeric
};

std::string encoded(const MeetingPlace& place);
/// Throws RunError where that cannot be read.
MeetingPlace read_place(std::string_view bytes);

/// Makes up greeting and answer. `port`: where process 0 listens.
MeetingPlace meeting_place(std::uint16_t port, std::string name);
std::string host_name();

/// Connects to process 0 and says who this is. Tries address after address, each for at most a second, until one leads
/// to the right process. Throws RunError after `timeout`, with all that was tried.
Socket join(const MeetingPlace& place, std::int32_t process, const std::string& name, std::chrono::milliseconds timeout);

/// Whoever connects to process 0, until it has shown that it is of this job and said its name: greeting, answer, name.
/// Until the name is there either side may start anew.
class Visitor {
 public:
  Visitor(Socket socket, Deadline deadline) : socket_(std::move(socket)), deadline_(deadline) {}

  enum class Step { waits, joins, goes };
  /// Reads what has come. `goes`: it is a stranger, or gone. `processes`: of the job; from 1 on they may join.
  Step move_on(const MeetingPlace& place, std::int32_t processes);

  const Socket& socket() const { return socket_; }
  Deadline deadline() const { return deadline_; }
  /// Once it joins: who it is, its connection, and what came after its name.
  std::int32_t process() const { return process_; }
  const std::string& name() const { return name_; }
  Socket take_socket() { return std::move(socket_); }
  std::string take_rest() { return std::move(came_); }

 private:
  bool greeted(const MeetingPlace& place, std::int32_t processes);

  Socket socket_;
  Deadline deadline_;
  std::string came_;
  std::int32_t process_ = 0;  ///< 0: not known yet
  std::string name_;
};

}  // namespace bubblescope
