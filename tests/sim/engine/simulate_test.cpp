// The engine against closed forms, published tables of expected makespans, hand-derived channel cases
// and a second implementation of the queue recurrence.
#include "sim/engine/simulate.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "sim/engine/memory.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/passes.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/engine/simulated.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {
namespace {

struct RankTimes {
  Nanos first = -1, last = 0, busy = 0;
  Nanos span() const { return last - first; }
};

std::vector<RankTimes> rank_times(const Timeline& timeline) {
  std::vector<RankTimes> times(static_cast<std::size_t>(timeline.ranks));
  for (const Span& span : timeline.spans) {
    if (!span.has_op || !is_compute(span.op.kind)) continue;
    RankTimes& rank = times[static_cast<std::size_t>(timeline.tracks[static_cast<std::size_t>(span.track)].rank)];
    rank.first = rank.first < 0 ? span.start : std::min(rank.first, span.start);
    rank.last = std::max(rank.last, span.end);
    rank.busy += span.duration();
  }
  return times;
}

Nanos compute_makespan(const Timeline& timeline) {
  Nanos last = 0;
  for (const RankTimes& rank : rank_times(timeline)) last = std::max(last, rank.last);
  return last;
}

Timeline run(const Program& program, const StageCosts& costs, Nanos latency = 0, Engine engine = Engine::automatic) {
  const Simulation result = simulate(add_send_recv(program), costs, uniform_cluster(program.ranks(), {latency, 0}), {engine});
  EXPECT_FALSE(result.deadlock.has_value());
  return result.timeline;
}

// --- reductions over copies --------------------------------------------------------------------------

// Two copies of two stages. Every forward and backward takes 1 ms, and so each rank has worked 4 ms when it
// comes to its flush (0F0 3F1 3B1 0B0 and 2F1 1F0 1B0 2B1, no gaps). Gradients of 1 MB and 3 MB over 1 GB/s and
// 10 us: 2 (10 us + 0.5 ms) = 1.02 ms and 2 (10 us + 1.5 ms) = 3.02 ms, one after the other; then the
// updates, 1 ms each.
TEST(Simulate, copies_of_a_stage_meet_and_their_gradients_go_round_a_ring) {
  const Program program = add_send_recv(add_copy_reduction(make("chimera", 2, 2)));
  StageCosts costs = stage_costs({{Kind::F, {kMillisecond}}, {Kind::B, {kMillisecond}}, {Kind::U, {kMillisecond}}}, program);
  for (const Stage s : {0, 2}) costs.bytes(s).gradients = 1'000'000;
  for (const Stage s : {1, 3}) costs.bytes(s).gradients = 3'000'000;
  Cluster cluster = uniform_cluster(2, {10 * kMicrosecond, 1e9});
  const Nanos free = 4 * kMillisecond + 2 * 10 * kMicrosecond;  // one exchange of activations, one of gradients
  for (const Engine engine : {Engine::sweep, Engine::events}) {
    const Timeline timeline = simulate(program, costs, cluster, {engine}).timeline;
    std::map<std::string, std::pair<Nanos, Nanos>> times;
    for (const Span& span : timeline.spans) {
      times[cell(span.op)] = {span.start - free, span.end - free};
      if (span.op.kind == Kind::ALLREDUCE) {
        EXPECT_EQ(span.bytes, costs.bytes(span.op.stage).gradients);  // 2 (n-1) / n of them
      }
    }
    const auto us = [](Nanos from, Nanos to) { return std::pair(from * kMicrosecond, to * kMicrosecond); };
    for (const char* first : {"0ALLREDUCE", "2ALLREDUCE"}) EXPECT_EQ(times[first], us(0, 1020)) << first;
    for (const char* second : {"1ALLREDUCE", "3ALLREDUCE"}) EXPECT_EQ(times[second], us(1020, 4040)) << second;
    for (const char* first : {"0U", "1U"}) EXPECT_EQ(times[first], us(4040, 5040)) << first;
    for (const char* second : {"3U", "2U"}) EXPECT_EQ(times[second], us(5040, 6040)) << second;
  }
}

TEST(Simulate, clipping_waits_until_all_gradients_are_reduced) {
  Program copies = make("chimera", 2, 2, {{"clip", "1"}}), shards = make("gpipe", 2, 2, {{"clip", "1"}});
  for (const Program& program : {add_send_recv(add_copy_reduction(copies)), add_send_recv(add_reduce_grad(shards))}) {
    StageCosts costs = stage_costs({{Kind::F, {kMillisecond}}, {Kind::ALLREDUCE, {5 * kMillisecond}}, {Kind::REDUCE_GRAD, {5 * kMillisecond}}}, program);
    Nanos reduced = 0, met = 0;
    for (const Span& span : simulate(program, costs, uniform_cluster(2)).timeline.spans) {
      if (span.op.kind == Kind::ALLREDUCE || span.op.kind == Kind::REDUCE_GRAD) reduced = std::max(reduced, span.end);
      if (span.op.kind == Kind::SYNC) met = span.start;
    }
    EXPECT_GT(reduced, 5 * kMillisecond);
    EXPECT_EQ(met, reduced) << program.schedule;
  }
}

// --- the table of expected makespans -----------------------------------------------------------------

struct Row {
  std::string schedule;
  int p, m, chunks;
  double f, i, w, latency, makespan, span;
  std::vector<int> peak;
};

std::vector<Row> oracle_rows() {
  std::ifstream in(source_dir() / "tests/data/oracles/schedules.csv");
  EXPECT_TRUE(in.good());
  std::string line;
  std::getline(in, line);
  std::vector<Row> rows;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> cells;
    std::stringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    if (cells[0] == "schedule") continue;
    Row row{cells[0], std::stoi(cells[1]), std::stoi(cells[2]), std::stoi(cells[3]), std::stod(cells[4]), std::stod(cells[5]),
            std::stod(cells[6]), std::stod(cells[7]), std::stod(cells[8]), std::stod(cells[9]), {}};
    std::stringstream peaks(cells[12]);
    for (int peak; peaks >> peak;) row.peak.push_back(peak);
    rows.push_back(row);
  }
  return rows;
}

