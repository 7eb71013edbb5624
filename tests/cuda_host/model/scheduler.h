// The threads of the block that is running, for the parts of the model.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <vector>

#include "model/sanitizers.h"

namespace cuda_host {

/// What a test may set, see cuda_host_set.
struct Options {
  int64_t order = 0; // of threads and blocks: 0 forward, 1 reverse, 2 random
  int64_t seed = 0;  // of the random order
  int64_t eager = 0; // copies land at once, not when they are waited for
  int64_t capability = 80;
  int64_t processors = 4;
};
extern Options options;

// What a build that counts is told; null in others.
extern void (*observe_launch)(const std::string &kernel, const cudaLaunchConfig_t &config);
extern void (*observe_block_end)();
extern void (*observe_multiplication)(); // by a warp

struct Thread {
  sanitizers::Context context;
  uint3 index;
  int number, warp, lane;
  bool done;

  // What it waits for; null when it does not.
  const char *operation;
  Location where;
  unsigned mask; // of lanes, for a warp operation
  void *operand; // of the warp operation

  std::vector<Copy> copies;   // all that this block's thread has started
  std::vector<size_t> groups; // how many there were at each commit
  size_t landed;
};

extern Thread *running;

/// Suspends the running thread until resume() takes it.
void wait(const char *operation, Location where, unsigned mask);
void resume(Thread *const *threads, int count);

/// Ends the kernel, with this report.
[[noreturn]] void fail(const std::string &message, Location where);

Thread &thread_of_warp(int warp, int lane);
int threads_in_block();
/// A place for one barrier's order of memory: no earlier barrier in use has it.
void *fresh_place();

/// Called by a thread that leaves the kernel.
void require_no_copies();

/// Forgets the barriers and warp operations of the last block.
void reset_barriers(int threads);
void reset_warps(int threads);

/// Runs all blocks; false with a report when one failed.
bool run_kernel(const cudaLaunchConfig_t &config, const void *kernel, void (*call)(const void *),
                const void *launched);

void keep_report(const std::string &report);

// For reports.
std::string name_of(const void *kernel);
std::string describe(uint3 index);
std::string hexadecimal(unsigned mask);
std::string place(Location where);
/// What each thread waits for when none can go on.
std::string describe_deadlock();

} // namespace cuda_host
