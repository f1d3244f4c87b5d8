// Convolution and its input gradient as an implicit matrix product, in float32 or float64 arithmetic, on any device.
//
// Destination pixels (M) x channels (N), summed over k = taps x channels (K): y = A W, with A gathered from the image
// while it is loaded, so no im2col matrix exists. Forward, W is w as it lies, [k][n]. For the gradient (GRADIENT) the
// taps run backwards through w, whose channels and filters change places: W is [n][k] at every tap, turned in shared
// memory. A block computes BM x BN; a thread TM x TN, in groups of 4 x 4 that lie BM * 4 / TM apart.
//
// Macros: T element type; BM, BN, BK tile; TM, TN a thread's share; VEC_A, VEC_B, VEC_Y elements read or written at
// once (4 where all channel counts and addresses allow, else 1); GRADIENT; ACTIVATION; STATISTICS. Slabs of BK go
// through registers into one of two buffers in shared memory, while the other one is used.
//
// Shared memory: both tiles lie as [k][m] and [k][n]. A thread has 4 neighbouring k of one pixel; its four stores of a
// column go to m ^ 8 (k / 4 % 4), so 8 pixels x 4 groups of k meet 32 different banks. Reads are float4: a warp reads
// 4 different ones of A and 8 of B, each in one wavefront.
//
// With STATISTICS a block leaves those of its pixels, and the last block of its channels merges them, unless there are
// too many (conv_epilogue.cuh): dynamic shared memory is room for their records.
//
// Bytes: the image once from memory (9 times from L1 for a 3 x 3 kernel), w from L2, y once. 2 M N K operations.
// Limit: arithmetic from about 16 channels on; below that memory.
//
// variant: T=float STAT=float BM=128 BN=128 BK=8 TM=8 TN=8 VEC_A=4 VEC_B=4 VEC_Y=4 GRADIENT={0,1} ACTIVATION=0 STATISTICS=0
// variant: T=float STAT=float BM=128 BN=64 BK=8 TM=8 TN=8 VEC_A=4 VEC_B=4 VEC_Y=4 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
// variant: T=float STAT=float BM=128 BN=32 BK=8 TM=8 TN=4 VEC_A={1,4} VEC_B=4 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant: T=float STAT=float BM=64 BN=64 BK=8 TM=4 TN=8 VEC_A=4 VEC_B=4 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant: T=half_t STAT=float BM=32 BN=32 BK=8 TM=4 TN=4 VEC_A=1 VEC_B=1 VEC_Y=1 GRADIENT=1 ACTIVATION=3 STATISTICS=0
// variant: T=double STAT=double BM=64 BN=64 BK=8 TM=4 TN=8 VEC_A=1 VEC_B=4 VEC_Y=4 GRADIENT=0 ACTIVATION=2 STATISTICS=1
// variant: T=bfloat16_t STAT=float BM=128 BN=32 BK=8 TM=8 TN=4 VEC_A=1 VEC_B=4 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
#include "conv_epilogue.cuh"
#include "conv_geometry.cuh"

typedef compute<T>::type C;
const int THREADS = (BM / TM) * (BN / TN);
const int A_CHUNKS = BK / VEC_A;               // of one pixel in a slab
const int A_ROWS = THREADS / A_CHUNKS;         // pixels that the block loads at once
const int A_PASSES = BM / A_ROWS;
const int B_CHUNKS = GRADIENT ? A_CHUNKS : BN / VEC_B;
const int B_ROWS = THREADS / B_CHUNKS;         // rows of w: k forward, n for the gradient
const int B_LINES = GRADIENT ? BN : BK;
const int B_PASSES = (B_LINES + B_ROWS - 1) / B_ROWS;
const int B_VEC = GRADIENT ? VEC_A : VEC_B;

// Where column m (or n) of row k lies in its row of the tile.
__device__ __forceinline__ int turned(int k, int m) { return m ^ (8 * ((k >> 2) & 3)); }

