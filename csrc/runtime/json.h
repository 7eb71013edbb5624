// Just enough JSON to read a model's settings.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace bottomup {

/// A value; objects keep the order of their keys, none of which occurs twice.
struct Json {
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value = nullptr;

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value); }
};

/// Throws Error, naming `source`, for anything but one JSON value.
Json parse_json(const std::string &text, const std::string &source);

} // namespace bottomup
