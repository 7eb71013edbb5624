// Counts what kernels ask of global memory, in sectors of 32 bytes, as a GPU without caches would
// move them: the lanes of a warp share the sectors of one instruction.
//
// Kernels are compiled for the thread sanitizer, whose calls before every access end here instead.
// The n-th access of a lane at a place of the code belongs with the n-th of the other lanes. What
// one lane accesses in a row, as parts of a wider access, is one access.
#include <algorithm>
#include <array>
#include <link.h>
#include <pthread.h>
#include <sstream>
#include <unordered_map>
#include <vector>

#include "model/scheduler.h"

namespace cuda_host {
namespace {

constexpr uintptr_t kSector = 32;
constexpr uintptr_t kWidest = 16; // bytes of one access, aligned

struct Launch {
  std::string kernel;
  dim3 grid, block;
  size_t shared_bytes;
  int64_t read_sectors = 0, written_sectors = 0, read_bytes = 0, written_bytes = 0;
  int64_t multiplications = 0; // tensor core instructions
};

struct Lane {
  std::unordered_map<uint64_t, uint32_t> seen; // times at each place
  uint64_t event = 0;
  uintptr_t begin = 0, end = 0; // of the last access
  bool wrote = false;
};

struct Counter {
  std::vector<Launch> launches;
  std::array<Lane, 1024> lanes;
  // Sectors by warp, place and turn.
  std::unordered_map<uint64_t, std::vector<uintptr_t>> reads, writes;
  uintptr_t host_stack = 0, host_stack_end = 0;
  uintptr_t library = 0, library_end = 0; // threadIdx and constants
  std::string result;
};
Counter &counter = *new Counter;

bool is_global(uintptr_t address) {
  const auto inside = [&](const void *begin, size_t bytes) {
    return address - reinterpret_cast<uintptr_t>(begin) < bytes;
  };
  return !inside(shared_bytes(), 256 << 10) &&
         !inside(running->context.stack, running->context.stack_bytes) &&
         !(address >= counter.host_stack && address < counter.host_stack_end) &&
         !(address >= counter.library && address < counter.library_end);
}

void access(const void *memory, size_t bytes, bool write, const void *place) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  if (counter.launches.empty() || !is_global(address))
    return;
  Launch &launch = counter.launches.back();
  (write ? launch.written_bytes : launch.read_bytes) += static_cast<int64_t>(bytes);
  Lane &lane = counter.lanes[running->number];
  const bool goes_on = lane.wrote == write && address == lane.end &&
                       (address + bytes - 1) / kWidest == lane.begin / kWidest;
  if (!goes_on) {
    const auto code = reinterpret_cast<uintptr_t>(place);
    lane.event = (code * 0x9e3779b97f4a7c15u + lane.seen[code]++) * 64 +
                 static_cast<uint64_t>(running->warp);
    lane.begin = address;
  }
  lane.end = address + bytes;
  lane.wrote = write;
  std::vector<uintptr_t> &sectors = (write ? counter.writes : counter.reads)[lane.event];
  for (uintptr_t sector = address / kSector; sector <= (address + bytes - 1) / kSector; ++sector)
    if (std::ranges::find(sectors, sector) == sectors.end())
      sectors.push_back(sector);
}

void find_host_stack() {
  pthread_attr_t attributes;
  void *stack = nullptr;
  size_t bytes = 0;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &stack, &bytes);
  pthread_attr_destroy(&attributes);
  counter.host_stack = reinterpret_cast<uintptr_t>(stack);
  counter.host_stack_end = counter.host_stack + bytes;
}

void find_library() {
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *) {
        uintptr_t begin = ~uintptr_t{0}, end = 0;
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (const ElfW(Phdr) &part = info->dlpi_phdr[i]; part.p_type == PT_LOAD) {
            begin = std::min(begin, info->dlpi_addr + part.p_vaddr);
            end = std::max(end, info->dlpi_addr + part.p_vaddr + part.p_memsz);
          }
        const auto here = reinterpret_cast<uintptr_t>(&threadIdx);
        if (here < begin || here >= end)
          return 0;
        counter.library = begin;
        counter.library_end = end;
        return 1;
      },
      nullptr);
}

void note_launch(const std::string &name, const cudaLaunchConfig_t &config) {
  counter.launches.push_back({name, config.gridDim, config.blockDim, config.dynamicSmemBytes});
  find_host_stack();
  find_library();
}

void close_block() {
  const auto total = [](auto &all) {
    int64_t count = 0;
    for (const auto &[event, sectors] : all)
      count += static_cast<int64_t>(sectors.size());
    all.clear();
    return count;
  };
  counter.launches.back().read_sectors += total(counter.reads);
  counter.launches.back().written_sectors += total(counter.writes);
  for (Lane &lane : counter.lanes)
    lane = Lane{};
}

