// The pixels of every label of an image, by a stable counting sort.
#pragma once

#include <cstdint>
#include <vector>

namespace bottomup {

/// Pixels of labels 0..K of one image; those of label i, in raster order, are
/// pixels[first[i]] .. pixels[first[i + 1] - 1]. Ignored pixels are left out.
struct LabelGroups {
  std::vector<int32_t> pixels;
  std::vector<int64_t> first; // (K + 2)

  int64_t count(int64_t label) const { return first[label + 1] - first[label]; }
  int64_t labels() const { return static_cast<int64_t>(first.size()) - 1; }
};

/// Sorts the `count` labels of one image into `groups`; false if one lies outside -1..K.
inline bool group_by_label(const int32_t *labels, int64_t count, int64_t num_entities,
                           LabelGroups &groups) {
  groups.first.assign(num_entities + 2, 0);
  for (int64_t p = 0; p < count; ++p) {
    if (labels[p] < -1 || labels[p] > num_entities)
      return false;
    if (labels[p] >= 0)
      ++groups.first[labels[p] + 1];
  }
  for (int64_t i = 0; i <= num_entities; ++i)
    groups.first[i + 1] += groups.first[i];
  groups.pixels.resize(groups.first.back());
  std::vector<int64_t> next(groups.first.begin(), groups.first.end() - 1);
  for (int64_t p = 0; p < count; ++p)
    if (labels[p] >= 0)
      groups.pixels[next[labels[p]]++] = static_cast<int32_t>(p);
  return true;
}

} // namespace bottomup
