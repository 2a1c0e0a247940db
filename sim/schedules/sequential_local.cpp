// Sequential local learning, the baseline of PPLL, in the three forms found in papers and code:
//   serial      one microbatch through one stage at a time; Belilovsky et al., "Decoupled Greedy
//               Learning", arXiv 1901.08164, algorithm 1 run on one process
//   overlapped  a stage's local backward runs beside the next stage's forward, all stages meet after
//               every microbatch; as `scpl` by its own name: supervised contrastive parallel learning
//               (github.com/minyaho/scpl) is that schedule
//   blockwise   stage after stage, each over all microbatches, its outputs cached for the next;
//               Belilovsky et al., "Greedy Layerwise Learning Can Scale to ImageNet", arXiv 1812.11446
//
//   2 ranks, 2 microbatches, T = A LB U, | a barrier
//   serial      rank 0  F0 T0 T0 .. .. .. | F1 T1 T1 .. .. ..
//               rank 1  .. .. .. F0 T0 T0 | .. .. .. F1 T1 T1
//   overlapped  rank 0  F0 T0 T0 .. | F1 T1 T1 ..
//               rank 1  .. F0 T0 T0 | .. F1 T1 T1
//   blockwise   rank 0  F0 T0 T0 F1 T1 T1 | .. .. .. .. .. .. |
//               rank 1  .. .. .. .. .. .. | F0 T0 T0 F1 T1 T1 |
//
// With several chunks per rank stage s is on rank s mod p; one rank with all of them trains as one device
// does, with no transfers.
//
// Makespan, and period of an iteration: serial and blockwise m sum_s (F_s + A_s + LB_s + U_s);
// overlapped, one chunk, m max_s (F_0 + ... + F_s + A_s + LB_s + U_s).
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule sequential_local_schedule();
Schedule scpl_schedule();

namespace {

Program generate_variant(const Schedule& schedule, const ScheduleShape& shape, const std::string& variant, std::int32_t chunks) {
  const std::int32_t accumulate = accumulation(schedule, shape);
  Program program = make_program(schedule.name, shape.ranks, shape.microbatches, placement_loop(shape.ranks, chunks));
  program.profile = variant == "serial" ? Profile::local_serial : Profile::local;
  program.weights = WeightPolicy::latest;
  Channel& cache = program.channels.front();
  cache.receive = Receive::at_use;
  cache.send = Send::holding;

  const bool blockwise = variant == "blockwise";
  const Stage stages = program.stages();
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve((4 * static_cast<std::size_t>(chunks) + 1) * static_cast<std::size_t>(shape.microbatches) + (blockwise ? static_cast<std::size_t>(stages) : 0));
    const auto sync = [&](std::int32_t number) { row.push_back(make_op(Kind::SYNC, r, number)); };
    const auto train = [&](Stage stage, Microbatch m) {
      for (const Kind kind : {Kind::F, Kind::A, Kind::LB}) row.push_back(make_op(kind, stage, m));
      if ((m + 1) % accumulate == 0) row.push_back(make_op(Kind::U, stage, m));
    };
    if (blockwise) {
      // Phase k, in which only the rank of stage k works, ends with the k-th barrier. So does the last:
      // else the next iteration's first block would be trained beside this one's last.
      for (Stage phase = 0; phase < stages; ++phase) {
        for (Microbatch m = 0; phase % shape.ranks == r && m < shape.microbatches; ++m) train(phase, m);
        sync(phase);
      }
      continue;
    }
    for (Microbatch m = 0; m < shape.microbatches; ++m) {
      for (Stage stage = r; stage < stages; stage += shape.ranks) train(stage, m);
      sync(m);
    }
  }
  return program;
}

Program generate_sequential_local(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("sequential-local");
  return generate_variant(schedule, shape, option_text(schedule, shape, "variant"), static_cast<std::int32_t>(option_number(schedule, shape, "chunks")));
}

}  // namespace

Schedule sequential_local_schedule() {
  Schedule schedule;
  schedule.name = "sequential-local";
  schedule.title = "Sequential local learning: serial, overlapped with a barrier per batch, or block after block";
  schedule.paper = "Belilovsky et al., Decoupled Greedy Learning, arXiv 1901.08164; blockwise: arXiv 1812.11446";
  schedule.memory = "1 microbatch on every rank; blockwise also all m boundary activations";
  schedule.bubble = "serial, blockwise: (p-1)/p with equal stages; overlapped: (p-1)F/((p-1)F+c) with c = F+A+LB+U";
  schedule.options = {{"variant", "how much the stages overlap", "serial", {"serial", "overlapped", "blockwise"}},
                      {"chunks", "stages per rank; with one rank: all on one device", "1", {}, 1},
                      accumulate_option()};
  schedule.local = true;
  schedule.flush = false;
  schedule.whole_batches = true;
  schedule.generate = generate_sequential_local;
  return schedule;
}

Schedule scpl_schedule() {
  Schedule schedule = sequential_local_schedule();
  schedule.name = "scpl";
  schedule.title = "SCPL: stages train beside each other, all meet after every batch";
  schedule.paper = "Supervised contrastive parallel learning, github.com/minyaho/scpl";
  schedule.memory = "1 microbatch on every rank";
  schedule.bubble = "(p-1)F/((p-1)F+c) with c = F+A+LB+U";
  schedule.options = {accumulate_option()};
  schedule.generate = [](const ScheduleShape& shape) { return generate_variant(find_schedule("scpl"), shape, "overlapped", 1); };
  return schedule;
}

}  // namespace bubblescope
