// A transport that does as another one does, until a test lets it fail.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/transport.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

struct Faults {
  std::atomic<bool> poll{false}, send{false};  ///< fail from now on
  std::atomic<std::int32_t> unreachable{-1};   ///< nothing can be sent to that process
  std::atomic<std::int64_t> polls{0};          ///< so far
  std::function<void(Parcel&)> garble;         ///< is given what comes; set before the first poll
};

class FaultyTransport final : public Transport {
 public:
  /// `faults` must outlive it.
  FaultyTransport(std::unique_ptr<Transport> of, Faults& faults) : of_(std::move(of)), faults_(faults) {}

  std::string name() const override { return of_->name(); }
  std::int32_t processes() const override { return of_->processes(); }
  std::int32_t process() const override { return of_->process(); }
  void set_handler(Handler handler) override {
    of_->set_handler([this, handler = std::move(handler)](std::int32_t from, Parcel parcel) {
      if (faults_.garble) faults_.garble(parcel);
      handler(from, std::move(parcel));
    });
  }
  void send(std::int32_t to, Parcel parcel, std::function<void()> left) override {
    if (faults_.send || to == faults_.unreachable) throw RunError("nothing can be sent");
    of_->send(to, std::move(parcel), std::move(left));
  }
  bool poll() override {
    ++faults_.polls;
    if (faults_.poll) throw RunError("the network is down");
    return of_->poll();
  }
  bool busy() const override { return of_->busy(); }
  void close() override { of_->close(); }
  void abandon() override { of_->abandon(); }

 private:
  std::unique_ptr<Transport> of_;
  Faults& faults_;
};

/// One for each, with its own faults.
inline std::vector<std::unique_ptr<Transport>> faulty(std::vector<std::unique_ptr<Transport>> transports, std::span<Faults> faults) {
  for (std::size_t p = 0; p < transports.size(); ++p) transports[p] = std::make_unique<FaultyTransport>(std::move(transports[p]), faults[p]);
  return transports;
}

}  // namespace bubblescope
