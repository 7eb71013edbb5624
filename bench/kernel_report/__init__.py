"""What nvcc makes of the CUDA kernels, counted: `python -m bench.kernel_report`."""
