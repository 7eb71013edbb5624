// Cuts the caller's workspace into arrays.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bottomup {

/// Counts bytes only where there is no memory, so that the same code tells the size and cuts.
class Workspace {
public:
  explicit Workspace(void *memory) : memory_(static_cast<unsigned char *>(memory)) {}

  template <typename T> T *take(int64_t count) {
    T *array = memory_ ? reinterpret_cast<T *>(memory_ + bytes_) : nullptr;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }

  int64_t bytes() const { return bytes_; }

private:
  static constexpr int64_t kAlignment = 256; // as that of cudaMalloc

  unsigned char *memory_;
  int64_t bytes_ = 0;
};

} // namespace bottomup
