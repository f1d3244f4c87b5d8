// The weight gradient of a 3 x 3 convolution with stride 1 of images with up to three channels, on tensor cores: all
// nine taps from one read of the image. A first layer's.
//
// The product is that of conv_weight_mma.cu: rows k = (tap y, tap x, channel), up to 27 of 32, x 32 filters, summed
// over pixels. A block has a range of tiles of 8 x 16 output pixels (blockIdx.z) and 32 filters (blockIdx.y). For each
// tile it copies the 10 x 18 pixels of x around it and the tile of the gradient to shared memory, STAGES - 1 tiles
// ahead. Elements of x lie as in memory, so that row k of the product at pixel p is the element that lies k's offset
// behind p's first one: the taps of a row of the kernel lie next to each other. Each of eight warps takes a row of the
// tile. In the end the warps' sums are added in order, and go to the workspace, [range][k][f], which sum_partials adds
// in order. The bias's gradient, the sum over pixels of the gradient, comes along where `bias` is not null.
//
// Macros: PRECISION (TF32 or BF16), T (float) as in conv_tensor.cuh; CHANNELS, STAGES, RESULT; VEC_Y: sums stored at
// once, several or 1. The image's rows and columns must be multiples of 8 and 16: no pixel outside is multiplied, so
// neither is an infinity by its zero. Filters and the gradient's address are multiples of a chunk.
// Shared memory: 2 wavefronts a product; no bank is met twice by different elements of x (three channels), nor of the
// gradient, whose lines are 8 elements longer than a multiple of 32. Bytes: the gradient once, and 1.4 times the image
// for each 32 filters. Limit: memory.
//
// variant sm_80+: PRECISION=TF32 T=float RESULT=float VEC_Y=4 CHANNELS={1,3} STAGES=4
// variant sm_80+: PRECISION=BF16 T=float RESULT=float VEC_Y={1,4} CHANNELS=3 STAGES=4
#define WM 32
#define WN 32
#include "conv_bias.cuh"
#include "conv_tensor.cuh"
#include "conv_tiles.cuh"

const int TH = 8, TW = 16, THREADS = TH * 32;
const int K = 9 * CHANNELS, BM = 32, BN = 32;
const int X_LINE = (TW + 2) * CHANNELS, X_ELEMENTS = (TH + 2) * X_LINE;
const int X_SIZE = (X_ELEMENTS + CHUNK - 1) / CHUNK * CHUNK;
const int G_LINE = BN + PAD;
const int STAGE_SIZE = X_SIZE + TH * TW * G_LINE;
const int WARP_SUMS = MI * NI * 32;  // float4s

// Fragment a, 16 rows k x one product's pixels: `pixel` points to the first pixel's first element, and row i of the two
// that this lane has lies offset[i] behind it.
__device__ __forceinline__ void load_taps(unsigned (&a)[4], const float* pixel, const int (&offset)[2]) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float* p = pixel + (t + i / 2 * (K_STEP / 2)) * CHANNELS + offset[i % 2];
#if PRECISION == BF16
    a[i] = bfloat16_pair(p[0], p[4 * CHANNELS]);
#else
    a[i] = tf32(p[0]);
