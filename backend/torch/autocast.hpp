// Mixed precision: convolutions, linear layers and attention in a shorter type, weights and the rest in full.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

namespace bubblescope {

/// While it lives, what the calling thread runs forward on that kind of device is cast as LibTorch's autocast does, to
/// bfloat16 where that is safe. Nothing is kept from one cast to the next: LibTorch's cache belongs to all threads,
/// and would hand out what another rank's stream is still to write.
class AutocastScope {
 public:
  explicit AutocastScope(torch::DeviceType device)
      : device_(device), enabled_before_(at::autocast::is_autocast_enabled(device)), type_before_(at::autocast::get_autocast_dtype(device)), cached_before_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::set_autocast_dtype(device, torch::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
  }
  ~AutocastScope() {
    at::autocast::set_autocast_enabled(device_, enabled_before_);
    at::autocast::set_autocast_dtype(device_, type_before_);
    at::autocast::set_autocast_cache_enabled(cached_before_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  torch::DeviceType device_;
  bool enabled_before_;
  torch::Dtype type_before_;
  bool cached_before_;
};

/// `tensor` in the type that the scope around it casts to, with its history; as it is outside of one.
inline torch::Tensor cast_as_scope_says(const torch::Tensor& tensor) {
  const torch::DeviceType device = tensor.device().type();
  if (!at::autocast::is_autocast_enabled(device) || tensor.scalar_type() == torch::kFloat64) return tensor;
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), tensor, device);
}

}  // namespace bubblescope
