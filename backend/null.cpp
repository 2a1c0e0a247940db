// The null device: sleeps to absolute points in time.
#include "backend/null.hpp"

#include <cstring>
#include <string>
#include <utility>

#include "backend/buffer_pool.hpp"
#include "backend/clock.hpp"
#include "backend/payload_codec.hpp"

namespace bubblescope {
namespace {

class NullDevice : public Device {
 public:
  NullDevice(const StageCosts& costs, const NullOptions& options, const Program& program)
      : costs_(costs), options_(options), links_(chain_links(program)) {}

  void execute(const Op& op) override { pass(duration(op.stage, op.kind)); }

  void execute_compound(Kind, std::span<const Op> parts) override { pass(costs_.of_compound(parts).duration); }

  Payload output(const Op& send) override { return message(bytes(send)); }
  void input(const Op& recv, Payload payload) override {
    (void)recv;
    (void)payload;
  }
  Payload contribution(const Op& collective) override { return {nullptr, collective.kind == Kind::ALLREDUCE ? bytes_of(collective.stage).gradients : 0}; }
  void reduced(const Op& collective, std::span<const Payload> contributions) override {
    (void)contributions;
    pass(duration(collective.stage, collective.kind));
  }
  Payload example(const Op& recv) override { return message(bytes(recv)); }
  Payload message(std::int64_t bytes) override {
    if (!options_.bodies || bytes == 0) return {nullptr, bytes};
    auto body = pool_.take(bytes);
    std::memset(body.get(), 0, static_cast<std::size_t>(bytes));
    return {std::move(body), bytes};
  }

 private:
  Nanos duration(Stage stage, Kind kind) const {
    return stage >= 0 && stage < costs_.stages() ? costs_.at(stage, kind).duration : 0;
  }

  void pass(Nanos duration) const {
    if (duration > 0) wait_until(steady_now() + duration, options_.spin);
  }

  StageBytes bytes_of(Stage stage) const { return stage >= 0 && stage < costs_.stages() ? costs_.bytes(stage) : StageBytes{}; }
  std::int64_t bytes(const Op& op) const { return bytes_of(boundary_stage(links_, op)).output; }

  StageCosts costs_;
  NullOptions options_;
  ChainLinks links_;
  BufferPool pool_;
};

class BodyCodec : public PayloadCodec {
 public:
  Parcel encode(const Op&, const Payload& payload) const override { return {std::string(), payload.data, payload.data ? payload.bytes : 0}; }
  Payload decode(const Op&, Parcel parcel) const override { return {std::const_pointer_cast<void>(parcel.body), parcel.bytes}; }
};

}  // namespace

NullBackend::NullBackend(StageCosts costs, NullOptions options) : costs_(std::move(costs)), options_(options) {}

std::unique_ptr<Device> NullBackend::device(Rank rank, const Program& program) {
  (void)rank;
  return std::make_unique<NullDevice>(costs_, options_, program);
}

const PayloadCodec& NullBackend::codec() const {
  static const BodyCodec bodies;
  return options_.bodies ? bodies : Backend::codec();
}

}  // namespace bubblescope
