// Multi-resolution refinement of a label map (paper, Section 4.1), by the rules that
// bottomup_fast/reference/refinement.py states in full.
#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>

#include "bottomup/merging.h"
#include "merging/label_maps.h"

namespace bottomup {
namespace {

struct Box {
  int64_t y0 = std::numeric_limits<int64_t>::max(), y1 = 0, x0 = y0, x1 = 0; // empty

  void include(int64_t y, int64_t x) {
    y0 = std::min(y0, y), y1 = std::max(y1, y + 1);
    x0 = std::min(x0, x), x1 = std::max(x1, x + 1);
  }
};

/// A label map and the area of every label in the whole of it, and in the patch that is merged.
class Partition {
public:
  explicit Partition(LabelMap labels) : labels_(std::move(labels)), areas_(label_areas(labels_)) {}

  void look_at(const Patch &patch) {
    x0_ = patch.x0, y0_ = patch.y0;
    clipped_.assign(areas_.size(), 0);
    for (int64_t y = 0; y < patch.labels.height; ++y)
      for (int64_t x = 0; x < patch.labels.width; ++x)
        ++clipped_[at(y, x)];
  }

  /// The label at a pixel of the patch.
  int32_t &at(int64_t y, int64_t x) { return labels_(y0_ + y, x0_ + x); }

  int64_t clipped_area(int32_t label) const { return clipped_[label]; }
  int32_t count() const { return static_cast<int32_t>(areas_.size()); }
  LabelMap &labels() { return labels_; }

  int32_t add_label() {
    areas_.push_back(0);
    clipped_.push_back(0);
    return count() - 1;
  }

  /// Gives pixels (y, x) of the patch to labels, one for each. Held back where the owner would be
  /// left with fewer than max(1, half) of its pixels.
  struct Write {
    int64_t y, x;
    int32_t label;
  };
  void assign(const std::vector<Write> &writes) {
    std::unordered_map<int32_t, int64_t> lost;
    for (const auto &[y, x, label] : writes)
      ++lost[at(y, x)];
    std::unordered_map<int32_t, bool> granted;
    for (const auto &[owner, pixels] : lost)
      granted[owner] = owner == 0 || static_cast<double>(areas_[owner] - pixels) >=
                                         std::max(1.0, static_cast<double>(areas_[owner]) / 2);
    for (const auto &[y, x, label] : writes) {
      int32_t &owner = at(y, x);
      if (!granted[owner])
        continue;
      --areas_[owner], --clipped_[owner];
      ++areas_[label], ++clipped_[label];
      owner = label;
    }
  }

private:
  LabelMap labels_;
  std::vector<int64_t> areas_, clipped_;
  int64_t x0_ = 0, y0_ = 0;
};

/// One patch being merged; its segments are numbered 1..n in the order of their labels.
class Merge {
public:
  Merge(Partition &partition, const Patch &patch, const RefineOptions &options)
      : partition_(partition), patch_(patch), options_(options), finer_(patch.labels) {
    std::vector<int32_t> values = finer_.values;
    values.push_back(0);
    std::ranges::sort(values);
    values.erase(std::unique(values.begin(), values.end()), values.end());
    int32_t last = 0, number = 0;
    segments_.resize(values.size());
    for (int64_t y = 0; y < finer_.height; ++y)
      for (int64_t x = 0; x < finer_.width; ++x) {
        int32_t &label = finer_(y, x);
        if (label != last) {
          last = label;
          number = static_cast<int32_t>(std::ranges::lower_bound(values, label) - values.begin());
        }
        label = number;
        segments_[label].pixels.emplace_back(y, x);
        segments_[label].cut |= label > 0 && on_inner_border(y, x);
      }
    replacement_.resize(partition.count());
    partition.look_at(patch);
  }

