// Checkpoints in the safetensors layout (https://github.com/huggingface/safetensors, "Format").
#include "backend/torch/checkpoint.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "backend/torch/data_set.hpp"
#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {

namespace {

constexpr const char* kWhat = "a checkpoint written by this program";

[[noreturn]] void refuse(const std::filesystem::path& file, std::string_view wrong) {
  throw InputError(fmt::format("{}: {}; expected {}", file.string(), wrong, kWhat));
}

/// FNV-1a, 64 bits, on words of 8 bytes (the rest byte by byte).
std::uint64_t checksum(std::uint64_t hash, const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kPrime = 0x100000001b3ULL;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    hash = (hash ^ word) * kPrime;
  }
  for (; size > 0; ++data, --size) hash = (hash ^ *data) * kPrime;
  return hash;
}

/// Of header and data. The header holds the checksum itself, so there it counts as empty.
std::string checksum_text(nlohmann::json header, const std::uint8_t* data, std::size_t size) {
  header.at("__metadata__")["checksum"] = "";
  const std::string text = header.dump();
  constexpr std::uint64_t kStart = 0xcbf29ce484222325ULL;
  const std::uint64_t sum = checksum(kStart, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  return fmt::format("{:016x}", checksum(sum, data, size));
}

struct Precision {
  const char* name;
  torch::Dtype dtype;
};
constexpr Precision kPrecisions[] = {{"F32", torch::kFloat32}, {"F64", torch::kFloat64}, {"I64", torch::kInt64}};

const Precision& precision_of(const torch::Tensor& tensor) {
  for (const Precision& precision : kPrecisions) {
    if (precision.dtype == tensor.scalar_type()) return precision;
  }
  throw RunError("a checkpoint holds float32, float64 and int64 tensors only");
}

torch::Dtype dtype_of(const std::string& name, const std::filesystem::path& file) {
  for (const Precision& precision : kPrecisions) {
    if (precision.name == name) return precision.dtype;
  }
  refuse(file, fmt::format("tensors of type '{}'", name));
}

Checkpoint parse(const std::vector<std::uint8_t>& bytes, const std::filesystem::path& file) {
  std::uint64_t header_size = 0;
  if (bytes.size() <= 8) refuse(file, "the file is truncated");
  std::memcpy(&header_size, bytes.data(), 8);
  if (bytes[8] != '{') refuse(file, "not a checkpoint");
  if (header_size > bytes.size() - 8) refuse(file, "the file is truncated");
  const auto header = nlohmann::json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<std::ptrdiff_t>(header_size));
  const auto& metadata = header.at("__metadata__");
  if (metadata.at("format") != "bubblescope checkpoint 1") refuse(file, "a safetensors file of another program");

  Checkpoint checkpoint;
  checkpoint.iteration = std::stoll(metadata.at("iteration").get<std::string>());
  for (const auto& [key, value] : metadata.items()) {
    if (key.starts_with("run.")) checkpoint.run[key.substr(4)] = value.get<std::string>();
  }
  const std::uint8_t* data = bytes.data() + 8 + header_size;
  const std::size_t size = bytes.size() - 8 - header_size;
  if (metadata.at("size") != std::to_string(size)) refuse(file, "the file is truncated");
  if (metadata.at("checksum") != checksum_text(header, data, size)) refuse(file, "the file is damaged");
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    torch::Tensor tensor = torch::empty(entry.at("shape").get<std::vector<std::int64_t>>(),
                                        dtype_of(entry.at("dtype").get<std::string>(), file));
    const auto first = entry.at("data_offsets").at(0).get<std::size_t>();
    const auto last = entry.at("data_offsets").at(1).get<std::size_t>();
    if (last > size || first > last || last - first != tensor.nbytes()) refuse(file, fmt::format("tensor '{}' lies outside the file", name));
    if (last > first) std::memcpy(tensor.data_ptr(), data + first, last - first);
    checkpoint.tensors.emplace(name, std::move(tensor));
  }
  return checkpoint;
}

}  // namespace

void write_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& file) {
  nlohmann::json header;
  std::size_t offset = 0;
  std::vector<std::uint8_t> body;
  for (const auto& [name, shared] : checkpoint.tensors) {
    const torch::Tensor tensor = shared.detach().cpu().contiguous();
    const std::size_t size = tensor.nbytes();
    header[name] = {{"dtype", precision_of(tensor).name}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + size}}};
    const auto* bytes = static_cast<const std::uint8_t*>(tensor.data_ptr());
    if (size > 0) body.insert(body.end(), bytes, bytes + size);
    offset += size;
  }
  auto& metadata = header["__metadata__"];
  metadata = {{"format", "bubblescope checkpoint 1"},
              {"iteration", std::to_string(checkpoint.iteration)},
              {"size", std::to_string(body.size())}};
  for (const auto& [key, value] : checkpoint.run) metadata["run." + key] = value;
  metadata["checksum"] = checksum_text(header, body.data(), body.size());

  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begins aligned, as the format asks
  const auto length = static_cast<std::uint64_t>(text.size());
  const auto view = [](const void* begin, std::size_t size) { return std::string_view(static_cast<const char*>(begin), size); };
  write_file(file, {view(&length, sizeof(length)), text, view(body.data(), body.size())});
}

Checkpoint read_checkpoint(const std::filesystem::path& file) {
  const std::vector<std::uint8_t> bytes = read_bytes(file, kWhat);
  try {
    return parse(bytes, file);
  } catch (const nlohmann::json::exception&) {
    refuse(file, "its header cannot be read");
  } catch (const std::logic_error&) {  // stoll
    refuse(file, "its header cannot be read");
  } catch (const c10::Error&) {  // a shape
    refuse(file, "its header cannot be read");
  }
}

void require_same_run(const Checkpoint& checkpoint, const std::map<std::string, std::string>& run,
                      const std::filesystem::path& file) {
  for (const auto& [key, value] : run) {
    const auto found = checkpoint.run.find(key);
    const std::string theirs = found == checkpoint.run.end() ? "nothing" : found->second;
    if (theirs != value) {
      throw InputError(fmt::format("{}: the checkpoint is of another run, its {} is '{}'; expected '{}'", file.string(), key, theirs, value));
    }
  }
}

}  // namespace bubblescope
