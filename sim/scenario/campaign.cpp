// Reading campaign.toml.
#include "sim/scenario/campaign.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>

#include "sim/core/error.hpp"
#include "sim/core/read_file.hpp"

namespace bubblescope {
namespace {

bool names_folder(const std::string& name) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !name.empty() && plain(name.front()) && std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '.' || c == '-' || c == '_'; });
}

class Reader {
 public:
  using Set = std::function<void(const toml::node&)>;
  using Keys = std::map<std::string, Set, std::less<>>;

  explicit Reader(std::filesystem::path file) : file_(std::move(file)) {}

  CampaignConfig read() {
    toml::table root;
    try {
      root = toml::parse(read_file(file_, "a list of scenarios and goals"), file_.string());
    } catch (const toml::parse_error& error) {
      fail(error.source(), std::string(error.description()));
    }
    const Set scenario = [this](const toml::node& node) { each(node, "scenario", [this](const toml::table& table) { read_entry(table); }); };
    const Set reference = [this](const toml::node& node) { each(node, "reference", [this](const toml::table& table) { read_reference(table); }); };
    const Set goal = [this](const toml::node& node) { each(node, "goal", [this](const toml::table& table) { read_goal(table); }); };
    read_table(root, "the file", {{"title", text(plan_.title)}, {"scenario", scenario}, {"reference", reference}, {"goal", goal}});
    if (plan_.entries.empty()) fail(root.source(), "there is no scenario; expected at least one [[scenario]]");
    // What is named has to be there, wherever it stands in the file.
    for (const auto& check : checks_) check();
    plan_.file = file_;
    return std::move(plan_);
  }

 private:
  [[noreturn]] void fail(const toml::source_region& place, const std::string& what) const {
    throw InputError(fmt::format("{}:{}:{}: {}", file_.string(), place.begin.line, place.begin.column, what));
  }

  void read_table(const toml::table& table, const std::string& where, const Keys& keys) {
    for (const auto& [key, node] : table) {
      const auto found = keys.find(key.str());
      if (found != keys.end()) {
        found->second(node);
        continue;
      }
      std::vector<std::string> names;
      for (const auto& [name, set] : keys) names.push_back(name);
      fail(key.source(), fmt::format("unknown key '{}' in {}; expected one of {}{}", key.str(), where, fmt::join(names, ", "), suggestion(key.str(), names)));
    }
  }

  void each(const toml::node& node, const std::string& name, const std::function<void(const toml::table&)>& read_one) {
    const toml::array* list = node.as_array();
    if (list == nullptr || !list->is_homogeneous(toml::node_type::table)) fail(node.source(), fmt::format("'{0}' is no list of sections; expected [[{0}]]", name));
    for (const toml::node& element : *list) read_one(*element.as_table());
  }

  Set text(std::string& into) {
    return [this, &into](const toml::node& node) {
      const auto value = node.value_exact<std::string>();
      if (!value || value->empty()) fail(node.source(), "expected a text in quotes");
      into = *value;
    };
  }

  Set texts(std::vector<std::string>& into) {
    return [this, &into](const toml::node& node) {
      const toml::array* list = node.as_array();
      if (list == nullptr) fail(node.source(), "expected a list of texts, such as [\"a\", \"b\"]");
      for (const toml::node& element : *list) text(into.emplace_back())(element);
    };
  }

  Set number(double& into, bool& given) {
    return [this, &into, &given](const toml::node& node) {
      const auto value = node.value<double>();
      if (!value || *value < 0) fail(node.source(), "expected a number of at least 0");
      into = *value;
      given = true;
    };
  }

  Set word(std::string& into, std::vector<std::string> words) {
    return [this, &into, words](const toml::node& node) {
      into = node.value_or(std::string());
      if (std::find(words.begin(), words.end(), into) == words.end()) fail(node.source(), fmt::format("expected one of {}", fmt::join(words, ", ")));
    };
  }

