// Statistics of every channel of an array (rows, channels), for batch normalization.
//
// A block is (tx, ty) threads over WIDTH * tx neighbouring channels, 128 bytes of a row where there are that many, so
// that every access is to whole cache lines; ty counts rows. Both are powers of two, and a block is made of whole warps.
// blockIdx.y chooses the channels.
// Means and sums of squares (mean, M2) are merged by the formula of Chan, Golub and LeVeque (1979), never computed as
// E[x^2] - E[x]^2; the order is fixed by the sizes of block and grid alone. They are those of x less its first row:
// numbers that are far from zero next to their spread would lose digits in every mean.
//
// Macros: T elements, S statistics and arithmetic, WIDTH channels a thread. Elements are counted in 32 bits.
#pragma once
#include "vectors.cuh"

// The most threads of a block (MOST_THREADS in channels.py).
#define THREADS 512

// The most threads across: 128 bytes of elements of two bytes.
#define MOST_ACROSS 64

// Rows that a thread holds in registers at once, for as many loads in flight.
#define ROWS_AT_ONCE 4

// Slices whose sums a thread reads at once: mostly that is all that it reads.
#define SLICES_AT_ONCE 2

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

// Two sums a channel, for the gradients of gamma and beta.
struct Sums { S scale[WIDTH], shift[WIDTH]; };

__device__ __forceinline__ Sums no_sums() {
  Sums none;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) none.scale[k] = none.shift[k] = 0;
  return none;
}

__device__ __forceinline__ void merge(Sums& all, const Sums& more) {
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    all.scale[k] += more.scale[k];
    all.shift[k] += more.shift[k];
  }
}

// What the rows of a warp have seen together: in its first blockDim.x threads.
template <typename State> __device__ __forceinline__ State merged_over_warp(State mine) {
  #pragma unroll 1
  for (int offset = 16; offset >= blockDim.x; offset /= 2) {
    State other;
    #pragma unroll
    for (int i = 0; i < sizeof(State) / sizeof(S); i++) {
      ((S*)&other)[i] = __shfl_down_sync(0xffffffffu, ((S*)&mine)[i], offset);
    }
    merge(mine, other);
  }
  return mine;
}

// What all rows of the block have seen together, in a fixed order: within warps, then over the warps. The threads with
// threadIdx.y == 0 get it, and all of them after shared_with_block.
template <typename State> __device__ __forceinline__ State merged_over_block(State mine, State none) {
  __shared__ State shared[THREADS];
  const int lines = blockDim.x < 32 ? 1 << (__clz(blockDim.x) - 26) : 1;  // of threads, in a warp
  mine = merged_over_warp(mine);
  if (threadIdx.y % lines == 0) shared[threadIdx.y * blockDim.x + threadIdx.x] = mine;
  __syncthreads();
  if (threadIdx.y >= lines) return none;
  mine = none;
  for (int line = threadIdx.y * lines; line < blockDim.y; line += lines * lines) {
    merge(mine, shared[line * blockDim.x + threadIdx.x]);
  }
  return merged_over_warp(mine);
}

// The state of the threads with threadIdx.y == 0, for all.
template <typename State> __device__ __forceinline__ State shared_with_block(const State& state) {
  __shared__ State shared[MOST_ACROSS];
  if (threadIdx.y == 0) shared[threadIdx.x] = state;
  __syncthreads();
  return shared[threadIdx.x];
}

// Moments of rows first to last - 1 less the pivot, over the block: in the threads with threadIdx.y == 0.
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
          loaded = read<WIDTH>(x + at * channels + channel);
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
  return merged_over_block(total, no_moments());
}

// One sum a channel.
struct Total { S at[WIDTH]; };

__device__ __forceinline__ void merge(Total& all, const Total& more) {
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) all.at[k] += more.at[k];
}

