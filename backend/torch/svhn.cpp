// SVHN, cropped digits, in MATLAB files (http://ufldl.stanford.edu/housenumbers/), read with libmatio.
#include <fmt/format.h>
#include <matio.h>

#include <cstring>
#include <memory>

#include "backend/torch/data_set.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr std::size_t kSide = 32;
constexpr std::size_t kChannels = 3;
constexpr const char* kWhat = "an SVHN cropped-digits MATLAB file with X (32 x 32 x 3 x samples, uint8) and y (samples x 1)";

[[noreturn]] void refuse(const std::filesystem::path& file, std::string_view wrong) {
  throw InputError(fmt::format("{}: {}; expected {}", file.string(), wrong, kWhat));
}

/// libmatio reports damaged data only through its log, which has no context pointer.
thread_local std::string matio_message;
void keep_message(int, char* message) { matio_message = message; }

/// A MATLAB 5 file is a header of 128 bytes and elements that each tell their size: what libmatio
/// does not check is whether the last one is there in full.
void check_extent(const std::filesystem::path& file) {
  const std::vector<std::uint8_t> bytes = read_bytes(file, kWhat);
  if (bytes.size() < 128 || std::memcmp(bytes.data(), "MATLAB ", 7) != 0) refuse(file, "not a MATLAB file");
  if (std::memcmp(bytes.data(), "MATLAB 5.0", 10) != 0 || std::memcmp(bytes.data() + 126, "IM", 2) != 0) return;
  std::size_t at = 128;
  while (at < bytes.size()) {
    std::uint32_t length = 0;
    if (bytes.size() - at < 8) refuse(file, "the file is truncated");
    std::memcpy(&length, bytes.data() + at + 4, 4);
    if (bytes.size() - at - 8 < length) refuse(file, "the file is truncated");
    at += 8 + std::size_t{length};
  }
}

struct CloseFile {
  void operator()(mat_t* mat) const { Mat_Close(mat); }
};
struct FreeVariable {
  void operator()(matvar_t* variable) const { Mat_VarFree(variable); }
};
using File = std::unique_ptr<mat_t, CloseFile>;
using Variable = std::unique_ptr<matvar_t, FreeVariable>;

Variable read_variable(mat_t* mat, const char* name, const std::filesystem::path& file) {
  matio_message.clear();
  Variable variable(Mat_VarRead(mat, name));
  if (!variable) refuse(file, fmt::format("there is no variable {}", name));
  if (variable->data == nullptr || !matio_message.empty()) {
    refuse(file, fmt::format("variable {} is damaged {}", name, matio_message));
  }
  return variable;
}

int label_at(const matvar_t& y, std::size_t sample) {
  if (y.class_type == MAT_C_UINT8) return static_cast<const std::uint8_t*>(y.data)[sample];
  return static_cast<int>(static_cast<const double*>(y.data)[sample]);
}

ImageSet load_part(const std::filesystem::path& path) {
  check_extent(path);
  Mat_LogInitFunc("bubblescope", keep_message);
  File mat(Mat_Open(path.string().c_str(), MAT_ACC_RDONLY));
  if (!mat) refuse(path, "libmatio cannot open it");
  const Variable x = read_variable(mat.get(), "X", path);
  const Variable y = read_variable(mat.get(), "y", path);
  // A set of one sample loses its last dimension in MATLAB.
  if (x->class_type != MAT_C_UINT8 || x->rank < 3 || x->rank > 4 || x->dims[0] != kSide || x->dims[1] != kSide ||
      x->dims[2] != kChannels || x->isComplex) {
    refuse(path, "X has another type or shape");
  }
  const std::size_t count = x->rank == 4 ? x->dims[3] : 1;
  if ((y->class_type != MAT_C_UINT8 && y->class_type != MAT_C_DOUBLE) || y->rank != 2 || y->isComplex ||
      y->dims[0] * y->dims[1] != count || count == 0) {
    refuse(path, fmt::format("y does not hold one label for each of the {} images", count));
  }
  ImageSet set{kChannels, kSide, kSide, std::vector<std::uint8_t>(count * kChannels * kSide * kSide), {}};
  for (std::size_t sample = 0; sample < count; ++sample) {
    const int label = label_at(*y, sample);
    if (label < 1 || label > 10) refuse(path, fmt::format("label {} is {}, not 1 to 10", sample, label));
    set.labels.push_back(static_cast<std::uint8_t>(label % 10));
  }
  const auto* pixels = static_cast<const std::uint8_t*>(x->data);
  for (std::size_t plane = 0; plane < count * kChannels; ++plane) {  // MATLAB stores columns
    const std::uint8_t* from = pixels + plane * kSide * kSide;
    std::uint8_t* to = set.pixels.data() + plane * kSide * kSide;
    for (std::size_t column = 0; column < kSide; ++column) {
      for (std::size_t row = 0; row < kSide; ++row) to[row * kSide + column] = from[column * kSide + row];
    }
  }
  return set;
}

}  // namespace

DataSet load_svhn(const std::filesystem::path& folder) {
  DataSet set;
  set.name = "svhn";
  set.train = load_part(folder / "train_32x32.mat");
  set.test = load_part(folder / "test_32x32.mat");
  set.pad = 2;
  set.flip = false;
  return set;
}

}  // namespace bubblescope
