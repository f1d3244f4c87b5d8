// Statistics of every channel of an array (rows, channels), for batch normalization.
//
// A block is (tx, ty) threads over WIDTH * tx neighbouring channels, 128 bytes of a row where there are that many, so
// that every access is to whole cache lines; ty, a power of two, counts rows. blockIdx.y chooses the channels.
// Means and sums of squares (mean, M2) are merged by the formula of Chan, Golub and LeVeque (1979), never computed as
// E[x^2] - E[x]^2; the order is fixed by the sizes of block and grid alone. They are those of x less its first row:
// numbers that are far from zero next to their spread would lose digits in every mean.
//
// Macros: T elements, S statistics and arithmetic, WIDTH channels a thread.
#pragma once
#include "vectors.cuh"

// The most threads of a block (MOST_THREADS in channels.py).
#define THREADS 512

// Rows that a thread holds in registers at once, for as many loads in flight.
#define ROWS_AT_ONCE 4

struct Moments { S count, mean[WIDTH], m2[WIDTH]; };

__device__ __forceinline__ Moments no_moments() {
  Moments none;
  none.count = 0;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) none.mean[k] = none.m2[k] = 0;
  return none;
}

__device__ __forceinline__ void merge(Moments& all, const Moments& more) {
  if (more.count == 0) return;
  S count = all.count + more.count, ratio = more.count / count;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    S difference = more.mean[k] - all.mean[k];
    // A sum that is still empty is replaced: difference * difference might overflow.
    all.m2[k] = all.count == 0 ? more.m2[k] : all.m2[k] + more.m2[k] + difference * difference * (all.count * ratio);
    all.mean[k] = all.count == 0 ? more.mean[k] : all.mean[k] + difference * ratio;
  }
  all.count = count;
}

__device__ __forceinline__ int first_channel() { return (blockIdx.y * blockDim.x + threadIdx.x) * WIDTH; }

// The first row of x at this thread's channels.
struct Pivot { S at[WIDTH]; };

__device__ __forceinline__ Pivot pivot_of(const T* __restrict__ x, int channels) {
  int channel = first_channel();
  Elements<T, WIDTH> row = {};
  if (channel < channels) row = read<WIDTH>(x + channel);
  Pivot pivot;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) pivot.at[k] = load(row.at[k]);
  return pivot;
}

// What this thread has seen merged with all other rows of the block: a tree over threadIdx.y. Every thread gets it.
__device__ __forceinline__ Moments merged_over_block(Moments mine) {
  __shared__ Moments shared[THREADS];
  int self = threadIdx.y * blockDim.x + threadIdx.x;
  shared[self] = mine;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
      merge(mine, shared[self + half * blockDim.x]);
      shared[self] = mine;
    }
  }
  __syncthreads();
  return shared[threadIdx.x];
}

// Moments of rows first to last - 1 less the pivot, over the block.
__device__ __forceinline__ Moments moments_of_rows(const T* __restrict__ x, const Pivot& pivot, int first, int last,
                                                   int channels) {
  int channel = first_channel();
  Moments total = no_moments();
  if (channel < channels) {
    for (int row = first + threadIdx.y; row < last; row += ROWS_AT_ONCE * blockDim.y) {
      S values[ROWS_AT_ONCE][WIDTH];
      int found = 0;
      #pragma unroll
      for (int u = 0; u < ROWS_AT_ONCE; u++) {
        int at = row + u * blockDim.y;
        Elements<T, WIDTH> loaded = {};
        if (at < last) {
          loaded = read<WIDTH>(x + (long long)at * channels + channel);
          found = u + 1;
        }
        #pragma unroll
        for (int k = 0; k < WIDTH; k++) values[u][k] = at < last ? load(loaded.at[k]) - pivot.at[k] : S(0);
      }
      Moments few;
      few.count = found;
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        S sum = 0, squares = 0;
        #pragma unroll
        for (int u = 0; u < ROWS_AT_ONCE; u++) sum += values[u][k];  // zeros where there is no row
        few.mean[k] = sum / found;
        #pragma unroll
        for (int u = 0; u < ROWS_AT_ONCE; u++) {
          S centred = u < found ? values[u][k] - few.mean[k] : S(0);
          squares += centred * centred;
        }
        few.m2[k] = squares;
      }
      merge(total, few);
    }
  }
  return merged_over_block(total);
}

