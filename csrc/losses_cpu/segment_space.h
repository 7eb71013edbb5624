// What the pixels of one image are compared with: lines, their inverse, and the weights of terms.
#pragma once

#include <cstdint>
#include <vector>

#include "contracts/losses.h"

namespace bottomup {

inline constexpr int kScales = 4; // of the segment gradient: every 2^k-th pixel, k = 0..3

/// The lines present in one image, entities first, the background (if present) last.
struct ImageLines {
  std::vector<int32_t> position;   // of label i - 1, for i = -1..K; -1 where there is no line
  std::vector<float> lines;        // (count, D)
  std::vector<int64_t> pixels;     // (count) of each label
  std::vector<float> left_inverse; // (entities, entities): of M^T M, empty if degenerate (eq. 7)
  int64_t count = 0;
  int64_t entities = 0;
  int64_t valid_pixels = 0;
  int64_t pairs[kScales] = {}; // neighbours at each scale that are both valid (eq. 8)

  bool background() const { return count > entities; }
};

/// False if a label lies outside -1..K.
bool describe_image(const LossesProblem &problem, int64_t image, ImageLines &result);

/// The divisor Z of the repulsion (eq. 6); 0 if there is no pair.
double repulsion_divisor(const ImageLines &image, RepulsionNormaliser normaliser);

} // namespace bottomup
