// Messages there and back between two processes.
#include "backend/channel_costs.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "backend/channels.hpp"
#include "backend/exchange.hpp"
#include "backend/fields.hpp"
#include "backend/meetings.hpp"
#include "backend/plan.hpp"
#include "backend/run_control.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

constexpr std::int32_t kFewest = 5;
/// Long enough for the others to be waiting.
constexpr Nanos kPause = 200 * kMicrosecond;

/// Two stages on two of `ranks` ranks, which send each other one message.
Program there_and_back(std::int32_t ranks, Rank one, Rank other) {
  Program program = make_program("messages", ranks, 1, {one, other});
  const auto op = [](Kind kind, Stage stage) {
    Op made;
    made.kind = kind;
    made.stage = static_cast<std::int16_t>(stage);
    made.microbatch = 0;
    return made;
  };
  program.rows[at(one)] = {op(Kind::F, 0), op(Kind::SEND_F, 0), op(Kind::RECV_B, 0), op(Kind::B, 0)};
  program.rows[at(other)] = {op(Kind::RECV_F, 1), op(Kind::F, 1), op(Kind::B, 1), op(Kind::SEND_B, 1)};
  return program;
}

/// Channels and meetings of one measurement, which every process has an end of.
class Joint {
 public:
  Joint(Ranks& ranks, std::int32_t one_process, std::int32_t other_process)
      : one(one_process * ranks.own().count()), other(other_process * ranks.own().count()), ranks_(ranks), plan_(make_plan(there_and_back(ranks.count(), one, other), {})), bells_(at(ranks.count())), groups_(everyone(ranks.count())),
        exchange_(*ranks.world(), plan_, groups_, ranks.count(), ranks.codec()), channels_(plan_, bells_, &exchange_), meetings_(groups_, bells_, &exchange_),
        control_(0, nullptr, bells_, &exchange_) {
    for (std::size_t m = 0; m < plan_.messages.size(); ++m) (plan_.messages[m].send.kind == Kind::SEND_F ? there : back) = static_cast<std::int32_t>(m);
    exchange_.begin(channels_, meetings_, control_);
  }
  ~Joint() { exchange_.end(); }
  Joint(const Joint&) = delete;
  Joint& operator=(const Joint&) = delete;

  void offer(std::int32_t message, std::int64_t walk, Payload payload) { channels_.offer(message, walk, std::move(payload), steady_now(), {}); }

  /// Waits for a message on the rank's own thread; returns how long it took since it was offered.
  Nanos take(std::int32_t message, std::int64_t walk, Rank rank) {
    Delivery delivery;
    control_.await(bells_[at(rank)], ranks_.spin(), [&] {
      delivery = channels_.delivery(message, walk);
      return delivery.received;
    });
    const Nanos start = steady_now();
    channels_.take(message, walk, start, {});
    return std::max<Nanos>(0, start - delivery.offered);
  }

  /// How long after the last one's arrival at a barrier this rank goes on.
  Nanos meet(std::int64_t walk, Rank rank) {
    meetings_.arrive(0, walk, rank, {}, steady_now(), {});
    MeetingResult result;
    control_.await(bells_[at(rank)], ranks_.spin(), [&] { return meetings_.complete(0, walk, result); });
    return std::max<Nanos>(0, steady_now() - result.last);
  }

  /// Runs `work` on every rank; where it fails on one, those that wait for that one end, too.
  void each(const std::function<void(Rank, Device&)>& work) {
    ranks_.each([&](Rank rank, Device& device) {
      try {
        work(rank, device);
      } catch (const Aborted&) {  // whoever failed says why
      } catch (const std::exception& error) {
        control_.fail(error.what());
        throw;
      }
    });
  }

  const Rank one, other;  ///< the first ranks of the two processes
  std::int32_t there = -1, back = -1;  ///< messages

 private:
  static std::vector<GroupPlan> everyone(std::int32_t ranks) {
    std::vector<GroupPlan> groups(1);
    for (Rank r = 0; r < ranks; ++r) groups.front().members.push_back(r);
    return groups;
  }

  Ranks& ranks_;
  Plan plan_;
  std::vector<Bell> bells_;
  std::vector<GroupPlan> groups_;
  Exchange exchange_;
  Channels channels_;
  Meetings meetings_;
  RunControl control_;
};

class Measuring {
 public:
  Measuring(Ranks& ranks, std::pair<std::int32_t, std::int32_t> processes) : ranks_(ranks), joint_(ranks, processes.first, processes.second) {}

