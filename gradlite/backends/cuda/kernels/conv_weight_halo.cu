// The weight gradient of a 3 x 3 convolution with stride 1 on tensor cores: all nine taps from one read of the image.
//
// A block has CB channels, BN filters and a range of tiles of TH x 16 output pixels (blockIdx.z). For each tile it
// copies the (TH + 2) x 18 pixels of x around it and the tile of the gradient to shared memory, STAGES - 1 tiles
// ahead. A warp computes 16 channels x 16 filters for all taps, 72 sums a thread, over its slice of the tile's rows.
// Row r of x meets rows r, r - 1 and r - 2 of the gradient at the three taps of a column: those three rows' fragments
// stay in registers, and a fragment of x is loaded once for three products. In the end slices are added in pairs, and
// the block's sums go to the workspace, [range][k][f], which sum_partials adds in order. The bias's gradient, the sum
// over pixels of the gradient, comes along where `bias` is not null.
//
// Macros: PRECISION, T as in conv_tensor.cuh; CB (16 or a multiple), BN (a multiple of 32), TH, SLICES (dividing TH),
// STAGES, RESULT; VEC_Y: sums stored at once, several or 1. The image's rows and columns must be multiples of TH and
// 16: no pixel outside is multiplied, so neither is an infinity by its zero. Channel counts and addresses are multiples
// of a chunk.
// TF32: a thread rounds what it has copied, once for all warps that read it, and adds up the bias's gradient meanwhile.
// The order of k within a product is free as long as both factors have the same, and so is that of rows: lane t's
// k = t, t + 4 are pixels 2t and 2t + 1, so that its four pixels from 2t on serve three taps, and rows g and g + 8 are
// channels 2g and 2g + 1, which are read at once.
// Shared memory: lines are 8 elements longer than a multiple of 16 (TF32: 4), so the 4 pixels x 8 channels that a warp
// reads meet every bank once (float16: by ldmatrix, likewise). TF32: 0.9 wavefronts a product for slices of 4 rows, 0.8
// for 8.
// Bytes: (1 + 2 / TH)(1 + 2 / 16) times the image for each BN filters, the gradient for each CB channels, and twice the
// workspace. 18 operations a pixel, channel and filter. Limit: tensor cores.
//
// variant sm_80+: PRECISION={TF32,BF16} T=float RESULT=float VEC_Y=4 CB=32 BN=32 SLICES=2 TH=8 STAGES={2,3}
// variant sm_80+: PRECISION=TF32 T=float RESULT=float VEC_Y={1,4} CB=32 BN=64 SLICES=1 TH=8 STAGES=3
// variant sm_75+: PRECISION=FP16 T=half_t RESULT=half_t VEC_Y={1,2} CB=16 BN=32 SLICES=4 TH=8 STAGES=3
// variant sm_75+: PRECISION=FP16 T=half_t RESULT=float VEC_Y=4 CB=32 BN=64 SLICES=1 TH=8 STAGES=3
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t RESULT=float VEC_Y=4 CB=32 BN=64 SLICES=1 TH=8 STAGES=3
#define WM 16
#define WN 16  // two products, as the fragments of the gradient come
#include "conv_bias.cuh"
#include "conv_tensor.cuh"
#include "conv_tiles.cuh"

const int TW = 16, HALO_W = TW + 2;
const int TILES_C = CB / WM, TILES_N = BN / WN, SLICE_THREADS = TILES_C * TILES_N * 32;
const int THREADS = SLICE_THREADS * SLICES;
const int ROWS = TH / SLICES;                          // of the gradient, in a slice
const int GAP = PRECISION == TF32 ? 4 : PAD;
const int X_LINE = CB + GAP, G_LINE = BN + GAP;        // elements of a pixel in shared memory
const int X_PIXELS = (TH + 2) * HALO_W, G_PIXELS = TH * TW;
const int X_CHUNKS = CB / CHUNK, G_CHUNKS = BN / CHUNK;                // of a pixel
const int X_STEP = THREADS / X_CHUNKS, G_STEP = THREADS / G_CHUNKS;    // pixels that the block copies at once
const int X_SIZE = X_PIXELS * X_LINE, STAGE_SIZE = X_SIZE + G_PIXELS * G_LINE;

// Pixels of a row of x that a lane has for the three taps of one product's k; `line` is channel 0 of the first pixel.
struct TapPixels {
#if PRECISION == TF32
  Vector<unsigned, 2> at[4];

  __device__ __forceinline__ explicit TapPixels(const float* line) {
    const float* mine = line + threadIdx.x % 4 * 2 * X_LINE + threadIdx.x % 32 / 4 * 2;
#pragma unroll
    for (int j = 0; j < 4; j++) at[j] = *(const Vector<unsigned, 2>*)(mine + j * X_LINE);
  }

