// Recipes for list scheduling, drawn and changed at random, the best one's order annealed; and what all searched
// schedules share around that.
#include "sim/schedules/schedule_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <future>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>

#include "sim/core/error.hpp"
#include "sim/schedules/generators.hpp"
#include "sim/schedules/list_schedule.hpp"
#include "sim/schedules/local_search.hpp"
#include "sim/schedules/steady_pattern.hpp"

namespace bubblescope {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// How much is looked at: passes of the list scheduler, and moves of the annealing.
constexpr std::int64_t kPassOps = 3'000'000, kFewestPasses = 100, kMostPasses = 3000;
// Where a pass takes long, only so many ops in all are scheduled by what was learned on a smaller problem.
constexpr std::int64_t kLearnedOps = 12'000'000, kFewestLearned = 4;
// Patterns with all their shifts are tried up to this size; beyond it those that the smaller problem liked.
constexpr std::int64_t kPatternOps = 300'000;
constexpr std::int64_t kMoveOps = 64'000'000, kFewestMoves = 500, kMostMoves = 60'000;
// Orders that are farther from the lower bound than this are annealed for longer, while a move is cheap.
constexpr double kNearBound = 1.02;
constexpr std::int64_t kLongerMovesPerOp = 400, kLongerMovesOpsSquared = 2'000'000'000'000;
// Large problems learn first from small ones of the same kind.
constexpr std::int32_t kReducedRanks = 12;
constexpr std::size_t kRanked = 40;
// Of a rank's activations that a pattern leaves, forwards ahead and Ws behind take so many parts.
constexpr std::int32_t kAheadSteps = 6;

/// What a policy is made of: small numbers, to be drawn and changed.
struct Recipe {
  int pattern = -1;             ///< of the steady patterns; -1: none
  int first = 1, last = 1;      ///< activations of chunk 0 on the first and the last rank, linear between
  int others = 0;               ///< those of the other chunks: 0 the rank's limit, 1 what is left of it, 2 one more
  int extra = 0;                ///< with a pattern: activations over those of the steady state; 3: as without
  std::vector<int> preference;  ///< codes in order
  double patience = 0, fill = 1, desire = 1;
  int pending = 1 << 30;
};

/// The same pipeline with `ranks` ranks, evenly chosen, as many fewer activations, and no more microbatches than
/// show fill, steady state and drain: what works there works here.
PipelineProblem reduced(const PipelineProblem& problem, std::int32_t ranks) {
  PipelineProblem small;
  small.ranks = ranks;
  small.chunks = problem.chunks;
  const auto scaled = [&](std::int64_t value) { return static_cast<std::int32_t>((value * ranks + problem.ranks - 1) / problem.ranks); };
  small.microbatches = std::min(scaled(problem.microbatches), 2 * ranks);
  std::vector<Rank> chosen(index(problem.ranks), -1);
  for (Rank r = 0; r < ranks; ++r) {
    const auto from = static_cast<Rank>(ranks == problem.ranks ? r : std::int64_t{r} * (problem.ranks - 1) / (ranks - 1));
    chosen[index(from)] = r;
    small.limit.push_back(std::max(problem.chunks, scaled(problem.limit[index(from)])));
  }
  small.held.resize(index(ranks * problem.chunks));
  for (Stage s = 0; s < problem.stages(); ++s) {
    const Rank r = chosen[index(problem.stage_rank[index(s)])];
    if (r < 0) continue;
    small.held[index(r * problem.chunks + problem.stage_chunk[index(s)])] = small.stages();
    small.stage_rank.push_back(r);
    small.stage_chunk.push_back(problem.stage_chunk[index(s)]);
    small.duration.push_back(problem.duration[index(s)]);
    small.forward_latency.push_back(problem.forward_latency[index(s)]);
    small.backward_latency.push_back(problem.backward_latency[index(s)]);
  }
  return small;
}

const std::vector<int> kGoodPreferences[] = {{3, 0, 1, 4}, {3, 0, 4, 1}, {3, 1, 0, 4}, {1, 4, 0, 3}, {1, 3, 4, 0}, {0, 3, 4, 1}};

class Search {
 public:
  explicit Search(const PipelineProblem& problem) : problem_(problem), timer_(problem), bound_(lower_bound(problem)) {
    limit_ = *std::min_element(problem.limit.begin(), problem.limit.end());
    Nanos period = 1;
    for (Rank r = 0; r < problem.ranks; ++r) period = std::max(period, problem.work(r));
    for (const double grown : {1.0, 1.05, 1.15, 1.3}) {
      for (const double hold : {0.0, 1.0 / problem.ranks}) {
        patterns_.push_back(steady_pattern(problem, static_cast<Nanos>(std::ceil(static_cast<double>(period) * grown)), hold));
      }
    }
  }

