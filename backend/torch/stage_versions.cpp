// Copies of weights, and lending their memory to the parameters.
#include "backend/torch/stage_versions.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {

StageVersions::StageVersions(WeightPolicy policy, const std::vector<NamedTensor>& parameters) : policy_(policy) {
  for (const NamedTensor& parameter : parameters) parameters_.push_back(parameter.tensor);
}

void StageVersions::Scope::swap() {
  if (copies_ == nullptr) return;
  for (std::size_t i = 0; i < parameters_->size(); ++i) {
    // The storages change places of their memory: views that autograd saved see it as well.
    const c10::Storage& parameter = (*parameters_)[i].storage();
    const c10::Storage& copy = (*copies_)[i].storage();
    at::DataPtr newest = parameter.set_data_ptr(at::DataPtr());
    parameter.set_data_ptr_noswap(copy.set_data_ptr(std::move(newest)));
  }
}

StageVersions::Scope StageVersions::scope(std::int64_t version, std::int64_t updates) {
  if (version == updates) return {&parameters_, nullptr};
  const auto found = copies_.find(version);
  if (found == copies_.end()) throw RunError(fmt::format("version {} of the weights is needed after {} updates, and no longer kept", version, updates));
  return {&parameters_, &found->second};
}

StageVersions::Scope StageVersions::forward(std::int64_t iteration, Microbatch microbatch, std::int64_t updates) {
  std::int64_t version = updates;
  // A run that goes on begins after the update of the iteration before its first.
  if (!updated_in_ && updates > 0) updated_in_ = iteration - 1;
  // Where the update of the iteration before has been made, the version that it changed.
  const bool updated = updated_in_ == iteration - 1;
  if (policy_ == WeightPolicy::double_buffered && updated) --version;
  if (policy_ == WeightPolicy::double_buffered || policy_ == WeightPolicy::stash) used_[{iteration, microbatch}] = version;
  return scope(version, updates);
}

StageVersions::Scope StageVersions::backward(std::int64_t iteration, Microbatch microbatch, std::int64_t updates) {
  const auto found = used_.find({iteration, microbatch});
  return scope(found == used_.end() ? updates : found->second, updates);
}

void StageVersions::release(std::int64_t iteration, Microbatch microbatch) {
  const auto found = used_.find({iteration, microbatch});
  if (found == used_.end()) return;
  const std::int64_t version = found->second;
  used_.erase(found);
  const bool needed = std::any_of(used_.begin(), used_.end(), [&](const auto& use) { return use.second == version; });
  if (policy_ == WeightPolicy::stash && !needed) copies_.erase(version);
}

void StageVersions::before_update(std::int64_t iteration, std::int64_t updates) {
  updated_in_ = iteration;
  const bool keeps = policy_ == WeightPolicy::double_buffered ||
                     std::any_of(used_.begin(), used_.end(), [&](const auto& use) { return use.second == updates; });
  if (policy_ == WeightPolicy::double_buffered) {
    std::erase_if(copies_, [&](const auto& copy) {
      return std::none_of(used_.begin(), used_.end(), [&](const auto& use) { return use.second == copy.first; });
    });
  }
  if (!keeps) return;
  auto& copies = copies_[updates];
  for (const torch::Tensor& parameter : parameters_) copies.push_back(parameter.detach().clone());
}

std::vector<torch::Tensor> StageVersions::previous(std::int64_t updates) const {
  const auto found = policy_ == WeightPolicy::double_buffered ? copies_.find(updates - 1) : copies_.end();
  return found == copies_.end() ? std::vector<torch::Tensor>{} : found->second;
}

void StageVersions::load(std::int64_t updates, std::vector<torch::Tensor> previous) {
  copies_.clear();
  used_.clear();
  updated_in_.reset();
  if (policy_ == WeightPolicy::double_buffered && !previous.empty()) copies_[updates - 1] = std::move(previous);
}

std::int64_t StageVersions::bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [version, copies] : copies_) {
    for (const torch::Tensor& copy : copies) bytes += bytes_of(copy);
  }
  return bytes;
}

}  // namespace bubblescope
