// What the execution model does with memory, streams and graphs.
#include <cuda_runtime.h>

#include <cstdlib>
#include <iostream>
#include <string>

namespace {

void expect(bool holds, const std::string &what) {
  if (!holds) {
    std::cerr << "failed: " << what << '\n';
    std::exit(1);
  }
}

__global__ void increase(int *value) { ++*value; }

cudaError_t launch(int *value, cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = config.blockDim = dim3(1);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, increase, value);
}

int *allocated() {
  void *memory = nullptr;
  expect(cudaMalloc(&memory, sizeof(int)) == cudaSuccess, "allocation");
  return static_cast<int *>(memory);
}

} // namespace

int main() {
  int *value = allocated(), on_stack = 0;
  expect(*value == -1, "new memory is not zero");
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);

  expect(cudaMemsetAsync(value, 0, sizeof(int), stream) == cudaSuccess, "set");
  expect(launch(value, stream) == cudaSuccess && *value == -1, "work waits for the stream");
  expect(cudaStreamSynchronize(stream) == cudaSuccess && *value == 1, "and is done then");
  expect(launch(value, nullptr) == cudaSuccess && *value == 2, "on the default stream at once");

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  expect(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess, "begin");
  launch(value, stream);
  launch(value, stream);
  expect(cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph != nullptr, "capture");
  expect(cudaStreamSynchronize(stream) == cudaSuccess && *value == 2, "captured work is not done");
  expect(cudaGraphInstantiate(&executable, graph) == cudaSuccess, "graph");
  cudaGraphDestroy(graph);
  cudaGraphLaunch(executable, stream);
  cudaGraphLaunch(executable, stream);
  expect(*value == 2, "graphs wait for the stream");
  expect(cudaStreamSynchronize(stream) == cudaSuccess && *value == 6, "two replays");
  cudaGraphExecDestroy(executable);

  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(cudaMemcpyAsync(value, &on_stack, sizeof(int), cudaMemcpyDefault, stream) ==
             cudaErrorInvalidValue,
         "memory that was not given is not captured");
  void *memory = nullptr;
  expect(cudaMalloc(&memory, 4) == cudaErrorStreamCaptureUnsupported, "no memory in a capture");
  expect(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported, "nor waiting");
  expect(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && !graph,
         "which end it");
  expect(launch(value, stream) == cudaSuccess && cudaStreamSynchronize(stream) == cudaSuccess &&
             *value == 7,
         "the stream is usable again");

  launch(value, stream);
  expect(cudaFree(value) == cudaSuccess, "memory is freed once work is done");
  expect(cudaFree(&on_stack) == cudaErrorInvalidValue, "what was not given cannot be freed");
  cudaStreamDestroy(stream);
  std::cout << "ok\n";
}
