#include "contracts/target_lines.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "common/dispatch.h"
#include "common/feature_tile.h"
#include "common/principal_line.h"
#include "common/vector.h"
#include "losses_cpu/label_groups.h"

namespace bottomup {
namespace {

constexpr int64_t kChunk = 4096;  // pixels of a label whose scatter matrix is one task
constexpr int64_t kStretch = 512; // pixels loaded at a time: at D = 128 a quarter of an L2 cache
constexpr int64_t kSide = 4;      // rows times columns of products whose sums stay in registers

struct Chunk {
  int64_t image, label, begin, end; // positions in the image's sorted pixels
};

/// Lines of a stretch of pixels of one label, channel by channel; pixels that are missing are zero.
struct Stretch {
  explicit Stretch(int64_t dimensions)
      : channels(ceil_div(dimensions, kSide) * kSide), values(channels * kStretch) {}

  float *channel(int64_t d) { return values.data() + d * kStretch; }

  int64_t channels;
  std::vector<float> values;
};

template <typename T>
BOTTOMUP_ALWAYS_INLINE bool load_stretch(const FeatureMaps &features, int64_t image,
                                         const int32_t *pixels, int64_t count, Stretch &stretch) {
  const T *source = static_cast<const T *>(features.data) + image * features.batch_stride;
  for (int64_t first = 0; first < count;) {
    int64_t end = first + 1;
    while (end < count && pixels[end] == pixels[end - 1] + 1)
      ++end;
    const T *run = source + pixels[first] * features.pixel_stride;
    if (features.pixel_stride == 1)
      for (int64_t d = 0; d < features.dimensions; ++d)
        for (int64_t p = first; p < end; ++p)
          stretch.channel(d)[p] = to_float(run[d * features.channel_stride + p - first]);
    else
      for (int64_t p = first; p < end; ++p)
        for (int64_t d = 0; d < features.dimensions; ++d)
          stretch.channel(d)[p] =
              to_float(run[d * features.channel_stride + (p - first) * features.pixel_stride]);
    first = end;
  }
  for (int64_t d = 0; d < features.dimensions; ++d)
    std::fill(stretch.channel(d) + count, stretch.channel(d) + kStretch, 0.0f);

  float squares[kStretch] = {};
  for (int64_t d = 0; d < features.dimensions; ++d)
    for (int64_t p = 0; p < kStretch; ++p)
      squares[p] += stretch.channel(d)[p] * stretch.channel(d)[p];
  bool finite = true;
  for (int64_t p = 0; p < kStretch; ++p) {
    finite &= squares[p] <= std::numeric_limits<float>::max();
    squares[p] = 1 / std::max(std::sqrt(squares[p]), kMinNorm);
  }
  for (int64_t d = 0; d < features.dimensions; ++d)
    for (int64_t p = 0; p < kStretch; ++p)
      stretch.channel(d)[p] *= squares[p];
  return finite;
}

/// scatter[i][j] += sum over the stretch of x_i x_j, for i >= j in blocks of kSide.
template <int lanes>
BOTTOMUP_ALWAYS_INLINE void add_scatter(const float *values, int64_t size, int64_t used,
                                        float *scatter) {
  for (int64_t i = 0; i < size; i += kSide)
    for (int64_t j = 0; j <= i; j += kSide) {
      const float *rows = values + i * kStretch, *columns = values + j * kStretch;
      Vector<lanes> sums[kSide][kSide] = {};
      for (int64_t p = 0; p < used; p += lanes) {
        Vector<lanes> right[kSide];
        BOTTOMUP_UNROLL
        for (int64_t c = 0; c < kSide; ++c)
          right[c] = load<lanes>(columns + c * kStretch + p);
        BOTTOMUP_UNROLL
        for (int64_t r = 0; r < kSide; ++r) {
          const Vector<lanes> left = load<lanes>(rows + r * kStretch + p);
          BOTTOMUP_UNROLL
          for (int64_t c = 0; c < kSide; ++c)
            sums[r][c] += left * right[c];
        }
      }
      for (int64_t r = 0; r < kSide; ++r)
        for (int64_t c = 0; c < kSide; ++c)
          scatter[(i + r) * size + j + c] += total<lanes>(sums[r][c]);
    }
}

template <typename T> struct ScatterChunk {
  template <int lanes>
  BOTTOMUP_ALWAYS_INLINE static bool run(const FeatureMaps &features, const Chunk &chunk,
                                         const LabelGroups &groups, Stretch &stretch,
                                         float *scatter) {
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kStretch) {
      const int64_t count = std::min(kStretch, chunk.end - begin);
      if (!load_stretch<T>(features, chunk.image, groups.pixels.data() + begin, count, stretch))
        return false;
      add_scatter<lanes>(stretch.values.data(), stretch.channels, ceil_div(count, lanes) * lanes,
                         scatter);
    }
    return true;
  }
};

std::vector<Chunk> chunks_of(const std::vector<LabelGroups> &groups) {
  std::vector<Chunk> chunks;
  for (size_t image = 0; image < groups.size(); ++image)
    for (int64_t label = 0; label < groups[image].labels(); ++label) {
      const int64_t end = groups[image].first[label + 1];
      for (int64_t begin = groups[image].first[label]; begin < end; begin += kChunk)
        chunks.push_back(
            {static_cast<int64_t>(image), label, begin, std::min(end, begin + kChunk)});
    }
  return chunks;
}

} // namespace