TEST(Simulate, makespan_span_and_peak_equal_the_oracle_rows_of_every_schedule_there_is) {
  const std::map<std::string, std::string> names{
      {"gpipe", "gpipe"},
      {"1f1b", "1f1b"},
      {"eager1f1b", "eager-1f1b"},
      {"loopedbfs_v2", "looped-bfs"},
      {"loopedbfs_v4", "looped-bfs"},
      {"interleaved1f1b_v2", "interleaved-1f1b"},
      {"interleaved1f1b_v4", "interleaved-1f1b"},
      {"interleavedzb_v2", "interleaved-zb"},
      {"interleavedzb_v4", "interleaved-zb"},
      {"zb1p_torch", "zb1p"},
      {"zbv_torch", "zbv"},
      {"dualpipe", "dualpipe"},
      {"dualpipev", "dualpipev"},
      {"chimera_2pipes", "chimera"},
  };
  int checked = 0;
  for (const Row& row : oracle_rows()) {
    const auto name = names.find(row.schedule);
    if (name == names.end()) continue;
    SCOPED_TRACE(row.schedule + " p=" + std::to_string(row.p) + " m=" + std::to_string(row.m) + " latency " + std::to_string(row.latency));
    std::map<std::string, std::string> options;
    if (row.schedule.find("_v") != std::string::npos) options["chunks"] = std::to_string(row.chunks);
    const Program program = make(name->second, row.p, row.m, options);
    const auto ms = [](double value) { return static_cast<Nanos>(value * kMillisecond + 0.5); };
    const StageCosts costs = costs_of(program, ms(row.f), ms(row.i), ms(row.w));
    const Timeline timeline = run(program, costs, ms(row.latency));
    EXPECT_EQ(compute_makespan(timeline), ms(row.makespan));
    Nanos span = 0;
    for (const RankTimes& rank : rank_times(timeline)) span = std::max(span, rank.span());
    EXPECT_EQ(span, ms(row.span));
    const auto memory = memory_over_time(program, timeline, costs);
    for (std::size_t r = 0; r < memory.size(); ++r) EXPECT_EQ(memory[r].peak_activations, row.peak[r]) << "rank " << r;
    ++checked;
  }
  EXPECT_EQ(checked, 82);
}

// --- closed forms ------------------------------------------------------------------------------------

