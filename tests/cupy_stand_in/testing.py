"""What tests of the stand-in share: a few raw kernels, and values."""

from __future__ import annotations

import numpy as np

KERNELS = """
extern "C" __global__ void twice(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = 2.0f * x[i];
}
extern "C" __global__ void add_to(float* x, double amount, long long n) {
  for (long long i = threadIdx.x; i < n; i += blockDim.x) x[i] += (float)amount;
}
struct Pair { float scale; int shift; };
extern "C" __global__ void affine(float* x, Pair p) { x[threadIdx.x] = p.scale * x[threadIdx.x] + p.shift; }
extern "C" __global__ void reversed(float* x) {
  extern __shared__ float tile[];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
"""


def host(n: int = 6) -> np.ndarray:
    """The numbers 0 to n - 1 in float32, on the host."""
    return np.arange(n, dtype=np.float32)
