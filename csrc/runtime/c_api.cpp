#include "bottomup.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "bottomup/clustering.h"
#include "bottomup/merging.h"
#include "bottomup/model_file.h"
#include "bottomup/segmenter.h"

struct bottomup_segmenter {
  bottomup::Segmenter segmenter;
};

struct bottomup_segmentation {
  bottomup::Segmentation segmentation;
};

namespace bottomup {
namespace {

thread_local std::string last_error;

bottomup_status fail(bottomup_status status, const char *reason) noexcept {
  try {
    last_error = reason;
  } catch (...) {
    last_error.clear();
  }
  return status;
}

/// Runs `work` and turns what it throws into a status.
template <typename Work> bottomup_status guarded(const Work &work) noexcept {
  try {
    work();
    return BOTTOMUP_OK;
  } catch (const Error &error) {
    return fail(BOTTOMUP_INVALID_INPUT, error.what());
  } catch (const std::bad_alloc &) {
    return fail(BOTTOMUP_OUT_OF_MEMORY, "out of memory");
  } catch (const std::length_error &) {
    return fail(BOTTOMUP_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    return fail(BOTTOMUP_NETWORK_FAILED, error.what());
  } catch (...) {
    return fail(BOTTOMUP_NETWORK_FAILED, "the network failed");
  }
}

void check(bool condition, const std::string &message) {
  if (!condition)
    throw Error(message);
}

constexpr int64_t kMost = int64_t{1} << 40; // numbers in an array

LabelMap map_of(const int32_t *labels, int64_t height, int64_t width, const std::string &name) {
  check(labels && height > 0 && width > 0, name + ": expected a non-empty map");
  check(height <= kMost / width, name + ": too large");
  LabelMap map(height, width);
  std::copy_n(labels, map.size(), map.values.data());
  return map;
}

void check_shape(int64_t dimensions, int64_t height, int64_t width) {
  check(dimensions >= 1 && height >= 0 && width >= 0, "features: a negative size or no dimension");
  check(width == 0 || height <= kMost / dimensions / width, "features: too large");
}

class CallersNetwork : public FeatureExtractor {
public:
  CallersNetwork(bottomup_extract function, void *context)
      : function_(function), context_(context) {}

  void extract(const NetworkInput &input, float *features, float *foreground) const override {
    const int status = function_(context_, input.image, input.height, input.width, input.y, input.x,
                                 features, foreground);
    if (status != 0)
      throw std::runtime_error("the network failed with " + std::to_string(status));
  }

private:
  bottomup_extract function_;
  void *context_;
};

SegmenterOptions options_of(const bottomup_options *given) {
  SegmenterOptions options;
  if (!given)
    return options;
  check(given->num_resolutions >= 0 && (given->num_resolutions == 0 || given->resolutions),
        "resolutions: a negative number or none");
  options.resolutions.assign(given->resolutions, given->resolutions + given->num_resolutions);
  if (given->scale != 0)
    options.scale = given->scale;
  options.keep_background = given->keep_background != 0;
  options.leave_outliers = given->leave_outliers != 0;
  if (given->tile_size != 0)
    options.tile_size = given->tile_size;
  return options;
}

} // namespace
} // namespace bottomup

using namespace bottomup;

const char *bottomup_version(void) { return BOTTOMUP_VERSION; }

const char *bottomup_last_error(void) { return last_error.c_str(); }

bottomup_status bottomup_set_helper_threads(int count) {
  return guarded([&] { set_helper_threads(count); });
}

bottomup_status bottomup_cluster(const float *features, int64_t dimensions, int64_t height,
                                 int64_t width, const uint8_t *mask, double bandwidth_deg,
                                 int64_t min_support, int32_t *labels, int32_t *num_segments) {
  return guarded([&] {
    check_shape(dimensions, height, width);
    std::unique_ptr<bool[]> chosen;
    if (mask) {
      chosen = std::make_unique<bool[]>(static_cast<size_t>(height * width));
      std::transform(mask, mask + height * width, chosen.get(), [](uint8_t in) { return in != 0; });
    }
    const ClusterOptions options{.bandwidth_deg = bandwidth_deg, .min_support = min_support};
    const Clusters found =
        cluster(FeatureView::planar(features, dimensions, height, width), chosen.get(), options);
    std::ranges::copy(found.labels.values, labels);
    if (num_segments)
      *num_segments = found.num_segments;
  });
}

bottomup_status bottomup_mean_shift(const float *points, int64_t num_points, const float *seeds,
                                    int64_t num_seeds, int64_t dimensions, double bandwidth_deg,
                                    double tolerance, int64_t max_steps, float *modes,
                                    int32_t *support) {
  return guarded([&] {
    check(num_points >= 0 && num_seeds >= 0 && dimensions >= 1, "points: a negative size");
    const ShiftedSeeds found = mean_shift(points, num_points, seeds, num_seeds, dimensions,
                                          bandwidth_deg, tolerance, max_steps);
    std::ranges::copy(found.modes, modes);
    std::ranges::copy(found.support, support);
  });
}

bottomup_status bottomup_assign(const float *features, int64_t dimensions, int64_t height,
                                int64_t width, const float *modes, int64_t num_modes,
                                int32_t *index, float *score) {
  return guarded([&] {
    check_shape(dimensions, height, width);
    check(modes || num_modes == 0, "modes: no data");
    const Assignment found =
        assign(FeatureView::planar(features, dimensions, height, width), modes, num_modes);
    std::ranges::copy(found.index, index);
    std::ranges::copy(found.score, score);
  });
}

bottomup_status bottomup_refine(const int32_t *labels, int64_t height, int64_t width,
                                const bottomup_patch *patches, int64_t num_patches,
                                int64_t min_area, double refine_iou, double contain,
                                int32_t *refined) {
  return guarded([&] {
    check(num_patches == 0 || patches, "patches: no data");
    std::vector<Patch> finer;
    for (int64_t i = 0; i < num_patches; ++i) {
      const auto &[patch, x0, y0, x1, y1] = patches[i];
      const std::string name = "patches[" + std::to_string(i) + "]";
      check(x0 >= 0 && x1 <= width && y0 >= 0 && y1 <= height, name + ".box: outside the image");
      finer.push_back({map_of(patch, y1 - y0, x1 - x0, name + ".labels"), x0, y0, x1, y1});
    }
    const LabelMap result =
        refine(map_of(labels, height, width, "labels"), finer, {min_area, refine_iou, contain});
    std::ranges::copy(result.values, refined);
  });
}

bottomup_status bottomup_join_fragments(const int32_t *labels, const int32_t *coarse,
                                        int64_t height, int64_t width, double min_area,
                                        int32_t *joined) {
  return guarded([&] {
    const LabelMap result = join_fragments(map_of(labels, height, width, "labels"),
                                           map_of(coarse, height, width, "coarse"), min_area);
    std::ranges::copy(result.values, joined);
  });
}

bottomup_status bottomup_split_components(const int32_t *labels, int64_t height, int64_t width,
                                          int connectivity, int32_t *pieces) {
  return guarded([&] {
    const LabelMap map = map_of(labels, height, width, "labels");
    std::ranges::copy(split_components(map, connectivity).values, pieces);
  });
}

bottomup_status bottomup_fold_specks(const int32_t *labels, int64_t height, int64_t width,
                                     int64_t min_area, int32_t *folded) {
  return guarded([&] {
    const LabelMap map = map_of(labels, height, width, "labels");
    std::ranges::copy(fold_specks(map, min_area).values, folded);
  });
}

bottomup_status bottomup_segmenter_create(const char *settings, bottomup_extract extract,
                                          void *context, const bottomup_options *options,
                                          bottomup_segmenter **segmenter) {
  return guarded([&] {
    check(settings && extract && segmenter, "settings, extract and segmenter must not be NULL");
    *segmenter = new bottomup_segmenter{
        Segmenter(parse_settings(settings), std::make_shared<CallersNetwork>(extract, context),
                  options_of(options))};
  });
}

bottomup_status bottomup_segmenter_open(const char *path, int threads,
                                        const bottomup_options *options,
                                        bottomup_segmenter **segmenter) {
  return guarded([&] {
    check(path && segmenter, "path and segmenter must not be NULL");
    Model model = open_model(path, threads);
    *segmenter = new bottomup_segmenter{
        Segmenter(std::move(model.settings), std::move(model.network), options_of(options))};
  });
}

void bottomup_segmenter_free(bottomup_segmenter *segmenter) { delete segmenter; }

bottomup_status bottomup_segment(const bottomup_segmenter *segmenter, const void *pixels,
                                 int64_t height, int64_t width, int channels, int bits,
                                 bottomup_segmentation **segmentation) {
  return guarded([&] {
    check(segmenter && segmentation, "segmenter and segmentation must not be NULL");
    *segmentation = new bottomup_segmentation{
        segmenter->segmenter.segment({pixels, height, width, channels, bits})};
  });
}

const int32_t *bottomup_labels(const bottomup_segmentation *segmentation) {
  return segmentation->segmentation.labels.values.data();
}

int64_t bottomup_num_segments(const bottomup_segmentation *segmentation) {
  return segmentation->segmentation.num_segments();
}

const double *bottomup_scores(const bottomup_segmentation *segmentation) {
  return segmentation->segmentation.scores.data();
}

const double *bottomup_predicted_iou(const bottomup_segmentation *segmentation) {
  return segmentation->segmentation.predicted_iou.data();
}

const double *bottomup_stability_score(const bottomup_segmentation *segmentation) {
  return segmentation->segmentation.stability_score.data();
}

void bottomup_segmentation_free(bottomup_segmentation *segmentation) { delete segmentation; }
