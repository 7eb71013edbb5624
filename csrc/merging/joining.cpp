// Joining the parts of large objects, as bottomup_fast/joining.py does.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "bottomup/merging.h"
#include "merging/label_maps.h"

namespace bottomup {
namespace {

/// For each segment the coarser one that holds more than half of its pixels, by Boyer and Moore's
/// vote: in one pass for the only candidate and one more to count it. 0 where there is none.
std::vector<int32_t> holders(const LabelMap &labels, const std::vector<int64_t> &area,
                             const LabelMap &coarse) {
  std::vector<int32_t> candidate(area.size());
  std::vector<int64_t> count(area.size());
  for (int64_t pixel = 0; pixel < labels.size(); ++pixel) {
    const int32_t segment = labels.values[pixel], holder = coarse.values[pixel];
    if (count[segment] == 0)
      candidate[segment] = holder;
    count[segment] += candidate[segment] == holder ? 1 : -1;
  }
  std::ranges::fill(count, 0);
  for (int64_t pixel = 0; pixel < labels.size(); ++pixel)
    count[labels.values[pixel]] += candidate[labels.values[pixel]] == coarse.values[pixel];
  for (size_t segment = 0; segment < area.size(); ++segment)
    if (2 * count[segment] <= area[segment])
      candidate[segment] = 0;
  return candidate;
}

} // namespace

LabelMap join_fragments(const LabelMap &labels, const LabelMap &coarse, double min_area) {
  check_labels(labels, 0, "labels");
  check_labels(coarse, 0, "coarse");
  if (labels.height != coarse.height || labels.width != coarse.width)
    throw Error("coarse: differs from labels in shape");
  if (!(min_area >= 0))
    throw Error("min_area: must not be negative, got " + std::to_string(min_area));
  LabelMap result = relabel_by_appearance(labels);
  const LabelMap wholes = relabel_by_appearance(coarse);
  const std::vector<int64_t> area = label_areas(result), coarse_area = label_areas(wholes);
  const std::vector<int32_t> holder = holders(result, area, wholes);
  const auto count = static_cast<int32_t>(area.size());
  std::vector<int32_t> joined(area.size());
  std::iota(joined.begin(), joined.end(), 0);
  for (int32_t segment = 1; segment < count; ++segment)
    if (holder[segment] > 0 && static_cast<double>(coarse_area[holder[segment]]) >= min_area)
      joined[segment] = count + holder[segment];
  for (int32_t &label : result.values)
    label = joined[label];
  return relabel_by_appearance(result);
}

} // namespace bottomup
