// Work of several ranks at the same time: they begin together, and each goes on until all have done their part, so that there
// is a time during which all of them worked. The ranks may be in several processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <utility>

#include "backend/clock.hpp"
#include "backend/world.hpp"

namespace bubblescope {

class Overlap {
 public:
  /// `here`: ranks of this process; `processes`: how many have ranks that take part. `world` may be null; else
  /// every process makes one, whether it takes part or not. Throws as a collective of World does.
  Overlap(World* world, std::int32_t here, std::int32_t processes);
  ~Overlap();
  Overlap(const Overlap&) = delete;
  Overlap& operator=(const Overlap&) = delete;

  /// One rank, on its own thread. The constructor waits for the others of its process.
  class Member {
   public:
    explicit Member(Overlap& overlap);
    /// A rank that fails must not leave the others working for ever.
    ~Member() { done(); }
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    /// This one's part is done; it goes on until all are. Never throws: where the others cannot be told the world is lost.
    void done();

   private:
    Overlap& overlap_;
    bool done_ = false;
  };

  /// Whether anybody's part is still to be done. Throws LostError once a process is lost.
  bool goes_on() const;
  /// When all were at work: {begin, end} in ns of this process's steady clock; after all have ended. Over processes all ask
  /// together. Throws as a collective of World does.
  std::pair<Nanos, Nanos> times() const;

 private:
  World* world_;
  std::int64_t session_ = -1;
  const bool takes_part_;
  std::atomic<std::int32_t> waiting_;
  std::atomic<std::int32_t> working_;
  std::atomic<std::int32_t> others_;  ///< processes that still work
  std::atomic<Nanos> begun_{std::numeric_limits<Nanos>::min()};
  std::atomic<Nanos> ended_{std::numeric_limits<Nanos>::max()};
};

}  // namespace bubblescope