TEST(Simulate, gpipe_and_1f1b_take_m_plus_p_minus_1_slots) {
  // The last rank starts after p-1 forwards, works m(F+B), and p-1 backwards follow.
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 9), m = *rc::gen::inRange(1, 17);
    const Nanos f = *rc::gen::inRange(1, 1000), i = *rc::gen::inRange(0, 1000), w = *rc::gen::inRange(0, 1000);
    for (const char* name : {"gpipe", "1f1b"}) {
      const Program program = make(name, p, m);
      RC_ASSERT(compute_makespan(run(program, costs_of(program, f, i, w))) == (m + p - 1) * (f + i + w));
    }
  }));
}

TEST(Simulate, interleaved_1f1b_shrinks_the_bubble_by_the_chunks) {
  // m(F+B) + (p-1)(F+B)/v where p divides m (Narayanan et al. 2021, section 2.2).
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 7), v = *rc::gen::inRange(1, 5), m = p * *rc::gen::inRange(1, 5);
    const Nanos f = *rc::gen::inRange(1, 1000), i = *rc::gen::inRange(0, 1000), w = *rc::gen::inRange(0, 1000);
    const Program program = make("interleaved-1f1b", p, m, {{"chunks", std::to_string(v)}});
    const Nanos expected = m * v * (f + i + w) + (p - 1) * (f + i + w);
    RC_ASSERT(compute_makespan(run(program, costs_of(program, v * f, v * i, v * w))) == expected);
  }));
}

TEST(Simulate, naive_runs_one_microbatch_at_a_time) {
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 6), m = *rc::gen::inRange(1, 6);
    const Nanos f = *rc::gen::inRange(1, 1000), b = *rc::gen::inRange(0, 1000), latency = *rc::gen::inRange(0, 100);
    const Program program = make("naive", p, m);
    RC_ASSERT(compute_makespan(run(program, costs_of(program, f, b, 0), latency)) == m * (p * (f + b) + 2 * (p - 1) * latency));
  }));
}

/// Random costs of a local schedule, one value per rank and kind.
struct LocalCosts {
  std::vector<Nanos> f, a, lb, u;
  StageCosts of(const Program& program) const { return stage_costs({{Kind::F, f}, {Kind::A, a}, {Kind::LB, lb}, {Kind::U, u}}, program); }
  Nanos step(std::size_t k) const { return f[k] + a[k] + lb[k] + u[k]; }
};

LocalCosts any_local_costs(int p) {
  const auto values = [p] { return *rc::gen::container<std::vector<Nanos>>(static_cast<std::size_t>(p), rc::gen::inRange<Nanos>(1, 1000)); };
  LocalCosts costs;
  costs.f = values(), costs.a = values(), costs.lb = values(), costs.u = values();
  return costs;
}

TEST(Simulate, serial_local_learning_takes_the_sum_of_all_steps) {
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 6), m = *rc::gen::inRange(1, 6);
    const LocalCosts costs = any_local_costs(p);
    const Program program = make("sequential-local", p, m, {{"variant", "serial"}});
    Nanos sum = 0;
    for (std::size_t k = 0; k < costs.f.size(); ++k) sum += costs.step(k);
    RC_ASSERT(compute_makespan(run(program, costs.of(program))) == m * sum);
  }));
}

TEST(Simulate, sequential_local_learning_takes_the_same_however_its_stages_lie_on_ranks) {
  // Serial and blockwise: m times the sum over all stages, on one rank with all of them, too.
  EXPECT_TRUE(rc::check([] {
    const int chunks = *rc::gen::inRange(1, 5), p = *rc::gen::inRange(1, 4), m = *rc::gen::inRange(1, 6);
    const LocalCosts costs = any_local_costs(p * chunks);
    Nanos sum = 0;
    for (std::size_t k = 0; k < costs.f.size(); ++k) sum += costs.step(k);
    for (const char* variant : {"serial", "blockwise"}) {
      const Program program = make("sequential-local", p, m, {{"variant", variant}, {"chunks", std::to_string(chunks)}});
      StageCosts stages(p * chunks);
      for (Stage s = 0; s < stages.stages(); ++s) {
        const auto k = static_cast<std::size_t>(s);
        stages.at(s, Kind::F).duration = costs.f[k];
        stages.at(s, Kind::A).duration = costs.a[k];
        stages.at(s, Kind::LB).duration = costs.lb[k];
        stages.at(s, Kind::U).duration = costs.u[k];
      }
      RC_ASSERT(compute_makespan(run(program, stages)) == m * sum);
    }
  }));
}

