// Adds the ranges' sums of a weight gradient, [range][element], in a fixed order. Behind the elements of the weights
// may be those of the bias.
//
// A block has 32 elements; each of its W warps adds every W-th range, and the warps' sums are added in order. A thread
// loads eight at once, since there are some hundred ranges, and one that read them one after the other would only wait.
// Macro: WARPS.
// Bytes: ranges * elements read, elements written. Limit: L2, where the sums have just been written.
//
// variant: T={float,half_t} STAT=float WARPS=8
// variant: T=float STAT=float WARPS=32
// variant: T=double STAT=double WARPS=8
#include "common.cuh"

const int ELEMENTS = 32;

extern "C" __global__ void __launch_bounds__(ELEMENTS * WARPS)
sum_partials(const STAT* __restrict__ partials, T* __restrict__ out, T* __restrict__ bias, long long weights,
             long long elements, int ranges) {
  __shared__ STAT shared[WARPS][ELEMENTS];
  const int lane = threadIdx.x % ELEMENTS, warp = threadIdx.x / ELEMENTS;
  const long long i = (long long)blockIdx.x * ELEMENTS + lane;
  STAT sum = 0;
  if (i < elements) {
#pragma unroll 8
    for (int r = warp; r < ranges; r += WARPS) sum += partials[r * elements + i];
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || i >= elements) return;
#pragma unroll
  for (int other = 1; other < WARPS; other++) sum += shared[other][lane];
  (i < weights ? out : bias - weights)[i] = store<T>(sum);
}
