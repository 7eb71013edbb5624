#include "merging/label_runs.h"

#include <unordered_map>

namespace bottomup {

LabelRuns::LabelRuns(const LabelMap &labels) : height(labels.height), width(labels.width) {
  const auto columns = static_cast<int32_t>(width);
  for (int64_t y = 0; y < height; ++y) {
    first_.push_back(static_cast<int64_t>(runs.size()));
    const int32_t *row = labels.values.data() + y * width;
    for (int32_t begin = 0, end; begin < columns; begin = end) {
      for (end = begin + 1; end < columns && row[end] == row[begin];)
        ++end;
      runs.push_back({row[begin], begin, end});
    }
  }
  first_.push_back(static_cast<int64_t>(runs.size()));
}

LabelMap LabelRuns::map() const {
  LabelMap labels(height, width);
  int32_t *next = labels.values.data();
  for (const Run &run : runs)
    next = std::fill_n(next, run.length(), run.label);
  return labels;
}

int32_t LabelRuns::largest_label() const {
  int32_t largest = 0;
  for (const Run &run : runs)
    largest = std::max(largest, run.label);
  return largest;
}

std::vector<int64_t> LabelRuns::areas() const {
  std::vector<int64_t> areas(largest_label() + 1);
  for (const Run &run : runs)
    if (run.label >= 0)
      areas[run.label] += run.length();
  return areas;
}

void number_by_appearance(LabelRuns &labels) {
  std::unordered_map<int32_t, int32_t> numbers;
  for (Run &run : labels.runs)
    if (run.label > 0)
      run.label =
          numbers.try_emplace(run.label, static_cast<int32_t>(numbers.size()) + 1).first->second;
}

} // namespace bottomup
