// Plain values one after another in a string of bytes: what processes of one build tell each other.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {

/// Appends values.
class FieldsOut {
 public:
  template <class T>
  FieldsOut& add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  FieldsOut& add(const std::string& text) { return add_sized(text.data(), text.size()); }
  template <class T>
  FieldsOut& add(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    return add_sized(values.data(), values.size() * sizeof(T));
  }
  std::string take() { return std::move(bytes_); }

 private:
  FieldsOut& add_sized(const void* data, std::size_t bytes) {
    add(static_cast<std::uint64_t>(bytes));
    bytes_.append(static_cast<const char*>(data), bytes);
    return *this;
  }
  std::string bytes_;
};

/// Reads them in the same order. Throws RunError where the bytes end before. The bytes must outlive it.
class FieldsIn {
 public:
  explicit FieldsIn(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  T get() {
    T value{};
    read(value);
    return value;
  }
  /// What is left.
  std::string_view rest() const { return bytes_; }

 private:
  template <class T>
  void read(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const std::string_view from = cut(sizeof value);
    std::memcpy(&value, from.data(), sizeof value);
  }
  void read(std::string& text) { text = cut(get<std::uint64_t>()); }
  template <class T>
  void read(std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    const std::string_view from = cut(get<std::uint64_t>());
    if (from.size() % sizeof(T) != 0) throw RunError("a message between processes holds half a value");
    values.resize(from.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), from.data(), from.size());
  }
  std::string_view cut(std::size_t bytes) {
    if (bytes > bytes_.size()) throw RunError("a message between processes is shorter than it says");
    const std::string_view from = bytes_.substr(0, bytes);
    bytes_.remove_prefix(bytes);
    return from;
  }
  std::string_view bytes_;
};

}  // namespace bubblescope