  __device__ __forceinline__ void fragment(unsigned (&a)[4], int tap) const {
    a[0] = at[tap].at[0], a[1] = at[tap].at[1];
    a[2] = at[tap + 1].at[0], a[3] = at[tap + 1].at[1];
  }
#else
  const T* line;

  __device__ __forceinline__ explicit TapPixels(const T* line) : line(line) {}

  __device__ __forceinline__ void fragment(unsigned (&a)[4], int tap) const {
    load_a_lines_of_m(a, [&](int pixel) { return line + (tap + pixel) * X_LINE; });
  }
#endif
};

// The fragments of two products' columns, of the gradient's pixels from `line` on.
__device__ __forceinline__ void load_gradient(unsigned (&b)[2][2], const T* line) {
#if PRECISION == TF32
  const float* mine = line + threadIdx.x % 4 * 2 * G_LINE + threadIdx.x % 32 / 4;
#pragma unroll
  for (int n = 0; n < 2; n++) {
#pragma unroll
    for (int i = 0; i < 2; i++) b[n][i] = __float_as_uint(mine[i * G_LINE + n * 8]);
  }
#else
  load_b_lines_of_n(b, [&](int pixel) { return line + pixel * G_LINE; });
#endif
}

// Elements of a chunk that this thread has copied.
struct __align__(16) Copied { T at[CHUNK]; };

