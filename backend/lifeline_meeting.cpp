// Lifelines find one another, and the form of what they say.
#include "backend/lifeline_meeting.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <thread>

#include "backend/fields.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr auto kOneAddress = std::chrono::seconds(1);
constexpr auto kBetweenRounds = std::chrono::milliseconds(100);
constexpr std::size_t kSecret = 32;

std::string random_word() {
  std::random_device random;
  std::string word;
  while (word.size() < kSecret) word += fmt::format("{:08x}", random());
  return word;
}

bool has_text(Notice notice) {
  constexpr std::array kWithText{Notice::name, Notice::state, Notice::failed, Notice::refused, Notice::lost, Notice::lost_refused};
  return std::find(kWithText.begin(), kWithText.end(), notice) != kWithText.end();
}

/// Its addresses in the order in which they are tried. Two hosts may have the same name, or none of its addresses may
/// lead from here to there but one.
std::vector<std::string> addresses_to_try(const MeetingPlace& place) {
  std::vector<std::string> addresses = place.addresses;
  addresses.insert(place.host == host_name() ? addresses.begin() : addresses.end(), "127.0.0.1");
  return addresses;
}

Socket join_at(const std::string& address, const MeetingPlace& place, std::int32_t process, const std::string& name, Deadline deadline) {
  Socket socket = connect_to(address, place.port, deadline);
  send_all(socket, place.greeting + FieldsOut().add(process).take(), deadline);
  if (receive(socket, place.answer.size(), deadline) != place.answer) throw RunError("something else answers");
  send_all(socket, encoded(Notice::name, name), deadline);
  return socket;
}

}  // namespace

std::string encoded(Notice notice, std::string_view text) {
  std::string bytes(1, static_cast<char>(notice));
  if (!has_text(notice)) return bytes;
  text = text.substr(0, kMostLifelineText);
  bytes += FieldsOut().add(static_cast<std::uint32_t>(text.size())).take();
  return bytes.append(text);
}

std::optional<LifelineMessage> cut_message(std::string& bytes) {
  if (bytes.empty()) return std::nullopt;
  LifelineMessage told{static_cast<Notice>(bytes[0]), {}};
  std::size_t size = 1;
  if (has_text(told.notice)) {
    std::uint32_t length = 0;
    if (bytes.size() < size + sizeof length) return std::nullopt;
    std::memcpy(&length, bytes.data() + size, sizeof length);
    if (length > kMostLifelineText) throw RunError("a text is too long");
    size += sizeof length;
    if (bytes.size() < size + length) return std::nullopt;
    told.text = bytes.substr(size, length);
    size += length;
  } else if (told.notice != Notice::alive && told.notice != Notice::bye && told.notice != Notice::given_up) {
    throw RunError("no such message");
  }
  bytes.erase(0, size);
  return told;
}

std::string encoded(const MeetingPlace& place) {
  FieldsOut out;
  out.add(place.port).add(place.greeting).add(place.answer).add(place.host).add(place.name);
  out.add(static_cast<std::uint32_t>(place.addresses.size()));
  for (const std::string& address : place.addresses) out.add(address);
  return out.take();
}

MeetingPlace read_place(std::string_view bytes) {
  FieldsIn in(bytes);
  MeetingPlace place;
  place.port = in.get<std::uint16_t>();
  for (std::string* text : {&place.greeting, &place.answer, &place.host, &place.name}) *text = in.get<std::string>();
  for (auto left = in.get<std::uint32_t>(); left > 0; --left) place.addresses.push_back(in.get<std::string>());
  return place;
}

MeetingPlace meeting_place(std::uint16_t port, std::string name) { return {port, random_word(), random_word(), host_name(), std::move(name), own_addresses()}; }

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

Socket join(const MeetingPlace& place, std::int32_t process, const std::string& name, std::chrono::milliseconds timeout) {
  const Deadline end = std::chrono::steady_clock::now() + timeout;
  const std::vector<std::string> addresses = addresses_to_try(place);
  std::vector<std::string> failures(addresses.size(), "not tried");
  for (;;) {
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= end) {
        const double seconds = std::chrono::duration<double>(timeout).count();
        throw RunError(fmt::format("{} does not reach {} (on {}, port {}) within {:g} s: {}", name, place.name, place.host, place.port, seconds, fmt::join(failures, "; ")));
      }
      try {
        return join_at(addresses[i], place, process, name, std::min<Deadline>(end, now + kOneAddress));
      } catch (const RunError& error) {
        failures[i] = fmt::format("{}: {}", addresses[i], error.what());
      }
    }
    std::this_thread::sleep_for(kBetweenRounds);
  }
}

Visitor::Step Visitor::move_on(const MeetingPlace& place, std::int32_t processes) {
  const bool open = socket_.read(came_);
  if (process_ == 0 && !greeted(place, processes)) return Step::goes;
  if (process_ != 0) {
    try {
      if (std::optional<LifelineMessage> told = cut_message(came_)) {
        name_ = std::move(told->text);
        return told->notice == Notice::name ? Step::joins : Step::goes;
      }
    } catch (const RunError&) {
      return Step::goes;
    }
  }
  return open ? Step::waits : Step::goes;
}

/// False where it cannot be one of the others.
bool Visitor::greeted(const MeetingPlace& place, std::int32_t processes) {
  const std::size_t common = std::min(came_.size(), place.greeting.size());
  if (came_.compare(0, common, place.greeting, 0, common) != 0) return false;
  if (came_.size() < place.greeting.size() + sizeof process_) return true;
  std::memcpy(&process_, came_.data() + place.greeting.size(), sizeof process_);
  came_.erase(0, place.greeting.size() + sizeof process_);
  if (process_ < 1 || process_ >= processes) return false;
  std::string answer = place.answer;
  return socket_.write(answer) && answer.empty();
}

}  // namespace bubblescope
