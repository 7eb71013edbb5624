// Label maps as runs of equal labels along rows: what merging works on, since a run costs little
// more than a pixel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "bottomup/merging.h"

namespace bottomup {

/// Neighbours in a row that have one label.
struct Run {
  int32_t label, begin, end; // columns [begin, end)

  int32_t length() const { return end - begin; }
};

class LabelRuns {
public:
  explicit LabelRuns(const LabelMap &labels);

  LabelMap map() const;
  std::span<const Run> row(int64_t y) const {
    return {runs.data() + first_[y], runs.data() + first_[y + 1]};
  }
  /// Where the runs of a row start among all.
  int64_t first(int64_t y) const { return first_[y]; }
  /// At least 0.
  int32_t largest_label() const;
  /// Pixels of every label from 0 to the largest.
  std::vector<int64_t> areas() const;

  int64_t height, width;
  std::vector<Run> runs; // in raster order

private:
  std::vector<int64_t> first_; // run of each row, and the end
};

/// Calls `visit` with the positions of two runs and the columns that they share, for all of two
/// rows that come within `reach` columns of one another.
template <typename Visit>
void for_each_overlap(std::span<const Run> row, std::span<const Run> other, int32_t reach,
                      const Visit &visit) {
  size_t next = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    while (other[next].end + reach <= row[i].begin)
      ++next;
    for (size_t j = next; j < other.size() && other[j].begin < row[i].end + reach; ++j)
      visit(i, j, std::min(row[i].end, other[j].end) - std::max(row[i].begin, other[j].begin));
  }
}

/// The functions of merging.h, in place.
void number_by_appearance(LabelRuns &labels);
void split_pieces(LabelRuns &labels, int connectivity);
void fold_small(LabelRuns &labels, int64_t min_area, const Similarity &similarity);

} // namespace bottomup
