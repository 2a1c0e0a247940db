// `KEY=VALUES,KEY=VALUES` into axes.
#include "sim/scenario/sweep_axes.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/core/error.hpp"
#include "sim/scenario/check.hpp"
#include "sim/scenario/keys.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

constexpr std::string_view kRangeForm = "expected LOW..HIGH, which doubles, or LOW..HIGH+STEP, in whole numbers";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// A whole number of at most 18 digits and what follows it up to `..`, `+` or the end.
struct Bound {
  std::int64_t number = 0;
  std::string unit;
};

std::optional<Bound> take_bound(std::string_view& text) {
  Bound bound;
  const auto digits = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
  if (digits == 0 || digits > 18) return std::nullopt;
  std::from_chars(text.data(), text.data() + digits, bound.number);
  text.remove_prefix(digits);
  const std::size_t end = std::min(text.find_first_of(".+"), text.size());
  bound.unit = text.substr(0, end);
  text.remove_prefix(end);
  return bound;
}

/// One `--over`.
class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text), origin_("--over " + text) {}

  std::vector<SweepAxis> read() {
    std::vector<SweepAxis> axes;
    do {
      if (!axes.empty()) ++next_;  // the comma
      axes.push_back(read_axis());
    } while (next_ < text_.size());
    return axes;
  }

 private:
  SweepAxis read_axis() {
    SweepAxis axis;
    axis.origin = origin_;
    axis.column = next_ + 1;
    const std::size_t end = std::min(text_.find_first_of("=,", next_), text_.size());
    axis.name = trimmed(text_.substr(next_, end - next_));
    if (end == text_.size() || text_[end] == ',') {
      if (axis.name.empty()) fail_axis(axis, axis.column, "there is no axis; expected KEY=VALUES, such as ranks=2:4:8");
      fail_axis(axis, axis.column, "it has no '='; expected KEY=VALUES, the values of one axis separated by colons");
    }
    if (axis.name.empty()) fail_axis(axis, axis.column, "there is no key before '='; expected KEY=VALUES, such as ranks=2:4:8");
    find(axis);
    next_ = end;
    do {
      ++next_;  // the equals sign, or a colon
      const std::size_t column = next_ + 1;
      const std::string item = read_item(axis);
      if (item.empty()) fail_axis(axis, column, "there is no value; expected KEY=VALUE:VALUE:...");
      add(axis, item, column);
    } while (next_ < text_.size() && text_[next_] == ':');
    std::set<std::string_view> seen;
    for (const AxisValue& value : axis.values) {
      if (!seen.insert(value.text).second) fail_axis(axis, value.column, fmt::format("'{}' is given twice; expected it once", value.text));
    }
    return axis;
  }

  static std::string trimmed(std::string text) {
    text.erase(text.find_last_not_of(' ') + 1);
    return text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
  }

  /// Up to the next colon or comma that is in no quotes or brackets. Those count where a value begins with them.
  std::string read_item(const SweepAxis& axis) {
    const std::size_t begin = next_;
    const std::size_t first = std::min(text_.find_first_not_of(' ', begin), text_.size());
    std::string closing;  // what is still open, the innermost last
    for (; next_ < text_.size(); ++next_) {
      const char c = text_[next_];
      if (!closing.empty() && c == closing.back()) {
        closing.pop_back();
      } else if (!closing.empty() && (closing.back() == '"' || closing.back() == '\'')) {
        if (c == '\\' && closing.back() == '"' && next_ + 1 < text_.size()) ++next_;
      } else if (closing.empty() && (c == ':' || c == ',')) {
        break;
      } else if (next_ == first || !closing.empty()) {
        if (c == '"' || c == '\'') closing += c;
        if (c == '[') closing += ']';
        if (c == '{') closing += '}';
      }
    }
    if (!closing.empty()) fail_axis(axis, first + 1, fmt::format("the value does not end; expected a closing {}", closing.back()));
    return trimmed(text_.substr(begin, next_ - begin));
  }

  /// A value, or those of a range.
  void add(SweepAxis& axis, const std::string& item, std::size_t column) const {
    if (axis.what == SweepAxis::What::schedule) {
      add_schedule(axis, item, column);
    } else if (is_digit(item.front()) && item.find("..") != std::string::npos) {
      add_range(axis, item, column);
    } else {
      axis.values.push_back({item, column});
    }
    if (static_cast<std::int64_t>(axis.values.size()) > kMostPoints) {
      fail_axis(axis, column, fmt::format("it has more than {} values; expected a grid of at most so many points", kMostPoints));
    }
  }

  void add_schedule(SweepAxis& axis, const std::string& item, std::size_t column) const {
    if (item == "all") {
      for (const Schedule& schedule : schedules()) axis.values.push_back({schedule.name, column});
      return;
    }
    try {
      axis.values.push_back({find_schedule(item).name, column});
    } catch (const InputError& error) {
      fail_axis(axis, column, error.what());
    }
  }

  void add_range(SweepAxis& axis, std::string_view item, std::size_t column) const {
    std::string_view rest = item;
    const auto refuse = [&](std::string_view why) { fail_axis(axis, column, fmt::format("the range '{}' {}; {}", item, why, kRangeForm)); };
    const auto low = take_bound(rest);
    if (!low || !rest.starts_with("..")) refuse("cannot be read");
    rest.remove_prefix(2);
    const auto high = take_bound(rest);
    if (!high) refuse("cannot be read");
    std::optional<Bound> step;
    if (rest.starts_with('+')) {
      rest.remove_prefix(1);
      step = take_bound(rest);
      if (!step) refuse("cannot be read");
    }
    if (!rest.empty()) refuse("cannot be read");
    if (low->unit != high->unit || (step && step->unit != low->unit)) refuse("has different units");
    if (high->number < low->number) refuse("ends before it begins");
    if (step && step->number == 0) refuse("adds nothing");
    if (!step && low->number == 0) refuse("doubles 0");
    // 18 digits twice fit in 64 bits.
    for (std::int64_t number = low->number; number <= high->number; number += step ? step->number : number) {
      axis.values.push_back({fmt::format("{}{}", number, low->unit), column});
      if (static_cast<std::int64_t>(axis.values.size()) > kMostPoints) return;
    }
  }

  /// The whole key of a name.
  static void find(SweepAxis& axis) {
    const std::string& name = axis.name;
    axis.key = name;
    if (name == "schedule") {
      axis.what = SweepAxis::What::schedule;
      return;
    }
    if (name.find('.') != std::string::npos) return;
    const bool is_option = std::any_of(schedules().begin(), schedules().end(), [&](const Schedule& schedule) {
      return std::any_of(schedule.options.begin(), schedule.options.end(), [&](const ScheduleOption& option) { return option.name == name; });
    });
    if (is_option && !derived_from(name).empty()) {
      axis.key = derived_from(name);
      return;
    }
    if (is_option || (name != "name" && name != "label" && find_key("schedule", name) != nullptr)) {
      axis.what = SweepAxis::What::of_schedules;
      return;
    }
    std::vector<std::string> homes, names{"schedule"};
    for (const Key& key : scenario_keys()) {
      names.emplace_back(key.name);
      if (key.section != "schedule" && key.name == name) homes.push_back(fmt::format("{}.{}", key.section, key.name));
    }
    if (homes.size() == 1) {
      axis.key = homes.front();
      return;
    }
    if (!homes.empty()) fail_axis(axis, axis.column, fmt::format("several sections have such a key; expected one of {}", fmt::join(homes, ", ")));
    for (const Schedule& schedule : schedules()) {
      for (const ScheduleOption& option : schedule.options) names.push_back(option.name);
    }
    fail_axis(axis, axis.column, fmt::format("unknown key; expected 'schedule', 'microbatches', an option of schedules, or a key of scenarios such as 'ranks' or 'training.batch'{}",
                                             suggestion(name, names)));
  }

  const std::string& text_;
  std::string origin_;
  std::size_t next_ = 0;
};