  /// Writes the segments, largest first.
  void write_segments() {
    std::vector<int32_t> order;
    for (size_t segment = 1; segment < segments_.size(); ++segment)
      order.push_back(static_cast<int32_t>(segment));
    std::ranges::stable_sort(order, std::greater<>(),
                             [&](int32_t segment) { return segments_[segment].pixels.size(); });
    for (const int32_t segment : order) {
      if (static_cast<int64_t>(segments_[segment].pixels.size()) < options_.min_area)
        break;
      write(segment);
    }
  }

  /// Gives what replaced labels still hold outside of their finer segments to adjacent segments.
  void release() {
    released_from_ = LabelMap(finer_.height, finer_.width);
    boxes_.resize(partition_.count());
    std::vector<bool> loses(partition_.count());
    for (int64_t y = 0; y < finer_.height; ++y)
      for (int64_t x = 0; x < finer_.width; ++x) {
        const int32_t label = partition_.at(y, x), segment = replacement(label);
        boxes_[label].include(y, x);
        if (segment > 0 && segment != finer_(y, x) && !segments_[finer_(y, x)].cut) {
          released_from_(y, x) = label;
          loses[label] = true;
        }
      }
    for (const int32_t label : replaced_)
      if (loses[label])
        release(label);
  }

private:
  struct FinerSegment {
    std::vector<std::pair<int64_t, int64_t>> pixels; // (y, x)
    bool cut = false; // by a border of the patch that is none of the image's
  };

  bool on_inner_border(int64_t y, int64_t x) const {
    const LabelMap &image = partition_.labels();
    return (x == 0 && patch_.x0 > 0) || (y == 0 && patch_.y0 > 0) ||
           (x == finer_.width - 1 && patch_.x1 < image.width) ||
           (y == finer_.height - 1 && patch_.y1 < image.height);
  }

  /// The finer segment that has replaced a label; 0 if none has.
  int32_t replacement(int32_t label) const {
    return label < static_cast<int32_t>(replacement_.size()) ? replacement_[label] : 0;
  }

  void write(int32_t segment) {
    const auto &[pixels, cut] = segments_[segment];
    const auto area = static_cast<int64_t>(pixels.size());
    std::unordered_map<int32_t, int64_t> overlaps;
    for (const auto &[y, x] : pixels)
      ++overlaps[partition_.at(y, x)];
    int32_t same = 0, container = 0;
    double best_iou = 0;
    int64_t best_overlap = 0;
    for (const auto &[label, overlap] : overlaps) {
      const bool comparable = label > 0 && replacement(label) == 0;
      const double iou =
          comparable ? static_cast<double>(overlap) /
                           static_cast<double>(area + partition_.clipped_area(label) - overlap)
                     : 0;
      if (iou > best_iou || (iou == best_iou && iou > 0 && label < same))
        same = label, best_iou = iou;
      if (overlap > best_overlap || (overlap == best_overlap && label < container))
        container = label, best_overlap = overlap;
    }
    std::vector<Partition::Write> writes;
    if (best_iou >= options_.refine_iou) {
      for (const auto &[y, x] : pixels)
        writes.push_back({y, x, same});
      partition_.assign(writes);
      replacement_[same] = segment;
      replaced_.push_back(same);
    } else if (static_cast<double>(best_overlap) / static_cast<double>(area) >= options_.contain &&
               !cut) {
      const int32_t fresh = partition_.add_label();
      replacement_.push_back(0);
      for (const auto &[y, x] : pixels)
        if (partition_.at(y, x) == container)
          writes.push_back({y, x, fresh});
      partition_.assign(writes);
    }
  }

