// How a launcher divides the workspace that its caller gives it.
#pragma once

#include <cstdint>

namespace bottomup {

/// Hands out one array after another. From null it gives no arrays, but counts the same bytes.
class Allotment {
public:
  explicit Allotment(void *base) : base_(static_cast<unsigned char *>(base)) {}

  template <typename T> T *take(int64_t count) {
    constexpr int64_t alignment = 256; // as that of cudaMalloc
    unsigned char *result = base_ ? base_ + bytes_ : nullptr;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + alignment - 1) / alignment * alignment;
    return reinterpret_cast<T *>(result);
  }

  int64_t bytes() const { return bytes_; }

private:
  unsigned char *base_;
  int64_t bytes_ = 0;
};

} // namespace bottomup
