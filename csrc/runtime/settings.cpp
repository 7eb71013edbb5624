#include "bottomup/settings.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "runtime/json.h"

namespace bottomup {
namespace {

// Beyond what any model needs, and far below where the numbers of pixels overflow.
constexpr int64_t kMostDimensions = 4096;
constexpr double kMostScale = 1000;
constexpr int64_t kMostResolution = 1 << 20;

/// An object whose keys are taken one by one; what is left at the end is unknown.
class Reader {
public:
  Reader(const Json &json, std::string name) : name_(std::move(name)) {
    if (const auto *object = std::get_if<Json::Object>(&json.value))
      left_ = *object;
    else
      throw Error(name_ + ": expected an object");
  }

  /// The value of a key; null if it is not there, which only optional ones may be.
  Json take(const std::string &key, bool required) {
    const auto found = std::ranges::find(left_, key, &std::pair<std::string, Json>::first);
    if (found == left_.end()) {
      if (required)
        throw Error(name_ + ": " + key + " is missing");
      return {};
    }
    Json result = std::move(found->second);
    left_.erase(found);
    return result;
  }

  template <typename T>
  void read(const std::string &key, T &target, bool required = false, bool nullable = false) {
    const bool given = std::ranges::count(left_, key, &std::pair<std::string, Json>::first) > 0;
    const Json json = take(key, required);
    if (!given || (nullable && json.is_null()))
      return;
    convert(json, target, name_ + ": " + key);
  }

  void finish() const {
    if (!left_.empty())
      throw Error(name_ + ": unknown key " + left_.front().first);
  }

private:
  template <typename T> static const T &as(const Json &json, const std::string &place) {
    if (const T *value = std::get_if<T>(&json.value))
      return *value;
    throw Error(place + " has the wrong type");
  }
  static void convert(const Json &json, bool &target, const std::string &place) {
    target = as<bool>(json, place);
  }
  static void convert(const Json &json, double &target, const std::string &place) {
    target = as<double>(json, place);
  }
  static void convert(const Json &json, std::string &target, const std::string &place) {
    target = as<std::string>(json, place);
  }
  static void convert(const Json &json, int64_t &target, const std::string &place) {
    const double value = as<double>(json, place);
    if (value != std::floor(value) || std::abs(value) > 1e15)
      throw Error(place + " must be an integer");
    target = static_cast<int64_t>(value);
  }
  static void convert(const Json &json, Normalisation &target, const std::string &place) {
    const std::string &value = as<std::string>(json, place);
    if (value != "percentile" && value != "range")
      throw Error(place + " must be \"percentile\" or \"range\"");
    target = value == "range" ? Normalisation::range : Normalisation::percentile;
  }
  static void convert(const Json &json, Precision &target, const std::string &place) {
    const std::string &value = as<std::string>(json, place);
    if (value != "highest" && value != "fast")
      throw Error(place + " must be \"highest\" or \"fast\"");
    target = value == "fast" ? Precision::fast : Precision::highest;
  }
  template <typename T>
  static void convert(const Json &json, std::optional<T> &target, const std::string &place) {
    convert(json, target.emplace(), place);
  }
  template <typename T>
  static void convert(const Json &json, std::vector<T> &target, const std::string &place) {
    for (const Json &item : as<Json::Array>(json, place))
      convert(item, target.emplace_back(), place);
  }
  static void convert(const Json &json, std::array<double, 3> &target, const std::string &place) {
    std::vector<double> values;
    convert(json, values, place);
    if (values.size() != 3)
      throw Error(place + " must be three numbers");
    std::ranges::copy(values, target.begin());
  }

  std::string name_;
  Json::Object left_;
};

/// Throws Error unless a setting is as it must be; the message names it.
class Check {
public:
  explicit Check(const std::string &source) : source_(source) {}