  RowOrder run() {
    const auto ops = static_cast<std::int64_t>(problem_.op_count());
    if (ops <= kPatternOps) attempt_patterns();
    best_pattern_ = best_;
    const std::int32_t ranks = std::min(problem_.ranks, kReducedRanks);
    PipelineProblem small = reduced(problem_, ranks);
    const bool learn = small.op_count() < problem_.op_count() && !done();
    if (learn) {
      Search there(small);
      const std::int64_t trials = std::clamp(kPassOps / static_cast<std::int64_t>(small.op_count()), kFewestPasses, kMostPasses);
      there.list_schedules(trials);
      std::int64_t left = std::max(kFewestLearned, kLearnedOps / ops);
      for (const auto& [value, found] : there.ranking_) {
        if (left-- == 0) break;
        Recipe recipe = found;
        recipe.first = recipe.first * problem_.ranks / ranks;
        recipe.last = recipe.last * problem_.ranks / ranks;
        if (!done()) attempt(recipe);
      }
    }
    list_schedules(learn ? std::clamp(kLearnedOps / ops - static_cast<std::int64_t>(kRanked), std::int64_t{0}, kFewestPasses)
                         : std::clamp(kPassOps / ops, kFewestPasses, kMostPasses));
    const std::int64_t moves = std::min(kMostMoves, kMoveOps / ops);
    anneal(moves);
    const std::int64_t longer = std::min(kLongerMovesPerOp * ops, kLongerMovesOpsSquared / ops / ops);
    const bool near = static_cast<double>(objective(best_time_)) <= kNearBound * static_cast<double>(objective(bound_));
    if (!near && longer > moves) anneal(longer);
    return std::move(best_);
  }

 private:
  void list_schedules(std::int64_t passes) {
    // What was learned on a smaller problem needs no more draws.
    const std::int64_t draws = ranking_.empty() ? passes / 2 : 0;
    for (std::int64_t i = 0; i < passes && !done(); ++i) attempt(i < draws || chance(4) ? drawn() : changed(best_recipe_));
  }

  /// From the best order, hot, warm and cool, and from the best one that follows a pattern; where there are few
  /// moves they all go into one cool try.
  void anneal(std::int64_t moves) {
    if (moves < kFewestMoves || done()) return;
    std::vector<std::pair<RowOrder, double>> starts;
    if (moves >= 4 * kFewestMoves) {
      starts = {{best_, 0.03}, {best_, 0.01}};
      if (!best_pattern_.empty()) starts.emplace_back(best_pattern_, 0.03);
    }
    starts.emplace_back(best_, 0.003);
    // On threads where the system grants them; what is found does not depend on it.
    std::vector<std::future<RowOrder>> tries;
    for (auto& [rows, temperature] : starts) {
      tries.push_back(std::async(std::launch::async | std::launch::deferred, improve_order, std::cref(problem_), std::move(rows), bound_, moves / static_cast<std::int64_t>(starts.size()), 1, temperature));
    }
    for (auto& found : tries) accept(found.get());
  }

