// Runs of pieces to other processes, and their results back.
#include "bench/spread_processes.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "backend/fields.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

enum class Says : std::uint8_t {
  want,    ///< to the first process
  run,     ///< to who asked: first and last piece; none: there are no more
  stop,    ///< from the first process: what is under way ends early
  result,  ///< to the first process: first piece, the results, whether it was told to stop, what was thrown
};

struct Pieces {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

/// What doing a run came to.
struct Done {
  std::int64_t first = 0;
  std::vector<std::string> results;  ///< fewer than there were pieces: stopped, or the next one threw
  bool stopped = false;
  bool threw = false;
  bool input = false;  ///< it threw an InputError
  std::string what;
};

Done do_pieces(const Pieces& pieces, const Work& work, const SpreadOptions& options) {
  Done done;
  done.first = pieces.first;
  try {
    done.results = spread_over_threads(pieces.last - pieces.first, [&](std::int64_t i) { return work(pieces.first + i); }, options);
    done.stopped = static_cast<std::int64_t>(done.results.size()) < pieces.last - pieces.first;
  } catch (const InputError& error) {
    done.threw = done.input = true;
    done.what = error.what();
  } catch (const std::exception& error) {
    done.threw = true;
    done.what = error.what();
  }
  return done;
}

std::string to_bytes(const Done& done) {
  FieldsOut out;
  out.add(done.first).add(done.stopped).add(done.threw).add(done.input).add(done.what).add(static_cast<std::uint64_t>(done.results.size()));
  for (const std::string& result : done.results) out.add(result);
  return out.take();
}

Done from_bytes(std::string_view bytes) {
  FieldsIn in(bytes);
  Done done;
  done.first = in.get<std::int64_t>();
  done.stopped = in.get<bool>();
  done.threw = in.get<bool>();
  done.input = in.get<bool>();
  done.what = in.get<std::string>();
  done.results.resize(in.get<std::uint64_t>());
  for (std::string& result : done.results) result = in.get<std::string>();
  return done;
}

/// The first process's part.
class Source {
 public:
  Source(World& world, std::int64_t session, std::int64_t count, const SpreadOptions& options) : world_(world), session_(session), count_(count), options_(options) {}

  /// What is to be done next by somebody; nothing once there is no more, or it is to stop.
  std::optional<Pieces> next() {
    const std::lock_guard lock(mutex_);
    if (ends_ || next_ == count_ || halted_ || (options_.stop != nullptr && options_.stop->load())) return std::nullopt;
    // A quarter of everybody's fair share of what is left: the last runs are short.
    const std::int64_t run = std::max<std::int64_t>(1, (count_ - next_) / (4 * world_.processes()));
    const Pieces pieces{next_, next_ + run};
    next_ += run;
    ++under_way_;
    return pieces;
  }

  /// One that was told to stop has all others told.
  void keep(Done done) {
    const bool stopped = done.stopped;
    {
      const std::lock_guard lock(mutex_);
      --under_way_;
      ends_ = ends_ || done.threw;
      const std::int64_t first = done.first;
      done_.emplace(first, std::move(done));
    }
    if (stopped) stop_all();
  }

  void stop_all() {
    if (halted_.exchange(true)) return;
    for (std::int32_t p = 1; p < world_.processes(); ++p) world_.send(session_, p, FieldsOut().add(Says::stop).take());
  }

  /// Set once all are to stop.
  const std::atomic<bool>& halted() const { return halted_; }
  /// A process is lost: the others notice that themselves.
  void halt() { halted_ = true; }

  void handle(std::int32_t from, std::string_view head, const Parcel& parcel) {
    FieldsIn fields(head);
    switch (fields.get<Says>()) {
      case Says::want: {
        const Pieces pieces = next().value_or(Pieces{});
        if (pieces.first == pieces.last) ++ended_;
        world_.send(session_, from, FieldsOut().add(Says::run).add(pieces).take());
        return;
      }
      case Says::result: {
        Done done = from_bytes({static_cast<const char*>(parcel.body.get()), static_cast<std::size_t>(parcel.bytes)});
        told_ += static_cast<std::int64_t>(done.results.size());
        return keep(std::move(done));
      }
      case Says::run:
      case Says::stop: return;
    }
  }

