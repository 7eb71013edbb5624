// What a kernel returns instead of throwing.
#pragma once

namespace bottomup {

enum class Status {
  ok,
  num_modes_out_of_range,
  non_finite_modes,
  non_finite_features,
  labels_out_of_range,
  non_finite_points,
  non_finite_seeds,
  bad_regions
};

/// The status in words, for the caller's error message.
constexpr const char *message(Status status) {
  switch (status) {
  case Status::ok:
    return "ok";
  case Status::num_modes_out_of_range:
    return "num_modes must lie between 0 and the number of rows of modes";
  case Status::non_finite_modes:
    return "modes contain NaN or Inf";
  case Status::non_finite_features:
    return "features contain NaN or Inf";
  case Status::labels_out_of_range:
    return "labels must lie between -1 and the number of entities";
  case Status::non_finite_points:
    return "points contain NaN or Inf";
  case Status::non_finite_seeds:
    return "seeds contain NaN or Inf";
  case Status::bad_regions:
    return "regions must be numbered from 0 without gaps, -1 for none";
  }
  return "unknown status";
}

} // namespace bottomup
