// Shadows csrc/common/ptx.h: the same wrappers, emulated lane by lane from the PTX ISA.
//
// Memory is read and written here, in the kernel's own code, so that sanitizers see the calling
// thread do it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/data_type.h"

namespace bottomup {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

template <typename T> T *shared_memory() {
  return reinterpret_cast<T *>(cuda_host::shared_bytes());
}

inline void multiply_float16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             Location where = Location::current()) {
  cuda_host::multiply(cuda_host::Factors::float16, sum, a, b, where);
}

inline void multiply_bfloat16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              Location where = Location::current()) {
  cuda_host::multiply(cuda_host::Factors::bfloat16, sum, a, b, where);
}

inline void load_row(const char *operation, bool transposed, uint32_t (&result)[4], const void *row,
                     Location where) {
  cuda_host::require_alignment(operation, row, where);
  cuda_host::require_shared(operation, row, 16, where);
  const auto *words = static_cast<const uint64_t *>(row);
  const uint64_t own_row[2] = {words[0], words[1]};
  cuda_host::distribute_matrices(operation, transposed, own_row, result, where);
}

inline void load_matrices(uint32_t (&result)[4], const void *row,
                          Location where = Location::current()) {
  load_row("load_matrices", false, result, row, where);
}

inline void load_matrices_transposed(uint32_t (&result)[4], const void *row,
                                     Location where = Location::current()) {
  load_row("load_matrices_transposed", true, result, row, where);
}

inline void land(const cuda_host::Copy &copy) {
  auto *shared = static_cast<uint8_t *>(copy.shared);
  const auto *global = static_cast<const uint8_t *>(copy.global);
  if (copy.bytes == 16) {
    *static_cast<uint4 *>(copy.shared) = *static_cast<const uint4 *>(copy.global);
  } else {
    for (int i = 0; i < 16; ++i) {
      shared[i] = i < copy.bytes ? global[i] : uint8_t{0};
    }
  }
}

inline void copy_async(void *shared, const void *global, int bytes = 16,
                       Location where = Location::current()) {
  cuda_host::require_capability("copy_async", 80, where);
  cuda_host::require_alignment("copy_async", shared, where);
  cuda_host::require_alignment("copy_async", global, where);
  cuda_host::require_shared("copy_async", shared, 16, where);
  const cuda_host::Copy copy{shared, global, bytes, where};
  if (cuda_host::start_copy(copy)) {
    land(copy);
  }
}

inline void commit_copies(Location where = Location::current()) {
  cuda_host::require_capability("commit_copies", 80, where);
  cuda_host::commit_copies();
}

template <int pending> void wait_for_copies(Location where = Location::current()) {
  cuda_host::require_capability("wait_for_copies", 80, where);
  cuda_host::Copy copy;
  while (cuda_host::next_landing(pending, copy)) {
    land(copy);
  }
}

inline void named_barrier(int barrier, int threads, Location where = Location::current()) {
  cuda_host::named_barrier(barrier, threads, where);
}

inline uint32_t pack_float16(float low, float high, Location where = Location::current()) {
  cuda_host::require_capability("pack_float16", 80, where);
  return from_float<Float16>(low).bits | static_cast<uint32_t>(from_float<Float16>(high).bits)
                                             << 16;
}

inline uint32_t pack_bfloat16(float low, float high, Location where = Location::current()) {
  cuda_host::require_capability("pack_bfloat16", 80, where);
  return from_float<BFloat16>(low).bits | static_cast<uint32_t>(from_float<BFloat16>(high).bits)
                                              << 16;
}

inline float float_of_float16(uint16_t bits) { return to_float(Float16{bits}); }

inline int thread_index_anew() { return static_cast<int>(threadIdx.x); }

} // namespace bottomup