  bool done() const { return !best_.empty() && objective(best_time_) <= objective(bound_); }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n)); }
  bool chance(std::int64_t n) { return below(n) == 0; }
  template <typename T, std::size_t N>
  T one_of(const T (&values)[N]) {
    return values[below(N)];
  }

  Recipe drawn() {
    Recipe recipe;
    for (int c = 0; c < problem_.chunks; ++c) {
      for (const Phase phase : {Phase::F, Phase::I}) recipe.preference.push_back(RowOp(c, phase).code);
    }
    for (std::size_t i = recipe.preference.size(); i > 1; --i) std::swap(recipe.preference[i - 1], recipe.preference[index(below(static_cast<std::int64_t>(i)))]);
    if (problem_.chunks == 2 && !chance(3)) {
      // Codes: F I W of the outer chunk, F I W of the inner one. What wins most often.
      recipe.preference = kGoodPreferences[below(std::size(kGoodPreferences))];
    }
    recipe.pattern = chance(2) ? static_cast<int>(below(static_cast<std::int64_t>(patterns_.size()))) : -1;
    const int most = std::max(1, limit_ - problem_.chunks + 1);
    recipe.first = problem_.chunks == 1 ? most : 1 + static_cast<int>(below(most));
    recipe.last = problem_.chunks == 1 && chance(2) ? most : 1 + static_cast<int>(below(most));
    recipe.others = static_cast<int>(below(3));
    recipe.extra = static_cast<int>(below(4));
    recipe.patience = one_of({0.0, 0.1, 0.25, 0.5, 1.0, 2.0});
    recipe.fill = one_of({1.0, 1.0, 0.75, 0.5, 0.25, 0.001});
    recipe.desire = one_of({0.05, 0.3, 1.0, 3.0, 30.0});
    recipe.pending = one_of({1 << 30, 1 << 30, 1 << 30, 1 << 30, 0, 1, 2, 4});
    return recipe;
  }

  Recipe changed(Recipe recipe) {
    const Recipe other = drawn();
    do {
      switch (below(8)) {
        case 0: recipe.pattern = other.pattern; break;
        case 1: recipe.first = chance(2) ? other.first : std::max(1, recipe.first + static_cast<int>(below(3)) - 1); break;
        case 2: recipe.last = chance(2) ? other.last : std::max(1, recipe.last + static_cast<int>(below(3)) - 1); break;
        case 3: recipe.others = other.others; recipe.extra = other.extra; break;
        case 4: std::swap(recipe.preference[index(below(static_cast<std::int64_t>(recipe.preference.size())))], recipe.preference[0]); break;
        case 5: recipe.patience = other.patience; break;
        case 6: recipe.fill = other.fill; recipe.pending = other.pending; break;
        default: recipe.desire = other.desire; break;
      }
    } while (chance(2));
    return recipe;
  }

  ListPolicy policy(const Recipe& recipe) const {
    ListPolicy policy;
    const int chunks = problem_.chunks;
    for (Rank r = 0; r < problem_.ranks; ++r) {
      const int limit = problem_.limit[index(r)];
      const double part = problem_.ranks > 1 ? static_cast<double>(r) / (problem_.ranks - 1) : 0;
      const int linear = static_cast<int>(std::lround(recipe.first + (recipe.last - recipe.first) * part));
      for (int c = 0; c < chunks; ++c) {
        int most = c == 0 ? linear : recipe.others == 0 ? limit : limit - linear + recipe.others - 1;
        if (recipe.pattern >= 0 && recipe.extra < 3) most = patterns_[index(recipe.pattern)].chunk_peak[index(r * chunks + c)] + recipe.extra;
        // The chunks behind must keep a place, or none could ever end.
        policy.chunk_limit.push_back(std::clamp(most, 1, limit - (chunks - 1 - c)));
      }
    }
    policy.preference.resize(index(chunks * kPhases));
    for (std::size_t i = 0; i < recipe.preference.size(); ++i) policy.preference[index(recipe.preference[i])] = static_cast<int>(i);
    policy.patience = recipe.patience;
    policy.fill = recipe.fill;
    policy.pending = recipe.pending;
    if (recipe.pattern >= 0) {
      policy.desired = patterns_[index(recipe.pattern)].start;
      policy.period = patterns_[index(recipe.pattern)].period;
      policy.desire = recipe.desire;
    }
    return policy;
  }

  void attempt(const Recipe& recipe) {
    const auto value = accept(list_schedule(problem_, policy(recipe)));
    if (!value) throw std::logic_error("the list scheduler has locked or left its limits");
    if (ranking_.empty() || *value < ranking_.begin()->first) best_recipe_ = recipe;
    ranking_.emplace(*value, recipe);
    if (ranking_.size() > kRanked) ranking_.erase(std::prev(ranking_.end()));
  }

  /// Orders that are a steady pattern from the first to the last microbatch. Where memory is left, forwards run
  /// whole periods ahead, which shortens the fill, or Ws behind, which are then there for the drain.
  void attempt_patterns() {
    for (const SteadyPattern& pattern : patterns_) {
      std::int32_t left = problem_.microbatches;
      for (Rank r = 0; r < problem_.ranks; ++r) left = std::min(left, problem_.limit[index(r)] - pattern.peak[index(r)]);
      const std::int32_t step = std::max(1, left / kAheadSteps);
      for (std::int32_t ahead = 0; ahead <= left; ahead += step) {
        for (std::int32_t inner = 0; inner <= (problem_.chunks > 1 ? ahead : 0) && ahead + inner <= left; inner += step) {
          for (std::int32_t behind = 0; ahead + inner + problem_.chunks * behind <= left; behind += step) {
            if (done()) return;
            std::vector<std::int32_t> shift;
            for (int c = 0; c < problem_.chunks; ++c) shift.insert(shift.end(), {c == 0 ? -ahead : -inner, 0, behind});
            accept(pattern_order(problem_, pattern, shift));
          }
        }
      }
    }
  }

  /// Keeps the order if it runs within the limits and is the best so far; returns its value where it runs.
  std::optional<Nanos> accept(RowOrder rows) {
    if (!timer_.run(rows)) return {};
    const auto peaks = peak_activations(problem_, rows);
    for (std::size_t r = 0; r < peaks.size(); ++r) {
      if (peaks[r] > problem_.limit[r]) return {};
    }
    const Nanos value = objective(timer_.time());
    if (best_.empty() || value < objective(best_time_)) {
      best_ = std::move(rows);
      best_time_ = timer_.time();
    }
    return value;
  }

  const PipelineProblem& problem_;
  OrderTimer timer_;
  OrderTime bound_;
  int limit_ = 1;
  std::vector<SteadyPattern> patterns_;
  std::mt19937_64 random_{1};
  RowOrder best_, best_pattern_;
  OrderTime best_time_;
  Recipe best_recipe_;
  std::map<Nanos, Recipe> ranking_;  ///< the best recipes by what they give
};

}  // namespace