/// Whether one is of a key or option of all schedules, the other of the same one of some: its values would be overwritten.
bool covers(const SweepAxis& all, const SweepAxis& some) {
  return all.what == SweepAxis::What::of_schedules && some.what == SweepAxis::What::key && some.key.starts_with("schedule.") && some.key.ends_with("." + all.key);
}

}  // namespace

std::vector<SweepAxis> parse_axes(std::span<const std::string> texts) {
  std::vector<SweepAxis> axes;
  for (const std::string& text : texts) {
    for (SweepAxis& axis : Parser(text).read()) {
      for (const SweepAxis& other : axes) {
        if (other.key == axis.key) fail_axis(axis, axis.column, fmt::format("the axis '{}' is of the same key; expected each once", other.name));
        if (covers(other, axis) || covers(axis, other)) fail_axis(axis, axis.column, fmt::format("the axis '{}' sets the same; expected one of them", other.name));
      }
      axes.push_back(std::move(axis));
    }
  }
  if (axes.empty()) throw InputError("--over is missing; expected KEY=VALUES,..., such as ranks=2:4:8,schedule=all");
  std::int64_t points = 1;
  for (const SweepAxis& axis : axes) {
    points *= static_cast<std::int64_t>(axis.values.size());
    if (points > kMostPoints) fail_axis(axis, axis.column, fmt::format("with it the grid has {} points or more; expected at most {}", points, kMostPoints));
  }
  return axes;
}

std::int64_t point_count(std::span<const SweepAxis> axes) {
  std::int64_t points = 1;
  for (const SweepAxis& axis : axes) points *= static_cast<std::int64_t>(axis.values.size());
  return points;
}

std::vector<std::string> point_values(std::span<const SweepAxis> axes, std::int64_t point) {
  std::vector<std::string> values(axes.size());
  for (std::size_t i = axes.size(); i-- > 0;) {
    const auto count = static_cast<std::int64_t>(axes[i].values.size());
    values[i] = axes[i].values[static_cast<std::size_t>(point % count)].text;
    point /= count;
  }
  return values;
}

void fail_axis(const SweepAxis& axis, std::size_t column, std::string_view what) {
  throw InputError(fmt::format("{}: character {}{}: {}", axis.origin, column, axis.name.empty() ? "" : fmt::format(", axis '{}'", axis.name), what));
}

}  // namespace bubblescope