TEST(Simulate, blockwise_local_learning_takes_the_sum_of_all_steps) {
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 6), m = *rc::gen::inRange(1, 6);
    const LocalCosts costs = any_local_costs(p);
    const Program program = make("sequential-local", p, m, {{"variant", "blockwise"}});
    Nanos sum = 0;
    for (std::size_t k = 0; k < costs.f.size(); ++k) sum += costs.step(k);
    RC_ASSERT(compute_makespan(run(program, costs.of(program))) == m * sum);
  }));
}

TEST(Simulate, iterations_of_sequential_local_learning_do_not_overlap) {
  // p = 2, m = 4, F = 1 ms, LB = 2 ms. Sequential local learning keeps one block at work at a time, in any
  // variant but `overlapped`: blockwise, block 0 takes m (F + LB) = 12 ms for its batches, then block 1 as
  // long with the cached features; only then comes the next iteration, as block 0 is trained on while
  // nothing else runs. So 24 ms per iteration, 48 ms for two, 24 / 4 = 6 ms per batch.
  for (const char* variant : {"serial", "blockwise"}) {
    const Program program = add_send_recv(make("sequential-local", 2, 4, {{"variant", variant}}));
    const StageCosts costs = stage_costs({{Kind::F, {kMillisecond}}, {Kind::LB, {2 * kMillisecond}}}, program);
    EXPECT_EQ(compute_makespan(run(program, costs)), 24 * kMillisecond) << variant;
    EXPECT_EQ(compute_makespan(run(repeat_iterations(program, 2), costs)), 48 * kMillisecond) << variant;
    EXPECT_EQ(steady_period(program, costs, uniform_cluster(2)), 6 * kMillisecond) << variant;
  }
}

TEST(Simulate, overlapped_local_learning_takes_the_slowest_rank_behind_the_forwards_before_it) {
  // Per batch max over k of (F_0 + ... + F_k + A_k + LB_k + U_k), then the barrier.
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 6), m = *rc::gen::inRange(1, 6);
    const LocalCosts costs = any_local_costs(p);
    const Program program = make("sequential-local", p, m, {{"variant", "overlapped"}});
    Nanos forwards = 0, batch = 0;
    for (std::size_t k = 0; k < costs.f.size(); ++k) {
      forwards += costs.f[k];
      batch = std::max(batch, forwards + costs.a[k] + costs.lb[k] + costs.u[k]);
    }
    RC_ASSERT(compute_makespan(run(program, costs.of(program))) == m * batch);
  }));
}

// --- PPLL's queue: a second implementation of the recurrence -----------------------------------------

/// When each rank's F(t) starts and its last op ends, straight from the definition of the queue: entry
/// t is accepted when it is offered and, for Q >= 1, the consumer has started F(t-Q), for Q = 0 has
/// finished everything before F(t), its own accepted sends included; the producer goes on at
/// acceptance; F(t) starts no earlier than acceptance plus the transfer. Where entries are copied through
/// host memory, the producer copies before it offers, and the consumer after its turn and the transfer.
struct QueueReference {
  std::vector<std::vector<Nanos>> f_start;  // rank, t
  std::vector<Nanos> span;

