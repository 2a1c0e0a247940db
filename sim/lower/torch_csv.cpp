// PyTorch's schedule files: writing the current dialect, reading that one and two older ones.
#include "sim/lower/torch_csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sim/core/cells.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/send_recv.hpp"

namespace bubblescope {
namespace {

bool is_torch_compute(Kind kind) { return kind == Kind::F || kind == Kind::I || kind == Kind::W || kind == Kind::B; }
bool is_torch_comm(Kind kind) {
  return is_send(kind) || is_recv(kind) || kind == Kind::UNSHARD || kind == Kind::RESHARD || kind == Kind::REDUCE_GRAD;
}

// ---- writing ----

[[noreturn]] void refuse(const Program& program, Rank rank, std::size_t position, const std::string& why) {
  const Op& op = program.rows[static_cast<std::size_t>(rank)][position];
  throw InputError(fmt::format("rank {}, op {} ({}): {}", rank, position, cell(program, op), why));
}

/// Refuses the first op of a stage that is not `right`, or where no row has one the whole.
template <typename Right>
[[noreturn]] void refuse_stages(const Program& program, const std::string& why, Right right) {
  for (Rank r = 0; r < program.ranks(); ++r) {
    const auto& row = program.rows[static_cast<std::size_t>(r)];
    for (std::size_t i = 0; i < row.size(); ++i) {
      for (const Op& part : program.parts_of(row[i])) {
        if (part.stage >= 0 && part.stage < program.stages() && !right(part.stage)) refuse(program, r, i, why);
      }
    }
  }
  throw InputError(why);
}

/// What PyTorch's files cannot say about a whole Program.
void require_expressible(const Program& program) {
  if (program.chains.size() != 1) {
    const auto chain_of = chain_links(program).chain;
    refuse_stages(program, fmt::format("{} chains; PyTorch's schedule files hold one", program.chains.size()),
                  [&](Stage stage) { return chain_of[static_cast<std::size_t>(stage)] == 0; });
  }
  const auto& chain = program.chains.front();
  const auto in_place = [&](Stage stage) { return static_cast<std::size_t>(stage) < chain.size() && chain[static_cast<std::size_t>(stage)] == stage; };
  for (Stage s = 0; s < static_cast<Stage>(chain.size()); ++s) {
    if (!in_place(s)) refuse_stages(program, "the chain's stages are not numbered 0, 1, 2, ...; PyTorch's schedule files know no other order", in_place);
  }
}

void require_word(const Program& program, Rank rank, std::size_t position, const Op& op, TorchFormat format) {
  const bool comm = format == TorchFormat::compute_comms && is_torch_comm(op.kind);
  if (!is_torch_compute(op.kind) && !comm) {
    refuse(program, rank, position,
           is_torch_comm(op.kind) ? "no compute op; PyTorch's compute-only files hold F, I, W, B, OVERLAP_F_B"
                                  : "PyTorch has no word for it; expected F, I, W, B, their sends and receives, UNSHARD, "
                                    "RESHARD, REDUCE_GRAD, OVERLAP_F_B");
  }
  if (op.iteration != 0) refuse(program, rank, position, "PyTorch's schedule files hold one iteration");
  if (op.replica != 0 || op.slice != 0) refuse(program, rank, position, "PyTorch's schedule files know no replicas or slices");
}

// ---- reading ----

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  Program read(std::string_view text) {
    auto lines = split_lines(text);
    while (!lines.empty() && lines.back().part(0).text.empty()) lines.pop_back();
    if (lines.empty()) throw InputError(fmt::format("{}:1:1: empty file; expected one row of cells per rank", file_));
    program_.rows.resize(lines.size());
    for (std::size_t r = 0; r < lines.size(); ++r) {
      if (lines[r].part(0).text.empty()) fail_at(file_, lines[r], "empty row; expected one row of cells per rank");
      read_row(lines[r], program_.rows[r]);
    }
    if (communication_ && idle_.line > 0) {
      fail_at(file_, idle_, "idle slot in a file with communication; PyTorch's files have them only without");
    }
    translate();
    complete();
    return std::move(program_);
  }

