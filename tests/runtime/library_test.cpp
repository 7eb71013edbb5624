// The C interface and one segmenter used by many threads; built with sanitizers by the tests.
#include <bottomup.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kHeight = 20, kWidth = 24, kDimensions = 4;

const char *kSettings =
    R"({"name": "test", "architecture": {"name": "none", "feature_dim": 4, "foreground": true},
        "preprocessing": {"resolutions": [32, 40], "normalisation": "percentile"},
        "clustering": {"split_components": true, "min_area": 4, "min_support": 4}})";

void expect(bool holds, const std::string &what) {
  if (!holds) {
    std::cerr << "failed: " << what << " (" << bottomup_last_error() << ")\n";
    std::exit(1);
  }
}

// A pixel's feature is its colour turned a little; bright pixels are foreground.
int extract(void *, const float *image, int64_t height, int64_t width, int64_t, int64_t,
            float *features, float *foreground) {
  const int64_t pixels = height * width;
  for (int64_t p = 0; p < pixels; ++p) {
    const float red = image[p], green = image[pixels + p], blue = image[2 * pixels + p];
    features[p] = red + 0.1f;
    features[pixels + p] = green - red;
    features[2 * pixels + p] = blue - green;
    features[3 * pixels + p] = red * blue;
    foreground[p] = 4 * (red + green + blue) + 4;
  }
  return 0;
}

int refuse(void *, const float *, int64_t, int64_t, int64_t, int64_t, float *, float *) {
  return 7;
}

std::vector<unsigned char> picture() {
  std::vector<unsigned char> pixels(kHeight * kWidth * 3);
  for (int64_t y = 0; y < kHeight; ++y)
    for (int64_t x = 0; x < kWidth; ++x)
      for (int64_t c = 0; c < 3; ++c)
        pixels[(y * kWidth + x) * 3 + c] =
            static_cast<unsigned char>(y / 5 * 53 + x / 6 * 91 * (c + 1) + x % 3);
  return pixels;
}

std::vector<int32_t> segment(const bottomup_segmenter *segmenter,
                             const std::vector<unsigned char> &pixels) {
  bottomup_segmentation *found = nullptr;
  expect(bottomup_segment(segmenter, pixels.data(), kHeight, kWidth, 3, 8, &found) == BOTTOMUP_OK,
         "segment");
  const int32_t *labels = bottomup_labels(found);
  const std::vector<int32_t> result(labels, labels + kHeight * kWidth);
  for (int64_t i = 0; i < bottomup_num_segments(found); ++i)
    expect(std::isfinite(bottomup_scores(found)[i]) &&
               std::isfinite(bottomup_stability_score(found)[i]),
           "scores");
  bottomup_segmentation_free(found);
  return result;
}

void refused_inputs() {
  bottomup_segmenter *segmenter = nullptr;
  expect(bottomup_segmenter_create("{", extract, nullptr, nullptr, &segmenter) ==
             BOTTOMUP_INVALID_INPUT,
         "broken settings");
  expect(std::strstr(bottomup_last_error(), "JSON") != nullptr, "a reason");
  expect(bottomup_segmenter_open("missing.pt2", 0, nullptr, &segmenter) == BOTTOMUP_INVALID_INPUT,
         "a missing file");
  expect(bottomup_segmenter_create(kSettings, refuse, nullptr, nullptr, &segmenter) == BOTTOMUP_OK,
         "create");
  bottomup_segmentation *found = nullptr;
  const std::vector<unsigned char> pixels = picture();
  expect(bottomup_segment(segmenter, pixels.data(), kHeight, kWidth, 3, 8, &found) ==
             BOTTOMUP_NETWORK_FAILED,
         "a network that fails");
  expect(bottomup_segment(segmenter, pixels.data(), kHeight, kWidth, 2, 8, &found) ==
             BOTTOMUP_INVALID_INPUT,
         "two channels");
  expect(bottomup_segment(segmenter, pixels.data(), 0, kWidth, 3, 8, &found) ==
             BOTTOMUP_INVALID_INPUT,
         "no rows");
  expect(bottomup_segment(segmenter, pixels.data(), INT64_MAX / 2, INT64_MAX / 2, 3, 8, &found) ==
             BOTTOMUP_INVALID_INPUT,
         "more pixels than there are numbers");
  bottomup_segmenter_free(segmenter);
  int32_t label = 0;
  const float feature[2] = {1, NAN};
  expect(bottomup_cluster(feature, 2, 1, 1, nullptr, 45, 1, &label, nullptr) ==
             BOTTOMUP_INVALID_INPUT,
         "a feature that is no number");
  expect(bottomup_cluster(feature, 2, INT64_MAX / 2, 4, nullptr, 45, 1, &label, nullptr) ==
             BOTTOMUP_INVALID_INPUT,
         "more features than there are numbers");
  expect(bottomup_split_components(&label, INT64_MAX / 2, 4, 1, &label) == BOTTOMUP_INVALID_INPUT,
         "more labels than there are numbers");
  bottomup_options huge{};
  huge.scale = 1e300;
  expect(bottomup_segmenter_create(kSettings, extract, nullptr, &huge, &segmenter) ==
             BOTTOMUP_INVALID_INPUT,
         "an impossible scale");
}