  /// `copies`: time of each of the two copies, by producer.
  QueueReference(const LocalCosts& c, int m, int q, bool late, Nanos transfer, const std::vector<Nanos>& copies) {
    const std::size_t p = c.f.size();
    f_start.assign(p, std::vector<Nanos>(static_cast<std::size_t>(m), -1));
    std::vector<std::vector<Nanos>> accepted(p, std::vector<Nanos>(static_cast<std::size_t>(m), -1)), free_at(p, std::vector<Nanos>(static_cast<std::size_t>(m) + 1, 0));
    std::vector<Nanos> end(p, 0);
    // Microbatch by microbatch, the first rank first: rank k's t-th step needs rank k-1's t-th acceptance,
    // which needs what rank k and k+1 did up to t-1.
    for (std::size_t t = 0; t < static_cast<std::size_t>(m); ++t) {
      for (std::size_t k = 0; k < p; ++k) {
        Nanos start = free_at[k][t];
        if (k > 0) {
          start = std::max(start, accepted[k - 1][t] + transfer) + copies[k - 1];
        }
        f_start[k][t] = start;
        const Nanos offer = (late ? start + c.step(k) : start + c.f[k]) + (k + 1 < p ? copies[k] : 0);
        if (k + 1 == p) {
          free_at[k][t + 1] = end[k] = start + c.step(k);
          continue;
        }
        Nanos accept = offer;
        if (q == 0) {
          accept = std::max(accept, free_at[k + 1][t]);
        } else if (t >= static_cast<std::size_t>(q)) {
          accept = std::max(accept, f_start[k + 1][t - static_cast<std::size_t>(q)]);
        }
        accepted[k][t] = accept;
        end[k] = late ? start + c.step(k) : accept + c.step(k) - c.f[k];
        free_at[k][t + 1] = late ? accept : end[k];
      }
    }
    for (std::size_t k = 0; k < p; ++k) span.push_back(end[k] - f_start[k][0]);
  }
};

TEST(Simulate, every_rank_of_ppll_runs_as_the_queue_recurrence_says) {
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 7), m = *rc::gen::inRange(1, 20), q = *rc::gen::inRange(0, 9);
    const bool late = *rc::gen::arbitrary<bool>();
    const Nanos transfer = *rc::gen::element<Nanos>(0, 1, 100, 1500);
    const LocalCosts costs = any_local_costs(p);
    const Program program = make("ppll", p, m, {{"queue", std::to_string(q)}, {"forward", late ? "late" : "early"}});
    // At 1e9 bytes per second a copy takes as many ns as there are bytes, and the bandwidth says nothing.
    const bool staged = *rc::gen::arbitrary<bool>();
    const std::vector<Nanos> bytes = any_local_costs(p).f;
    StageCosts stage_costs = costs.of(program);
    for (Stage s = 0; s < p; ++s) stage_costs.bytes(s).output = bytes[static_cast<std::size_t>(s)];
    const QueueReference reference(costs, m, q, late, transfer, staged ? bytes : std::vector<Nanos>(bytes.size(), 0));
    const Cluster cluster = uniform_cluster(p, staged ? Link{transfer, 1e9, 1e9} : Link{transfer, 0});
    for (const Engine engine : {Engine::sweep, Engine::events}) {
      const Timeline timeline = simulate(add_send_recv(program), stage_costs, cluster, {engine}).timeline;
      const auto times = rank_times(timeline);
      for (std::size_t k = 0; k < times.size(); ++k) RC_ASSERT(times[k].span() == reference.span[k]);
      for (const Span& span : timeline.spans) {
        if (span.op.kind == Kind::F) RC_ASSERT(span.start == reference.f_start[static_cast<std::size_t>(span.op.stage)][static_cast<std::size_t>(span.op.microbatch)]);
      }
    }
  }));
}

TEST(Simulate, ppll_runs_at_the_pace_of_its_slowest_rank) {
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 6), m = *rc::gen::inRange(1, 5), q = *rc::gen::inRange(1, 9);
    const LocalCosts costs = any_local_costs(p);
    const Program program = make("ppll", p, m, {{"queue", std::to_string(q)}});
    Nanos slowest = 0;
    for (std::size_t k = 0; k < costs.f.size(); ++k) slowest = std::max(slowest, costs.step(k));
    const auto period = steady_period(add_send_recv(program), costs.of(program), uniform_cluster(p));
    RC_ASSERT(period == slowest);
  }));
}

TEST(Simulate, the_period_of_a_flushed_pipeline_with_equal_ranks_is_its_longest_span) {
  for (const char* name : {"gpipe", "1f1b"}) {
    const Program program = make(name, 4, 8);
    const auto period = steady_period(add_send_recv(program), costs_of(program, 1000, 1000, 1000), uniform_cluster(4));
    EXPECT_EQ(period, 33000) << name;  // oracle table, p=4, m=8: max span 33
  }
}

TEST(Simulate, refuses_a_cluster_that_is_too_small) {
  const Program program = make("gpipe", 4, 4);
  EXPECT_THROW(simulate(program, costs_of(program, 1, 1, 1), uniform_cluster(3)), InputError);
}

}  // namespace
}  // namespace bubblescope
