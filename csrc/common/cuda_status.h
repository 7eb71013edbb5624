// What a CUDA launcher takes and returns beside its problem; free of CUDA's own headers.
#pragma once

struct CUstream_st;

namespace bottomup {

using CudaStream = CUstream_st *; // cudaStream_t

/// The first launch that failed, or ok.
struct CudaStatus {
  int error = 0;                // a cudaError_t
  const char *kernel = nullptr; // of that launch

  bool ok() const { return error == 0; }
};

} // namespace bottomup
