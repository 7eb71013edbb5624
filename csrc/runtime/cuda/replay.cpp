#include "runtime/cuda/replay.h"

namespace bottomup {
namespace {

cudaGraphExec_t capture(CudaStream stream, const std::function<void()> &enqueue) {
  // Of this thread: others may take memory meanwhile.
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing");
  cudaGraph_t graph = nullptr;
  try {
    enqueue();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    cudaGraphDestroy(graph);
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "capturing");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(error, "making a graph");
  return executable;
}

} // namespace

Replay::~Replay() {
  if (graph_)
    cudaGraphExecDestroy(graph_);
}

void Replay::run(CudaStream stream, const std::function<void()> &enqueue) {
  if (!ready_) {
    enqueue();
    ready_ = true;
    return;
  }
  if (!graph_)
    graph_ = capture(stream, enqueue);
  check_cuda(cudaGraphLaunch(graph_, stream), "launching a graph");
}

} // namespace bottomup
