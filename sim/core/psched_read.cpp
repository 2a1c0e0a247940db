// Reading `.psched`: directives, then one row of cells per rank. Writing is in psched.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

#include "sim/core/cells.hpp"
#include "sim/core/channel_mode.hpp"
#include "sim/core/error.hpp"
#include "sim/core/psched.hpp"
#include "sim/core/psched_words.hpp"

namespace bubblescope {
namespace {

using namespace psched;

/// Reads one file into a Program.
class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  Program read(std::string_view text) {
    const auto lines = split_lines(text);
    for (const TextPiece& whole : lines) {
      const TextPiece line = whole.part(0);
      if (line.text.empty() || line.text == "#" || line.text.substr(0, 2) == "# ") continue;
      if (line.text.front() == '#') {
        read_directive(line.part(1));
      } else {
        if (!seen("psched")) fail(line, "not a .psched file; expected '#psched 1' first");
        rows_.push_back(line);
      }
    }
    if (!seen("psched")) fail({{}, 1, 1}, "not a .psched file; expected '#psched 1' first");
    program_.rows.resize(rows_.size());
    for (std::size_t r = 0; r < rows_.size(); ++r) read_row(rows_[r], program_.rows[r]);
    complete();
    return std::move(program_);
  }

 private:
  [[noreturn]] void fail(const TextPiece& where, const std::string& message) const { fail_at(file_, where, message); }

  bool seen(const std::string& directive) const {
    return std::find(seen_.begin(), seen_.end(), directive) != seen_.end();
  }

  void read_directive(const TextPiece& line) {
    const std::size_t blank = std::min(line.text.find_first_of(" \t"), line.text.size());
    const std::string name(line.text.substr(0, blank));
    const TextPiece value = line.part(blank);
    if (std::find(kDirectives.begin(), kDirectives.end(), name) == kDirectives.end()) {
      fail(line, fmt::format("unknown directive {}; expected {}{}", in_quotes("#" + name), fmt::join(kDirectives, ", "),
                             suggestion(name, kDirectives)));
    }
    if (!rows_.empty()) fail(line, fmt::format("directive '#{}' after a row; expected all directives before", name));
    if (name != "psched" && !seen("psched")) fail(line, "not a .psched file; expected '#psched 1' first");
    if (name != "chain" && name != "channel" && name != "overlap" && name != "sources" && seen(name)) fail(line, fmt::format("'#{}' twice; expected once", name));
    seen_.push_back(name);
    if (name == "psched") {
      if (value.text != "1") fail(value, fmt::format("version {}; expected 1", in_quotes(value.text)));
    } else if (name == "schedule") {
      program_.schedule = read_name(value);
    } else if (name == "ranks") {
      ranks_ = number<std::int32_t>(value, 0);
      ranks_at_ = value;
    } else if (name == "microbatches") {
      program_.microbatches = number<std::int32_t>(value, 0);
    } else if (name == "iterations") {
      program_.iterations = number<std::int32_t>(value, 1);
    } else if (name == "chunks") {
      program_.chunks = number<std::int32_t>(value, 0);
    } else if (name == "profile") {
      program_.profile = choice<Profile>(value, profile_names());
    } else if (name == "weights") {
      program_.weights = choice<WeightPolicy>(value, kWeights);
    } else if (name == "ordering") {
      program_.ordering = choice<Ordering>(value, kOrderings);
    } else if (name == "stage-rank") {
      program_.stage_rank = numbers(value);
      placed_ = true;
      stage_rank_at_ = value;
    } else if (name == "chain") {
      if (value.text == "none") return;
      if (program_.chains.size() > std::numeric_limits<std::uint8_t>::max()) fail(line, "more than 256 chains; expected fewer");
      program_.chains.push_back(numbers(value));
      chains_at_.push_back(value);
    } else if (name == "overlap") {
      overlaps_at_.push_back(value);
    } else if (name == "sources") {
      sources_at_.push_back(value);
    } else if (value.text != "none") {
      read_channel(value);
    }
  }

  std::string read_name(const TextPiece& value) const {
    if (value.text.empty() || value.text.front() != '"') return std::string(value.text);
    const auto wrong = [&] { fail(value, "unfinished name; expected \"...\" with \\xx for special bytes"); };
    std::string name;
    std::size_t i = 1;
    for (; i < value.text.size() && value.text[i] != '"'; ++i) {
      if (value.text[i] != '\\') {
        name += value.text[i];
        continue;
      }
      unsigned byte = 0;
      const char* digits = value.text.data() + i + 1;
      if (value.text.size() - i < 3 || std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) wrong();
      name += static_cast<char>(byte);
      i += 2;
    }
    if (i + 1 != value.text.size()) wrong();
    return name;
  }

  template <typename Number>
  Number number(const TextPiece& piece, Number minimum) const {
    const auto value = parse_integer(piece.text);
    constexpr Number kMost = std::numeric_limits<Number>::max();
    if (!value || *value < minimum || *value > kMost) {
      fail(piece, fmt::format("{} is no number here; expected an integer from {} to {}", in_quotes(piece.text), minimum, kMost));
    }
    return static_cast<Number>(*value);
  }

