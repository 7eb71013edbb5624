// From the features' type to a template's.
#pragma once

#include "common/data_type.h"

namespace bottomup {

/// Calls `body` with a number of the type.
template <typename Body> void for_type(DataType type, const Body &body) {
  switch (type) {
  case DataType::float32:
    return body(float{});
  case DataType::float64:
    return body(double{});
  case DataType::float16:
    return body(Float16{});
  case DataType::bfloat16:
    return body(BFloat16{});
  }
}

} // namespace bottomup
