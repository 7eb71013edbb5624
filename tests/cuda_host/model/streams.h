// Work on streams, for the parts of the model.
#pragma once

#include <cuda_runtime.h>

#include <functional>

namespace cuda_host {

using Work = std::function<cudaError_t()>;

/// Does the work when the stream is waited for, as late as CUDA may, on the default stream at once;
/// keeps it for the graph if the stream is being captured.
cudaError_t submit(cudaStream_t stream, Work work);

/// Keeps an error for cudaGetLastError and returns it.
cudaError_t remember(cudaError_t error);

} // namespace cuda_host
