// Measures channels and meetings without any device's work.
#include "backend/handover.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "backend/channels.hpp"
#include "backend/cores.hpp"
#include "backend/meetings.hpp"
#include "backend/plan.hpp"
#include "backend/run_control.hpp"

namespace bubblescope {
namespace {

/// Long enough for the others to fall asleep.
constexpr Nanos kPause = 200 * kMicrosecond;

/// Two stages on two ranks; the first sends one message to the second.
Program one_message() {
  Program program = make_program("hand-over", 2, 1, placement_loop(2, 1));
  const auto op = [](Kind kind, Stage stage) {
    Op made;
    made.kind = kind;
    made.stage = static_cast<std::int16_t>(stage);
    made.microbatch = 0;
    return made;
  };
  program.profile = Profile::forward_only;
  program.rows[0] = {op(Kind::F, 0), op(Kind::SEND_F, 0)};
  program.rows[1] = {op(Kind::RECV_F, 1), op(Kind::F, 1)};
  return program;
}

Quartiles measure_sync(Ranks& ranks, std::int32_t count) {
  GroupPlan everyone;
  for (Rank r = 0; r < ranks.count(); ++r) everyone.members.push_back(r);
  std::vector<Bell> bells(static_cast<std::size_t>(ranks.count()));
  Meetings meetings({&everyone, 1}, bells);
  const RunControl control(count, nullptr, bells);
  std::vector<std::vector<Nanos>> samples(bells.size(), std::vector<Nanos>(static_cast<std::size_t>(count)));
  const Nanos spin = default_spin(ranks.count());
  ranks.each([&](Rank rank, Device&) {
    for (std::int32_t i = 0; i < count; ++i) {
      if (rank == 0) wait_until(steady_now() + kPause);
      meetings.arrive(0, i, rank, {}, steady_now(), {});
      MeetingResult result;
      control.await(bells[static_cast<std::size_t>(rank)], spin, [&] { return meetings.complete(0, i, result); });
      samples[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i)] = steady_now() - result.last;
    }
  });
  std::vector<Nanos> latest = samples.front();
  for (const auto& rank : samples) {
    for (std::size_t i = 0; i < latest.size(); ++i) latest[i] = std::max(latest[i], rank[i]);
  }
  return quartiles(std::move(latest));
}

}  // namespace

Quartiles measure_handover(Ranks& ranks, std::int32_t count) {
  if (ranks.own().count() < 2) return {};
  const Plan plan = make_plan(one_message(), {});
  std::vector<Bell> bells(2);
  Channels channels(plan, bells);
  const RunControl control(count, nullptr, bells);
  std::vector<Nanos> samples(static_cast<std::size_t>(count));
  const Nanos spin = default_spin(ranks.count());
  ranks.each([&](Rank rank, Device&) {
    for (std::int32_t i = 0; i < count; ++i) {
      if (rank == 0) {
        wait_until(steady_now() + kPause);
        channels.offer(0, i, {}, steady_now(), {});
      } else if (rank == 1) {
        Delivery delivery;
        control.await(bells[1], spin, [&] {
          delivery = channels.delivery(0, i);
          return delivery.received;
        });
        const Nanos start = steady_now();
        channels.take(0, i, start, {});
        samples[static_cast<std::size_t>(i)] = start - delivery.offered;
      }
    }
  });
  return quartiles(std::move(samples));
}

WaitCosts measure_waits(Ranks& ranks, std::int32_t count) { return {measure_handover(ranks, count), measure_sync(ranks, count)}; }

}  // namespace bubblescope
