// Fresh memory in large pages: writing it first costs a page fault each, of 4 KiB or of 2 MiB.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bottomup {

/// Asks for large pages where whole ones fit into memory not written yet; a hint, without effect on
/// what is in it.
inline void prefer_huge_pages(void *memory, size_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t page = uintptr_t{1} << 21;
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

} // namespace bottomup