#endif
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv_weight_few(const T* __restrict__ x, const T* __restrict__ gradient, RESULT* __restrict__ result,
                RESULT* __restrict__ bias, long long tiles_per_range, int ranges, long long range_size,
                const Convolution c) {
  extern __shared__ Chunk shared[];

  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, n0 = blockIdx.y * BN;
  const int tiles = c.images * (c.rows / TH) * (c.columns / TW);
  const int begin = blockIdx.z * (int)tiles_per_range, end = min(tiles, begin + (int)tiles_per_range);

  auto copy_tile = [&](const TilePlace<TH, TW>& at, T* x_lines) {
    const T* x_image = x + (long long)at.image * c.height * c.width * CHANNELS;
#pragma unroll 1
    for (int i = tid; i < X_ELEMENTS; i += THREADS) {
      const int row = at.y - c.top + i / X_LINE, element = (at.x - c.left) * CHANNELS + i % X_LINE;
      const bool inside = (unsigned)row < (unsigned)c.height && (unsigned)element < (unsigned)(c.width * CHANNELS);
      copy_element(x_lines + i, inside ? x_image + row * c.width * CHANNELS + element : nullptr, x);
    }
    copy_gradient<BN, G_LINE, THREADS>(gradient, x_lines + X_SIZE, at, c, n0);
  };

  // Rows behind the last one multiply what does not matter, and are not stored.
  int offset[MI][2];
#pragma unroll
  for (int mi = 0; mi < MI; mi++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int k = mi * 16 + i * 8 + lane / 4;
      offset[mi][i] = k < K ? k / (3 * CHANNELS) * X_LINE + k % (3 * CHANNELS) : 0;
    }
  }
  float sum[MI][NI][4] = {};
  const bool sums_bias = bias != nullptr;
  ColumnSums<float, BN, THREADS> bias_sums;
  TilePlace<TH, TW> next(begin, c.rows, c.columns);
  // In the first rounds there are only tiles to copy: code that is there once is fetched once.
#pragma unroll 1
  for (int tile = begin + 1 - STAGES; tile < end; tile++) {
    // After the barrier all copies of this tile have landed, and nobody reads the one that is written next.
    await_copies<STAGES - 2>();
    __syncthreads();
    if (tile + STAGES - 1 < end) {
      copy_tile(next, (T*)shared + (tile + STAGES - 1) % STAGES * STAGE_SIZE);
      next.advance(c.rows, c.columns);
    }
    end_of_copies();
    if (tile < begin) continue;
    const T* x_lines = (const T*)shared + tile % STAGES * STAGE_SIZE;
    const T* g_lines = x_lines + X_SIZE;
    if (sums_bias) bias_sums.template add<TH * TW, G_LINE>(g_lines);
#pragma unroll
    for (int k = 0; k < TW; k += K_STEP) {
      unsigned a[MI][4], b[NI][2];
#pragma unroll
      for (int mi = 0; mi < MI; mi++) load_taps(a[mi], x_lines + warp * X_LINE + k * CHANNELS, offset[mi]);
#pragma unroll
      for (int ni = 0; ni < NI; ni += 2) {
        const T* first = g_lines + (warp * TW + k) * G_LINE + ni * 8;
        unsigned (&two)[2][2] = *(unsigned (*)[2][2])&b[ni];
        load_b_lines_of_n(two, [&](int pixel) { return first + pixel * G_LINE; });
      }
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
#pragma unroll
        for (int ni = 0; ni < NI; ni++) multiply(sum[mi][ni], a[mi], b[ni]);
      }
    }
  }
  await_copies<0>();

  if (sums_bias) {
    const float total = bias_sums.total((float*)shared);
    const int n = n0 + tid;
    if (tid < BN && n < c.filters) bias[blockIdx.z * range_size + n] = store<RESULT>(total);
  }
  // Each warp leaves its sums; each thread adds four of all warps, those of one product's fragment.
  float4* left = (float4*)shared;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < MI * NI; i++) {
    const float(&s)[4] = sum[i / NI][i % NI];
    left[warp * WARP_SUMS + i * 32 + lane] = make_float4(s[0], s[1], s[2], s[3]);
  }
  __syncthreads();
  static_assert(WARP_SUMS == THREADS, "a thread for every four sums");
  float4 all = left[tid];
#pragma unroll
  for (int other = 1; other < TH; other++) {
    const float4 s = left[other * WARP_SUMS + tid];
    all.x += s.x, all.y += s.y, all.z += s.z, all.w += s.w;
  }
  const int k = warp / NI * 16 + lane / 4, n = n0 + warp % NI * 8 + lane % 4 * 2;
  if (n >= c.filters) return;
  RESULT* out = result + blockIdx.z * range_size + k * c.filters + n;
  if (k < K) store_pair<(VEC_Y > 1)>(out, all.x, all.y, true);
  if (k + 8 < K) store_pair<(VEC_Y > 1)>(out + 8 * c.filters, all.z, all.w, true);
}