  void release(int32_t label) {
    const int64_t height = finer_.height, width = finer_.width;
    // The closest pixel of another label borders on this one: one pixel around it is enough.
    Box box = boxes_[label];
    box = {std::max<int64_t>(box.y0 - 1, 0), std::min(box.y1 + 1, height),
           std::max<int64_t>(box.x0 - 1, 0), std::min(box.x1 + 1, width)};
    const int64_t rows = box.y1 - box.y0, columns = box.x1 - box.x0;
    Grid<uint8_t> own(rows, columns), adjacent(rows, columns);
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < columns; ++x)
        own(y, x) = partition_.at(box.y0 + y, box.x0 + x) == label;
    if (!mark_adjacent(box, label, own, adjacent))
      return;
    const Grid<int64_t> nearest = nearest_zero(own);
    std::vector<Partition::Write> writes;
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < columns; ++x)
        if (adjacent(y, x)) {
          const int64_t place = nearest(y, x);
          const int32_t receiver =
              partition_.at(box.y0 + place / columns, box.x0 + place % columns);
          writes.push_back({box.y0 + y, box.x0 + x, receiver});
          boxes_[receiver].include(box.y0 + y, box.x0 + x);
        }
    partition_.assign(writes);
  }

  /// Marks the connected groups of released pixels that touch another segment; false if none does.
  bool mark_adjacent(const Box &box, int32_t label, const Grid<uint8_t> &own,
                     Grid<uint8_t> &adjacent) const {
    const auto released = [&](int64_t y, int64_t x) {
      return released_from_(box.y0 + y, box.x0 + x) == label;
    };
    std::vector<std::pair<int64_t, int64_t>> reached;
    const auto neighbours = [&](int64_t y, int64_t x, const auto &visit) {
      if (y > 0)
        visit(y - 1, x);
      if (x > 0)
        visit(y, x - 1);
      if (y + 1 < own.height)
        visit(y + 1, x);
      if (x + 1 < own.width)
        visit(y, x + 1);
    };
    for (int64_t y = 0; y < own.height; ++y)
      for (int64_t x = 0; x < own.width; ++x) {
        bool touches = false;
        neighbours(y, x, [&](int64_t row, int64_t column) { touches |= !own(row, column); });
        if (touches && released(y, x)) {
          adjacent(y, x) = 1;
          reached.emplace_back(y, x);
        }
      }
    const bool any = !reached.empty();
    while (!reached.empty()) {
      const auto [y, x] = reached.back();
      reached.pop_back();
      neighbours(y, x, [&](int64_t row, int64_t column) {
        if (released(row, column) && !adjacent(row, column)) {
          adjacent(row, column) = 1;
          reached.emplace_back(row, column);
        }
      });
    }
    return any;
  }

  Partition &partition_;
  const Patch &patch_;
  const RefineOptions &options_;
  LabelMap finer_;
  std::vector<FinerSegment> segments_;
  std::vector<int32_t> replacement_; // of each label
  std::vector<int32_t> replaced_;    // labels, in the order of their replacement
  LabelMap released_from_;
  std::vector<Box> boxes_; // around each label in the patch, or more
};

void check(const LabelMap &labels, const Patch &patch, const std::string &name) {
  check_labels(patch.labels, 0, name + ".labels");
  const auto &[finer, x0, y0, x1, y1] = patch;
  if (x0 < 0 || x0 >= x1 || x1 > labels.width || y0 < 0 || y0 >= y1 || y1 > labels.height)
    throw Error(name + ".box: is empty or outside the image");
  if (finer.height != y1 - y0 || finer.width != x1 - x0)
    throw Error(name + ".box: does not fit its labels");
}

} // namespace

LabelMap refine(const LabelMap &labels, const std::vector<Patch> &patches,
                const RefineOptions &options) {
  if (options.min_area < 1)
    throw Error("min_area: " + std::to_string(options.min_area) + " is below 1");
  for (const auto &[name, value] :
       {std::pair("refine_iou", options.refine_iou), std::pair("contain", options.contain)})
    if (!(value > 0 && value <= 1))
      throw Error(std::string(name) + ": " + std::to_string(value) + " is outside (0, 1]");
  check_labels(labels, 0, "labels");
  for (size_t i = 0; i < patches.size(); ++i)
    check(labels, patches[i], "patches[" + std::to_string(i) + "]");
  Partition partition(relabel_by_appearance(labels));
  for (const Patch &patch : patches) {
    Merge merge(partition, patch, options);
    merge.write_segments();
    merge.release();
  }
  return relabel_by_appearance(partition.labels());
}

} // namespace bottomup
