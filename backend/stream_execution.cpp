// Putting a run on streams together.
#include "backend/stream_execution.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "backend/clock.hpp"
#include "backend/nvtx.hpp"
#include "backend/run_control.hpp"
#include "backend/stream_plan.hpp"
#include "backend/stream_times.hpp"
#include "backend/stream_walker.hpp"
#include "sim/core/cut_iterations.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {

Execution execute_on_streams(const Program& program, Ranks& ranks, StreamSource& source, std::span<const std::int64_t> output_bytes, const ExecuteOptions& options) {
  if (options.network.ranks() > 0) throw InputError("links are not imitated on streams: transfers are as fast as they are");
  const std::int32_t warmup = std::max(0, options.warmup);
  const std::int32_t walks = warmup + std::max(0, options.iterations);
  Execution execution;
  execution.next_iteration = options.first_iteration;
  if (walks == 0) return execution;

  const Program run_program = repeat_iterations(program, walks);
  const StreamPlan plan(run_program, output_bytes);
  std::vector<LaneSpec> lanes;
  for (const StreamLane& lane : plan.lanes) lanes.push_back(lane.spec);
  nvtx_name_categories();
  std::vector<Bell> bells(program.rows.size());
  RunControl control(walks, options.stop, bells);
  std::vector<StreamRecord> records(program.rows.size());
  std::vector<std::unique_ptr<StreamWalker>> walkers(program.rows.size());
  // What was issued is done before anything goes that it uses.
  std::unique_ptr<StreamRun> run;
  const std::unique_ptr<KernelActivity> kernels = options.kernels ? source.kernel_activity() : nullptr;
  if (options.kernels && !options.record) throw InputError("kernels are recorded with spans; expected record = true");
  if (options.kernels && !kernels) throw InputError(kNoKernels);
  const std::unique_ptr<Streams> streams = source.streams(lanes, plan.events());
  run = std::make_unique<StreamRun>(run_program, program, plan, *streams, bells, control, options, kernels.get());
  ranks.each([&](Rank rank, Device& device) {
    auto& walker = walkers[at(rank)];
    walker = std::make_unique<StreamWalker>(*run, rank, device, records[at(rank)]);
    walker->walk();
  });
  if (control.failed()) throw RunError(control.failure());

  execution.stopped = control.stopped();
  execution.iterations_done = static_cast<std::int32_t>(std::max<std::int64_t>(0, control.walks() - warmup));
  execution.next_iteration = options.first_iteration + static_cast<std::int32_t>(control.walks()) * program.iterations;
  if (options.record) {
    streams->all_done();
    Timeline timeline = stream_timeline(*run, records);
    if (kernels) {
      const KernelRecords found = kernels->take();
      execution.kernels_lost = found.lost;
      execution.kernels_shifted = add_kernels(timeline, spans_of_ops(*run), found);
    }
    execution.timeline = cut_iterations(timeline, warmup * program.iterations);
  }
  execution.timeline.iterations = execution.iterations_done * program.iterations;
  return execution;
}

}  // namespace bubblescope
