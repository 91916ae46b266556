"""Execution of the CUDA kernels on the CPU: see README.md."""
