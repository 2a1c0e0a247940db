// Messages after ops, timed by events.
#include "backend/transfers.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "backend/clock.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

constexpr int kMostWalks = 60;
constexpr std::int32_t kFailed = -2;

class Transfers {
 public:
  Transfers(Ranks& ranks, Streams& streams, const TransferLanes& lanes, const TransferWalk& walk, std::span<const std::int64_t> sizes)
      : ranks_(ranks), streams_(streams), lanes_(lanes), walk_(walk), sizes_(sizes), told_(at(walk.ops)), size_of_(at(walk.ops)) {}

  std::vector<MeasuredTransfer> run(std::int32_t count, Nanos longest, const std::atomic<bool>* stop) {
    const Nanos begun = steady_now();
    const auto enough = [&] {
      return std::all_of(sizes_.begin(), sizes_.end(), [&](std::int64_t size) { return static_cast<std::int32_t>(samples_[size].size()) >= count; });
    };
    for (int walk = 0; walk < kMostWalks && !enough() && (walk == 0 || steady_now() - begun < longest) && (stop == nullptr || !stop->load()); ++walk) once();
    std::vector<MeasuredTransfer> transfers;
    for (const std::int64_t size : sizes_) {
      const auto& samples = samples_[size].empty() ? behind_host_[size] : samples_[size];
      if (!samples.empty()) transfers.push_back({size, quartiles(samples)});
    }
    return transfers;
  }

 private:
  std::int32_t carried(std::int32_t i) const { return lanes_.first_event + 2 * i; }
  std::int32_t noticed(std::int32_t i) const { return carried(i) + 1; }

  void once() {
    std::atomic<std::int32_t> issued{-1};  // of the carrying: the first event of the walk
    ranks_.each([&](Rank rank, Device& device) {
      if (rank == 0) {
        // Whatever happens, the other one must not wait for ever.
        struct Tell {
          std::atomic<std::int32_t>& issued;
          std::int32_t value = kFailed;
          ~Tell() {
            issued = value;
            issued.notify_all();
          }
        } tell{issued};
        const std::int32_t first = walk_.issue(device);
        for (std::int32_t i = 0; i < walk_.ops; ++i) carry(device, first, i);
        tell.value = first;
      } else if (rank == 1) {
        issued.wait(-1);
        if (issued == kFailed) return;
        for (std::int32_t i = 0; i < walk_.ops; ++i) {
          streams_.wait(lanes_.receiver, carried(i));
          streams_.record(lanes_.receiver, noticed(i));
          told_[at(i)] = steady_now();
        }
        streams_.await(noticed(walk_.ops - 1));
      }
    });
    if (!failure_.empty()) throw RunError("calibrating messages: " + std::exchange(failure_, {}));
    const std::int32_t first = issued;
    for (std::int32_t i = 0; i < walk_.ops; ++i) {
      const Nanos made = streams_.time(first + 2 * i + 1);
      const Nanos ready = std::max(made, told_[at(i)]);
      if (i > 0 && streams_.time(carried(i - 1)) > ready) continue;
      auto& samples = told_[at(i)] < made ? samples_ : behind_host_;
      if (const Nanos time = streams_.time(noticed(i)) - ready; time > 0) samples[size_of_[at(i)]].push_back(time);
    }
    ranks_.each([&](Rank rank, Device&) {
      if (rank == 0) walk_.finish();
    });
  }

  void carry(Device& device, std::int32_t first, std::int32_t i) {
    size_of_[at(i)] = sizes_[next_++ % sizes_.size()];
    streams_.wait(lanes_.carrier, first + 2 * i + 1);
    // Devices are called on their rank's thread alone.
    streams_.submit(lanes_.carrier, [this, message = device.message(size_of_[at(i)])] {
      if (!failure_.empty()) return;
      try {
        streams_.carry(message, 0, 1);
      } catch (const std::exception& error) {
        failure_ = error.what();
      }
    });
    streams_.record(lanes_.carrier, carried(i));
  }

  Ranks& ranks_;
  Streams& streams_;
  const TransferLanes& lanes_;
  const TransferWalk& walk_;
  std::span<const std::int64_t> sizes_;
  std::size_t next_ = 0;
  std::vector<Nanos> told_;                ///< by op: when all of its message had been issued
  std::vector<std::int64_t> size_of_;      ///< by op
  std::map<std::int64_t, std::vector<Nanos>> samples_, behind_host_;  ///< by size
  std::string failure_;  ///< of the carrying lane's work; read when that is done
};

}  // namespace

std::vector<MeasuredTransfer> measure_transfers(Ranks& ranks, Streams& streams, const TransferLanes& lanes, const TransferWalk& walk, std::span<const std::int64_t> sizes,
                                                std::int32_t count, Nanos longest, const std::atomic<bool>* stop) {
  if (ranks.count() < 2 || walk.ops == 0 || sizes.empty()) return {};
  return Transfers(ranks, streams, lanes, walk, sizes).run(count, longest, stop);
}

}  // namespace bubblescope
