#include "contracts/cluster.h"

#include <numbers>

#include "meanshift_cpu/climbing.h"
#include "meanshift_cpu/full_pass.h"
#include "meanshift_cpu/labels.h"

namespace bottomup {
namespace {

constexpr int64_t kSample = 4096;          // pixels in which modes are sought first
constexpr int64_t kWholeNumbers = 1 << 17; // pixels x D up to which all pixels are
constexpr int64_t kLargeSample = 1 << 15;
constexpr int64_t kClimbed = 1 << 18; // pixels that modes climb on at most
constexpr int64_t kMostModes = 1024;  // at a time, before the best are chosen
constexpr int64_t kFastRounds = 4;    // passes over an image at most, if fast
constexpr int64_t kRun = 16;          // neighbours sampled together: a cache line of float32
// Parts of the bandwidth: steps of modes at rest, or nearly.
constexpr double kSettled = 1.0 / 8192, kNearlySettled = 1.0 / 16;
constexpr double kClimbTolerance = 1e-5; // radians
constexpr double kFading = 0.25;         // of the step before, what a step is if passes will do
constexpr double kRival = 0.8;     // of the support of a mode, what one beside it may not have
constexpr double kPromising = 0.5; // of min_support: support on a sample that is worth a full pass

class ImageClustering {
public:
  ImageClustering(const ClusterProblem &problem, int64_t image, Simd simd,
                  const ParallelFor &parallel_for)
      : problem_(problem), features_(problem.features), image_(image), simd_(simd),
        parallel_for_(parallel_for), window_(problem.settings.bandwidth_deg),
        min_support_(static_cast<double>(problem.settings.min_support)),
        mask_(problem.mask ? problem.mask + image * features_.pixels : nullptr),
        index_(problem.labels + image * features_.pixels),
        score_(problem.score + image * features_.pixels),
        paired_(has_pairs(simd, problem.settings.fast)), sample_(features_.dimensions, paired_),
        many_(features_.dimensions, paired_), modes_(features_.dimensions),
        rejected_(features_.dimensions) {}

  Status run() {
    const std::vector<int32_t> pixels = pixels_taking_part();
    const bool whole = static_cast<int64_t>(pixels.size()) <=
                       std::max(kSample, kWholeNumbers / features_.dimensions);
    const std::vector<int32_t> chosen = whole ? pixels : runs_of(pixels, kSample);
    if (!whole)
      weight_ = static_cast<float>(pixels.size()) / static_cast<float>(chosen.size());
    if (!sample_.add(features_, image_, chosen, weight_, simd_))
      return Status::non_finite_features;
    const bool few = problem_.settings.fast && static_cast<int64_t>(pixels.size()) <= kSample;
    const Modes found = few ? densest_modes(sample_, window_, min_support_, simd_, parallel_for_)
                            : find_all(sample_, whole, whole ? kExactly : roughly());
    modes_ = found.chosen(kept_modes(found, window_, min_support_, simd_));
    if (!whole && !settle(pixels, rivals(found)))
      return Status::non_finite_features;
    if (whole || modes_.count() > problem_.max_modes) {
      keep_best(problem_.max_modes);
      if (!pass(false, false).finite)
        return Status::non_finite_features;
    }
    write_results();
    return Status::ok;
  }

private:
  std::vector<int32_t> pixels_taking_part() const {
    std::vector<int32_t> pixels = range(features_.pixels);
    if (mask_)
      std::erase_if(pixels, [&](int32_t p) { return !mask_[p]; });
    return pixels;
  }

  /// Runs of neighbours, one somewhere in each of equal stretches: at equal distances they might
  /// all lie in few columns of the image.
  static std::vector<int32_t> runs_of(const std::vector<int32_t> &pixels, int64_t count) {
    if (static_cast<int64_t>(pixels.size()) <= count)
      return pixels;
    const double stretch =
        static_cast<double>(pixels.size() - kRun) * kRun / static_cast<double>(count);
    std::vector<int32_t> chosen;
    for (int64_t i = 0; i < count / kRun; ++i) {
      const double jitter = std::fmod(static_cast<double>(i) * std::numbers::phi, 1.0);
      const double place = (static_cast<double>(i) + jitter) * stretch;
      const auto start = pixels.begin() + static_cast<int64_t>(place);
      chosen.insert(chosen.end(), start, start + kRun);
    }
    return chosen;
  }

