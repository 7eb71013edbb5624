// Functions that kernels on either kind of processor call.
#pragma once

#if defined(__CUDACC__)
#define BOTTOMUP_HOST_DEVICE __host__ __device__
#else
#define BOTTOMUP_HOST_DEVICE
#endif
