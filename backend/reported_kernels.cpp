// Reports by thread.
#include "backend/reported_kernels.hpp"

#include <algorithm>
#include <utility>

namespace bubblescope {

class ReportedKernels::Activity : public KernelActivity {
 public:
  explicit Activity(ReportedKernels& reports) : reports_(reports) {
    const std::lock_guard lock(reports_.mutex_);
    reports_.found_ = {};
    reports_.recording_ = true;
  }
  ~Activity() override {
    const std::lock_guard lock(reports_.mutex_);
    reports_.recording_ = false;
  }
  void begin(OpIndex op) override {
    const std::lock_guard lock(reports_.mutex_);
    reports_.current_[std::this_thread::get_id()] = op;
  }
  void end() noexcept override {
    const std::lock_guard lock(reports_.mutex_);
    reports_.current_.erase(std::this_thread::get_id());
  }
  KernelRecords take() override {
    const std::lock_guard lock(reports_.mutex_);
    reports_.recording_ = false;
    return std::exchange(reports_.found_, {});
  }

 private:
  ReportedKernels& reports_;
};

void ReportedKernels::report(const std::string& name, Nanos start, Nanos end, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (!recording_) return;
  const auto current = current_.find(std::this_thread::get_id());
  if (current == current_.end()) {
    ++found_.lost;
    return;
  }
  const auto known = std::find(found_.names.begin(), found_.names.end(), name);
  const auto number = static_cast<std::int32_t>(known - found_.names.begin());
  if (known == found_.names.end()) found_.names.push_back(name);
  found_.records.push_back({current->second, number, start, end, bytes});
}

std::unique_ptr<KernelActivity> ReportedKernels::activity() { return std::make_unique<Activity>(*this); }

}  // namespace bubblescope
