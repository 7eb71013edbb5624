// The device's memory, streams and graphs.
//
// Stricter than CUDA: copies start when their stream is waited for, whatever the memory; what is
// captured may touch only memory that cudaMalloc and cudaMallocHost have given; new memory is NaN.
#include "model/streams.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

using cuda_host::remember;
using cuda_host::Work;

struct CUgraph_st {
  std::vector<Work> work;
};

struct CUgraphExec_st {
  std::vector<Work> work;
};

struct CUstream_st {
  std::vector<Work> pending;
  CUgraph_st *captured = nullptr; // while it is being captured
  cudaError_t error = cudaSuccess;
};

namespace {

std::set<CUstream_st *> &streams = *new std::set<CUstream_st *>;
std::map<const char *, size_t> &memory = *new std::map<const char *, size_t>;
std::map<std::string, int64_t> &counts = *new std::map<std::string, int64_t>;

/// What a capture does not bear ends it.
bool refused_by_capture() {
  bool refused = false;
  for (CUstream_st *stream : streams) {
    if (stream->captured != nullptr) {
      stream->error = cudaErrorStreamCaptureInvalidated;
      refused = true;
    }
  }
  return refused;
}

bool given(const void *address, size_t bytes) {
  const char *first = static_cast<const char *>(address);
  auto place = memory.upper_bound(first);
  return place != memory.begin() && (--place, first + bytes <= place->first + place->second);
}

cudaError_t finish(CUstream_st *stream) {
  for (const Work &work : std::exchange(stream->pending, {})) {
    if (stream->error == cudaSuccess) {
      stream->error = work();
    }
  }
  return std::exchange(stream->error, cudaSuccess);
}

cudaError_t take(void **result, size_t bytes) {
  if (refused_by_capture()) {
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  ++counts["allocations"];
  *result = nullptr;
  if (bytes == 0) {
    return cudaSuccess;
  }
  if (posix_memalign(result, 256, bytes) != 0) {
    return remember(cudaErrorMemoryAllocation);
  }
  std::memset(*result, 0xff, bytes);
  memory[static_cast<char *>(*result)] = bytes;
  return cudaSuccess;
}

cudaError_t give_back(void *address) {
  if (address == nullptr) {
    return cudaSuccess;
  }
  if (refused_by_capture()) {
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  if (memory.erase(static_cast<char *>(address)) == 0) {
    return remember(cudaErrorInvalidValue);
  }
  cudaError_t error = cudaSuccess; // of work that may use the memory
  for (CUstream_st *stream : streams) {
    if (const cudaError_t failed = finish(stream); error == cudaSuccess) {
      error = failed;
    }
  }
  std::free(address);
  return error;
}

bool capturable(cudaStream_t stream, const void *address, size_t bytes) {
  return stream == nullptr || stream->captured == nullptr || given(address, bytes);
}

} // namespace

namespace cuda_host {

cudaError_t submit(cudaStream_t stream, Work work) {
  if (stream == nullptr) {
    return work();
  }
  (stream->captured != nullptr ? stream->captured->work : stream->pending)
      .push_back(std::move(work));
  return cudaSuccess;
}

} // namespace cuda_host

cudaError_t cudaMalloc(void **result, size_t bytes) { return take(result, bytes); }
cudaError_t cudaFree(void *address) { return give_back(address); }
cudaError_t cudaMallocHost(void **result, size_t bytes) { return take(result, bytes); }
cudaError_t cudaFreeHost(void *address) { return give_back(address); }

cudaError_t cudaMemsetAsync(void *target, int value, size_t bytes, cudaStream_t stream) {
  if (!capturable(stream, target, bytes)) {
    return remember(cudaErrorInvalidValue);
  }
  return cuda_host::submit(stream, [=] {
    std::memset(target, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (!capturable(stream, target, bytes) || !capturable(stream, source, bytes)) {
    return remember(cudaErrorInvalidValue);
  }
  return cuda_host::submit(stream, [=] {
    std::memcpy(target, source, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
  *stream = *streams.insert(new CUstream_st).first;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t error = finish(stream);
  streams.erase(stream);
  delete stream;
  return error;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (refused_by_capture()) {
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  return stream == nullptr ? cudaSuccess : finish(stream);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->captured != nullptr) {
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  ++counts["captures"];
  stream->captured = new CUgraph_st;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  *graph = std::exchange(stream->captured, nullptr);
  if (stream->error != cudaSuccess) {
    delete std::exchange(*graph, nullptr);
    return remember(std::exchange(stream->error, cudaSuccess));
  }
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  ++counts["graph launches"];
  for (const Work &work : executable->work) {
    if (const cudaError_t error = cuda_host::submit(stream, work); error != cudaSuccess) {
      return error;
    }
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

/// How often since the process began: "allocations", "captures", "graph launches"; or how much
/// there is now: "memory", in pieces.
extern "C" int64_t cuda_host_count(const char *what) {
  return std::string(what) == "memory" ? static_cast<int64_t>(memory.size()) : counts[what];
}
