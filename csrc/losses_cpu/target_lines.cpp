#include "contracts/target_lines.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "common/dispatch.h"
#include "common/feature_tile.h"
#include "common/principal_line.h"
#include "common/vector.h"
#include "losses_cpu/label_groups.h"

namespace bottomup {
namespace {

constexpr int64_t kChunk = 4096;  // pixels of a label whose scatter matrix is one task
constexpr int64_t kStretch = 512; // operands of a channel at a time: at D = 128 a quarter of an L2
constexpr int64_t kSide = 4;      // rows times columns of products whose sums stay in registers

struct Chunk {
  int64_t image, label, begin, end; // positions in the image's sorted pixels
};

/// Lines of a stretch of pixels of one label, channel by channel; pixels that are missing are zero.
template <typename Operand> struct Stretch {
  struct alignas(64) Channel {
    Operand operands[kStretch];
  };
  static constexpr int64_t kPixels = kStretch * kNumbers<Operand>;

  explicit Stretch(int64_t dimensions)
      : tile(dimensions), channels(ceil_div(dimensions, kSide) * kSide) {}

  std::vector<Row> tile; // of raw features
  std::vector<Channel> channels;
};

/// Where the run of pixels next to one another that starts at `first` ends.
BOTTOMUP_ALWAYS_INLINE int64_t run_end(const int32_t *pixels, int64_t first, int64_t count) {
  int64_t end = first + 1;
  while (end < count && pixels[end] == pixels[end - 1] + 1)
    ++end;
  return end;
}

/// Loads `count` pixels, the rest of the tile being zero; `available` ones are in the list.
template <typename T>
BOTTOMUP_ALWAYS_INLINE void gather_tile(const FeatureMaps &features, int64_t image,
                                        const int32_t *pixels, int64_t count, int64_t available,
                                        Row *tile) {
  const T *source = static_cast<const T *>(features.data) + image * features.batch_stride;
  for (int64_t d = 0; count < kTile && d < features.dimensions; ++d)
    std::fill(tile[d].pixel + count, tile[d].pixel + kTile, 0.0f);
  for (int64_t first = 0; first < count;) {
    const int64_t end = run_end(pixels, first, count);
    const T *run = source + pixels[first] * features.pixel_stride;
    if (features.pixel_stride == 1) {
      const int64_t next_end =
          end < available ? run_end(pixels, end, std::min(available, end + kTile)) : end;
      const T *next = source + pixels[next_end > end ? end : first] * features.pixel_stride;
      const auto bytes = static_cast<size_t>(next_end - end) * sizeof(T);
      for (int64_t d = 0; d < features.dimensions; ++d) {
        const T *row = run + d * features.channel_stride;
        prefetch(next + d * features.channel_stride, bytes);
        for (int64_t p = first; p < end; ++p)
          tile[d].pixel[p] = to_float(row[p - first]);
      }
    } else {
      for (int64_t p = first; p < end; ++p)
        for (int64_t d = 0; d < features.dimensions; ++d)
          tile[d].pixel[p] =
              to_float(run[d * features.channel_stride + (p - first) * features.pixel_stride]);
    }
    first = end;
  }
}

BOTTOMUP_ALWAYS_INLINE void store_scaled(const float *pixel, const float *scale, float *target) {
  for (int64_t p = 0; p < kTile; ++p)
    target[p] = pixel[p] * scale[p];
}

BOTTOMUP_ALWAYS_INLINE void store_scaled(const float *pixel, const float *scale,
                                         BFloat16Pair *target) {
  constexpr int64_t half = kTile / 2;
  for (int64_t p = 0; p < half; ++p)
    target[p] = rounded_pair(pixel[p] * scale[p], pixel[p + half] * scale[p + half]);
}

/// False if a feature is not finite.
template <typename T, typename Operand>
BOTTOMUP_ALWAYS_INLINE bool load_stretch(const FeatureMaps &features, int64_t image,
                                         const int32_t *pixels, int64_t count, int64_t available,
                                         Stretch<Operand> &stretch) {
  for (int64_t first = 0; first < count; first += kTile) {
    gather_tile<T>(features, image, pixels + first, std::min(kTile, count - first),
                   available - first, stretch.tile.data());
    float scale[kTile];
    if (!lengths_of(features.dimensions, stretch.tile.data(), kTile, scale))
      return false;
    for (int64_t p = 0; p < kTile; ++p)
      scale[p] = 1 / std::max(scale[p], kMinNorm);
    for (int64_t d = 0; d < features.dimensions; ++d)
      store_scaled(stretch.tile[d].pixel, scale,
                   stretch.channels[d].operands + first / kNumbers<Operand>);
  }
  return true;
}

/// scatter[i][j] += sum over the stretch of x_i x_j, for i >= j in blocks of kSide.
template <int lanes, typename Operand>
BOTTOMUP_ALWAYS_INLINE void add_scatter(const Operand *values, int64_t size, int64_t used,
                                        float *scatter) {
  for (int64_t i = 0; i < size; i += kSide)
    for (int64_t j = 0; j <= i; j += kSide) {
      const Operand *rows = values + i * kStretch, *columns = values + j * kStretch;
      Vector<lanes> sums[kSide][kSide] = {};
      for (int64_t p = 0; p < used; p += lanes) {
        decltype(load<lanes>(columns)) right[kSide];
        BOTTOMUP_UNROLL
        for (int64_t c = 0; c < kSide; ++c)
          right[c] = load<lanes>(columns + c * kStretch + p);
        BOTTOMUP_UNROLL
        for (int64_t r = 0; r < kSide; ++r) {
          const auto left = load<lanes>(rows + r * kStretch + p);
          BOTTOMUP_UNROLL
          for (int64_t c = 0; c < kSide; ++c)
            sums[r][c] = multiply_add<lanes>(sums[r][c], left, right[c]);
        }
      }
      for (int64_t r = 0; r < kSide; ++r)
        for (int64_t c = 0; c < kSide; ++c)
          scatter[(i + r) * size + j + c] += total<lanes>(sums[r][c]);
    }
}

template <typename T, typename Operand> struct ScatterChunks {
  /// Scatter matrices of the chunks [begin, end); false if a feature is not finite.
  template <int lanes>
  BOTTOMUP_ALWAYS_INLINE static bool run(const FeatureMaps &features, const Chunk *begin,
                                         const Chunk *end, const LabelGroups *groups,
                                         float *scatter) {
    Stretch<Operand> stretch(features.dimensions);
    const auto size = static_cast<int64_t>(stretch.channels.size());
    for (const Chunk *chunk = begin; chunk < end; ++chunk) {
      const int32_t *pixels = groups[chunk->image].pixels.data();
      for (int64_t first = chunk->begin; first < chunk->end; first += stretch.kPixels) {
        const int64_t available = chunk->end - first, count = std::min(stretch.kPixels, available);
        if (!load_stretch<T>(features, chunk->image, pixels + first, count, available, stretch))
          return false;
        add_scatter<lanes>(stretch.channels.data()->operands, size,
                           ceil_div(count, kTile) * kTile / kNumbers<Operand>, scatter);
      }
      scatter += size * size;
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
  const auto scatter_chunks = for_precision<ScatterChunks>(features.type, simd, problem.fast);
  std::atomic<bool> finite = true;
  parallel_for(chunks.size(), 1, [&](int64_t begin, int64_t end) {
    if (!scatter_chunks(features, chunks.data() + begin, chunks.data() + end, groups.data(),
                        scatters.data() + begin * size * size))
      finite = false;
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