  Modes find_all(const PointSet &points, bool thorough, const Effort &effort) const {
    const Lines none(features_.dimensions);
    return find_modes(points, none, none, {window_, min_support_, thorough, effort}, simd_,
                      parallel_for_);
  }

  /// Whether a mode not kept has nearly the support of one that is: then a sample cannot tell which
  /// of them to keep.
  bool rivals(const Modes &found) const {
    for (int64_t i = 0; i < found.count(); ++i)
      for (int64_t j = 0; j < modes_.count(); ++j) {
        const float cosine =
            std::abs(dot(found.lines.row(i), modes_.lines.row(j), features_.dimensions));
        if (cosine >= window_.cosine && cosine < window_.part(kSame) &&
            found.support[i] >= kRival * modes_.support[j])
          return true;
      }
    return false;
  }

  PassResult pass(bool hinted, bool step) {
    return run_full_pass({features_, image_, mask_, modes_.lines, window_, problem_.width, hinted,
                          step, problem_.settings.fast, index_, score_},
                         simd_, parallel_for_);
  }

  /// Passes over the image until its modes rest and no more are found; modes that a sample gives
  /// badly climb on many pixels in between. False if a feature is NaN or Inf.
  bool settle(const std::vector<int32_t> &pixels, bool difficult) {
    const double rest = (problem_.settings.fast ? kNearlySettled : kSettled) * window_.bandwidth;
    const int64_t most_modes = std::max(problem_.max_modes, kMostModes);
    bool hinted = false;
    double last_move = 0;
    int64_t searched = 0; // pixels in no window when modes were last sought among them
    const int64_t rounds = problem_.settings.fast ? std::min(problem_.settings.rounds, kFastRounds)
                                                  : problem_.settings.rounds;
    for (int64_t round = 0; round < rounds; ++round) {
      if (difficult && !problem_.settings.fast && !climb(pixels))
        return false;
      keep_best(most_modes);
      PassResult result = pass(hinted, true);
      if (!result.finite)
        return false;
      Modes fresh(features_.dimensions);
      if (result.num_uncovered >= searched + problem_.settings.min_support &&
          modes_.count() < most_modes && !(problem_.settings.fast && searched > 0)) {
        fresh = search(result);
        searched = result.num_uncovered;
      }
      const std::vector<int32_t> kept = keep(result.moved);
      const bool same = fresh.count() == 0 && kept == range(modes_.count());
      if (same && result.largest_move <= rest) {
        modes_.support = result.moved.support;
        return true;
      }
      // A few steps on all pixels mend what a sample has missed, or the image is difficult.
      difficult = many_.count() > 0 || (hinted && result.largest_move > kFading * last_move);
      last_move = result.largest_move;
      modes_ = result.moved.chosen(kept);
      modes_.append(fresh);
      hinted = same && !difficult;
    }
    keep_best(most_modes);
    return pass(hinted, false).finite;
  }

  /// Takes the modes, and at first those of a larger sample, uphill on as many pixels as fit into
  /// memory; false if a feature is NaN or Inf.
  bool climb(const std::vector<int32_t> &pixels) {
    Modes all = modes_;
    if (many_.count() == 0) {
      PointSet some(features_.dimensions, paired_);
      if (!gather(pixels, kLargeSample, some) || !gather(pixels, kClimbed, many_))
        return false;
      all.append(find_all(some, true, kRoughly));
    }
    const Climb climbing(many_, window_.cosine, simd_, parallel_for_);
    all.lines = climb_to_modes(climbing, std::move(all.lines), Lines(features_.dimensions), window_,
                               kClimbTolerance);
    all.support = climbing.support(all.lines);
    modes_ = all.chosen(kept_modes(all, window_, min_support_, simd_));
    return true;
  }

  /// Of a search whose modes then move on all pixels.
  const Effort &roughly() const { return problem_.settings.fast ? kFast : kRoughly; }

