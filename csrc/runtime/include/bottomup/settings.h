// What a model says about itself: the JSON that its file carries.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bottomup/types.h"

namespace bottomup {

enum class Normalisation { percentile, range };
enum class Precision { highest, fast };

/// The fields mean what those of the Python class of this name mean.
struct ArchitectureSettings {
  std::string name;
  int64_t feature_dim = 0;
  bool foreground = false;
  std::optional<double> position_scale, largest_scale;
};

struct PreprocessingSettings {
  Normalisation normalisation = Normalisation::range;
  double low_percentile = 1.0, high_percentile = 99.7;
  std::array<double, 3> mean = {0.5, 0.5, 0.5}, std = {0.5, 0.5, 0.5};
  std::optional<double> scale, object_diameter;
  std::vector<int64_t> resolutions;
  double patch_overlap = 0.25;
  std::optional<double> joining_diameter;
};

struct ClusteringSettings {
  double bandwidth_deg = 45;
  int64_t min_support = 10;
  double foreground_threshold = 0.5;
  bool by_region = false, split_components = false;
  int64_t min_area = 0;
  double min_score = 0;
  Precision precision = Precision::highest;
  bool operator==(const ClusteringSettings &) const = default;
};

struct ModelSettings {
  std::string name, description, licence;
  ArchitectureSettings architecture;
  PreprocessingSettings preprocessing;
  ClusteringSettings clustering;
};

/// Reads the settings from JSON. Throws Error naming `source` and the key for anything else than
/// what Python writes: unknown or missing keys, wrong types, numbers outside their ranges.
BOTTOMUP_API ModelSettings parse_settings(const std::string &json,
                                          const std::string &source = "settings");

/// The same from a file.
BOTTOMUP_API ModelSettings read_settings(const std::string &path);

/// Throws Error unless the settings are possible.
BOTTOMUP_API void check_settings(const ModelSettings &settings,
                                 const std::string &source = "settings");

} // namespace bottomup