// Adds the rows of parts[PARTS][BN] in order; every thread of the block calls it, and finds the sums in row 0.
template <int PARTS> __device__ __forceinline__ void add_parts(C* parts) {
  __syncthreads();
  for (int n = threadIdx.x; n < BN; n += THREADS) {
    C sum = parts[n];
    for (int p = 1; p < PARTS; p++) sum += parts[p * BN + n];
    parts[n] = sum;
  }
  __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_ffma(const T* __restrict__ source, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ y,
          STAT* __restrict__ partials, STAT* __restrict__ mean_of_all, STAT* __restrict__ variance_of_all,
          int* __restrict__ counters, const Convolution c) {
  __shared__ __align__(16) C a_tile[2][BK][BM];
  __shared__ __align__(16) C b_tile[2][BK][BN];

  const Gather g = gather_of<GRADIENT>(c, blockIdx.z);
  const long long m0 = (long long)blockIdx.x * BM;
  const int n0 = blockIdx.y * BN;
  if (m0 >= g.pixels) return;
  const int tid = threadIdx.x, k_size = g.k();
  const int taps_x = max(g.x.taps, 1);

  const int a_chunk = tid % A_CHUNKS * VEC_A, a_row = tid / A_CHUNKS;
  GatherRow rows[A_PASSES];
  PixelWalker pixel(m0 + a_row, g.y.count, g.x.count);
  const PixelWalker next(A_ROWS, g.y.count, g.x.count);
#pragma unroll
  for (int i = 0; i < A_PASSES; i++) {
    rows[i] = g.row(source, m0 + a_row + i * A_ROWS, pixel);
    pixel.advance(next, g.y.count, g.x.count);
  }
  TapWalker tap(a_chunk, taps_x, g.k_channels);
  const TapWalker step(BK, taps_x, g.k_channels);
  const int b_chunk = tid % B_CHUNKS * B_VEC, b_row = tid / B_CHUNKS;

  Vector<T, VEC_A> a_next[A_PASSES];
  Vector<T, B_VEC> b_next[B_PASSES];
  auto load_slab = [&](int k0) {
#pragma unroll
    for (int i = 0; i < A_PASSES; i++) a_next[i] = read<T, VEC_A>(g.at<T>(rows[i], tap));
#pragma unroll
    for (int i = 0; i < B_PASSES; i++) {
      const T* p = nullptr;
      int line = b_row + i * B_ROWS;
      if (GRADIENT) {
        int n = n0 + line;
        if (line < BN && n < g.n_channels && tap.y < g.y.taps) {
          int index = g.kernel_tap(tap, c.kernel_w) * g.n_channels + n;
          p = w + (long long)index * c.filters + g.group * g.k_channels + tap.channel;
        }
      } else {
        int k = k0 + line, n = n0 + b_chunk;
        if (line < BK && k < k_size && n < g.n_channels) p = w + (long long)k * c.filters + g.group * g.n_channels + n;
      }
      b_next[i] = read<T, B_VEC>(p);
    }
    tap.advance(step, taps_x, g.k_channels);
  };
  auto store_slab = [&](int buffer) {
#pragma unroll
    for (int i = 0; i < A_PASSES; i++) {
#pragma unroll
      for (int j = 0; j < VEC_A; j++) {
        int k = a_chunk + j;
        a_tile[buffer][k][turned(k, a_row + i * A_ROWS)] = load(a_next[i].at[j]);
      }
    }
#pragma unroll
    for (int i = 0; i < B_PASSES; i++) {
      int line = b_row + i * B_ROWS;
      if (B_LINES % B_ROWS != 0 && line >= B_LINES) break;
#pragma unroll
      for (int j = 0; j < B_VEC; j++) {
        int k = GRADIENT ? b_chunk + j : line, n = GRADIENT ? turned(k, line) : b_chunk + j;
        b_tile[buffer][k][n] = load(b_next[i].at[j]);
      }
    }
  };

  const int tx = tid % (BN / TN) * 4, ty = tid / (BN / TN) * 4;
  C sum[TM][TN] = {};
  load_slab(0);
  store_slab(0);
  __syncthreads();
  for (int k0 = 0, buffer = 0; k0 < k_size; k0 += BK, buffer ^= 1) {
    const bool more = k0 + BK < k_size;
    if (more) load_slab(k0 + BK);
#pragma unroll
    for (int k = 0; k < BK; k++) {
      C a[TM], b[TN];
#pragma unroll
      for (int i = 0; i < TM; i += 4) {
        Vector<C, 4> v = *(const Vector<C, 4>*)&a_tile[buffer][k][turned(k, i * (BM / TM) + ty)];
#pragma unroll
        for (int j = 0; j < 4; j++) a[i + j] = v.at[j];
      }
#pragma unroll
      for (int i = 0; i < TN; i += 4) {
        int n = i * (BN / TN) + tx;
        Vector<C, 4> v = *(const Vector<C, 4>*)&b_tile[buffer][k][GRADIENT ? turned(k, n) : n];
#pragma unroll
        for (int j = 0; j < 4; j++) b[i + j] = v.at[j];
      }
#pragma unroll
      for (int i = 0; i < TM; i++) {
#pragma unroll
        for (int j = 0; j < TN; j++) sum[i][j] += a[i] * b[j];
      }
    }
    if (more) store_slab(buffer ^ 1);
    __syncthreads();
  }

  // The epilogue: bias, activation, rounding. What is stored is what the statistics are of.
#pragma unroll
  for (int j = 0; j < TN; j += 4) {
    int n = n0 + j * (BN / TN) + tx;
    C shift[4];
#pragma unroll
    for (int l = 0; l < 4; l++) {
      shift[l] = bias != nullptr && n + l < g.n_channels ? load(bias[g.group * g.n_channels + n + l]) : C(0);
    }
#pragma unroll
    for (int i = 0; i < TM; i++) {
      long long m = m0 + i / 4 * (BM * 4 / TM) + ty + i % 4;
      Vector<T, 4> result;
#pragma unroll
      for (int l = 0; l < 4; l++) {
        result.at[l] = store<T>(activated<ACTIVATION>(sum[i][j + l] + shift[l]));
        sum[i][j + l] = load(result.at[l]);
      }
      if (m >= g.pixels || n >= g.n_channels) continue;
      T* p = y + g.destination(m) + n;
      if (VEC_Y == 4) {
        *(Vector<T, 4>*)p = result;
      } else {
#pragma unroll
        for (int l = 0; l < 4; l++) {
          if (n + l < g.n_channels) p[l] = result.at[l];
        }
      }
    }
  }

#if STATISTICS
  // Mean first, then the squares of the distances from it: nothing cancels.
  const int PARTS = BM / TM;
  __shared__ C parts[(PARTS > THREADS / 16 ? PARTS : THREADS / 16) * BN];  // enough for merging too
  const C count = (C)min((long long)BM, g.pixels - m0);
  C mean[TN];
#pragma unroll
  for (int pass = 0; pass < 2; pass++) {
#pragma unroll
    for (int j = 0; j < TN; j++) {
      C total = 0;
#pragma unroll
      for (int i = 0; i < TM; i++) {
        bool inside = m0 + i / 4 * (BM * 4 / TM) + ty + i % 4 < g.pixels;
        C distance = pass == 0 ? sum[i][j] : (sum[i][j] - mean[j]) * (sum[i][j] - mean[j]);
        total += inside ? distance : C(0);
      }
      parts[ty / 4 * BN + j / 4 * (BN * 4 / TN) + tx + j % 4] = total;
    }
    add_parts<PARTS>(parts);
    if (pass == 0) {
#pragma unroll
      for (int j = 0; j < TN; j++) mean[j] = parts[j / 4 * (BN * 4 / TN) + tx + j % 4] / count;
      __syncthreads();
    }
  }
  const int slab = blockIdx.z * gridDim.y + blockIdx.y;
  STAT* records = partials + (long long)slab * gridDim.x * Record<BN, STAT>::SIZE;
  STAT* record = records + (long long)blockIdx.x * Record<BN, STAT>::SIZE;
  if (ty == 0) {
#pragma unroll
    for (int j = 0; j < TN; j++) {
      int n = j / 4 * (BN * 4 / TN) + tx + j % 4;
      record[n] = mean[j];
      record[Record<BN, STAT>::SPREAD + n] = parts[n];
    }
    if (tx == 0) record[Record<BN, STAT>::COUNT] = count;
  }
  extern __shared__ ulonglong2 room[];
  __shared__ int last;
  if (counters != nullptr && is_last_block(counters + slab, gridDim.x, &last)) {
    const int channel0 = g.group * g.n_channels + n0;
    merge_records<BN, THREADS>(records, room, parts, mean_of_all + channel0, variance_of_all + channel0, gridDim.x,
                               g.n_channels - n0, (C)g.pixels);
  }
#endif
}
