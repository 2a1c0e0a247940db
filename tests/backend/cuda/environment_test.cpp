// What CUDA is told where the user has not said otherwise.
#include "backend/cuda/environment.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace bubblescope {
namespace {

/// A variable of the environment, put back when this goes.
class Variable {
 public:
  explicit Variable(const char* name) : name_(name) {
    if (const char* const was = std::getenv(name)) was_ = was;
    unsetenv(name);
  }
  ~Variable() { was_ ? setenv(name_, was_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  std::string value() const {
    const char* const found = std::getenv(name_);
    return found != nullptr ? found : "unset";
  }

 private:
  const char* name_;
  std::optional<std::string> was_;
};

TEST(CudaEnvironment, is_set_where_the_user_has_not) {
  const Variable connections("CUDA_DEVICE_MAX_CONNECTIONS"), loading("CUDA_MODULE_LOADING");
  set_cuda_environment(/*several_processes=*/false);
  EXPECT_EQ(connections.value(), "32");
  EXPECT_EQ(loading.value(), "unset");
  set_cuda_environment(/*several_processes=*/true);
  EXPECT_EQ(loading.value(), "EAGER");
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "8", 1);
  setenv("CUDA_MODULE_LOADING", "LAZY", 1);
  set_cuda_environment(/*several_processes=*/true);
  EXPECT_EQ(connections.value(), "8");
  EXPECT_EQ(loading.value(), "LAZY");
}

}  // namespace
}  // namespace bubblescope
