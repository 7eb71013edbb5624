// Joining the parts of large objects, as bottomup_fast/joining.py does.
#include <numeric>
#include <string>

#include "merging/label_maps.h"
#include "merging/label_runs.h"

namespace bottomup {
namespace {

/// Calls `visit` with the segment, the coarser one and the pixels of every run of equal ones.
template <typename Visit>
void for_each_pair(const LabelRuns &labels, const LabelRuns &coarse, const Visit &visit) {
  for (int64_t y = 0; y < labels.height; ++y) {
    const std::span<const Run> row = labels.row(y), holders = coarse.row(y);
    for_each_overlap(row, holders, 0, [&](size_t i, size_t j, int32_t length) {
      visit(row[i].label, holders[j].label, length);
    });
  }
}

/// For each segment the coarser one that holds more than half of its pixels, by Boyer and Moore's
/// vote: in one pass for the only candidate and one more to count it. 0 where there is none.
std::vector<int32_t> holders(const LabelRuns &labels, const std::vector<int64_t> &area,
                             const LabelRuns &coarse) {
  std::vector<int32_t> candidate(area.size());
  std::vector<int64_t> count(area.size());
  for_each_pair(labels, coarse, [&](int32_t segment, int32_t holder, int32_t length) {
    if (candidate[segment] != holder && count[segment] < length) {
      candidate[segment] = holder;
      count[segment] = length - count[segment];
    } else {
      count[segment] += candidate[segment] == holder ? length : -length;
    }
  });
  std::ranges::fill(count, 0);
  for_each_pair(labels, coarse, [&](int32_t segment, int32_t holder, int32_t length) {
    count[segment] += candidate[segment] == holder ? length : 0;
  });
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
  LabelRuns result(labels), wholes(coarse);
  number_by_appearance(result);
  number_by_appearance(wholes);
  const std::vector<int64_t> area = result.areas(), coarse_area = wholes.areas();
  const std::vector<int32_t> holder = holders(result, area, wholes);
  const auto count = static_cast<int32_t>(area.size());
  std::vector<int32_t> joined(area.size());
  std::iota(joined.begin(), joined.end(), 0);
  for (int32_t segment = 1; segment < count; ++segment)
    if (holder[segment] > 0 && static_cast<double>(coarse_area[holder[segment]]) >= min_area)
      joined[segment] = count + holder[segment];
  for (Run &run : result.runs)
    run.label = joined[run.label];
  number_by_appearance(result);
  return result.map();
}

} // namespace bottomup