 private:
  void read_row(const TextPiece& line, std::vector<Op>& row) {
    for (const TextPiece& piece : split(line, ',')) {
      if (piece.text.empty()) {
        if (idle_.line == 0) idle_ = piece;
        continue;
      }
      row.push_back(piece.text.front() == '(' ? read_compound(piece) : read_simple(piece));
      ++cells_;
    }
  }

  Op read_compound(const TextPiece& piece) {
    const auto compound = split_compound(piece);
    const auto kind = compound ? kind_from_mnemonic(compound->rest.text) : std::nullopt;
    if (!kind || !is_compound(*kind)) {
      fail_at(file_, piece, fmt::format("{} is not a cell; expected one such as (0F7;7B3)OVERLAP_F_B", in_quotes(piece.text)));
    }
    const bool batch = *kind == Kind::BATCH_P2P;  // of a proposal (pull request 175572); no engine takes it
    std::vector<Op> parts;
    for (const TextPiece& part : compound->parts) {
      parts.push_back(read_simple(part));
      const Kind inside = parts.back().kind;
      if (batch ? !is_send(inside) && !is_recv(inside) : !is_torch_compute(inside)) {
        fail_at(file_, part, fmt::format("{} in a compound; expected {}", in_quotes(part.text), batch ? "sends and receives" : "F, I, W or B"));
      }
      ++cells_;
    }
    return program_.make_compound(*kind, parts);
  }

  Op read_simple(const TextPiece& piece) {
    const auto op = parse(piece.text);
    if (!op) fail_at(file_, piece, fmt::format("{} is not a cell; expected stage, kind, microbatch, such as 0F3", in_quotes(piece.text)));
    if (!is_torch_compute(op->kind) && !is_torch_comm(op->kind)) {
      fail_at(file_, piece, fmt::format("PyTorch has no {}; expected F, I, W, B, a send or receive, UNSHARD, RESHARD or "
                                        "REDUCE_GRAD (.psched files hold the others)", mnemonic(op->kind)));
    }
    if (op->microbatch < 0 && (is_torch_compute(op->kind) || is_p2p(op->kind))) {
      fail_at(file_, piece, fmt::format("{} has no microbatch; expected one", in_quotes(piece.text)));
    }
    communication_ = communication_ || is_torch_comm(op->kind);
    has_input_word_ = has_input_word_ || op->kind == Kind::I;
    if (op->microbatch > highest_) {
      highest_ = op->microbatch;
      highest_at_ = piece;
    }
    return *op;
  }

  /// A cell of any dialect. `BW` becomes a B and sets the dialect.
  std::optional<Op> parse(std::string_view text) {
    if (const auto op = parse_cell(text)) return op;
    if (const auto op = parse_oldest(text)) return op;
    const std::size_t at = text.find("BW");
    if (at == std::string_view::npos) return std::nullopt;
    const auto op = parse_cell(std::string(text.substr(0, at)) + "B" + std::string(text.substr(at + 2)));
    if (op && op->kind == Kind::B) {
      has_full_word_ = true;
      full_.push_back(key(*op));
    }
    return op && op->kind == Kind::B ? op : std::nullopt;
  }

  /// `F1_s0`: microbatch 1 of stage 0.
  static std::optional<Op> parse_oldest(std::string_view text) {
    const std::size_t at = text.find("_s");
    const std::size_t digits = text.find_first_of("0123456789");
    if (at == std::string_view::npos || digits == 0 || digits > at) return std::nullopt;
    const std::string word(text.substr(0, digits));
    if (word != "F" && word != "B" && word != "W") return std::nullopt;
    return parse_cell(std::string(text.substr(at + 2)) + word + std::string(text.substr(digits, at - digits)));
  }