void functions() {
  const float features[] = {1, 1, 0, 0, 0, 0, 1, 1}; // (2, 1, 4)
  int32_t labels[4], count = 0;
  expect(bottomup_cluster(features, 2, 1, 4, nullptr, 45, 1, labels, &count) == BOTTOMUP_OK &&
             count == 2 && labels[0] == 1 && labels[1] == 1 && labels[2] == 2 && labels[3] == 2,
         "cluster");
  const int32_t coarse[] = {1, 1, 1, 1}, finer[] = {1, 0};
  const bottomup_patch patch{finer, 0, 0, 2, 1};
  int32_t refined[4];
  expect(bottomup_refine(coarse, 1, 4, &patch, 1, 1, 0.8, 0.9, refined) == BOTTOMUP_OK, "refine");
  const int32_t parts[] = {1, 1, 2, 0};
  int32_t joined[4];
  expect(bottomup_join_fragments(parts, coarse, 1, 4, 4, joined) == BOTTOMUP_OK && joined[0] == 1 &&
             joined[2] == 1 && joined[3] == 0,
         "join_fragments");
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMeasured = false; // sanitizers keep what was freed, and find what was not
#else
constexpr bool kMeasured = true;
#endif
constexpr int64_t kMostGrowth = 4 << 20;

/// Bytes of memory that the process holds.
int64_t resident() {
  int64_t all = 0, held = 0;
  std::ifstream("/proc/self/statm") >> all >> held;
  return held * 4096;
}

void in_threads(const bottomup_segmenter *segmenter, const std::vector<unsigned char> &pixels,
                const std::vector<int32_t> &expected, int runs) {
  std::atomic<int> different = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int run = 0; run < runs; ++run)
        different += segment(segmenter, pixels) != expected;
    });
  for (std::thread &thread : threads)
    thread.join();
  expect(different == 0, "the same labels in all threads");
}

/// One segmenter in eight threads, `runs` times in each.
void share(bottomup_segmenter *segmenter, int runs) {
  const std::vector<unsigned char> pixels = picture();
  expect(bottomup_set_helper_threads(0) == BOTTOMUP_OK, "threads");
  const std::vector<int32_t> expected = segment(segmenter, pixels);
  expect(bottomup_set_helper_threads(3) == BOTTOMUP_OK, "threads");
  in_threads(segmenter, pixels, expected, std::max(1, runs / 8));
  const int64_t before = resident();
  in_threads(segmenter, pixels, expected, runs);
  const int64_t growth = resident() - before;
  expect(!kMeasured || growth < kMostGrowth, "memory grew by " + std::to_string(growth));
  bottomup_segmenter_free(segmenter);
  expect(bottomup_set_helper_threads(0) == BOTTOMUP_OK, "threads");
}

} // namespace

/// Arguments: how often each thread segments, and perhaps a model file to do so with.
int main(int argc, char **argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 200;
  bottomup_segmenter *segmenter = nullptr;
  if (argc > 2) {
    expect(bottomup_segmenter_open(argv[2], 1, nullptr, &segmenter) == BOTTOMUP_OK, "open");
    share(segmenter, runs);
  } else {
    refused_inputs();
    functions();
    expect(bottomup_segmenter_create(kSettings, extract, nullptr, nullptr, &segmenter) ==
               BOTTOMUP_OK,
           "create");
    share(segmenter, runs);
  }
  std::cout << "ok\n";
}
