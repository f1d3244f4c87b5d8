// Convolution of images of few channels on tensor cores: a network's first layer.
//
// A block computes TH x 16 destination pixels of one image, BN channels of them. Three channels are no chunk that could
// be copied at once, but the pixels of a row lie without gaps, so a row of the patch that these need is one range of
// memory: lanes read neighbouring elements, and what lies outside the image is the range's ends. The patch and all of w
// go to shared memory, rounded on the way, everything in one journey. Of the product's k = (tap y, tap x, channel) those
// of a tap row are neighbours in the patch as well, whatever the pixel: the fragment of pixel p is read at
// start(p) + offset(k).
//
// Macros: those of conv_results.cuh (WM a multiple of 16); TH, BN; CHANNELS, KERNEL_H, KERNEL_W, STRIDE_Y, STRIDE_X; VEC_B:
// elements of w read at once, a chunk's or 1. Needs one group and no dilation.
// Shared memory: neighbouring pixels lie CHANNELS * STRIDE_X elements apart; for 3 the 8 pixels x 4 elements of k that a
// warp reads are 25 neighbours, one wavefront. w as lines [k] of n, as in conv_tensor.cuh.
// Bytes: the image once for each BN channels, y once. Limit: memory; for small images latency.
//
// variant sm_80+: PRECISION={TF32,BF16} T=float TH=16 BN=32 WM=32 WN=32 CHANNELS=3 KERNEL_H=3 KERNEL_W=3 STRIDE_Y=1 STRIDE_X=1 VEC_B=4 VEC_Y=4 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float TH={8,32} BN=32 WM=32 WN=32 CHANNELS=1 KERNEL_H=5 KERNEL_W=5 STRIDE_Y=1 STRIDE_X=1 VEC_B=4 VEC_Y=4 ACTIVATION=0 STATISTICS=0
// variant sm_80+: PRECISION=TF32 T=float TH=16 BN=64 WM=64 WN=32 CHANNELS=3 KERNEL_H=7 KERNEL_W=7 STRIDE_Y=2 STRIDE_X=2 VEC_B=1 VEC_Y=1 ACTIVATION=2 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t TH=16 BN=32 WM=32 WN=32 CHANNELS=3 KERNEL_H=3 KERNEL_W=3 STRIDE_Y=1 STRIDE_X=1 VEC_B=8 VEC_Y=8 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t TH=8 BN=64 WM=32 WN=32 CHANNELS=3 KERNEL_H=3 KERNEL_W=3 STRIDE_Y=1 STRIDE_X=1 VEC_B=8 VEC_Y=8 ACTIVATION=1 STATISTICS=0
#include "conv_results.cuh"

// What lies in shared memory: what the tensor cores take.
#if PRECISION == TF32
typedef unsigned Factor;
__device__ __forceinline__ Factor factor(float x) { return tf32(x); }
#elif PRECISION == BF16
typedef unsigned short Factor;
__device__ __forceinline__ Factor factor(float x) { return float_to_bfloat16(x).bits; }
#else
typedef unsigned short Factor;
__device__ __forceinline__ Factor factor(T x) { return x.bits; }
#endif

