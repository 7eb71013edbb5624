/* bottomup: class-agnostic image segmentation, for C and whatever calls C.
 *
 * Functions return a status; BOTTOMUP_OK is 0. After any other, bottomup_last_error() says in one
 * line what was wrong, for the calling thread. No exception leaves the library. Handles may be used
 * by several threads at once; freeing NULL does nothing. */
#ifndef BOTTOMUP_H
#define BOTTOMUP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BOTTOMUP_VERSION "0.1.0"
#define BOTTOMUP_EXPORT __attribute__((visibility("default")))

typedef enum {
  BOTTOMUP_OK = 0,
  BOTTOMUP_INVALID_INPUT = 1, /* an argument, a file or an image */
  BOTTOMUP_OUT_OF_MEMORY = 2,
  BOTTOMUP_NETWORK_FAILED = 3, /* what ran the network failed */
} bottomup_status;

typedef struct bottomup_segmenter bottomup_segmenter;
typedef struct bottomup_segmentation bottomup_segmentation;

BOTTOMUP_EXPORT const char *bottomup_version(void);
BOTTOMUP_EXPORT const char *bottomup_last_error(void);
/* Threads that all calls share beside their own, 0 to 1024. */
BOTTOMUP_EXPORT bottomup_status bottomup_set_helper_threads(int count);

/* Labels 1..n of the pixels of (D, H, W) features, by mean shift. `mask` (H, W): where it is 0, the
 * label is 0; NULL for all pixels. `num_segments` may be NULL. */
BOTTOMUP_EXPORT bottomup_status bottomup_cluster(const float *features, int64_t dimensions,
                                                 int64_t height, int64_t width, const uint8_t *mask,
                                                 double bandwidth_deg, int64_t min_support,
                                                 int32_t *labels, int32_t *num_segments);

/* Moves (S, D) seeds uphill on (N, D) points: modes (S, D), and the points in each one's window. */
BOTTOMUP_EXPORT bottomup_status bottomup_mean_shift(const float *points, int64_t num_points,
                                                    const float *seeds, int64_t num_seeds,
                                                    int64_t dimensions, double bandwidth_deg,
                                                    double tolerance, int64_t max_steps,
                                                    float *modes, int32_t *support);

/* Position of the nearest of (M, D) modes for every pixel of (D, H, W), and |cos| to it. */
BOTTOMUP_EXPORT bottomup_status bottomup_assign(const float *features, int64_t dimensions,
                                                int64_t height, int64_t width, const float *modes,
                                                int64_t num_modes, int32_t *index, float *score);

typedef struct {
  const int32_t *labels; /* (y1 - y0, x1 - x0), 0 is no segment */
  int64_t x0, y0, x1, y1;
} bottomup_patch;

/* Merges finer patches into a coarse (H, W) label map; usual settings are 100, 0.8 and 0.9. */
BOTTOMUP_EXPORT bottomup_status bottomup_refine(const int32_t *labels, int64_t height,
                                                int64_t width, const bottomup_patch *patches,
                                                int64_t num_patches, int64_t min_area,
                                                double refine_iou, double contain,
                                                int32_t *refined);

/* Joins segments of (H, W) labels of which one coarse segment of at least `min_area` pixels holds
 * more than half. */
BOTTOMUP_EXPORT bottomup_status bottomup_join_fragments(const int32_t *labels,
                                                        const int32_t *coarse, int64_t height,
                                                        int64_t width, double min_area,
                                                        int32_t *joined);

/* Every connected piece of every label a segment of its own; connectivity 1 (4) or 2 (8). */
BOTTOMUP_EXPORT bottomup_status bottomup_split_components(const int32_t *labels, int64_t height,
                                                          int64_t width, int connectivity,
                                                          int32_t *pieces);

/* Folds segments of fewer than `min_area` pixels into the neighbour of longest shared border. */
BOTTOMUP_EXPORT bottomup_status bottomup_fold_specks(const int32_t *labels, int64_t height,
                                                     int64_t width, int64_t min_area,
                                                     int32_t *folded);

/* Runs a network on (3, H, W) normalised pixels whose corner lies at (y, x) of the image: writes
 * (D, H, W) features and, where `foreground` is not NULL, (H, W) logits. Called by several threads
 * at once if the segmenter is. Returns 0, or anything else if it failed. */
typedef int (*bottomup_extract)(void *context, const float *image, int64_t height, int64_t width,
                                int64_t y, int64_t x, float *features, float *foreground);

typedef struct {
  const int64_t *resolutions; /* longer sides instead of the model's */
  int64_t num_resolutions;    /* 0: the model's */
  double scale;               /* zoom before the network instead; 0: the model's */
  int keep_background;
  int leave_outliers;
  int64_t tile_size; /* 0: 1024 */
} bottomup_options;

/* A segmenter of a model's settings, JSON, and a network run by the caller. `options` may be
 * NULL. */
BOTTOMUP_EXPORT bottomup_status bottomup_segmenter_create(const char *settings,
                                                          bottomup_extract extract, void *context,
                                                          const bottomup_options *options,
                                                          bottomup_segmenter **segmenter);
/* A segmenter of a model file that `bottomup export` has written, where the library was built with
 * what runs it. `threads` of the network: 0 for its own choice. */
BOTTOMUP_EXPORT bottomup_status bottomup_segmenter_open(const char *path, int threads,
                                                        const bottomup_options *options,
                                                        bottomup_segmenter **segmenter);
BOTTOMUP_EXPORT void bottomup_segmenter_free(bottomup_segmenter *segmenter);

/* Segments (H, W, channels) pixels of 8 or 16 bits; channels 1 (grey), 3 (RGB) or 4 (RGBA). */
BOTTOMUP_EXPORT bottomup_status bottomup_segment(const bottomup_segmenter *segmenter,
                                                 const void *pixels, int64_t height, int64_t width,
                                                 int channels, int bits,
                                                 bottomup_segmentation **segmentation);
/* (H, W) labels: 0 background, 1..n segments. What these return lives as long as the handle. */
BOTTOMUP_EXPORT const int32_t *bottomup_labels(const bottomup_segmentation *segmentation);
BOTTOMUP_EXPORT int64_t bottomup_num_segments(const bottomup_segmentation *segmentation);
/* (n) of segment 1, 2, ... */
BOTTOMUP_EXPORT const double *bottomup_scores(const bottomup_segmentation *segmentation);
BOTTOMUP_EXPORT const double *bottomup_predicted_iou(const bottomup_segmentation *segmentation);
BOTTOMUP_EXPORT const double *bottomup_stability_score(const bottomup_segmentation *segmentation);
BOTTOMUP_EXPORT void bottomup_segmentation_free(bottomup_segmentation *segmentation);

#ifdef __cplusplus
}
#endif

#endif