  void need(const std::string& value, const toml::table& table, const std::string& where, const std::string& key) const {
    if (value.empty()) fail(table.source(), fmt::format("{} has no '{}'", where, key));
  }

  /// Checks later that there are scenarios of these names.
  void name_scenarios(const std::vector<std::string>& names, const toml::table& table) {
    checks_.push_back([this, names, place = table.source()] {
      std::vector<std::string> known;
      for (const CampaignEntry& entry : plan_.entries) known.push_back(entry.name);
      for (const std::string& name : names) {
        if (std::find(known.begin(), known.end(), name) == known.end()) fail(place, fmt::format("there is no scenario '{}'; expected one of {}{}", name, fmt::join(known, ", "), suggestion(name, known)));
      }
    });
  }

  void read_entry(const toml::table& table) {
    CampaignEntry entry;
    std::string file, limit;
    read_table(table, "[[scenario]]", {{"name", text(entry.name)}, {"file", text(file)}, {"set", texts(entry.overrides)}, {"beside", texts(entry.beside)}, {"limit", text(limit)}});
    need(file, table, "[[scenario]]", "file");
    entry.file = file_.parent_path() / file;
    if (entry.name.empty()) entry.name = entry.file.stem().string();
    if (!names_folder(entry.name)) fail(table.source(), fmt::format("'{}' is no name for a folder; expected letters, digits, '.', '-' and '_'", entry.name));
    for (const CampaignEntry& other : plan_.entries) {
      if (other.name == entry.name) fail(table.source(), fmt::format("two scenarios are called '{}'; expected names that differ (name = \"...\")", entry.name));
    }
    try {
      if (!limit.empty()) entry.limit = parse_duration(limit);
    } catch (const InputError& error) {
      fail(table["limit"].node()->source(), error.what());
    }
    name_scenarios(entry.beside, table);
    plan_.entries.push_back(std::move(entry));
  }

  void read_reference(const toml::table& table) {
    ReferenceConfig reference;
    read_table(table, "[[reference]]", {{"name", text(reference.name)}, {"schedules", texts(reference.schedules)}});
    need(reference.name, table, "[[reference]]", "name");
    if (reference.schedules.empty()) fail(table.source(), "[[reference]] has no 'schedules'");
    plan_.references.push_back(std::move(reference));
  }

  void read_goal(const toml::table& table) {
    GoalConfig goal;
    bool most = false, least = false;
    read_table(table, "[[goal]]",
               {{"name", text(goal.name)},
                {"figure", word(goal.figure, {"error", "idle", "speedup"})},
                {"over", text(goal.over)},
                {"scenarios", texts(goal.scenarios)},
                {"schedules", texts(goal.schedules)},
                {"of", word(goal.of, {"every", "best"})},
                {"at_most", number(goal.bound, most)},
                {"at_least", number(goal.bound, least)}});
    need(goal.name, table, "[[goal]]", "name");
    const bool speedup = goal.figure == "speedup";
    if (speedup) need(goal.over, table, "[[goal]]", "over");
    if (speedup ? !least || most : !most || least) fail(table.source(), fmt::format("the goal '{}' needs '{}', and not its opposite", goal.name, speedup ? "at_least" : "at_most"));
    name_scenarios(goal.scenarios, table);
    checks_.push_back([this, name = goal.over, place = table.source()] {
      std::vector<std::string> known;
      for (const ReferenceConfig& reference : plan_.references) known.push_back(reference.name);
      if (!name.empty() && std::find(known.begin(), known.end(), name) == known.end()) fail(place, fmt::format("there is no [[reference]] '{}'; expected one of {}{}", name, fmt::join(known, ", "), suggestion(name, known)));
    });
    plan_.goals.push_back(std::move(goal));
  }

  std::filesystem::path file_;
  CampaignConfig plan_;
  std::vector<std::function<void()>> checks_;
};

}  // namespace

CampaignConfig read_campaign_file(const std::filesystem::path& file) { return Reader(file).read(); }

}  // namespace bubblescope