  std::vector<std::int32_t> numbers(const TextPiece& value) const {
    std::vector<std::int32_t> result;
    for (const TextPiece& piece : words(value)) result.push_back(number<std::int32_t>(piece, 0));
    if (result.size() > kMaxStages) fail(value, fmt::format("{} stages; expected at most {}", result.size(), kMaxStages));
    return result;
  }

  static std::vector<TextPiece> words(const TextPiece& value) {
    std::vector<TextPiece> pieces = split(value, ' ');
    std::erase_if(pieces, [](const TextPiece& piece) { return piece.text.empty(); });
    return pieces;
  }

  template <typename Enum>
  Enum choice(const TextPiece& piece, const std::vector<std::string>& names) const {
    const auto found = std::find(names.begin(), names.end(), piece.text);
    if (found == names.end()) {
      fail(piece, fmt::format("unknown word {}; expected {}{}", in_quotes(piece.text), fmt::join(names, ", "),
                              suggestion(piece.text, names)));
    }
    return static_cast<Enum>(found - names.begin());
  }

  void read_channel(const TextPiece& value) {
    Channel channel;
    const auto pieces = words(value);
    if (pieces.empty()) fail(value, "no edge; expected 'default' or 'FROM->TO'");
    const TextPiece& edge = pieces.front();
    if (edge.text != "default") {
      const std::size_t arrow = edge.text.find("->");
      if (arrow == std::string_view::npos) fail(edge, fmt::format("{}; expected 'default' or 'FROM->TO'", in_quotes(edge.text)));
      channel.from = number<std::int32_t>(edge.part(0, arrow), 0);
      channel.to = number<std::int32_t>(edge.part(arrow + 2), 0);
    }
    for (std::size_t i = 1; i < pieces.size(); ++i) {
      const std::size_t equals = std::min(pieces[i].text.find('='), pieces[i].text.size());
      const TextPiece key = pieces[i].part(0, equals);
      const TextPiece what = pieces[i].part(std::min(equals + 1, pieces[i].text.size()));
      if (const auto error = set_property(channel, key.text, what.text)) fail(error->in_key ? key : what, error->message);
    }
    channels_.push_back({channel, edge});
  }

  void read_row(const TextPiece& line, std::vector<Op>& row) {
    if (line.text == "-") return;
    row.reserve(static_cast<std::size_t>(std::count(line.text.begin(), line.text.end(), ',')) + 1);
    for (const TextPiece& piece : split(line, ',')) row.push_back(read_cell(piece));
  }

  Op read_cell(const TextPiece& piece) {
    if (piece.text.empty() || piece.text.front() != '(') return read_simple(piece);
    const auto compound = split_compound(piece);
    if (!compound) fail(piece, fmt::format("{} is not closed; expected ')'", in_quotes(piece.text)));
    std::vector<Op> parts;
    for (const TextPiece& part : compound->parts) parts.push_back(read_simple(part));
    const std::size_t end = suffix_begin(compound->rest.text);
    const auto kind = kind_from_mnemonic(compound->rest.text.substr(0, end));
    if (!kind || !is_compound(*kind)) {
      fail(compound->rest, fmt::format("unknown compound {}; expected OVERLAP_F_B or BATCH_P2P", in_quotes(compound->rest.text)));
    }
    Op op = program_.make_compound(*kind, parts);
    read_suffixes(compound->rest.part(end), op);
    return op;
  }

  Op read_simple(const TextPiece& piece) {
    const std::size_t end = suffix_begin(piece.text);
    auto op = parse_cell(piece.text.substr(0, end));
    if (!op) fail(piece, fmt::format("{} is not a cell; expected stage, kind, microbatch, such as 0F3", in_quotes(piece.text)));
    op->chain = chain_of(op->stage);
    read_suffixes(piece.part(end), *op);
    if (placed_ && op->stage >= program_.stages()) {
      fail(piece, fmt::format("stage {}; expected one of the {} stages of '#stage-rank'", op->stage, program_.stages()));
    }
    return *op;
  }

  static std::size_t suffix_begin(std::string_view text) { return std::min(text.find_first_of("@!/"), text.size()); }

  void read_suffixes(TextPiece piece, Op& op) const {
    while (!piece.text.empty()) {
      const std::size_t end = std::min(piece.text.find_first_of("@!/", 1), piece.text.size());
      const TextPiece suffix = piece.part(0, end);
      const std::string_view mark = suffix.text.substr(0, 2);
      if (mark.substr(0, 1) == "@") {
        op.iteration = number<std::int32_t>(suffix.part(1), 0);
      } else if (mark == "!r") {
        op.replica = number<std::uint16_t>(suffix.part(2), 0);
      } else if (mark == "!c") {
        op.chain = number<std::uint8_t>(suffix.part(2), 0);
      } else if (mark == "/s") {
        op.slice = number<std::uint16_t>(suffix.part(2), 0);
      } else {
        fail(suffix, fmt::format("unknown suffix {}; expected @ITERATION, !rREPLICA, !cCHAIN or /sSLICE", in_quotes(suffix.text)));
      }
      piece = piece.part(end);
    }
  }

