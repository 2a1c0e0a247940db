// Recipes for list scheduling, drawn and changed at random, the best one's order annealed; and what all searched
// schedules share around that.
#include "sim/schedules/schedule_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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
constexpr std::int64_t kPassOps = 3'000'000, kFewestPasses = 160, kMostPasses = 1500;
constexpr std::int64_t kMoveOps = 12'000'000, kFewestMoves = 500, kMostMoves = 30'000;

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
    const std::int64_t passes = std::clamp(kPassOps / ops, kFewestPasses, kMostPasses);
    for (std::int64_t i = 0; i < passes && !done(); ++i) attempt(i < passes / 2 || chance(4) ? drawn() : changed(best_recipe_));
    const std::int64_t moves = std::min(kMostMoves, kMoveOps / ops);
    if (!done() && moves >= kFewestMoves) {
      best_ = improve_order(problem_, std::move(best_), bound_, moves, 1, 0.003);
    }
    return std::move(best_);
  }

 private:
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
    recipe.pattern = chance(2) ? static_cast<int>(below(static_cast<std::int64_t>(patterns_.size()))) : -1;
    const int most = std::max(1, limit_ - problem_.chunks + 1);
    recipe.first = problem_.chunks == 1 ? most : 1 + static_cast<int>(below(most));
    recipe.last = problem_.chunks == 1 && chance(2) ? most : 1 + static_cast<int>(below(most));
    recipe.others = static_cast<int>(below(3));
    recipe.extra = static_cast<int>(below(4));
    recipe.patience = one_of({0.0, 0.1, 0.25, 0.5, 1.0, 2.0});
    recipe.fill = one_of({1.0, 0.75, 0.5, 0.25, 0.001});
    recipe.desire = one_of({0.05, 0.3, 1.0, 3.0, 30.0});
    recipe.pending = one_of({1 << 30, 1 << 30, 0, 1, 2, 4});
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
    RowOrder rows = list_schedule(problem_, policy(recipe));
    if (!timer_.run(rows)) throw std::logic_error("the list scheduler has locked");
    if (best_.empty() || objective(timer_.time()) < objective(best_time_)) {
      best_ = std::move(rows);
      best_time_ = timer_.time();
      best_recipe_ = recipe;
    }
  }

  const PipelineProblem& problem_;
  OrderTimer timer_;
  OrderTime bound_;
  int limit_ = 1;
  std::vector<SteadyPattern> patterns_;
  std::mt19937_64 random_{1};
  RowOrder best_;
  OrderTime best_time_;
  Recipe best_recipe_;
};

}  // namespace

RowOrder search_order(const PipelineProblem& problem) {
  for (const std::int32_t limit : problem.limit) {
    if (limit < problem.chunks) throw std::invalid_argument("a memory limit below one activation per chunk");
  }
  return Search(problem).run();
}

std::vector<Rank> placement_v(std::int32_t ranks) {
  std::vector<Rank> placement;
  for (Rank r = 0; r < ranks; ++r) placement.push_back(r);
  for (Rank r = ranks - 1; r >= 0; --r) placement.push_back(r);
  return placement;
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
  append_flush(program, option_number(schedule, shape, "clip") != 0);
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
