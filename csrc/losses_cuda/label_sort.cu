#include "losses_cuda/label_sort.h"

#include "common/ptx.h"
#include "common/status.h"

namespace bottomup {
namespace {

// A warp sorts a chunk alone, so that no order between warps matters; the shorter it is, the more
// warps there are, and the more counters.
constexpr int kChunk = 1024;
constexpr int kThreads = 256;

__device__ int group_at(const LabelSort &sort, int64_t image, int pixel) {
  const int label = sort.labels[image * sort.pixels + pixel];
  return label >= 0 && label < sort.groups ? label : -1;
}

__global__ void count_chunks(LabelSort sort, int32_t *input_status) {
  const int64_t image = blockIdx.y;
  const int begin = static_cast<int>(blockIdx.x) * kChunk;
  const int end = begin + kChunk < sort.pixels ? begin + kChunk : sort.pixels;
  int32_t *counts = sort.starts + (image * sort.chunks + blockIdx.x) * sort.groups;
  for (int i = threadIdx.x; i < sort.groups; i += kThreads)
    counts[i] = 0;
  __syncthreads();
  for (int pixel = begin + threadIdx.x; pixel < end; pixel += kThreads) {
    const int label = sort.labels[image * sort.pixels + pixel];
    if (label < -1 || label >= sort.groups)
      atomicMax(input_status, static_cast<int32_t>(Status::labels_out_of_range));
    else if (label >= 0)
      atomicAdd(counts + label, 1);
  }
}

/// From the chunks' counts to where they start; one block an image.
__global__ void scan_chunks(LabelSort sort) {
  const int64_t image = blockIdx.x;
  int32_t *starts = sort.starts + image * sort.chunks * sort.groups;
  int32_t *first = sort.first + image * (sort.groups + 1);
  for (int i = threadIdx.x; i < sort.groups; i += kThreads) {
    int total = 0;
    for (int chunk = 0; chunk < sort.chunks; ++chunk)
      total += starts[static_cast<int64_t>(chunk) * sort.groups + i];
    first[i + 1] = total;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int i = 0; i < sort.groups; ++i) {
      first[i] = sum;
      sum += first[i + 1];
    }
    first[sort.groups] = sum;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < sort.groups; i += kThreads) {
    int start = first[i];
    for (int chunk = 0; chunk < sort.chunks; ++chunk) {
      int32_t &slot = starts[static_cast<int64_t>(chunk) * sort.groups + i];
      const int count = slot;
      slot = start;
      start += count;
    }
  }
}

__global__ void place_pixels(LabelSort sort) {
  const int64_t image = blockIdx.y;
  const int lane = threadIdx.x;
  const int begin = static_cast<int>(blockIdx.x) * kChunk;
  const int end = begin + kChunk < sort.pixels ? begin + kChunk : sort.pixels;
  int32_t *next = sort.starts + (image * sort.chunks + blockIdx.x) * sort.groups;
  int32_t *sorted = sort.sorted + image * sort.pixels;
  for (int first = begin; first < end; first += kWarp) {
    const int pixel = first + lane;
    const int group = pixel < end ? group_at(sort, image, pixel) : -1;
    const unsigned same = __match_any_sync(kAllLanes, group);
    const int before = __popc(same & ((1u << lane) - 1));
    const int place = group >= 0 ? next[group] + before : 0;
    __syncwarp();
    if (group >= 0) {
      sorted[place] = pixel;
      if (before + 1 == __popc(same))
        next[group] = place + 1;
    }
    __syncwarp();
  }
}

} // namespace

LabelSort::LabelSort(const int32_t *all_labels, int64_t images, int64_t pixels_of_image,
                     int64_t num_entities, Workspace &memory)
    : labels(all_labels), batch(static_cast<int32_t>(images)),
      pixels(static_cast<int32_t>(pixels_of_image)), groups(static_cast<int32_t>(num_entities + 1)),
      chunks((pixels + kChunk - 1) / kChunk),
      starts(memory.take<int32_t>(images * chunks * groups)),
      first(memory.take<int32_t>(images * (groups + 1))),
      sorted(memory.take<int32_t>(images * pixels)) {}

void count_labels(const LabelSort &sort, int32_t *input_status, Launcher &launches) {
  launches("count_chunks", count_chunks, grid_of(sort.chunks, sort.batch), kThreads, 0, sort,
           input_status);
  launches("scan_chunks", scan_chunks, grid_of(sort.batch), kThreads, 0, sort);
}

void sort_pixels(const LabelSort &sort, Launcher &launches) {
  launches("place_pixels", place_pixels, grid_of(sort.chunks, sort.batch), kWarp, 0, sort);
}

} // namespace bottomup