  std::uint8_t chain_of(Stage stage) {
    if (chain_of_stage_.empty()) {
      chain_of_stage_.assign(kMaxStages + 1, 0);
      for (std::size_t c = 0; c < program_.chains.size(); ++c) {
        for (const Stage s : program_.chains[c]) {
          if (s <= static_cast<Stage>(kMaxStages)) chain_of_stage_[static_cast<std::size_t>(s)] = static_cast<std::uint8_t>(c);
        }
      }
    }
    return chain_of_stage_[static_cast<std::size_t>(stage)];
  }

  /// Fills in what the directives left open and checks that all numbers fit together.
  void complete() {
    if (seen("ranks") && ranks_ != program_.ranks()) {
      fail(ranks_at_, fmt::format("{} ranks, but {} rows follow; expected one row per rank", ranks_, program_.ranks()));
    }
    if (!placed_) program_.stage_rank = placement_of_rows(program_, file_);
    for (const Rank r : program_.stage_rank) {
      if (r >= program_.ranks()) {
        fail(stage_rank_at_, fmt::format("a stage on rank {}; expected ranks below {}", r, program_.ranks()));
      }
    }
    if (!seen("chain")) {
      auto& chain = program_.chains.emplace_back();
      for (Stage s = 0; s < program_.stages(); ++s) chain.push_back(s);
    }
    for (std::size_t c = 0; c < chains_at_.size(); ++c) {
      for (const Stage s : program_.chains[c]) {
        if (s >= program_.stages()) fail(chains_at_[c], fmt::format("stage {}; expected stages below {}", s, program_.stages()));
      }
    }
    complete_channels();
    if (!overlaps_at_.empty()) program_.overlap = complete_lists(overlaps_at_, "overlap", "rank", program_.ranks());
    if (!sources_at_.empty()) program_.sources = complete_lists(sources_at_, "sources", "stage", program_.stages());
    const RowCounts counts = counts_of_rows(program_);
    if (!seen("microbatches")) program_.microbatches = counts.microbatches;
    if (!seen("iterations")) program_.iterations = counts.iterations;
    if (!seen("chunks")) program_.chunks = chunks_of_placement(program_);
  }

  /// `#overlap RANK N...`, `#sources STAGE N...`: lists by rank or stage, those without any may be left out.
  std::vector<std::vector<std::int32_t>> complete_lists(const std::vector<TextPiece>& values, std::string_view directive, std::string_view what, std::int32_t count) const {
    std::vector<std::vector<std::int32_t>> lists(static_cast<std::size_t>(count));
    std::set<std::int32_t> known;
    for (const TextPiece& value : values) {
      const auto pieces = words(value);
      if (pieces.empty()) fail(value, fmt::format("no {}; expected one, and numbers", what));
      const auto which = number<std::int32_t>(pieces.front(), 0);
      if (which >= count) fail(pieces.front(), fmt::format("{} {}; expected {}s below {}", what, which, what, count));
      if (!known.insert(which).second) fail(pieces.front(), fmt::format("'#{} {}' twice; expected once", directive, which));
      for (std::size_t i = 1; i < pieces.size(); ++i) lists[static_cast<std::size_t>(which)].push_back(number<std::int32_t>(pieces[i], 0));
    }
    return lists;
  }

  /// The default first, whether the file names it, and where, or not; then the edges in their order.
  void complete_channels() {
    if (!seen("channel") || !channels_.empty()) program_.channels.emplace_back();
    const ChainLinks links = chain_links(program_);
    std::set<std::pair<Stage, Stage>> known;
    for (const auto& [channel, where] : channels_) {
      const bool is_default = channel.from < 0;
      if (std::max(channel.from, channel.to) >= program_.stages()) {
        fail(where, fmt::format("stage {}; expected stages below {}", std::max(channel.from, channel.to), program_.stages()));
      }
      if (!is_default && links.next[static_cast<std::size_t>(channel.from)] != channel.to) fail(where, not_neighbours(channel));
      if (!known.insert({channel.from, channel.to}).second) fail(where, fmt::format("channel {} twice; expected once", edge_text(channel)));
      if (is_default) {
        program_.channels.front() = channel;
      } else {
        program_.channels.push_back(channel);
      }
    }
  }

  static constexpr std::size_t kMaxStages = std::numeric_limits<std::int16_t>::max();

  const std::string& file_;
  Program program_;
  std::vector<TextPiece> rows_;
  std::vector<std::string> seen_;
  std::vector<std::uint8_t> chain_of_stage_;
  std::int32_t ranks_ = 0;
  bool placed_ = false;  // '#stage-rank' was there
  TextPiece ranks_at_, stage_rank_at_;
  std::vector<TextPiece> chains_at_, overlaps_at_, sources_at_;
  std::vector<std::pair<Channel, TextPiece>> channels_;  // as the file names them, with the place of the edge
};

}  // namespace

Program from_psched(std::string_view text, const std::string& file) { return Reader(file).read(text); }

}  // namespace bubblescope
