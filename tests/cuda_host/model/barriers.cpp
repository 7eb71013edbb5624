// Barriers of a block, and the copies to shared memory that threads wait for.
#include <array>

#include "model/scheduler.h"

namespace cuda_host {
namespace {

struct Barrier {
  int expected;
  Location where; // of the first thread that came
  const char *operation;
  void *place;
  std::vector<Thread *> waiting;
};

std::array<Barrier, 16> &barriers = *new std::array<Barrier, 16>;

void arrive(const char *operation, Barrier &barrier, int expected, Location where) {
  if (barrier.waiting.empty()) {
    barrier.expected = expected;
    barrier.where = where;
    barrier.operation = operation;
    barrier.place = fresh_place();
  } else if (barrier.expected != expected) {
    fail("threads disagree how many meet at one barrier: " + std::to_string(barrier.expected) +
             " (" + cuda_host::place(barrier.where) + ") and " + std::to_string(expected),
         where);
  }
  void *place = barrier.place;
  sanitizers::release(place);
  barrier.waiting.push_back(running);
  if (static_cast<int>(barrier.waiting.size()) == expected) {
    resume(barrier.waiting.data(), expected);
    barrier.waiting.clear();
  }
  wait(operation, where, 0);
  sanitizers::acquire(place);
}

} // namespace

void reset_barriers(int threads) {
  for (Barrier &barrier : barriers) {
    barrier.waiting.clear();
    barrier.waiting.reserve(threads);
  }
}

void block_barrier(Location where) {
  Barrier &barrier = barriers[0];
  if (!barrier.waiting.empty() && barrier.where.line() != where.line()) {
    fail("divergent barrier: other threads of the block wait at " + place(barrier.where), where);
  }
  arrive("__syncthreads", barrier, threads_in_block(), where);
}

void named_barrier(int barrier, int threads, Location where) {
  if (barrier < 0 || barrier > 15) {
    fail("named_barrier: there is no barrier " + std::to_string(barrier), where);
  }
  if (threads <= 0 || threads % 32 != 0 || threads > (threads_in_block() + 31) / 32 * 32) {
    fail("named_barrier: " + std::to_string(threads) +
             " threads cannot meet: not whole warps of the block",
         where);
  }
  arrive("named_barrier", barriers[barrier], threads, where);
}

bool start_copy(const Copy &copy) {
  if (!options.eager) {
    running->copies.push_back(copy);
  }
  return options.eager != 0;
}

void require_no_copies() {
  if (running->landed != running->copies.size()) {
    fail("nobody waits for this copy", running->copies[running->landed].where);
  }
}

void commit_copies() { running->groups.push_back(running->copies.size()); }

bool next_landing(int pending, Copy &copy) {
  Thread &thread = *running;
  const size_t under_way = static_cast<size_t>(pending);
  if (thread.groups.size() <= under_way) {
    return false;
  }
  if (thread.landed == thread.groups[thread.groups.size() - 1 - under_way]) {
    return false;
  }
  copy = thread.copies[thread.landed++];
  return true;
}

} // namespace cuda_host