  bool gather(const std::vector<int32_t> &pixels, int64_t count, PointSet &points) const {
    const std::vector<int32_t> chosen = runs_of(pixels, count);
    const auto weight = static_cast<double>(pixels.size()) / static_cast<double>(chosen.size());
    return points.add(features_, image_, chosen, static_cast<float>(weight), simd_);
  }

  /// The modes to keep, in the order they have; modes that turn out too small are not sought again.
  std::vector<int32_t> keep(const Modes &moved) {
    for (int64_t i = 0; i < moved.count(); ++i)
      if (moved.support[i] < min_support_)
        rejected_.append(moved.lines.row(i));
    std::vector<int32_t> kept = kept_modes(moved, window_, min_support_, simd_);
    std::ranges::sort(kept);
    return kept;
  }

  /// Modes among the pixels that lie in no window.
  Modes search(const PassResult &result) const {
    const Search outside{window_, kPromising * min_support_, false, roughly()};
    Lines lines(features_.dimensions);
    for (const Uncovered &uncovered : result.uncovered)
      lines.append(uncovered.lines);
    if (!has_dense_lines(lines, outside, simd_))
      return Modes(features_.dimensions);
    PointSet points(features_.dimensions, paired_);
    for (const Uncovered &uncovered : result.uncovered)
      add(points, uncovered.lines, uncovered.weight);
    const Climb climb(sample_, window_.cosine, simd_, parallel_for_);
    const std::vector<float> nearest = climb.nearest(result.moved.lines);
    std::vector<int32_t> covered = range(sample_.count());
    std::erase_if(covered, [&](int32_t i) { return nearest[i] < window_.cosine; });
    add(points, sample_.lines(covered), weight_);
    const Modes found =
        find_modes(points, result.moved.lines, rejected_, outside, simd_, parallel_for_);
    return found.chosen(kept_modes(found, window_, outside.min_support, simd_));
  }

  void add(PointSet &points, const Lines &lines, float weight) const {
    points.add(as_features(lines), 0, range(lines.count()), weight, simd_);
  }

  std::vector<int32_t> by_support() const {
    std::vector<int32_t> order = range(modes_.count());
    std::ranges::stable_sort(
        order, [&](int32_t a, int32_t b) { return modes_.support[a] > modes_.support[b]; });
    return order;
  }

  void keep_best(int64_t count) {
    if (modes_.count() <= count)
      return;
    std::vector<int32_t> order = by_support();
    order.resize(count);
    std::ranges::sort(order);
    modes_ = modes_.chosen(order);
  }

  void write_results() const {
    const std::vector<int32_t> order = by_support();
    problem_.num_modes[image_] = static_cast<int32_t>(order.size());
    float *line = problem_.modes + image_ * problem_.max_modes * features_.dimensions;
    int32_t *support = problem_.support + image_ * problem_.max_modes;
    std::fill_n(line, problem_.max_modes * features_.dimensions, 0.0f);
    std::fill_n(support, problem_.max_modes, 0);
    for (const int32_t mode : order) {
      std::copy_n(modes_.lines.row(mode), features_.dimensions, line);
      make_canonical(line, features_.dimensions);
      line += features_.dimensions;
      *support++ = static_cast<int32_t>(modes_.support[mode]);
    }
    problem_.num_segments[image_] = number_by_appearance(index_, features_.pixels, modes_.count(),
                                                         order.empty() ? 0 : order.front());
  }

  const ClusterProblem &problem_;
  const FeatureMaps &features_;
  int64_t image_;
  Simd simd_;
  const ParallelFor &parallel_for_;
  Window window_;
  double min_support_;
  const bool *mask_;
  int32_t *index_;
  float *score_;
  bool paired_; // points for BFloat16Products
  PointSet sample_;
  PointSet many_;    // of a difficult image
  float weight_ = 1; // pixels for which one of the sample stands
  Modes modes_;
  Lines rejected_;
};

} // namespace

Status cluster_cpu(const ClusterProblem &problem, Simd simd, const ParallelFor &parallel_for) {
  for (int64_t image = 0; image < problem.features.batch; ++image)
    if (const Status status = ImageClustering(problem, image, simd, parallel_for).run();
        status != Status::ok)
      return status;
  return Status::ok;
}

} // namespace bottomup
