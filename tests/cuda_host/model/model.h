// What kernels ask of the execution model; see scheduler.cpp and warp.cpp for what each does.
//
// The model itself is compiled without sanitizers and tells them what it does, so that the code
// of a kernel is all they watch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace cuda_host {

using Location = std::source_location;

// Barriers of a block and of a warp.
void block_barrier(Location where);
void named_barrier(int barrier, int threads, Location where);
void warp_barrier(unsigned mask, Location where);
void fence();

// Warp operations: each lane of the mask calls, and goes on when all have.
enum class Shuffle { from, up, down, exclusive_or };
enum class Reduce { add, min, max, bit_and, bit_or, bit_xor };
uint64_t shuffle(Shuffle how, unsigned mask, uint64_t value, int argument, int width,
                 Location where);
unsigned ballot(const char *operation, unsigned mask, bool predicate, Location where);
unsigned match_any(unsigned mask, uint64_t value, Location where);
int64_t reduce(const char *operation, Reduce how, unsigned mask, int64_t value, Location where);
unsigned active_lanes();

// Tensor cores: operands lie in each lane's registers, as the PTX ISA says.
enum class Factors { float16, bfloat16 };
void multiply(Factors factors, float *sum, const uint32_t *a, const uint32_t *b, Location where);
void distribute_matrices(const char *operation, bool transposed, const uint64_t row[2],
                         uint32_t *result, Location where);

// Ends the kernel with a report unless the address is a multiple of 16.
void require_alignment(const char *operation, const void *address, Location where);
void require_shared(const char *operation, const void *address, size_t bytes, Location where);
void require_capability(const char *operation, int capability, Location where);

unsigned char *shared_bytes();

// Copies to shared memory under way; the calling thread makes them itself when they land.
struct Copy {
  void *shared;
  const void *global;
  int bytes;
  Location where;
};
/// True if the copy lands at once.
bool start_copy(const Copy &copy);
void commit_copies();
/// Takes the next copy that must land before no more than `pending` groups are under way, if any.
bool next_landing(int pending, Copy &copy);

} // namespace cuda_host