  /// Whether all others have been told that there is no more, and have given back what they had.
  bool is_over() {
    const std::lock_guard lock(mutex_);
    return under_way_ == 0 && ended_ == world_.processes() - 1;
  }

  /// Pieces of other processes that nobody was told of.
  std::int64_t take_told() { return told_.exchange(0); }

  /// The first results without gaps; throws what the piece with the lowest number threw.
  std::vector<std::string> results() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> all;
    for (auto& [first, done] : done_) {
      if (done.threw && done.input) throw InputError(done.what);
      if (done.threw) throw RunError(done.what);
    }
    for (auto& [first, done] : done_) {
      if (first != static_cast<std::int64_t>(all.size())) break;
      std::move(done.results.begin(), done.results.end(), std::back_inserter(all));
    }
    return all;
  }

 private:
  World& world_;
  const std::int64_t session_;
  const std::int64_t count_;
  const SpreadOptions& options_;
  std::mutex mutex_;
  std::int64_t next_ = 0;
  std::int64_t under_way_ = 0;  ///< runs
  std::atomic<std::int32_t> ended_{0};
  bool ends_ = false;  ///< a piece threw
  std::atomic<bool> halted_{false};
  std::map<std::int64_t, Done> done_;  ///< by first piece
  std::atomic<std::int64_t> told_{0};
};

std::vector<std::string> give(World& world, std::int64_t count, const Work& work, const SpreadOptions& options) {
  const std::int64_t session = world.new_session();
  Source source(world, session, count, options);
  world.open(session, [&source](std::int32_t from, std::string_view head, Parcel& parcel) { source.handle(from, head, parcel); }, [&source] { source.halt(); });
  struct Close {
    World& world;
    std::int64_t session;
    ~Close() { world.close(session); }
  } const close{world, session};
  const auto tell = [&] {
    for (std::int64_t pieces = source.take_told(); options.done && pieces > 0; --pieces) options.done();
  };
  SpreadOptions own = options;
  own.also_stop = &source.halted();
  try {
    while (const auto pieces = source.next()) {
      source.keep(do_pieces(*pieces, work, own));
      tell();
      world.poll();
    }
    world.wait([&] {
      tell();
      if (options.stop != nullptr && options.stop->load()) source.stop_all();
      return source.is_over();
    });
  } catch (const RunError& error) {  // what pieces throw is kept with them: this is the connection's
    world.lose(error.what());  // the others are not to wait for this one
    if (!options.lost) throw;
    options.lost(error.what());
  }
  tell();
  return source.results();
}

void take(World& world, const Work& work, const SpreadOptions& options) {
  const std::int64_t session = world.new_session();
  std::mutex mutex;
  std::optional<Pieces> given;
  std::atomic<bool> halted{false};
  world.open(
      session,
      [&](std::int32_t, std::string_view head, Parcel&) {
        FieldsIn fields(head);
        const auto says = fields.get<Says>();
        if (says == Says::stop) halted = true;
        if (says != Says::run) return;
        const std::lock_guard lock(mutex);
        given = fields.get<Pieces>();
      },
      [&halted] { halted = true; });
  struct Close {
    World& world;
    std::int64_t session;
    ~Close() { world.close(session); }
  } const close{world, session};
  SpreadOptions own = options;
  own.also_stop = &halted;
  while (true) {
    world.send(session, 0, FieldsOut().add(Says::want).take());
    Pieces pieces;
    world.wait([&] {
      const std::lock_guard lock(mutex);
      if (!given) return false;
      pieces = *std::exchange(given, std::nullopt);
      return true;
    });
    if (pieces.first == pieces.last) return;
    const auto bytes = std::make_shared<const std::string>(to_bytes(do_pieces(pieces, work, own)));
    world.check();
    world.send(session, 0, FieldsOut().add(Says::result).take(), std::shared_ptr<const void>(bytes, bytes->data()), static_cast<std::int64_t>(bytes->size()));
  }
}

}  // namespace

Spread spread_over_processes(World& world) {
  return [&world](std::int64_t count, const Work& work, const SpreadOptions& options) -> std::vector<std::string> {
    if (world.first()) return give(world, count, work, options);
    take(world, work, options);
    return {};
  };
}

}  // namespace bubblescope