RowOrder search_order(const PipelineProblem& problem) {
  for (const std::int32_t limit : problem.limit) {
    if (limit < problem.chunks) throw std::invalid_argument("a memory limit below one activation per chunk");
  }
  return Search(problem).run();
}

Program searched_program(const Schedule& schedule, const ScheduleShape& shape, std::vector<Rank> placement, std::vector<std::int32_t> limit) {
  Program program = make_program(schedule.name, shape.ranks, shape.microbatches, std::move(placement));
  const std::int32_t chunks = program.stages() / program.ranks();
  for (std::int32_t& most : limit) {
    if (most < chunks) {
      throw ShapeError(fmt::format("schedule '{}' for {} ranks may keep {} stage activations per rank; expected at least {}", schedule.name,
                                   shape.ranks, most, chunks));
    }
    most = static_cast<std::int32_t>(std::min<std::int64_t>(most, std::int64_t{chunks} * shape.microbatches));
  }
  const PipelineProblem problem = pipeline_problem(shape, program, std::move(limit));
  const RowOrder rows = search_order(problem);
  constexpr Kind kinds[] = {Kind::F, Kind::I, Kind::W};
  for (Rank r = 0; r < program.ranks(); ++r) {
    std::vector<Microbatch> count(index(chunks * kPhases), 0);
    for (const RowOp op : rows[index(r)]) {
      program.rows[index(r)].push_back(make_op(kinds[static_cast<int>(op.phase())], problem.stage(r, op.chunk()), count[op.code]++));
    }
  }
  append_flush(program, shape);
  return program;
}

ScheduleOption memory_limit_option() {
  ScheduleOption option{"memory-limit", "stage activations of a rank, in parts of the p microbatches of 1F1B", "1", {}};
  option.integer = false;
  return option;
}

std::int32_t memory_limit(const Schedule& schedule, const ScheduleShape& shape, std::int32_t chunks) {
  // A limit such as 0.29 is not exact in binary: what is meant by 0.29 x 100 is 29.
  const double most = option_number(schedule, shape, "memory-limit") * shape.ranks * chunks;
  return static_cast<std::int32_t>(std::min(std::floor(most * (1 + 1e-12)), 1e9));
}

}  // namespace bubblescope
