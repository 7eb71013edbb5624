// Where to start: points with many others near them.
#pragma once

#include <cstdint>
#include <vector>

#include "common/simd.h"
#include "meanshift_cpu/lines.h"

namespace bottomup {

/// Positions of up to `limit` of the lines, the densest first, none in the window of another one.
///
/// The density of a line is a lower bound on the lines in its window, itself included: only some
/// are compared, which fall into one cell of a random partition of the projective sphere, as near
/// lines often do. Lines of density below `least` are no seeds. `turn` chooses the partition.
std::vector<int32_t> dense_seeds(const Lines &lines, float window, int32_t least, int64_t limit,
                                 uint32_t turn, Simd simd);

} // namespace bottomup