[[maybe_unused]] const bool observed = [] {
  observe_launch = note_launch;
  observe_block_end = close_block;
  observe_multiplication = [] { ++counter.launches.back().multiplications; };
  return true;
}();

} // namespace
} // namespace cuda_host

/// What was counted since the last call, as JSON: an object for each launch.
extern "C" const char *cuda_host_traffic() {
  using namespace cuda_host;
  std::ostringstream text;
  const char *separator = "";
  text << '[';
  for (const Launch &launch : counter.launches) {
    const auto size = [](dim3 of) {
      return '[' + std::to_string(of.x) + ", " + std::to_string(of.y) + ", " +
             std::to_string(of.z) + ']';
    };
    text << separator << "{\"kernel\": \"" << launch.kernel << "\", \"grid\": " << size(launch.grid)
         << ", \"block\": " << size(launch.block) << ", \"shared_bytes\": " << launch.shared_bytes
         << ", \"read_sectors\": " << launch.read_sectors
         << ", \"written_sectors\": " << launch.written_sectors
         << ", \"read_bytes\": " << launch.read_bytes
         << ", \"written_bytes\": " << launch.written_bytes
         << ", \"multiplications\": " << launch.multiplications << '}';
    separator = ", ";
  }
  text << ']';
  counter.launches.clear();
  counter.result = text.str();
  return counter.result.c_str();
}

// The thread sanitizer's interface.

#define COUNT_ACCESSES(bytes)                                                                      \
  extern "C" void __tsan_read##bytes(void *memory) {                                               \
    cuda_host::access(memory, bytes, false, __builtin_return_address(0));                          \
  }                                                                                                \
  extern "C" void __tsan_write##bytes(void *memory) {                                              \
    cuda_host::access(memory, bytes, true, __builtin_return_address(0));                           \
  }
#define COUNT_UNALIGNED(bytes)                                                                     \
  extern "C" void __tsan_unaligned_read##bytes(void *memory) {                                     \
    cuda_host::access(memory, bytes, false, __builtin_return_address(0));                          \
  }                                                                                                \
  extern "C" void __tsan_unaligned_write##bytes(void *memory) {                                    \
    cuda_host::access(memory, bytes, true, __builtin_return_address(0));                           \
  }
COUNT_ACCESSES(1)
COUNT_ACCESSES(2)
COUNT_ACCESSES(4)
COUNT_ACCESSES(8)
COUNT_ACCESSES(16)
COUNT_UNALIGNED(2)
COUNT_UNALIGNED(4)
COUNT_UNALIGNED(8)
COUNT_UNALIGNED(16)

extern "C" void __tsan_read_range(void *memory, size_t bytes) {
  cuda_host::access(memory, bytes, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void *memory, size_t bytes) {
  cuda_host::access(memory, bytes, true, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}

#define COUNT_ATOMICS(bits, T)                                                                     \
  extern "C" T __tsan_atomic##bits##_load(const volatile T *memory, int) {                         \
    cuda_host::access(const_cast<T *>(memory), sizeof(T), false, __builtin_return_address(0));     \
    return *memory;                                                                                \
  }                                                                                                \
  COUNT_CHANGE(bits, T, exchange, value)                                                           \
  COUNT_CHANGE(bits, T, fetch_add, static_cast<T>(old + value))                                    \
  COUNT_CHANGE(bits, T, fetch_sub, static_cast<T>(old - value))                                    \
  COUNT_CHANGE(bits, T, fetch_or, static_cast<T>(old | value))                                     \
  COUNT_CHANGE(bits, T, fetch_and, static_cast<T>(old & value))                                    \
  COUNT_CHANGE(bits, T, fetch_xor, static_cast<T>(old ^ value))                                    \
  COUNT_COMPARE(bits, T, strong)                                                                   \
  COUNT_COMPARE(bits, T, weak)
#define COUNT_CHANGE(bits, T, operation, changed)                                                  \
  extern "C" T __tsan_atomic##bits##_##operation(volatile T *memory, T value, int) {               \
    cuda_host::access(const_cast<T *>(memory), sizeof(T), true, __builtin_return_address(0));      \
    const T old = *memory;                                                                         \
    *memory = changed;                                                                             \
    return old;                                                                                    \
  }
#define COUNT_COMPARE(bits, T, kind)                                                               \
  extern "C" int __tsan_atomic##bits##_compare_exchange_##kind(volatile T *memory, T *expected,    \
                                                               T value, int, int) {                \
    cuda_host::access(const_cast<T *>(memory), sizeof(T), true, __builtin_return_address(0));      \
    const bool equal = *memory == *expected;                                                       \
    if (equal)                                                                                     \
      *memory = value;                                                                             \
    else                                                                                           \
      *expected = *memory;                                                                         \
    return equal;                                                                                  \
  }
COUNT_ATOMICS(32, uint32_t)
COUNT_ATOMICS(64, uint64_t)