// A slice's moments are kept as mean and m2, (2, slices, channels); its count follows from the division into slices.
__device__ __forceinline__ void keep_moments(const Moments& moments, S* __restrict__ partial, int slices,
                                             int channels) {
  int channel = first_channel();
  if (threadIdx.y != 0 || channel >= channels) return;
  Elements<S, WIDTH> mean, m2;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    mean.at[k] = moments.mean[k];
    m2.at[k] = moments.m2[k];
  }
  write<WIDTH>(partial + (long long)blockIdx.x * channels + channel, mean);
  write<WIDTH>(partial + (long long)(slices + blockIdx.x) * channels + channel, m2);
}

// The moments of all slices together. Every block does it again: cheaper than a launch of its own.
__device__ __forceinline__ Moments moments_of_slices(const S* __restrict__ partial, int slices, int rows_each,
                                                     int rows, int channels) {
  int channel = first_channel();
  Moments total = no_moments();
  if (channel < channels) {
    for (int slice = threadIdx.y; slice < slices; slice += blockDim.y) {
      Elements<S, WIDTH> mean = read<WIDTH>(partial + (long long)slice * channels + channel);
      Elements<S, WIDTH> m2 = read<WIDTH>(partial + (long long)(slices + slice) * channels + channel);
      Moments part;
      part.count = min(rows_each, rows - slice * rows_each);
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        part.mean[k] = mean.at[k];
        part.m2[k] = m2.at[k];
      }
      merge(total, part);
    }
  }
  return merged_over_block(total);
}

// Two sums a channel, for the gradients of gamma and beta.
struct Sums { S scale[WIDTH], shift[WIDTH]; };

__device__ __forceinline__ Sums no_sums() {
  Sums none;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) none.scale[k] = none.shift[k] = 0;
  return none;
}

__device__ __forceinline__ void add(Sums& all, const Sums& more) {
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    all.scale[k] += more.scale[k];
    all.shift[k] += more.shift[k];
  }
}

__device__ __forceinline__ Sums added_over_block(Sums mine) {
  __shared__ Sums shared[THREADS];
  int self = threadIdx.y * blockDim.x + threadIdx.x;
  shared[self] = mine;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
      add(mine, shared[self + half * blockDim.x]);
      shared[self] = mine;
    }
  }
  __syncthreads();
  return shared[threadIdx.x];
}

__device__ __forceinline__ void keep_sums(const Sums& sums, S* __restrict__ partial, int slices, int channels) {
  int channel = first_channel();
  if (threadIdx.y != 0 || channel >= channels) return;
  Elements<S, WIDTH> scale, shift;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    scale.at[k] = sums.scale[k];
    shift.at[k] = sums.shift[k];
  }
  write<WIDTH>(partial + (long long)blockIdx.x * channels + channel, scale);
  write<WIDTH>(partial + (long long)(slices + blockIdx.x) * channels + channel, shift);
}

__device__ __forceinline__ Sums sums_of_slices(const S* __restrict__ partial, int slices, int channels) {
  int channel = first_channel();
  Sums total = no_sums();
  if (channel < channels) {
    for (int slice = threadIdx.y; slice < slices; slice += blockDim.y) {
      Elements<S, WIDTH> scale = read<WIDTH>(partial + (long long)slice * channels + channel);
      Elements<S, WIDTH> shift = read<WIDTH>(partial + (long long)(slices + slice) * channels + channel);
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        total.scale[k] += scale.at[k];
        total.shift[k] += shift.at[k];
      }
    }
  }
  return added_over_block(total);
}

// gamma or beta of this thread's channels; a missing one is `absent`.
template <typename Type>
__device__ __forceinline__ void parameters_of(const Type* __restrict__ values, int channel, int channels, S absent,
                                              S* out) {
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) out[k] = values && channel < channels ? S(load(values[channel + k])) : absent;
}
