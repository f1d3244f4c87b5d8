// What the kernels of a convolution's weight gradient share: the gradient of the bias, and storing sums.
//
// The bias's gradient is the sums of the gradient's columns, of which tiles are in shared memory anyway. Only the blocks
// of the first rows k take them; a range's sums lie behind those of its weights, and are added by the same kernel.
#pragma once
#include "vectors.cuh"

// Stores two neighbouring sums: at once, where PAIRS says that the address is even and both are inside; else one by one.
template <bool PAIRS, typename Result>
__device__ __forceinline__ void store_pair(Result* p, float first, float second, bool second_inside) {
  if (PAIRS) {
    write(p, Elements<Result, 2>{{store<Result>(first), store<Result>(second)}});
  } else {
    p[0] = store<Result>(first);
    if (second_inside) p[1] = store<Result>(second);
  }
}

// The sums of the N columns of tiles, by all THREADS of a block: each thread takes every PARTS-th line of its column.
template <typename C, int N, int THREADS> struct ColumnSums {
  static constexpr int PARTS = THREADS / N;
  static_assert(PARTS * N == THREADS, "threads share the columns evenly");
  C sum = 0;

  // Adds COUNT lines, LINE elements apart.
  template <int COUNT, int LINE, typename Type> __device__ __forceinline__ void add(const Type* lines) {
    const Type* mine = lines + threadIdx.x / N * LINE + threadIdx.x % N;
#pragma unroll
    for (int line = 0; line < COUNT; line += PARTS) {
      if (COUNT % PARTS == 0 || line + (int)threadIdx.x / N < COUNT) sum += load(mine[line * LINE]);
    }
  }

  // The total of column threadIdx.x, in the first N threads. `scratch` is THREADS elements of shared memory that no one
  // uses any more behind the first barrier.
  __device__ __forceinline__ C total(C* scratch) const {
    __syncthreads();
    scratch[threadIdx.x] = sum;
    __syncthreads();
    C all = 0;
    if (threadIdx.x < N) {
#pragma unroll
      for (int part = 0; part < PARTS; part++) all += scratch[part * N + threadIdx.x];
    }
    return all;
  }
};
