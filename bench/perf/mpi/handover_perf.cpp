// What the boundary between two processes costs. `handover`: what the transport over MPI costs beyond MPI itself, bodies
// there and back in turn with MPI_Send and MPI_Recv from and into the same kind of memory. `channel`: from the offer of a
// message to the start of the op that waited for it, through the executor's channels, between processes (while the
// sender computes) and within one, where the message stays where it is.
//   mpirun --oversubscribe -n 2 bubblescope-perf-mpi [--benchmark_out=FILE]
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/buffer_pool.hpp"
#include "backend/channel_costs.hpp"
#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/handover.hpp"
#include "backend/mpi_loader.hpp"
#include "backend/null.hpp"
#include "backend/transport.hpp"
#include "backend/world.hpp"
#include "sim/core/quartiles.hpp"
#include "sim/scenario/build.hpp"

namespace bubblescope {
namespace {

/// As long as what goes with a message of a schedule.
constexpr std::size_t kHead = 48;

/// Says nothing: the other process has the same results.
class Silent : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

double median(std::vector<double> values) { return fraction_quartiles(std::move(values)).median; }

double microseconds(Nanos time) { return static_cast<double>(time) / kMicrosecond; }

/// Both processes do the same: 0 sends and waits for the answer, 1 waits and answers.
class PingPong {
 public:
  explicit PingPong(Transport& transport) : transport_(transport), other_(1 - transport.process()) {
    transport.set_handler([this](std::int32_t, Parcel parcel) { came_ = std::move(parcel); });
  }

  void prepare(std::int64_t bytes) {
    bytes_ = bytes;
    out_ = filled();
    in_ = filled();
  }

  void bare() {
    if (transport_.process() == 0) {
      send_bare();
      receive_bare();
    } else {
      receive_bare();
      send_bare();
    }
  }

  void parcels() {
    if (transport_.process() == 0) {
      send_parcel();
      receive_parcel();
    } else {
      receive_parcel();
      send_parcel();
    }
  }

 private:
  std::shared_ptr<void> filled() {
    auto memory = pool_.take(bytes_);
    std::memset(memory.get(), 1, static_cast<std::size_t>(bytes_));
    return memory;
  }

  void send_bare() { MPI_Send(out_.get(), static_cast<int>(bytes_), MPI_BYTE, other_, 0, MPI_COMM_WORLD); }
  void receive_bare() { MPI_Recv(in_.get(), static_cast<int>(bytes_), MPI_BYTE, other_, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE); }
  void send_parcel() { transport_.send(other_, {std::string(kHead, 'h'), out_, bytes_}); }
  void receive_parcel() {
    while (!came_.body) transport_.poll();
    if (came_.bytes != bytes_) throw std::runtime_error("a parcel of another size came");
    came_ = {};
  }

  Transport& transport_;
  std::int32_t other_;
  BufferPool pool_;
  std::int64_t bytes_ = 0;
  std::shared_ptr<void> out_;
  std::shared_ptr<void> in_;
  Parcel came_;
};

PingPong* ping_pong = nullptr;

/// Microseconds that one hand-over takes: half of there and back.
template <typename Trip>
double handover_us(Trip&& trip) {
  const auto start = std::chrono::steady_clock::now();
  trip();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / 2;
}

void handover(benchmark::State& state) {
  const std::int64_t bytes = state.range(0);
  const auto rounds = std::clamp<std::int64_t>((std::int64_t{1} << 31) / bytes, 200, 5000);
  ping_pong->prepare(bytes);
  for (int i = 0; i < 20; ++i) ping_pong->bare(), ping_pong->parcels();
  std::vector<double> bare, parcels, ratios;
  for (auto _ : state) {
    for (std::int64_t i = 0; i < rounds; ++i) {
      bare.push_back(handover_us([] { ping_pong->bare(); }));
      parcels.push_back(handover_us([] { ping_pong->parcels(); }));
      ratios.push_back(parcels.back() / bare.back());
    }
  }
  state.counters["bare_us"] = median(bare);
  state.counters["transport_us"] = median(parcels);
  state.counters["ratio"] = median(parcels) / median(bare);
  state.counters["ratio_of_pairs"] = median(ratios);
  state.counters["rounds"] = static_cast<double>(rounds);
}
BENCHMARK(handover)->ArgName("bytes")->Arg(64 << 10)->Arg(6 << 20)->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);

std::unique_ptr<World> world;  // takes the transport over once `channel` begins

void channel(benchmark::State& state, std::unique_ptr<Transport>& transport) {
  if (!world) world = std::make_unique<World>(std::move(transport));
  constexpr std::int32_t kCount = 1000;
  const std::array<std::int64_t, 1> sizes{state.range(0)};
  const Program program = make_program("", 2, 1, placement_loop(2, 1));
  NullBackend backend(StageCosts(2), {.bodies = true});
  const std::vector<std::vector<int>> cores = spread_cores(2, 1, available_core_list());
  for (auto _ : state) {
    if (world->first()) {  // the other one sleeps meanwhile
      Ranks ranks(backend, program, cores);
      const Quartiles inside = measure_handover(ranks, kCount);
      state.counters["inside_us"] = microseconds(inside.median);
      state.counters["inside_first_us"] = microseconds(inside.first);
      state.counters["inside_third_us"] = microseconds(inside.third);
    }
    world->barrier();
    Ranks ranks(backend, program, cores, world.get());
    const MessageTimes times = measure_messages(ranks, {0, 1}, sizes, {kCount, 5 * kSecond}, [](Rank, Device&) {
      const Nanos until = steady_now() + 2 * kMillisecond;
      while (steady_now() < until) {}
    });
    const Quartiles& between = times.one_way.front().time;
    state.counters["between_us"] = microseconds(between.median);
    state.counters["between_first_us"] = microseconds(between.first);
    state.counters["between_third_us"] = microseconds(between.third);
    state.counters["both_ways_us"] = microseconds(times.both_ways.front().time.median);
  }
}

int run(std::vector<char*> arguments) {
  auto transport = load_mpi();
  if (transport->processes() != 2) {
    std::fputs("bubblescope-perf-mpi measures between two processes: mpirun --oversubscribe -n 2 bubblescope-perf-mpi\n", stderr);
    return 2;
  }
  const bool first = transport->process() == 0;
  if (!first) std::erase_if(arguments, [](const char* argument) { return std::string_view(argument).starts_with("--benchmark_out"); });
  auto count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  PingPong pairs(*transport);
  ping_pong = &pairs;
  Silent silent;
  benchmark::RegisterBenchmark("channel", [&transport](benchmark::State& state) { channel(state, transport); })
      ->ArgName("bytes")->Arg(64 << 10)->Arg(6 << 20)->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);
  if (first) {
    benchmark::RunSpecifiedBenchmarks();
  } else {
    benchmark::RunSpecifiedBenchmarks(&silent);
  }
  world.reset();
  if (transport) transport->close();
  return 0;
}

}  // namespace
}  // namespace bubblescope

int main(int argc, char** argv) {
  try {
    return bubblescope::run(std::vector<char*>(argv, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bubblescope-perf-mpi: %s\n", error.what());
    return 1;
  }
}