  static std::uint64_t key(const Op& op) {
    return static_cast<std::uint64_t>(op.stage) << 32 | static_cast<std::uint32_t>(op.microbatch);
  }

  template <typename Visit>
  void for_each_simple(Visit visit) {
    for (auto& row : program_.rows) {
      for (Op& op : row) {
        if (!is_compound(op.kind)) visit(op);
      }
    }
    for (Op& part : program_.parts) visit(part);
  }

  /// In the dialect of 2024, B was the gradient of the input alone, and the full backward was BW.
  void translate() {
    std::vector<std::uint64_t> backwards, weights;
    for_each_simple([&](const Op& op) {
      if (op.kind == Kind::B) backwards.push_back(key(op));
      if (op.kind == Kind::W) weights.push_back(key(op));
    });
    std::sort(backwards.begin(), backwards.end());
    std::sort(weights.begin(), weights.end());
    std::sort(full_.begin(), full_.end());
    const bool split = std::any_of(weights.begin(), weights.end(), [&](std::uint64_t k) {
      return std::binary_search(backwards.begin(), backwards.end(), k);
    });
    if (has_full_word_ && has_input_word_) {
      throw InputError(fmt::format("{}: both I and BW; expected the words of one PyTorch version", file_));
    }
    if (!has_full_word_ && (!split || has_input_word_)) return;
    for_each_simple([&](Op& op) {
      if (op.kind == Kind::B && !std::binary_search(full_.begin(), full_.end(), key(op))) op.kind = Kind::I;
    });
  }

  void complete() {
    const RowCounts counts = counts_of_rows(program_);
    if (counts.microbatches > static_cast<std::int64_t>(cells_)) {
      fail_at(file_, highest_at_, fmt::format("{} is a microbatch beyond the {} cells of the file; expected all from 0",
                                              in_quotes(highest_at_.text), cells_));
    }
    program_.schedule = file_;
    program_.microbatches = counts.microbatches;
    program_.stage_rank = placement_of_rows(program_, file_);
    auto& chain = program_.chains.emplace_back();
    for (Stage s = 0; s < program_.stages(); ++s) chain.push_back(s);
    program_.channels.emplace_back();
    program_.chunks = chunks_of_placement(program_);
  }

  const std::string& file_;
  Program program_;
  std::size_t cells_ = 0;
  bool communication_ = false;
  bool has_full_word_ = false;
  bool has_input_word_ = false;
  std::vector<std::uint64_t> full_;  // (stage, microbatch) of BW
  TextPiece idle_;
  TextPiece highest_at_;
  Microbatch highest_ = -1;
};

}  // namespace

std::string to_torch_csv(const Program& program, TorchFormat format) {
  require_expressible(program);
  const bool one_rank = std::all_of(program.stage_rank.begin(), program.stage_rank.end(),
                                    [&](Rank r) { return r == program.stage_rank.front(); });
  if (format == TorchFormat::compute_comms && !one_rank && !has_communication(program)) {
    throw InputError("the program has no sends and receives; PyTorch's files with communication need them");
  }
  std::string text;
  for (Rank r = 0; r < program.ranks(); ++r) {
    const auto& row = program.rows[static_cast<std::size_t>(r)];
    bool first = true;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const Op& op = row[i];
      if (op.kind == Kind::U && op.microbatch < 0) continue;
      if (format == TorchFormat::compute_only && (is_send(op.kind) || is_recv(op.kind))) continue;
      if (op.kind == Kind::BATCH_P2P) refuse(program, r, i, "PyTorch has no word for it; expected single sends and receives");
      for (const Op& part : program.parts_of(op)) require_word(program, r, i, part, format);
      if (!first) text += ',';
      first = false;
      text += cell(program, op);
    }
    text += '\n';
  }
  return text;
}

Program from_torch_csv(std::string_view text, const std::string& file) { return Reader(file).read(text); }

}  // namespace bubblescope
