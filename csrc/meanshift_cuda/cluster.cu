#include "contracts/cluster.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "meanshift_cuda/candidates.cuh"
#include "meanshift_cuda/cluster_buffers.h"
#include "meanshift_cuda/labels.cuh"
#include "meanshift_cuda/lines.cuh"
#include "meanshift_cuda/merge.cuh"
#include "meanshift_cuda/nearest.h"

namespace bottomup {
namespace {

constexpr int kClimbSteps = 12; // of a round; modes go on in the last steps
constexpr int kLastSteps = 8;
constexpr double kClimbTolerance = 1e-3; // radians
// Parts of the bandwidth: steps of modes at rest.
constexpr double kSettled = 1.0 / 8192, kNearlySettled = 1.0 / 256;
constexpr int kRounds = 8; // at most: the host cannot see when an image is done
// Parts of the bandwidth within which the densest candidate alone is a seed, round by round: wide
// ones find one seed for each entity, narrow ones what hides beside larger entities.
constexpr double kApart[] = {1.0, 0.5, 0.25};
// Where in its stratum a candidate lies, in eighths, so that rounds look at other pixels.
constexpr int kEighths[] = {4, 2, 6, 1, 5, 3, 7, 1};
// Below, the rounding of float16 is more than a hundredth of the bandwidth.
constexpr double kSmallestFloat16Bandwidth = 10; // degrees
constexpr int64_t kMostFloat16Dimensions = 256;

bool uses_float16(const ClusterProblem &problem) {
  return problem.settings.fast && problem.settings.bandwidth_deg >= kSmallestFloat16Bandwidth &&
         problem.features.dimensions <= kMostFloat16Dimensions &&
         device_attribute(cudaDevAttrComputeCapabilityMajor) >= 8;
}

template <typename Packed> constexpr DataType kPackedType = DataType::float32;
template <> constexpr DataType kPackedType<Float16> = DataType::float16;

template <typename Packed> class Clustering {
public:
  Clustering(const ClusterProblem &problem, void *workspace, int32_t *input_status,
             CudaStream stream)
      : problem_(problem), batch_(problem.features.batch), buffers_(problem, workspace),
        input_status_(input_status), run_(stream),
        bandwidth_(problem.settings.bandwidth_deg * std::numbers::pi / 180),
        min_support_(static_cast<int32_t>(
            std::min<int64_t>(problem.settings.min_support, std::numeric_limits<int32_t>::max()))) {
  }

  CudaStatus run() {
    pack(run_, problem_.features, problem_.mask, buffers_.lines, Status::non_finite_features,
         input_status_);
    ModeTable *table = &buffers_.tables[0], *next = &buffers_.tables[1];
    run_.clear(table->num_kept, batch_);
    run_.clear(buffers_.state, batch_);
    run_.copy(buffers_.uncovered, buffers_.lines.has_line, batch_ * buffers_.words);
    const int64_t rounds = std::min<int64_t>(problem_.settings.rounds, kRounds);
    for (int round = 0; round < rounds; ++round) {
      choose_seeds(round, *table);
      climb(*table, table->kept_rows, table->fresh_rows, kClimbSteps, kClimbTolerance);
      count(*table, table->kept_rows, table->fresh_rows);
      merge(*table, *next, buffers_.tables[0].kept_rows);
      cover(*next, table->num_fresh);
      std::swap(table, next);
    }
    const double settled = problem_.settings.fast ? kNearlySettled : kSettled;
    climb(*table, 0, table->kept_rows, kLastSteps, settled * bandwidth_);
    run_.clear(table->lines.support, batch_ * table->rows);
    count(*table, 0, table->kept_rows);
    merge(*table, *next, std::min(problem_.max_modes, table->kept_rows));
    label(*next);
    return run_.status();
  }

private:
  float cosine(double part) const { return static_cast<float>(std::cos(part * bandwidth_)); }

  /// The lines [first, first + count) of a table looking at all pixels.
  WindowPass<Packed> pass_of(const ModeTable &table, int64_t first, int64_t count) const {
    WindowPass<Packed> pass{};
    pass.pixels = buffers_.lines.values;
    pass.pixel_rows = buffers_.lines.rows;
    pass.padded = static_cast<int>(buffers_.lines.padded);
    pass.lines = table.lines;
    pass.first_line = static_cast<int>(first);
    pass.num_lines = static_cast<int>(count);
    pass.resting = table.absent;
    pass.window = cosine(1);
    pass.sums = buffers_.sums;
    return pass;
  }

  void choose_seeds(int round, const ModeTable &table) {
    const Candidates<Packed> &candidates = buffers_.candidates;
    const SampleTask sample{buffers_.uncovered, buffers_.words, static_cast<int>(candidates.rows),
                            kEighths[round],    buffers_.state, candidates.pools,
                            candidates.pixels};
    run_("sample", sample_kernel, grid_of(batch_, 1), kWideThreads, sizeof(SampleShared), sample);
    run_("gather", gather_kernel<Packed>, grid_of(candidates.rows * kWarp / kThreads, batch_),
         kThreads, 0, buffers_.lines, candidates);

    WindowPass<Packed> pass{};
    pass.pixels = candidates.packed;
    pass.pixel_rows = candidates.rows;
    pass.padded = static_cast<int>(buffers_.lines.padded);
    pass.lines = {candidates.lines, candidates.rows, candidates.densities};
    pass.num_lines = static_cast<int>(candidates.rows);
    pass.resting = candidates.absent;
    pass.window = cosine(1);
    look_through_windows<Pass::count>(run_, batch_, pass);
    pass.window = cosine(kApart[round % std::size(kApart)]);
    pass.densities = candidates.densities;
    pass.best = candidates.best;
    look_through_windows<Pass::best>(run_, batch_, pass);

    const int sorted = power_of_two(candidates.rows);
    run_("choose_seeds", choose_seeds_kernel<Packed>, grid_of(batch_, 1), kWideThreads,
         sizeof(uint64_t) * sorted, candidates, table, buffers_.lines.padded, min_support_, sorted);
  }

  void climb(const ModeTable &table, int64_t first, int64_t count, int steps, double tolerance) {
    WindowPass<Packed> pass = pass_of(table, first, count);
    for (int step = 0; step < steps; ++step) {
      look_through_windows<Pass::step>(run_, batch_, pass);
      int32_t *rests = buffers_.resting[step % 2];
      move_lines(run_, batch_, pass, tolerance, rests);
      pass.resting = rests;
    }
  }

  void count(const ModeTable &table, int64_t first, int64_t count) {
    look_through_windows<Pass::count>(run_, batch_, pass_of(table, first, count));
  }

  void merge(const ModeTable &from, const ModeTable &to, int64_t most) {
    const MergeTask task{from,
                         to,
                         buffers_.lines.padded,
                         cosine(1),
                         min_support_,
                         static_cast<int32_t>(most),
                         buffers_.overlaps,
                         buffers_.overlap_words,
                         buffers_.state};
    run_("overlaps", overlaps_kernel, grid_of(tiles_of(from.rows, kThreads / kWarp), batch_),
         kThreads, 0, task);
    const int sorted = power_of_two(from.rows);
    run_("merge", merge_kernel, grid_of(batch_, 1), kWideThreads,
         sizeof(MergeShared) + sizeof(uint64_t) * sorted, task, sorted);
  }

  NearestTask nearest_of(const ModeTable &table) const {
    NearestTask task{};
    task.features = problem_.features;
    task.features.dimensions = buffers_.lines.padded;
    task.features.data = buffers_.lines.values;
    task.features.type = kPackedType<Packed>;
    task.features.batch_stride = buffers_.lines.rows * buffers_.lines.padded;
    task.features.channel_stride = 1;
    task.features.pixel_stride = buffers_.lines.padded;
    task.float16 = kPackedType<Packed> == DataType::float16;
    task.modes = table.lines.values;
    task.mode_rows = table.rows;
    task.mode_stride = buffers_.lines.padded;
    task.num_modes = table.num_kept;
    task.most_modes = static_cast<int32_t>(table.kept_rows);
    task.input_status = input_status_;
    return task;
  }

  /// Which pixels lie in no window, unless nothing was looked for.
  void cover(const ModeTable &table, const int32_t *wanted) {
    NearestTask task = nearest_of(table);
    task.features.pixels = buffers_.lines.rows;
    task.wanted = wanted;
    task.uncovered = buffers_.uncovered;
    task.has_line = buffers_.lines.has_line;
    task.words = buffers_.words;
    task.window = cosine(1);
    find_nearest(run_, task);
  }

  void label(const ModeTable &table) {
    NearestTask nearest = nearest_of(table);
    nearest.mask = problem_.mask;
    nearest.index = problem_.labels;
    nearest.score = problem_.score;
    find_nearest(run_, nearest);

    const int64_t pixels = problem_.features.pixels, modes = table.kept_rows;
    const LabelsTask task{problem_.labels,       pixels,           table.num_kept,       modes,
                          buffers_.first_pixels, buffers_.numbers, problem_.num_segments};
    const dim3 grid = grid_of(tiles_of(pixels, kThreads), batch_);
    run_("clear_first", clear_first_kernel, grid_of(tiles_of(modes, kThreads), batch_), kThreads, 0,
         task);
    run_("find_first", find_first_kernel, grid, kThreads, 0, task);
    run_("number", number_kernel, grid_of(batch_, 1), kWideThreads,
         sizeof(int32_t) * static_cast<size_t>(modes), task);
    run_("relabel", relabel_kernel, grid, kThreads, 0, task);

    const ModesTask store{
        table.lines.values, table.rows,     buffers_.lines.padded, table.lines.support,
        table.num_kept,     problem_.modes, problem_.max_modes,    problem_.features.dimensions,
        problem_.support};
    run_("store_modes", store_modes_kernel,
         grid_of(tiles_of(problem_.max_modes, kThreads / kWarp), batch_), kThreads, 0, store);
    run_.copy(problem_.num_modes, table.num_kept, batch_);
  }

  const ClusterProblem &problem_;
  int64_t batch_;
  ClusterBuffers<Packed> buffers_;
  int32_t *input_status_;
  Launcher run_;
  double bandwidth_; // radians
  int32_t min_support_;
};

CudaStatus nothing_found(const ClusterProblem &problem, CudaStream stream) {
  Launcher run(stream);
  const int64_t batch = problem.features.batch, modes = batch * problem.max_modes;
  run.clear(problem.num_segments, batch);
  run.clear(problem.num_modes, batch);
  run.clear(problem.support, modes);
  run.clear(problem.modes, modes * problem.features.dimensions);
  return run.status();
}

} // namespace

int64_t cluster_cuda_workspace(const ClusterProblem &problem) {
  return uses_float16(problem) ? ClusterBuffers<Float16>(problem, nullptr).workspace.bytes()
                               : ClusterBuffers<float>(problem, nullptr).workspace.bytes();
}

CudaStatus cluster_cuda(const ClusterProblem &problem, void *workspace, int32_t *input_status,
                        CudaStream stream) {
  if (problem.features.batch == 0 || problem.features.pixels == 0)
    return nothing_found(problem, stream);
  if (uses_float16(problem))
    return Clustering<Float16>(problem, workspace, input_status, stream).run();
  return Clustering<float>(problem, workspace, input_status, stream).run();
}

} // namespace bottomup