  void that(bool holds, const std::string &message) const {
    if (!holds)
      throw Error(source_ + ": " + message);
  }
  void positive(const char *name, double value) const {
    that(std::isfinite(value) && value > 0, std::string(name) + " must be positive");
  }
  void positive(const char *name, const std::optional<double> &value) const {
    if (value)
      positive(name, *value);
  }
  void fraction(const char *name, double value) const {
    that(value >= 0 && value <= 1, std::string(name) + " must be in [0, 1]");
  }

private:
  const std::string &source_;
};

void check_preprocessing(const PreprocessingSettings &settings, const Check &check) {
  check.that(settings.low_percentile >= 0 && settings.low_percentile < settings.high_percentile &&
                 settings.high_percentile <= 100,
             "preprocessing: percentiles must ascend in [0, 100]");
  for (int channel = 0; channel < 3; ++channel) {
    check.that(std::isfinite(settings.mean[channel]), "preprocessing.mean must be finite");
    check.positive("preprocessing.std", settings.std[channel]);
  }
  check.positive("preprocessing.scale", settings.scale);
  check.that(settings.scale.value_or(1) <= kMostScale, "preprocessing.scale must be at most 1000");
  check.positive("preprocessing.object_diameter", settings.object_diameter);
  check.that(settings.patch_overlap >= 0 && settings.patch_overlap < 1,
             "preprocessing.patch_overlap must be in [0, 1)");
  check.positive("preprocessing.joining_diameter", settings.joining_diameter);
  check.that(settings.scale.has_value() == settings.resolutions.empty(),
             "preprocessing: give either scale or resolutions");
  check.that(settings.scale || !settings.object_diameter,
             "preprocessing: object_diameter needs a scale for the first look");
  check.that(!settings.scale || !settings.joining_diameter,
             "preprocessing: joining_diameter needs resolutions");
  for (size_t i = 0; i < settings.resolutions.size(); ++i) {
    check.that(settings.resolutions[i] >= 32, "preprocessing.resolutions must be at least 32");
    check.that(settings.resolutions[i] <= kMostResolution,
               "preprocessing.resolutions must be at most 1048576");
    check.that(i == 0 || settings.resolutions[i - 1] < settings.resolutions[i],
               "preprocessing.resolutions must be ascending");
  }
}

void check_clustering(const ClusteringSettings &settings, const Check &check) {
  check.that(settings.bandwidth_deg > 0 && settings.bandwidth_deg <= 45,
             "clustering.bandwidth_deg must be in (0, 45]");
  check.that(settings.min_support >= 1, "clustering.min_support must be at least 1");
  check.fraction("clustering.foreground_threshold", settings.foreground_threshold);
  check.that(settings.min_area >= 0, "clustering.min_area must not be negative");
  check.fraction("clustering.min_score", settings.min_score);
}

} // namespace

void check_settings(const ModelSettings &settings, const std::string &source) {
  const Check check(source);
  const ArchitectureSettings &architecture = settings.architecture;
  check.that(architecture.feature_dim >= 1 && architecture.feature_dim <= kMostDimensions,
             "architecture.feature_dim must be in [1, 4096]");
  check.positive("architecture.position_scale", architecture.position_scale);
  check.that(!architecture.largest_scale ||
                 (architecture.position_scale &&
                  *architecture.largest_scale > *architecture.position_scale),
             "architecture.largest_scale must be above a position_scale");
  check_preprocessing(settings.preprocessing, check);
  check_clustering(settings.clustering, check);
  check.that(architecture.foreground || !settings.preprocessing.object_diameter,
             "preprocessing.object_diameter needs a model that tells foreground");
  check.that(architecture.foreground || !settings.clustering.by_region,
             "clustering.by_region needs a model that tells foreground");
}

ModelSettings parse_settings(const std::string &json, const std::string &source) {
  ModelSettings settings;
  Reader top(parse_json(json, source), source);
  top.read("name", settings.name, true);
  top.read("description", settings.description);
  top.read("licence", settings.licence);

  Reader architecture(top.take("architecture", true), source + ": architecture");
  architecture.read("name", settings.architecture.name, true);
  architecture.read("feature_dim", settings.architecture.feature_dim, true);
  architecture.read("foreground", settings.architecture.foreground);
  architecture.read("position_scale", settings.architecture.position_scale, false, true);
  architecture.read("largest_scale", settings.architecture.largest_scale, false, true);
  architecture.finish();

  Reader preprocessing(top.take("preprocessing", true), source + ": preprocessing");
  preprocessing.read("normalisation", settings.preprocessing.normalisation);
  preprocessing.read("low_percentile", settings.preprocessing.low_percentile);
  preprocessing.read("high_percentile", settings.preprocessing.high_percentile);
  preprocessing.read("mean", settings.preprocessing.mean);
  preprocessing.read("std", settings.preprocessing.std);
  preprocessing.read("scale", settings.preprocessing.scale, false, true);
  preprocessing.read("object_diameter", settings.preprocessing.object_diameter, false, true);
  preprocessing.read("resolutions", settings.preprocessing.resolutions);
  preprocessing.read("patch_overlap", settings.preprocessing.patch_overlap);
  preprocessing.read("joining_diameter", settings.preprocessing.joining_diameter, false, true);
  preprocessing.finish();

  if (const Json json_clustering = top.take("clustering", false); !json_clustering.is_null()) {
    Reader clustering(json_clustering, source + ": clustering");
    clustering.read("bandwidth_deg", settings.clustering.bandwidth_deg);
    clustering.read("min_support", settings.clustering.min_support);
    clustering.read("foreground_threshold", settings.clustering.foreground_threshold);
    clustering.read("by_region", settings.clustering.by_region);
    clustering.read("split_components", settings.clustering.split_components);
    clustering.read("min_area", settings.clustering.min_area);
    clustering.read("min_score", settings.clustering.min_score);
    clustering.read("precision", settings.clustering.precision);
    clustering.finish();
  }
  top.finish();
  check_settings(settings, source);
  return settings;
}

ModelSettings read_settings(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf()))
    throw Error(path + ": cannot be read");
  return parse_settings(text.str(), path);
}

} // namespace bottomup
