// What the sanitizers must be told about fibers and memory; nothing in a build without them.
#pragma once

#include <cstddef>

#include <sys/mman.h>

#if defined(CUDA_HOST_ADDRESS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(CUDA_HOST_THREAD)
#include <sanitizer/tsan_interface.h>
#endif

namespace cuda_host::sanitizers {

#if defined(CUDA_HOST_THREAD)
inline constexpr bool kWatchThreads = true;
#else
inline constexpr bool kWatchThreads = false;
#endif

/// A stack and what runs on it.
struct Context {
  void *stack_pointer = nullptr;
  const void *stack = nullptr; // its lowest address
  size_t stack_bytes = 0;
  void *fiber = nullptr; // of the thread sanitizer
};

inline void create_fiber([[maybe_unused]] Context &context) {
#if defined(CUDA_HOST_THREAD)
  context.fiber = __tsan_create_fiber(0);
#endif
}

inline void name_fiber([[maybe_unused]] Context &context, [[maybe_unused]] const char *name) {
#if defined(CUDA_HOST_THREAD)
  __tsan_set_fiber_name(context.fiber, name);
#endif
}

inline void destroy_fiber([[maybe_unused]] Context &context) {
#if defined(CUDA_HOST_THREAD)
  __tsan_destroy_fiber(context.fiber);
#endif
}

inline void use_current_fiber([[maybe_unused]] Context &context) {
#if defined(CUDA_HOST_THREAD)
  context.fiber = __tsan_get_current_fiber();
#endif
}

inline void before_switch([[maybe_unused]] const Context &to) {
#if defined(CUDA_HOST_ADDRESS)
  __sanitizer_start_switch_fiber(nullptr, to.stack, to.stack_bytes);
#elif defined(CUDA_HOST_THREAD)
  __tsan_switch_to_fiber(to.fiber, __tsan_switch_to_fiber_no_sync);
#endif
}

/// Called on the new stack; tells where the old one lies.
inline void after_switch([[maybe_unused]] Context &from) {
#if defined(CUDA_HOST_ADDRESS)
  __sanitizer_finish_switch_fiber(nullptr, &from.stack, &from.stack_bytes);
#endif
}

/// What this thread did comes before whatever a thread does after acquire(place).
inline void release([[maybe_unused]] void *place) {
#if defined(CUDA_HOST_THREAD)
  __tsan_release(place);
#endif
}

inline void acquire([[maybe_unused]] void *place) {
#if defined(CUDA_HOST_THREAD)
  __tsan_acquire(place);
#endif
}

inline void allow([[maybe_unused]] const void *memory, [[maybe_unused]] size_t bytes) {
#if defined(CUDA_HOST_ADDRESS)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

inline void forbid([[maybe_unused]] const void *memory, [[maybe_unused]] size_t bytes) {
#if defined(CUDA_HOST_ADDRESS)
  __asan_poison_memory_region(memory, bytes);
#endif
}

/// Makes the thread sanitizer forget who used these pages.
inline void forget([[maybe_unused]] void *pages, [[maybe_unused]] size_t bytes) {
#if defined(CUDA_HOST_THREAD)
  mmap(pages, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
#endif
}

} // namespace cuda_host::sanitizers
