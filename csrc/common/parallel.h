// How a kernel asks its caller for threads.
#pragma once

#include <cstdint>
#include <functional>

namespace bottomup {

using RangeBody = std::function<void(int64_t begin, int64_t end)>;

/// Runs `body` over disjoint ranges that together cover [0, count), perhaps at the same time; a
/// range is not made smaller than `grain` items. A kernel's result must not depend on the cuts.
using ParallelFor = std::function<void(int64_t count, int64_t grain, const RangeBody &body)>;

} // namespace bottomup
