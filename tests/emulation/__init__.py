"""CUDA kernels executed on the CPU: see README.md."""
