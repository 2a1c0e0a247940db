// Tensors as bytes: every type and shape comes back bit by bit, and what is no tensor is refused.
#include "backend/torch/tensor_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

void expect_same(const torch::Tensor& a, const torch::Tensor& b) {
  ASSERT_EQ(a.defined(), b.defined());
  if (!a.defined()) return;
  EXPECT_EQ(a.scalar_type(), b.scalar_type());
  EXPECT_EQ(a.sizes(), b.sizes());
  EXPECT_TRUE(torch::equal(a, b));
}

std::vector<torch::Tensor> all_sorts() {
  torch::manual_seed(1);
  const torch::Tensor square = torch::randn({4, 6}, torch::kFloat64);
  return {square,
          square.t(),                     // not as it lies in memory
          square.slice(1, 1, 4),
          torch::randn({3, 2, 5}),
          torch::randn({2, 3, 4, 4}).contiguous(torch::MemoryFormat::ChannelsLast),
          torch::randn({7}).to(torch::kBFloat16),
          torch::arange(5, torch::kInt64),
          torch::tensor({true, false}),
          torch::zeros({}, torch::kFloat64),  // a number
          torch::empty({0, 3}),
          torch::Tensor(),
          torch::ones({2, 2}, torch::requires_grad())};
}

TEST(TensorBytes, lists_come_back_bit_by_bit_whatever_is_in_them) {
  const std::vector<torch::Tensor> tensors = all_sorts();
  const std::vector<torch::Tensor> back = tensors_from_bytes(tensors_to_bytes(tensors));
  ASSERT_EQ(back.size(), tensors.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    SCOPED_TRACE(i);
    expect_same(back[i], tensors[i]);
  }
  EXPECT_TRUE(tensors_from_bytes(tensors_to_bytes(std::vector<torch::Tensor>())).empty());
}

TEST(TensorBytes, numbers_that_are_none_keep_their_bits) {
  const torch::Tensor odd = torch::tensor({std::numeric_limits<double>::quiet_NaN(), -0.0, std::numeric_limits<double>::denorm_min(), -std::numeric_limits<double>::infinity()}, torch::kFloat64);
  const torch::Tensor back = tensors_from_bytes(tensors_to_bytes(std::vector{odd})).at(0);
  EXPECT_TRUE(torch::equal(back.view(torch::kInt64), odd.view(torch::kInt64)));
}

TEST(TensorBytes, names_come_back_with_their_tensors) {
  std::map<std::string, torch::Tensor> named;
  int number = 0;
  for (const torch::Tensor& tensor : all_sorts()) named["model.layer " + std::to_string(number++) + std::string(1, '\0')] = tensor;
  const auto back = named_tensors_from_bytes(tensors_to_bytes(named));
  ASSERT_EQ(back.size(), named.size());
  for (const auto& [name, tensor] : named) expect_same(back.at(name), tensor);
}

TEST(TensorBytes, what_comes_back_has_memory_of_its_own) {
  std::string bytes = tensors_to_bytes(std::vector{torch::ones({3})});
  const torch::Tensor back = tensors_from_bytes(bytes).at(0);
  std::fill(bytes.begin(), bytes.end(), '\0');
  EXPECT_TRUE(torch::equal(back, torch::ones({3})));
}

TEST(TensorBytes, bytes_that_end_early_are_refused_wherever_they_end) {
  const std::string bytes = tensors_to_bytes(std::vector{torch::ones({3}), torch::Tensor(), torch::ones({2, 2})});
  for (std::size_t length = 0; length < bytes.size(); ++length) EXPECT_THROW(tensors_from_bytes(std::string_view(bytes).substr(0, length)), RunError) << length;
}

TEST(TensorBytes, a_type_that_is_none_and_a_shape_of_another_size_are_refused) {
  const auto get = [](std::int8_t type, std::vector<std::int64_t> sizes, std::int64_t bytes) {
    std::vector<float> data(100);
    const std::string shape = FieldsOut().add(type).add(sizes).take();
    FieldsIn in(shape);
    return get_tensor(in, data.data(), bytes, nullptr).clone();
  };
  const auto type = static_cast<std::int8_t>(torch::kFloat32);
  EXPECT_EQ(get(type, {3, 4}, 48).sizes(), (std::vector<std::int64_t>{3, 4}));
  EXPECT_THROW(get(type, {3, 4}, 44), RunError);
  EXPECT_THROW(get(type, {3, 5}, 48), RunError);
  EXPECT_THROW(get(type, {-3, 4}, 48), RunError);
  EXPECT_THROW(get(120, {3, 4}, 48), RunError);
  EXPECT_THROW(get(-2, {3, 4}, 48), RunError);
}

TEST(TensorBytes, a_tensor_keeps_the_memory_that_it_lies_in) {
  auto data = std::make_shared<std::vector<float>>(4, 2.0F);
  const std::weak_ptr<std::vector<float>> memory = data;
  const std::string shape = FieldsOut().add(static_cast<std::int8_t>(torch::kFloat32)).add(std::vector<std::int64_t>{2, 2}).take();
  FieldsIn in(shape);
  float* const begin = data->data();
  torch::Tensor tensor = get_tensor(in, begin, 16, std::move(data));
  EXPECT_EQ(tensor.data_ptr(), begin);
  const torch::Tensor row = tensor[1];
  tensor = torch::Tensor();
  EXPECT_FALSE(memory.expired()) << "a part of it is left";
  EXPECT_TRUE(torch::equal(row, torch::full({2}, 2.0F)));
}

}  // namespace
}  // namespace bubblescope
