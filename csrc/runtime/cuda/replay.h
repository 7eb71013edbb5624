// The same work on a stream again and again, as one CUDA graph.
#pragma once

#include <functional>

#include "runtime/cuda/device.h"

namespace bottomup {

/// Runs work as it is for the first time, in which networks make themselves ready, captures it the
/// second, and replays it from then on: the work is the same each time, in the same memory.
class Replay {
public:
  Replay() = default;
  ~Replay();
  Replay(const Replay &) = delete;
  Replay &operator=(const Replay &) = delete;

  void run(CudaStream stream, const std::function<void()> &enqueue);

private:
  bool ready_ = false;
  cudaGraphExec_t graph_ = nullptr;
};

} // namespace bottomup
