// The library's own threads.
#pragma once

#include "common/parallel.h"

namespace bottomup {

/// Runs ranges on the calling thread and on helpers shared by all calls. What a range throws is
/// thrown again here once all ranges are done.
void library_parallel_for(int64_t count, int64_t grain, const RangeBody &body);

} // namespace bottomup
