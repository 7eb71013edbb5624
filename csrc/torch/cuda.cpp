// What the ops need of CUDA beside their kernels: the device, the stream, the status.
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>

#include <stdexcept>

#include "torch/run.h"

namespace bottomup {
namespace {

/// torch's current stream. The function is torch's, but only a torch with CUDA has it; such a one
/// has loaded its library before there are CUDA tensors.
cudaStream_t current_stream(int32_t device, const char *op) {
  using GetStream = int32_t (*)(int32_t device, void **stream);
  static const GetStream get_stream = [] {
    void *library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return reinterpret_cast<GetStream>(
        library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr);
  }();
  void *stream = nullptr;
  check(get_stream && get_stream(device, &stream) == 0, op, "torch has no CUDA stream");
  return static_cast<cudaStream_t>(stream);
}

void check_cuda(cudaError_t error, const char *op, const std::string &what) {
  check(error == cudaSuccess, op, what + " failed: " + cudaGetErrorString(error));
}

} // namespace

void run_on_cuda(const Tensor &tensor, const char *op, int64_t workspace_bytes,
                 const CudaLaunch &launch) {
  const int32_t device = tensor.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  const cudaStream_t stream = current_stream(device, op);
  const Tensor workspace = torch::stable::new_empty(tensor, {workspace_bytes}, ScalarType::Byte);
  const Tensor input_status = torch::stable::new_zeros(tensor, {1}, ScalarType::Int);
  int32_t *status = input_status.mutable_data_ptr<int32_t>();

  const CudaStatus launched = launch(workspace.mutable_data_ptr(), status, stream);
  if (!launched.ok())
    check_cuda(static_cast<cudaError_t>(launched.error), op,
               std::string("the kernel ") + launched.kernel);

  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream, &capture), op, "a stream's query");
  if (capture != cudaStreamCaptureStatusNone)
    return;
  int32_t result = 0;
  check_cuda(cudaMemcpyAsync(&result, status, sizeof(result), cudaMemcpyDeviceToHost, stream), op,
             "reading the status");
  check_cuda(cudaStreamSynchronize(stream), op, "running");
  check(result == 0, op, message(static_cast<Status>(result)));
}

} // namespace bottomup