// Moments of all rows less the pivot, in every thread of a block that has them all. They are read twice, the second time
// from the block's cache: for the mean, then for the squares of distances from it, which is shorter than merging.
__device__ __forceinline__ Moments moments_of_block(const T* __restrict__ x, const Pivot& pivot, int rows,
                                                    int channels) {
  int channel = first_channel();
  Moments all = no_moments();
  all.count = rows;
  const S share = 1 / all.count;
  const Total none = {};
  #pragma unroll 1
  for (int pass = 0; pass < 2; pass++) {
    Total total = none;
    #pragma unroll 1
    for (int row = threadIdx.y; channel < channels && row < rows; row += ROWS_AT_ONCE * blockDim.y) {
      Elements<T, WIDTH> values[ROWS_AT_ONCE];
      #pragma unroll
      for (int u = 0; u < ROWS_AT_ONCE; u++) {
        int at = min(row + u * blockDim.y, rows - 1);
        values[u] = read<WIDTH>(x + at * channels + channel);
      }
      #pragma unroll
      for (int u = 0; u < ROWS_AT_ONCE; u++) {
        #pragma unroll
        for (int k = 0; k < WIDTH; k++) {
          S value = load(values[u].at[k]) - pivot.at[k] - all.mean[k];
          if (row + u * blockDim.y < rows) total.at[k] += value * (pass == 0 ? S(1) : value);
        }
      }
    }
    total = shared_with_block(merged_over_block(total, none));
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      all.mean[k] = pass == 0 ? total.at[k] * share : all.mean[k];
      all.m2[k] = total.at[k];
    }
  }
  return all;
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
  write<WIDTH>(partial + blockIdx.x * channels + channel, mean);
  write<WIDTH>(partial + (slices + blockIdx.x) * channels + channel, m2);
}

// The moments of all slices together, in the threads with threadIdx.y == 0. Every block does it again: cheaper than a
// launch of its own.
__device__ __forceinline__ Moments moments_of_slices(const S* __restrict__ partial, int slices, int rows_each,
                                                     int rows, int channels) {
  int channel = first_channel();
  Moments total = no_moments();
  if (channel < channels) {
    for (int slice = threadIdx.y; slice < slices; slice += blockDim.y) {
      Elements<S, WIDTH> mean = read<WIDTH>(partial + slice * channels + channel);
      Elements<S, WIDTH> m2 = read<WIDTH>(partial + (slices + slice) * channels + channel);
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
  return merged_over_block(total, no_moments());
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
  write<WIDTH>(partial + blockIdx.x * channels + channel, scale);
  write<WIDTH>(partial + (slices + blockIdx.x) * channels + channel, shift);
}

// The sums of all slices together, in the threads with threadIdx.y == 0.
__device__ __forceinline__ Sums sums_of_slices(const S* __restrict__ partial, int slices, int channels) {
  int channel = first_channel();
  Sums total = no_sums();
  if (channel < channels) {
    const int shifts = slices * channels;
    for (int first = threadIdx.y; first < slices; first += SLICES_AT_ONCE * blockDim.y) {
      Elements<S, WIDTH> scale[SLICES_AT_ONCE] = {}, shift[SLICES_AT_ONCE] = {};
      #pragma unroll
      for (int u = 0; u < SLICES_AT_ONCE; u++) {
        int slice = first + u * blockDim.y;
        if (slice >= slices) break;
        scale[u] = read<WIDTH>(partial + slice * channels + channel);
        shift[u] = read<WIDTH>(partial + shifts + slice * channels + channel);
      }
      #pragma unroll
      for (int u = 0; u < SLICES_AT_ONCE; u++) {
        #pragma unroll
        for (int k = 0; k < WIDTH; k++) {
          total.scale[k] += scale[u].at[k];
          total.shift[k] += shift[u].at[k];
        }
      }
    }
  }
  return merged_over_block(total, no_sums());
}

// gamma or beta of this thread's channels; a missing one is `absent`.
template <typename Type>
__device__ __forceinline__ void parameters_of(const Type* __restrict__ values, int channel, int channels, S absent,
                                              S* out) {
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) out[k] = values && channel < channels ? S(load(values[channel + k])) : absent;
}