  /// Times of `count` messages of that size, in every process.
  std::vector<Nanos> messages(std::int64_t bytes, std::int32_t count, bool both_ways, const std::function<void(Rank, Device&)>& compute) {
    std::vector<Nanos> there, back;
    joint_.each([&](Rank rank, Device& device) {
      for (std::int64_t walk = walk_; walk < walk_ + count; ++walk) {
        // Together, or whoever is ahead sends its next message while its last one is still under way.
        if (both_ways) joint_.meet(meeting_ + walk - walk_, rank);
        if (rank == joint_.one) {
          const Payload message = device.message(bytes);
          if (!both_ways) wait_until(steady_now() + kPause);
          joint_.offer(joint_.there, walk, message);
          if (!both_ways) compute(rank, device);
          back.push_back(joint_.take(joint_.back, walk, rank));
        } else if (rank == joint_.other) {
          if (both_ways) joint_.offer(joint_.back, walk, device.message(bytes));
          there.push_back(joint_.take(joint_.there, walk, rank));
          if (!both_ways) joint_.offer(joint_.back, walk, device.message(0));
        }
      }
    });
    walk_ += count;
    if (both_ways) meeting_ += count;
    return gather(there, both_ways ? back : std::vector<Nanos>{});
  }

  std::vector<Nanos> barriers(std::int32_t count) {
    std::vector<std::vector<Nanos>> own(at(ranks_.own().count()));
    joint_.each([&](Rank rank, Device&) {
      for (std::int32_t i = 0; i < count; ++i) {
        if (rank == 0) wait_until(steady_now() + kPause);
        own[at(rank - ranks_.own().first)].push_back(joint_.meet(meeting_ + i, rank));
      }
    });
    meeting_ += count;
    std::vector<Nanos> latest(at(count), 0);
    for (const auto& times : own) {
      for (std::size_t i = 0; i < latest.size(); ++i) latest[i] = std::max(latest[i], times[i]);
    }
    std::vector<Nanos> all(latest.size(), 0);
    for (const std::string& one : ranks_.world()->gather_all(FieldsOut().add(latest).take())) {
      const auto theirs = FieldsIn(one).get<std::vector<Nanos>>();
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::max(all[i], theirs[i]);
    }
    return all;
  }

 private:
  std::vector<Nanos> gather(const std::vector<Nanos>& there, const std::vector<Nanos>& back) {
    std::vector<Nanos> all;
    for (const std::string& one : ranks_.world()->gather_all(FieldsOut().add(there).add(back).take())) {
      FieldsIn fields(one);
      for (int side = 0; side < 2; ++side) {
        const auto times = fields.get<std::vector<Nanos>>();
        all.insert(all.end(), times.begin(), times.end());
      }
    }
    return all;
  }

  Ranks& ranks_;
  Joint joint_;
  std::int64_t walk_ = 0;
  std::int64_t meeting_ = 0;
};

}  // namespace

MessageTimes measure_messages(Ranks& ranks, std::pair<std::int32_t, std::int32_t> processes, std::span<const std::int64_t> sizes, MessageCount count,
                              const std::function<void(Rank, Device&)>& compute) {
  World& world = *ranks.world();
  world.compare_clocks();
  Measuring measuring(ranks, processes);
  MessageTimes times;
  for (const bool both_ways : {false, true}) {
    for (const std::int64_t bytes : sizes) {
      // The first ones find memory; they also tell how many there can be.
      const Nanos begun = steady_now();
      measuring.messages(bytes, kFewest, both_ways, compute);
      const Nanos each = std::max<Nanos>(1, (steady_now() - begun) / kFewest);
      const auto affordable = static_cast<std::int32_t>(std::clamp<Nanos>(count.longest / each, kFewest, std::max(kFewest, count.most)));
      const std::string agreed = world.broadcast(FieldsOut().add(affordable).take());
      const std::vector<Nanos> all = measuring.messages(bytes, FieldsIn(agreed).get<std::int32_t>(), both_ways, compute);
      (both_ways ? times.both_ways : times.one_way).push_back({bytes, quartiles(all)});
    }
  }
  return times;
}

Quartiles measure_barriers(Ranks& ranks, std::int32_t count) {
  ranks.world()->compare_clocks();
  return quartiles(Measuring(ranks, {0, 1}).barriers(std::max(1, count)));
}

std::optional<std::pair<std::int32_t, std::int32_t>> first_two(const std::vector<std::string>& hosts, bool same) {
  for (std::size_t one = 0; one < hosts.size(); ++one) {
    for (std::size_t other = one + 1; other < hosts.size(); ++other) {
      if ((hosts[one] == hosts[other]) == same) return std::pair(static_cast<std::int32_t>(one), static_cast<std::int32_t>(other));
    }
  }
  return std::nullopt;
}

}  // namespace bubblescope