Status target_lines_cpu(const TargetLinesProblem &problem, Simd simd,
                        const ParallelFor &parallel_for) {
  const FeatureMaps &features = problem.features;
  const int64_t dimensions = features.dimensions, rows = problem.num_entities + 1;
  std::fill_n(problem.lines, features.batch * rows * dimensions, 0.0f);
  std::vector<LabelGroups> groups(features.batch);
  for (int64_t image = 0; image < features.batch; ++image)
    if (!group_by_label(problem.labels + image * features.pixels, features.pixels,
                        problem.num_entities, groups[image]))
      return Status::labels_out_of_range;

  const std::vector<Chunk> chunks = chunks_of(groups);
  const int64_t size = ceil_div(dimensions, kSide) * kSide;
  std::vector<float> scatters(chunks.size() * size * size);
  const auto scatter_chunk = for_type<ScatterChunk>(features.type, simd);
  std::atomic<bool> finite = true;
  parallel_for(chunks.size(), 1, [&](int64_t begin, int64_t end) {
    Stretch stretch(dimensions);
    for (int64_t i = begin; i < end; ++i) {
      if (!scatter_chunk(features, chunks[i], groups[chunks[i].image], stretch,
                         scatters.data() + i * size * size))
        finite = false;
    }
  });
  if (!finite)
    return Status::non_finite_features;

  // The chunks of a label follow one another.
  std::vector<size_t> firsts;
  for (size_t i = 0; i < chunks.size(); ++i)
    if (i == 0 || chunks[i].image != chunks[i - 1].image || chunks[i].label != chunks[i - 1].label)
      firsts.push_back(i);
  parallel_for(firsts.size(), 1, [&](int64_t begin, int64_t end) {
    std::vector<double> matrix(dimensions * dimensions), line(dimensions);
    for (int64_t f = begin; f < end; ++f) {
      const size_t last =
          f + 1 < static_cast<int64_t>(firsts.size()) ? firsts[f + 1] : chunks.size();
      for (int64_t i = 0; i < dimensions; ++i)
        for (int64_t j = 0; j <= i; ++j) {
          double sum = 0;
          for (size_t chunk = firsts[f]; chunk < last; ++chunk)
            sum += scatters[chunk * size * size + i * size + j];
          matrix[i * dimensions + j] = matrix[j * dimensions + i] = sum;
        }
      principal_line(matrix.data(), dimensions, line.data());
      const Chunk &chunk = chunks[firsts[f]];
      std::copy(line.begin(), line.end(),
                problem.lines + (chunk.image * rows + chunk.label) * dimensions);
    }
  });
  return Status::ok;
}

} // namespace bottomup