__device__ __forceinline__ void round_copied(T* chunk, Copied& copied) {
#if PRECISION == TF32
#pragma unroll
  for (int i = 0; i < CHUNK; i++) copied.at[i] = __uint_as_float(tf32(copied.at[i]));
  *(Copied*)chunk = copied;
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_weight_halo(const T* __restrict__ x, const T* __restrict__ gradient, RESULT* __restrict__ result,
                 RESULT* __restrict__ bias, long long tiles_per_range, int ranges, long long range_size,
                 const Convolution c) {
  extern __shared__ Chunk shared[];

  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int c0 = blockIdx.x * CB, n0 = blockIdx.y * BN;
  const int tiles = c.images * (c.rows / TH) * (c.columns / TW);
  const int begin = blockIdx.z * (int)tiles_per_range, end = min(tiles, begin + (int)tiles_per_range);

  // Every thread copies one chunk of some pixels.
  const int x_chunk = tid % X_CHUNKS * CHUNK, x_first = tid / X_CHUNKS;
  const int g_chunk = tid % G_CHUNKS * CHUNK, g_first = tid / G_CHUNKS;
  const bool x_inside = c0 + x_chunk < c.channels;
  auto copy_tile = [&](const TilePlace<TH, TW>& at, T* x_lines) {
    const T* x_image = x + (long long)at.image * c.height * c.width * c.channels + c0 + x_chunk;
    T* to = x_lines + x_first * X_LINE + x_chunk;
#pragma unroll 1
    for (int pixel = x_first; pixel < X_PIXELS; pixel += X_STEP, to += X_STEP * X_LINE) {
      int row = at.y - c.top + pixel / HALO_W, column = at.x - c.left + pixel % HALO_W;
      bool inside = x_inside && (unsigned)row < (unsigned)c.height && (unsigned)column < (unsigned)c.width;
      const T* p = x_image + (row * c.width + column) * c.channels;
      copy_chunk((Chunk*)to, inside ? p : nullptr, x);
    }
    copy_gradient<BN, G_LINE, THREADS>(gradient, x_lines + X_SIZE, at, c, n0);
  };

  const int slice = warp / (TILES_C * TILES_N);
  const int channel0 = warp % TILES_C * WM, column0 = warp / TILES_C % TILES_N * WN;
  float sum[9][NI][4] = {};
  const bool sums_bias = bias != nullptr && blockIdx.x == 0;
  float bias_sums[CHUNK] = {};  // of this thread's chunks of the gradient
  auto look_at_copies = [&](T* x_lines) {
#if PRECISION == TF32
#pragma unroll 1
    for (int pixel = x_first; pixel < X_PIXELS; pixel += X_STEP) {
      T* chunk = x_lines + pixel * X_LINE + x_chunk;
      Copied copied = *(const Copied*)chunk;
      round_copied(chunk, copied);
    }
#endif
    if (PRECISION != TF32 && !sums_bias) return;
#pragma unroll 1
    for (int pixel = g_first; pixel < G_PIXELS; pixel += G_STEP) {
      T* chunk = x_lines + X_SIZE + pixel * G_LINE + g_chunk;
      Copied copied = *(const Copied*)chunk;
#pragma unroll
      for (int i = 0; i < CHUNK; i++) bias_sums[i] += load(copied.at[i]);
      round_copied(chunk, copied);
    }
  };
  TilePlace<TH, TW> next(begin, c.rows, c.columns);
  // In the first rounds there are only tiles to copy: code that is there once is fetched once.
#pragma unroll 1
  for (int tile = begin + 1 - STAGES; tile < end; tile++) {
    // After the barrier all copies of this tile have landed, and nobody reads the one that is written next.
    await_copies<STAGES - 2>();
    if (tile >= begin) look_at_copies((T*)shared + tile % STAGES * STAGE_SIZE);
    __syncthreads();
    if (tile + STAGES - 1 < end) {
      copy_tile(next, (T*)shared + (tile + STAGES - 1) % STAGES * STAGE_SIZE);
      next.advance(c.rows, c.columns);
    }
    end_of_copies();
    if (tile < begin) continue;
    const T* x_lines = (const T*)shared + tile % STAGES * STAGE_SIZE;
    const T* g_lines = x_lines + X_SIZE;
#pragma unroll 1
    for (int k = 0; k < TW; k += K_STEP) {
      unsigned b[3][NI][2];
#pragma unroll
      for (int row = 0; row < ROWS + 2; row++) {
        if (row < ROWS) load_gradient(b[row % 3], g_lines + ((slice * ROWS + row) * TW + k) * G_LINE + column0);
        const TapPixels pixels(x_lines + ((slice * ROWS + row) * HALO_W + k) * X_LINE + channel0);
#pragma unroll
        for (int tap_x = 0; tap_x < 3; tap_x++) {
          unsigned a[4];
          pixels.fragment(a, tap_x);
#pragma unroll
          for (int tap_y = 0; tap_y < 3; tap_y++) {
            if (row - tap_y < 0 || row - tap_y >= ROWS) continue;
#pragma unroll
            for (int ni = 0; ni < NI; ni++) multiply(sum[tap_y * 3 + tap_x][ni], a, b[(row - tap_y) % 3][ni]);
          }
        }
      }
    }
  }
  await_copies<0>();

  if (sums_bias) {
    // Lanes that have the same filters, then the warps in order.
    float* parts = (float*)shared;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < CHUNK; i++) {
#pragma unroll
      for (int other = G_CHUNKS; other < 32; other *= 2) {
        bias_sums[i] += __shfl_xor_sync(0xffffffffu, bias_sums[i], other);
      }
      if (lane < G_CHUNKS) parts[warp * BN + g_chunk + i] = bias_sums[i];
    }
    __syncthreads();
    if (tid < BN && n0 + tid < c.filters) {
      float total = 0;
#pragma unroll
      for (int part = 0; part < THREADS / 32; part++) total += parts[part * BN + tid];
      bias[blockIdx.z * range_size + n0 + tid] = store<RESULT>(total);
    }
  }
  // The upper half of the slices leaves its sums to the lower half, until one slice has them all: 16 bytes at once.
  float4* left = (float4*)shared + tid % SLICE_THREADS;
#pragma unroll 1
  for (int half = SLICES / 2; half > 0; half /= 2) {
    float4* mine = left + slice % half * (9 * NI * SLICE_THREADS);
    __syncthreads();
    if (slice >= half && slice < 2 * half) {
#pragma unroll
      for (int i = 0; i < 9 * NI; i++) {
        const float(&s)[4] = sum[i / NI][i % NI];
        mine[i * SLICE_THREADS] = make_float4(s[0], s[1], s[2], s[3]);
      }
    }
    __syncthreads();
    if (slice < half) {
#pragma unroll
      for (int i = 0; i < 9 * NI; i++) {
        const float4 other = mine[i * SLICE_THREADS];
        float(&s)[4] = sum[i / NI][i % NI];
        s[0] += other.x, s[1] += other.y, s[2] += other.z, s[3] += other.w;
      }
    }
  }
  if (slice != 0) return;

  // The lane's first channel and filter, and how far its other channel is.
  const int channel = c0 + channel0 + lane / 4 * (PRECISION == TF32 ? 2 : 1), other = PRECISION == TF32 ? 1 : 8;
  const int n = n0 + column0 + lane % 4 * 2;
  RESULT* out = result + blockIdx.z * range_size + (long long)channel * c.filters + n;
#pragma unroll
  for (int tap = 0; tap < 9; tap++, out += c.channels * c.filters) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      RESULT* line = out + half * other * c.filters;
#pragma unroll
      for (int ni = 0; ni < NI; ni++) {
        const float* pair = sum[tap][ni] + 2 * half;
        if (channel + half * other >= c.channels || n + ni * 8 >= c.filters) continue;
        store_pair<(VEC_Y > 1)>(line + ni * 8, pair[0], pair[1], true);
      }
    }
  }
}
