// One row of a matrix for each team of TEAM threads: 8, 16 or 32 neighbouring lanes of a warp, or (256) a whole block.
//
// Sums and maxima over a team have a fixed order, and every thread of the team gets the same bits. All threads must
// call them together, those without a row too: the loops over rows are the same for a whole warp or block.
#pragma once
#include "vectors.cuh"

#define FULL_WARP 0xffffffffu
#define TEAM_LANES (TEAM < 32 ? TEAM : 32)

__device__ __forceinline__ int team_thread() { return threadIdx.x % TEAM; }
__device__ __forceinline__ long long team_row() {
  return ((long long)blockIdx.x * blockDim.x + threadIdx.x) / TEAM;
}

template <typename Number> __device__ __forceinline__ Number larger_of(Number a, Number b) { return a > b ? a : b; }

template <typename Number> __device__ __forceinline__ Number team_sum(Number x) {
  #pragma unroll
  for (int offset = TEAM_LANES / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(FULL_WARP, x, offset);
#if TEAM > 32
  __shared__ Number shared[TEAM / 32];
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = shared[0];
  #pragma unroll
  for (int warp = 1; warp < TEAM / 32; warp++) x += shared[warp];
  __syncthreads();
#endif
  return x;
}

// Of a NaN and a number the number may win: what is computed with the maximum is NaN all the same.
template <typename Number> __device__ __forceinline__ Number team_max(Number x) {
  #pragma unroll
  for (int offset = TEAM_LANES / 2; offset > 0; offset /= 2) {
    x = larger_of(x, __shfl_xor_sync(FULL_WARP, x, offset));
  }
#if TEAM > 32
  __shared__ Number shared[TEAM / 32];
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = shared[0];
  #pragma unroll
  for (int warp = 1; warp < TEAM / 32; warp++) x = larger_of(x, shared[warp]);
  __syncthreads();
#endif
  return x;
}
