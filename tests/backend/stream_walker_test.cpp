// How far a host issues before its device.
#include "backend/stream_walker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "tests/backend/stream_runs.hpp"

namespace bubblescope {
namespace {

/// Counts what has been submitted to a rank's first lane and not been done.
class CountingSource : public Backend, public StreamSource {
 public:
  explicit CountingSource(Backend& devices) : devices_(devices) {}
  std::string name() const override { return "counting"; }
  std::unique_ptr<Device> device(Rank rank, const Program& program) override { return devices_.device(rank, program); }
  StreamSource* stream_source() override { return this; }
  std::unique_ptr<Streams> streams(std::span<const LaneSpec> lanes, std::size_t events) override {
    return std::make_unique<Counting>(host_streams(lanes, events, late_at_random(7)), *this);
  }
  std::int32_t most() const { return most_; }

 private:
  class Counting : public Streams {
   public:
    Counting(std::unique_ptr<Streams> streams, CountingSource& source) : streams_(std::move(streams)), source_(source) {}
    void submit(std::int32_t lane, std::function<void()> work) override {
      if (lane != 0) return streams_->submit(lane, std::move(work));
      source_.most_ = std::max(source_.most_, ++source_.under_way_);
      streams_->submit(lane, [this, work = std::move(work)] {
        work();
        --source_.under_way_;
      });
    }
    void record(std::int32_t lane, std::int32_t event) override { streams_->record(lane, event); }
    void wait(std::int32_t lane, std::int32_t event) override { streams_->wait(lane, event); }
    void await(std::int32_t event) override { streams_->await(event); }
    Nanos time(std::int32_t event) const override { return streams_->time(event); }

   private:
    std::unique_ptr<Streams> streams_;
    CountingSource& source_;
  };

  Backend& devices_;
  std::atomic<std::int32_t> under_way_{0};
  std::int32_t most_ = 0;  // rank 0's thread alone submits to lane 0
};

TEST(StreamWalker, a_host_issues_so_many_ops_ahead_and_no_more) {
  for (const std::int32_t ahead : {1, 4, 16}) {
    const Program program = on_ranks(find_schedule("1f1b"), 1);
    NullBackend null{StageCosts(1)};
    CountingSource source(null);
    Ranks ranks(source, program, {});
    ExecuteOptions options;
    options.iterations = 20;
    options.run_ahead = ahead;
    execute(program, ranks, options);
    EXPECT_LE(source.most(), ahead + 1);
    EXPECT_GT(source.most(), ahead / 2);
  }
}

}  // namespace
}  // namespace bubblescope
