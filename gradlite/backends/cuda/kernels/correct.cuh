// How many rows of scores have their largest one where the label says: what accuracy counts.
//
// A thread of the block takes every blockDim.x-th row and looks for its largest score from left to right. The first of
// equal scores counts, and a NaN is larger than anything. A label is a class number, or the largest of a row (ROWS).
#pragma once
#include "common.cuh"

template <typename Score> __device__ __forceinline__ int place_of_largest(const Score* scores, int columns) {
  typename compute<Score>::type largest = load(scores[0]);
  int place = 0;
  for (int j = 1; j < columns && largest == largest; j++) {
    const typename compute<Score>::type value = load(scores[j]);
    if (value > largest || value != value) {
      largest = value;
      place = j;
    }
  }
  return place;
}

// The block of up to 1024 threads, a power of two, finds the count in all its threads; it meets at barriers within.
template <bool ROWS, typename Label, typename Score>
__device__ __forceinline__ int correct_rows(const Label* labels, const Score* scores, int rows, int columns) {
  __shared__ int counts[1024];
  int mine = 0;
  for (int row = threadIdx.x; row < rows; row += blockDim.x) {
    const int place = place_of_largest(scores + (long long)row * columns, columns);
    if constexpr (ROWS) {
      mine += place_of_largest(labels + (long long)row * columns, columns) == place;
    } else {
      mine += (long long)labels[row] == place;
    }
  }
  counts[threadIdx.x] = mine;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) counts[threadIdx.x] += counts[threadIdx.x + half];
  }
  __syncthreads();
  return counts[0];
}
