// variant: T={float,half_t} C=float I={long long}
// variant: T=double C=double I=int
// The transpose of take: gradient (outer, k, row) and k indices give (outer, length, row), where each place is the sum
// of the rows that name it, in a fixed order and without atomics.
//
// Each place looks for the indices that name it, so length * k of them are compared: 32 by one load and one vote. For
// an embedding of 10,000 rows and 3,200 indices that is a million coalesced loads of a warp, from the second-level
// cache; with many more, sorting the indices first would be cheaper. Limit: those loads, else memory bandwidth.
#include "elements.cuh"
#include "indices.cuh"

#define COLUMNS 4

// Wide rows: a warp for a place and 128 columns; rows are added in the order of the indices.
extern "C" __global__ void scatter_rows(const T* __restrict__ gradient, const I* __restrict__ indices,
                                        T* __restrict__ out, long long outer, long long length, long long k,
                                        long long row) {
  const int lane = threadIdx.x % 32;
  const long long tiles = (row + 32 * COLUMNS - 1) / (32 * COLUMNS);
  const long long warp = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const long long place = warp / tiles, first = warp % tiles * 32 * COLUMNS + lane;
  if (place >= outer * length) return;  // the whole warp
  const long long o = place / length, wanted = place - o * length;
  C sums[COLUMNS];
#pragma unroll
  for (int c = 0; c < COLUMNS; c++) sums[c] = 0;
  for (long long base = 0; base < k; base += 32) {
    bool named = base + lane < k && wrapped(indices[base + lane], length) == wanted;
    unsigned votes = __ballot_sync(0xffffffffu, named);
    while (votes) {
      const T* source = gradient + (o * k + base + __ffs((int)votes) - 1) * row;
      votes &= votes - 1;
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        if (first + 32 * c < row) sums[c] += load(source[first + 32 * c]);
      }
    }
  }
#pragma unroll
  for (int c = 0; c < COLUMNS; c++) {
    if (first + 32 * c < row) out[place * row + first + 32 * c] = store<T>(sums[c]);
  }
}

// Narrow rows: a warp for one element; lanes take every 32nd index, and their sums are joined by a tree.
extern "C" __global__ void scatter_elements(const T* __restrict__ gradient, const I* __restrict__ indices,
                                            T* __restrict__ out, long long outer, long long length, long long k,
                                            long long row) {
  const int lane = threadIdx.x % 32;
  const long long element = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (element >= outer * length * row) return;  // the whole warp
  const long long place = element / row, column = element - place * row;
  const long long o = place / length, wanted = place - o * length;
  C sum = 0;
  for (long long i = lane; i < k; i += 32) {
    if (wrapped(indices[i], length) == wanted) sum += load(gradient[(o * k + i) * row + column]);
  }
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
  if (lane == 0) out[element] = store<T>(sum);
}
