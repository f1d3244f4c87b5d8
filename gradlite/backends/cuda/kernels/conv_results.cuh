// What becomes of the sums that a block of a convolution on tensor cores holds: bias, activation, statistics, storing.
//
// The sums of a block's results go through shared memory, so that a short loop can do the rest: a thread has
// the same chunk of channels in every row that it visits. Unrolled over the fragments this was several times the code
// of all products, which a launch must fetch anew and runs once.
//
// Macros: those of conv_tensor.cuh; VEC_Y: elements stored at once, a chunk's or 1; ACTIVATION, STATISTICS (as in
// conv_ffma.cu).
#pragma once
#include "conv_epilogue.cuh"
#include "conv_tensor.cuh"

// Rows under way at once: more take fewer rounds, but more instructions, which must be fetched anew by every launch. A
// function of many is not repeated.
const int ROWS_AT_ONCE = ACTIVATION > RELU ? 1 : 2;

typedef Channels<float, CHUNK> Floats;  // a chunk of results as they are computed

// The bias of channel threadIdx.x, for finish(): zero where there is none. Read it first in the kernel, since that takes
// a journey to L2.
__device__ __forceinline__ float bias_of(const T* bias, int columns) {
  return bias != nullptr && (int)threadIdx.x < columns ? load(bias[threadIdx.x]) : 0.f;
}

// Where the statistics of all blocks go: records, and results from the block's first channel on, of `count` samples.
struct Statistics {
  float *partials, *mean, *variance;
  int* counters;
  float count;
};

// The block's M x N results, by all its WORKERS threads. A warp's `sum` begins at row `row0`, column `column0`.
// `destination(row)` is the offset of column 0 of a row, or -1 outside; `columns` of the group are left from the block's
// first one on. `tile` is room for [M][N + PAD] floats, in use until the next barrier.
//
// With STATISTICS, those of the `count` rows inside go to the block's record: mean first, then squares of distances from
// it. The last block of the slab merges the records, unless `all.counters` is null.
template <int M, int N, int WORKERS, typename Destination>
__device__ __forceinline__ void finish(const float (&sum)[MI][NI][4], void* tile, T* y, float own_bias, int row0,
                                       int column0, int columns, Destination destination, const Statistics& all,
                                       float count) {
  const int LINE = N + PAD, COLUMN_CHUNKS = N / CHUNK, STEP = WORKERS / COLUMN_CHUNKS;
  static_assert(M % STEP == 0, "every thread has the same number of rows");
  const int n = threadIdx.x % COLUMN_CHUNKS * CHUNK, first = threadIdx.x / COLUMN_CHUNKS;
  __syncthreads();
  __shared__ __align__(16) float bias[N];
  if (threadIdx.x < N) bias[threadIdx.x] = own_bias;
  float* results = (float*)tile;
  float* fragment = results + (row0 + threadIdx.x % 32 / 4) * LINE + column0 + threadIdx.x % 4 * 2;
#pragma unroll
  for (int mi = 0; mi < MI; mi++) {
#pragma unroll
    for (int ni = 0; ni < NI; ni++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float* pair = fragment + (mi * 16 + half * 8) * LINE + ni * 8;
        *(Vector<float, 2>*)pair = Vector<float, 2>{{sum[mi][ni][half * 2], sum[mi][ni][half * 2 + 1]}};
      }
    }
  }
  __syncthreads();

  Floats shift, total = {};
#pragma unroll
  for (int v = 0; v < CHUNK; v++) shift.at[v] = bias[n + v];
#pragma unroll ROWS_AT_ONCE
  for (int i = 0; i < M / STEP; i++) {
    const int row = first + i * STEP;
    Floats* place = (Floats*)(results + row * LINE + n);
    Floats value = *place;
    Vector<T, CHUNK> result;
    const auto offset = destination(row);
#pragma unroll
    for (int v = 0; v < CHUNK; v++) {
      result.at[v] = store<T>(activated<ACTIVATION>(value.at[v] + shift.at[v]));
      value.at[v] = load(result.at[v]);  // statistics are of what is stored
      if (STATISTICS) total.at[v] += offset >= 0 ? value.at[v] : 0.f;
    }
    if (STATISTICS) *place = value;
    if (offset < 0 || n >= columns) continue;
    if (VEC_Y > 1) {
      store_16(y + offset + n, ((const Chunk*)&result)->words);
    } else {
#pragma unroll
      for (int v = 0; v < CHUNK; v++) {
        if (n + v < columns) y[offset + n + v] = result.at[v];
      }
    }
  }
#if STATISTICS
  __shared__ __align__(16) float parts[2 * WORKERS / 32 * N];
  __shared__ int last;
  const int slab = blockIdx.z * gridDim.y + blockIdx.y, blocks = gridDim.x;
  float* records = all.partials + (long long)slab * blocks * Record<N, float>::SIZE;
  float* record = records + (long long)blockIdx.x * Record<N, float>::SIZE;
  total = add_over_rows<N, CHUNK, WORKERS>(total, parts);
  Floats mean;
  const float share = 1.f / count;
#pragma unroll
  for (int v = 0; v < CHUNK; v++) {
    mean.at[v] = total.at[v] * share;
    total.at[v] = 0.f;
  }
#pragma unroll ROWS_AT_ONCE
  for (int i = 0; i < M / STEP; i++) {
    const int row = first + i * STEP;
    const Floats value = *(const Floats*)(results + row * LINE + n);
    const bool inside = destination(row) >= 0;
#pragma unroll
    for (int v = 0; v < CHUNK; v++) {
      float distance = inside ? value.at[v] - mean.at[v] : 0.f;
      total.at[v] += distance * distance;
    }
  }
  total = add_over_rows<N, CHUNK, WORKERS>(total, parts + WORKERS / 32 * N);
  if (first == 0) {
    *(Floats*)(record + n) = mean;
    *(Floats*)(record + Record<N, float>::SPREAD + n) = total;
    if (n == 0) record[Record<N, float>::COUNT] = count;
  }
  if (all.counters == nullptr || !is_last_block(all.counters + slab, blocks, &last)) return;
  merge_records<N, WORKERS>(records, tile, parts, all.mean, all.variance, blocks, columns, all.count);
#endif
}
