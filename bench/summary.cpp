// Numbers, JSON and tables of one timeline.
#include "bench/summary.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/engine/timing.hpp"
#include "sim/lower/passes.hpp"
#include "sim/lower/safe_channels.hpp"

namespace bubblescope {

using nlohmann::json;

namespace {

/// What the ranks said; the number of activations follows from the ops.
std::vector<RankMemory> measured_memory(const Program& program, const Timeline& timeline) {
  std::vector<RankMemory> memory = memory_over_time(program, timeline, StageCosts(program.stages()));
  for (std::size_t r = 0; r < memory.size(); ++r) {
    memory[r].samples = timeline.memory[r];
    memory[r].peak_bytes = 0;
    for (const MemorySample& sample : timeline.memory[r]) memory[r].peak_bytes = std::max(memory[r].peak_bytes, sample.bytes);
  }
  return memory;
}

/// The mean over the timeline's iterations, rounded to whole messages and bytes.
Traffic traffic_of(const Timeline& timeline) {
  Traffic all;
  for (const Span& span : timeline.spans) {
    if (!span.has_op || (!is_send(span.op.kind) && span.op.kind != Kind::ALLREDUCE)) continue;
    if (is_send(span.op.kind)) ++all.messages;
    all.bytes += span.bytes;
  }
  const std::int64_t iterations = std::max(1, timeline.iterations);
  return {(all.messages + iterations / 2) / iterations, (all.bytes + iterations / 2) / iterations};
}

}  // namespace

Summary summarize(const Program& program, const StageCosts& costs, Timeline timeline, Nanos period) {
  Summary summary;
  summary.bubbles = bubbles(timeline);
  summary.idle = split_idle(timeline);
  summary.memory = timeline.memory.empty() ? memory_over_time(program, timeline, costs) : measured_memory(program, timeline);
  summary.depth = queue_depth(timeline);
  summary.traffic = traffic_of(timeline);
  summary.period = period;
  summary.has_bytes = costs.has_bytes() || !timeline.memory.empty();
  if (summary.has_bytes && timeline.memory.empty()) {
    for (const RankMemory& rank : summary.memory) timeline.memory.push_back(rank.samples);
  }
  summary.timeline = std::move(timeline);
  return summary;
}

Prediction predict_case(const Case& what) {
  Prediction prediction;
  prediction.label = what.label;
  prediction.schedule = what.schedule;
  prediction.ranks = what.program.ranks();
  prediction.microbatches = what.program.microbatches;
  prediction.chunks = what.program.chunks;
  prediction.iterations = what.iterations;
  const std::vector<std::int64_t> sizes = what.costs.has_bytes() ? output_sizes(what.program, what.costs) : std::vector<std::int64_t>{};
  // Where the order alone already deadlocks there is nothing to lower.
  std::vector<Finding> findings = validate(what.program, 2);
  const Program program = findings.empty() ? lower(what.program, what.lower) : what.program;
  if (findings.empty()) findings = validate(program, 3);
  // One iteration that is simulated does not show what a stream's iterations do to each other.
  if (findings.empty() && !program.overlap.empty()) findings = check_progress(program, sizes);
  if (!findings.empty()) {
    if (findings.front().level < 2) throw InputError(fmt::format("{}: {}", what.schedule, describe(findings.front())));
    prediction.deadlock.emplace();
    for (Finding& finding : findings) {
      if (finding.cycle.empty()) {
        prediction.mismatches.push_back(describe(finding));
      } else {
        prediction.deadlock->cycle = std::move(finding.cycle);
      }
    }
  } else {
    Simulation run = simulate(what.iterations > 1 ? repeat_iterations(program, what.iterations) : program, what.costs, what.cluster);
    prediction.deadlock = std::move(run.deadlock);
    if (!prediction.deadlock) {
      const auto period = steady_period(program, what.costs, what.cluster);
      prediction.summary = summarize(program, what.costs, std::move(run.timeline), period.value_or(0));
    }
  }
  // A local schedule's queues are its own: no --channel changes them.
  if (prediction.deadlock && !is_local(what.program.profile)) prediction.safe_channels = safe_channels(what.program, what.lower, sizes);
  return prediction;
}

std::string safe_channels_text(const std::vector<std::string>& safe) {
  if (safe.empty()) return "on no channel do its ops get through and its sends and receives match\n";
  return fmt::format("without deadlock and with matching orders it runs with --channel {}\n", fmt::join(safe, " or "));
}

std::string deadlock_text(const Prediction& prediction) {
  const auto& cycle = prediction.deadlock->cycle;
  std::string text = fmt::format("{}: {}:\n", prediction.label, cycle.empty() ? "sends and receives do not match" : "deadlock");
  for (const std::string& op : cycle) text += fmt::format("  {} waits for\n", op);
  if (!cycle.empty()) text += fmt::format("  {}\n", cycle.front());
  for (const std::string& mismatch : prediction.mismatches) text += fmt::format("  {}\n", mismatch);
  return prediction.safe_channels ? text + safe_channels_text(*prediction.safe_channels) : text;
}

KeyNumbers key_numbers(const Summary& summary) {
  KeyNumbers n;
  n.makespan = summary.bubbles.makespan;
  n.span = summary.bubbles.span;
  n.period = summary.period;
  n.idle_fraction = summary.bubbles.idle_fraction;
  n.overhead = summary.bubbles.overhead;
  n.span_rate = summary.bubbles.span_rate;
  n.internal = summary.bubbles.internal;
  n.messages = summary.traffic.messages;
  if (summary.has_bytes) n.peak_bytes = 0, n.sent_bytes = summary.traffic.bytes;
  for (const RankMemory& rank : summary.memory) {
    n.peak_activations = std::max(n.peak_activations, rank.peak_activations);
    if (summary.has_bytes) n.peak_bytes = std::max(n.peak_bytes, rank.peak_bytes);
  }
  return n;
}

json bytes_json(std::int64_t bytes) { return bytes >= 0 ? json(bytes) : json(nullptr); }

std::string bytes_or_dash(std::int64_t bytes) { return bytes >= 0 ? bytes_text(bytes) : "-"; }

json key_json(const std::optional<KeyNumbers>& numbers) {
  json out = json::object();
  if (!numbers) {
    for (const char* key : {"makespan_ns", "span_ns", "period_ns", "bubble", "messages", "sent_bytes"}) out[key] = nullptr;
    return out;
  }
  return {{"makespan_ns", numbers->makespan},
          {"span_ns", numbers->span},
          {"period_ns", numbers->period},
          {"bubble",
           {{"idle_fraction", numbers->idle_fraction}, {"overhead", numbers->overhead}, {"span_rate", numbers->span_rate}, {"internal", numbers->internal}}},
          {"messages", numbers->messages},
          {"sent_bytes", bytes_json(numbers->sent_bytes)}};
}

json summary_json(const Summary& summary) {
  const Bubbles& bubbles = summary.bubbles;
  json ranks = json::array();
  for (std::size_t r = 0; r < bubbles.ranks.size(); ++r) {
    json idle = json::object();
    for (int c = 0; c < kIdleCauses; ++c) idle[std::string(idle_cause_name(static_cast<IdleCause>(c)))] = summary.idle.ranks[r][static_cast<std::size_t>(c)];
    ranks.push_back({{"busy_ns", bubbles.ranks[r].busy},
                     {"span_ns", bubbles.ranks[r].span},
                     {"peak_activations", summary.memory[r].peak_activations},
                     {"peak_bytes", summary.has_bytes ? json(summary.memory[r].peak_bytes) : json(nullptr)},
                     {"idle_ns", idle}});
  }
  json channels = json::array();
  for (const ChannelDepth& channel : summary.depth) {
    channels.push_back({{"from", channel.from}, {"to", channel.to}, {"max_depth", channel.max_depth}, {"mean_depth", channel.mean_depth}});
  }
  json out = key_json(key_numbers(summary));
  out["ranks_detail"] = std::move(ranks);
  out["channels"] = std::move(channels);
  return out;
}

json result_json(const Prediction& prediction) {
  json result = {{"schedule", prediction.schedule}, {"label", prediction.label},         {"ranks", prediction.ranks},
                 {"microbatches", prediction.microbatches}, {"chunks", prediction.chunks}, {"iterations", prediction.iterations}};
  if (prediction.summary) {
    result.update(summary_json(*prediction.summary));
  } else {
    result.update(key_json(std::nullopt));
    for (const char* key : {"ranks_detail", "channels"}) result[key] = nullptr;
  }
  result["deadlock"] = prediction.deadlock ? json{{"cycle", prediction.deadlock->cycle}, {"mismatches", prediction.mismatches}, {"safe_channels", prediction.safe_channels ? json(*prediction.safe_channels) : json(nullptr)}}
                                           : json(nullptr);
  result["skipped"] = prediction.skipped ? json(*prediction.skipped) : json(nullptr);
  return result;
}

Table prediction_table(const std::vector<Prediction>& predictions) {
  Table table;
  table.columns = {{"schedule", Align::left},       {"makespan", Align::right},  {"span", Align::right},     {"period", Align::right},
                   {"idle fraction", Align::right}, {"overhead", Align::right},  {"span rate", Align::right}, {"internal", Align::right},
                   {"peak act.", Align::right},     {"peak memory", Align::right}, {"messages", Align::right}, {"bytes sent", Align::right}};
  for (const Prediction& prediction : predictions) {
    if (!prediction.summary) {
      table.rows.push_back({prediction.label, prediction.deadlock ? "deadlock" : "skipped"});
      continue;
    }
    const KeyNumbers n = key_numbers(*prediction.summary);
    table.rows.push_back({prediction.label, format_duration(n.makespan), format_duration(n.span), format_duration(n.period), percent(n.idle_fraction),
                          percent(n.overhead), percent(n.span_rate), percent(n.internal), std::to_string(n.peak_activations), bytes_or_dash(n.peak_bytes),
                          std::to_string(n.messages), bytes_or_dash(n.sent_bytes)});
  }
  return table;
}

}  // namespace bubblescope
