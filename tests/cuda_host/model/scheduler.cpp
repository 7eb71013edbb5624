// Fibers: one for each thread of a block, blocks one after another.
#include "model/scheduler.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <sstream>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_host {

Options options;
Thread *running;
void (*observe_launch)(const std::string &kernel, const cudaLaunchConfig_t &config);
void (*observe_block_end)();
void (*observe_multiplication)();

namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kSharedBytes = 256 << 10;
constexpr size_t kCanaryBytes = 4096;
// The thread sanitizer orders what one of its fibers does. With other fibers for the next block it
// sees that nothing orders these two; every fiber costs it a megabyte.
constexpr int kFiberSets = sanitizers::kWatchThreads ? 2 : 1;

// Saves the registers that a call preserves on the old stack and takes them from the new one.
[[gnu::naked, gnu::noinline]] void swap_stacks(void **, void *) {
  asm volatile("push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
               "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
               "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
}

struct Kernel {
  const void *address;
  void (*call)(const void *);
  const void *launched;
};

struct Scheduler {
  std::vector<Thread> fibers[kFiberSets];
  std::vector<Thread> *threads; // the set that runs
  sanitizers::Context host;     // what launched the kernel
  sanitizers::Context *suspended;

  std::array<Thread *, kMaxThreads> ready; // a stack
  int num_ready, num_threads, num_done;
  bool failed;
  Kernel kernel;

  unsigned char *shared = nullptr;
  size_t shared_bytes;

  uint64_t random;

  char kernel_end, block_start, fence;
  std::array<uint64_t, 4096> places;
  unsigned next_place = 0;
};
// Never destroyed: abandoned fibers would be reported.
Scheduler &scheduler = *new Scheduler;

unsigned random_below(unsigned bound) {
  uint64_t &state = scheduler.random;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<unsigned>((state >> 32) % bound);
}

void switch_to(sanitizers::Context &from, sanitizers::Context &to) {
  scheduler.suspended = &from;
  sanitizers::before_switch(to);
  swap_stacks(&from.stack_pointer, to.stack_pointer);
  sanitizers::after_switch(*scheduler.suspended);
}

// The next ready thread, or the host when there is none.
void run_next(sanitizers::Context &from) {
  if (scheduler.num_ready == 0 || scheduler.failed) {
    switch_to(from, scheduler.host);
    return;
  }
  Thread *&top = scheduler.ready[scheduler.num_ready - 1];
  if (options.order == 2) {
    std::swap(top, scheduler.ready[random_below(scheduler.num_ready)]);
  }
  Thread *next = top;
  --scheduler.num_ready;
  running = next;
  threadIdx = next->index;
  if (&next->context != &from) {
    switch_to(from, next->context);
  }
}

[[noreturn]] void thread_main() {
  sanitizers::after_switch(*scheduler.suspended);
  sanitizers::acquire(&scheduler.block_start);
  scheduler.kernel.call(scheduler.kernel.launched);
  require_no_copies();
  sanitizers::release(&scheduler.kernel_end);
  running->done = true;
  ++scheduler.num_done;
  run_next(running->context);
  __builtin_unreachable();
}

void create_thread(Thread &thread) {
  void *stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(stack, 4096, PROT_NONE); // an overrun ends the process instead of reaching a neighbour
  thread.context.stack = stack;
  thread.context.stack_bytes = kStackBytes;
  sanitizers::create_fiber(thread.context);
}

void forget_threads(std::vector<Thread> &threads) {
  for (Thread &thread : threads) {
    sanitizers::destroy_fiber(thread.context);
    sanitizers::allow(thread.context.stack, kStackBytes);
    munmap(const_cast<void *>(thread.context.stack), kStackBytes);
  }
  threads.clear();
}

void start_thread(Thread &thread, int number) {
  const unsigned linear = static_cast<unsigned>(number);
  thread.number = number;
  thread.warp = number / 32;
  thread.lane = number % 32;
  thread.index = {linear % blockDim.x, linear / blockDim.x % blockDim.y,
                  linear / blockDim.x / blockDim.y};
  thread.done = false;
  thread.operation = nullptr;
  thread.copies.clear();
  thread.groups.clear();
  thread.landed = 0;
  // The stacks start at different cache lines of their pages.
  const size_t top = kStackBytes - static_cast<size_t>(number % 32) * 128;
  auto *slots = reinterpret_cast<void **>(
      const_cast<char *>(static_cast<const char *>(thread.context.stack)) + top);
  slots[-1] = nullptr;
  slots[-2] = reinterpret_cast<void *>(thread_main);
  thread.context.stack_pointer = slots - 8;
}

void prepare_shared(size_t bytes) {
  if (scheduler.shared == nullptr) {
    scheduler.shared = static_cast<unsigned char *>(
        mmap(nullptr, kSharedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  scheduler.shared_bytes = bytes;
  sanitizers::forget(scheduler.shared, kSharedBytes);
  sanitizers::allow(scheduler.shared, kSharedBytes);
  std::memset(scheduler.shared, 0xff, bytes + kCanaryBytes);
  sanitizers::forbid(scheduler.shared + bytes, kSharedBytes - bytes);
}

bool shared_overrun() {
  sanitizers::allow(scheduler.shared, kSharedBytes);
  const unsigned char *end = scheduler.shared + scheduler.shared_bytes;
  return std::any_of(end, end + kCanaryBytes, [](unsigned char byte) { return byte != 0xff; });
}

void report(const std::string &message) {
  keep_report("kernel " + name_of(scheduler.kernel.address) + ", block " + describe(blockIdx) +
              ": " + message);
  scheduler.failed = true;
}

void run_block(size_t shared_bytes) {
  const int threads = scheduler.num_threads;
  while (scheduler.threads->size() < static_cast<size_t>(threads)) {
    create_thread(scheduler.threads->emplace_back());
  }
  prepare_shared(shared_bytes);
  reset_barriers(threads);
  reset_warps(threads);
  scheduler.num_done = 0;
  for (int number = 0; number < threads; ++number) {
    Thread &thread = (*scheduler.threads)[number];
    start_thread(thread, number);
    scheduler.ready[options.order == 1 ? number : threads - 1 - number] = &thread;
  }
  scheduler.num_ready = threads;
  sanitizers::release(&scheduler.block_start);
  run_next(scheduler.host);
  if (observe_block_end != nullptr) {
    observe_block_end();
  }
  if (!scheduler.failed && scheduler.num_done < threads) {
    report(describe_deadlock());
  }
  if (shared_overrun() && !scheduler.failed) {
    report("wrote past the end of the " + std::to_string(shared_bytes) + " bytes of shared memory");
  }
}

} // namespace

void wait(const char *operation, Location where, unsigned mask) {
  Thread &thread = *running;
  thread.operation = operation;
  thread.where = where;
  thread.mask = mask;
  run_next(thread.context);
}

void resume(Thread *const *threads, int count) {
  for (int i = count - 1; i >= 0; --i) {
    scheduler.ready[scheduler.num_ready++] = threads[i];
  }
}

void fail(const std::string &message, Location where) {
  report("thread " + describe(running->index) + ", " + place(where) + ": " + message);
  run_next(running->context);
  __builtin_unreachable();
}

Thread &thread_of_warp(int warp, int lane) { return (*scheduler.threads)[warp * 32 + lane]; }

int threads_in_block() { return scheduler.num_threads; }

void *fresh_place() { return &scheduler.places[scheduler.next_place++ % scheduler.places.size()]; }

void fence() {
  sanitizers::acquire(&scheduler.fence);
  sanitizers::release(&scheduler.fence);
}

unsigned char *shared_bytes() { return scheduler.shared; }

void require_shared(const char *operation, const void *address, size_t bytes, Location where) {
  const auto *first = static_cast<const unsigned char *>(address);
  if (first < scheduler.shared || first + bytes > scheduler.shared + scheduler.shared_bytes) {
    std::ostringstream message;
    message << operation << ": byte " << first - scheduler.shared << " is outside the "
            << scheduler.shared_bytes << " bytes of shared memory";
    fail(message.str(), where);
  }
}

bool run_kernel(const cudaLaunchConfig_t &config, const void *kernel, void (*call)(const void *),
                const void *launched) {
  if (observe_launch != nullptr) {
    observe_launch(name_of(kernel), config);
  }
  scheduler.kernel = {kernel, call, launched};
  scheduler.failed = false;
  scheduler.num_threads =
      static_cast<int>(config.blockDim.x * config.blockDim.y * config.blockDim.z);
  scheduler.random = static_cast<uint64_t>(options.seed) * 2 + 0x9E3779B97F4A7C15;
  sanitizers::use_current_fiber(scheduler.host);
  blockDim = config.blockDim;
  gridDim = config.gridDim;

  std::vector<uint32_t> blocks(size_t{gridDim.x} * gridDim.y * gridDim.z);
  std::iota(blocks.begin(), blocks.end(), 0u);
  if (options.order == 1) {
    std::reverse(blocks.begin(), blocks.end());
  } else if (options.order == 2) {
    for (size_t i = blocks.size(); i > 1; --i) {
      std::swap(blocks[i - 1], blocks[random_below(static_cast<unsigned>(i))]);
    }
  }
  for (size_t i = 0; i < blocks.size() && !scheduler.failed; ++i) {
    blockIdx = {blocks[i] % gridDim.x, blocks[i] / gridDim.x % gridDim.y,
                blocks[i] / gridDim.x / gridDim.y};
    scheduler.threads = &scheduler.fibers[i % kFiberSets];
    run_block(config.dynamicSmemBytes);
  }
  sanitizers::acquire(&scheduler.kernel_end);
  if (scheduler.failed) {
    forget_threads(*scheduler.threads);
  }
  return !scheduler.failed;
}

} // namespace cuda_host