const int TW = 16, TAP_ROW = KERNEL_W * CHANNELS, K = KERNEL_H * TAP_ROW, K_LINES = (K + K_STEP - 1) / K_STEP * K_STEP;
const int THREADS = TH * TW / WM * (BN / WN) * 32, WARPS = THREADS / 32;
const int LINE = ((TW - 1) * STRIDE_X + KERNEL_W) * CHANNELS, LINES = (TH - 1) * STRIDE_Y + KERNEL_H;  // the patch
const int LINE_PASSES = (LINE + 31) / 32, PASSES = (LINES + WARPS - 1) / WARPS;
const int W_LINE = BN + PAD, W_CHUNKS = K_LINES * (BN / VEC_B), W_PASSES = (W_CHUNKS + THREADS - 1) / THREADS;

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_few(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ y,
         float* __restrict__ partials, float* __restrict__ mean, float* __restrict__ variance,
         int* __restrict__ counters, const Convolution c) {
  extern __shared__ Chunk shared[];
  Factor* weights = (Factor*)shared;
  Factor* patch = weights + K_LINES * W_LINE;

  const unsigned tiles_x = (unsigned)(c.columns + TW - 1) / TW, tiles_y = (unsigned)(c.rows + TH - 1) / TH;
  const unsigned tile_row = blockIdx.x / tiles_x, image = tile_row / tiles_y;
  const int y0 = (int)(tile_row - image * tiles_y) * TH, x0 = (int)(blockIdx.x - tile_row * tiles_x) * TW;
  const int n0 = blockIdx.y * BN;
  const unsigned tid = threadIdx.x;
  const int lane = tid % 32, warp = tid / 32;
  const float own_bias = bias_of(bias != nullptr ? bias + n0 : nullptr, c.filters - n0);

  // A warp reads every WARPS-th line of the patch, 32 elements at once. All loads are under way before any is used.
  const int image_line = c.width * CHANNELS;
  const int row0 = y0 * STRIDE_Y - c.top + warp, column0 = (x0 * STRIDE_X - c.left) * CHANNELS + lane;
  const T* from = x + (long long)image * (c.height * image_line) + (row0 * image_line + column0);
  T pixels[PASSES][LINE_PASSES];
#pragma unroll
  for (int i = 0; i < PASSES; i++) {
#pragma unroll
    for (int j = 0; j < LINE_PASSES; j++) {
      bool inside = (unsigned)(row0 + i * WARPS) < (unsigned)c.height &&
                    (unsigned)(column0 + j * 32) < (unsigned)image_line;
      pixels[i][j] = inside ? from[j * 32] : T{};
    }
    from += WARPS * image_line;
  }
#pragma unroll 4
  for (int i = 0; i < W_PASSES; i++) {
    const unsigned index = tid + i * THREADS;
    const int k = index / (BN / VEC_B), n = index % (BN / VEC_B) * VEC_B;
    if (W_CHUNKS % THREADS != 0 && index >= W_CHUNKS) break;
    const T* p = w + k * c.filters + n0 + n;
    const Vector<T, VEC_B> chunk = read<T, VEC_B>(k < K && n0 + n < c.filters ? p : nullptr);
#pragma unroll
    for (int v = 0; v < VEC_B; v++) weights[k * W_LINE + n + v] = factor(chunk.at[v]);
  }
#pragma unroll
  for (int i = 0; i < PASSES; i++) {
#pragma unroll
    for (int j = 0; j < LINE_PASSES; j++) {
      const int line = warp + i * WARPS, element = lane + j * 32;
      if (line < LINES && element < LINE) patch[line * LINE + element] = factor(pixels[i][j]);
    }
  }
  __syncthreads();

  const int warp_row = warp / (BN / WN) * WM, warp_column = warp % (BN / WN) * WN;
  const int g = lane / 4, t = lane % 4;
  const Factor* start = patch + warp_row / TW * STRIDE_Y * LINE + g * STRIDE_X * CHANNELS;
  float sum[MI][NI][4] = {};
#pragma unroll 1
  for (int k0 = 0; k0 < K_LINES; k0 += K_STEP) {
    // The element of k at a pixel of the first 8; zero behind the last k, where an infinity would make it NaN.
    auto element = [&](int k, int pixel) {
      const Factor* p = start + k / TAP_ROW * LINE + k % TAP_ROW;
      return k < K ? (unsigned)p[pixel / TW * STRIDE_Y * LINE + pixel % TW * STRIDE_X * CHANNELS] : 0u;
    };
    unsigned a[MI][4], b[NI][2];
#pragma unroll
    for (int mi = 0; mi < MI; mi++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int pixel = mi * 16 + i % 2 * 8;
#if PRECISION == TF32
        a[mi][i] = element(k0 + t + i / 2 * 4, pixel);
#else
        const int k = k0 + 2 * t + i / 2 * 8;
        a[mi][i] = element(k, pixel) | element(k + 1, pixel) << 16;
#endif
      }
    }
#if PRECISION == TF32
    const Factor* line = weights + (k0 + t) * W_LINE + warp_column + g;
#pragma unroll
    for (int ni = 0; ni < NI; ni++) {
      b[ni][0] = line[ni * 8];
      b[ni][1] = line[4 * W_LINE + ni * 8];
    }
#else
    const Factor* line = weights + (k0 + lane % 16) * W_LINE + warp_column + lane / 16 * 8;
#pragma unroll
    for (int ni = 0; ni < NI; ni += 2) ldmatrix_4_transposed(b[ni], line + ni * 8);
#endif
#pragma unroll
    for (int mi = 0; mi < MI; mi++) {
#pragma unroll
      for (int ni = 0; ni < NI; ni++) multiply(sum[mi][ni], a[mi], b[ni]);
    }
  }

  T* y_image = y + (long long)image * (c.rows * c.columns * c.filters) + n0;
  auto destination = [&](int row) {
    int row_y = y0 + row / TW, row_x = x0 + row % TW;
    return row_y < c.rows && row_x < c.columns ? (row_y * c.columns + row_x) * c.filters : -1;
  };
  const Statistics all{partials, mean + n0, variance + n0, counters, (float)((long long)c.images * c.rows * c.columns)};
  finish<TH * TW, BN, THREADS>(sum, shared, y_image, own_bias, warp_row, warp_column,
                               c.filters - n0, destination, all,
                               (float)(min(TH, c.rows - y0) * min(TW, c.columns - x0)));
}
