// The weight gradient of a 3 x 3 convolution with stride 1 on tensor cores: all nine taps from one read of the image.
//
// A block has CB channels, BN filters and a range of tiles of TH x 16 output pixels (blockIdx.z). For each tile it
// copies the (TH + 2) x 18 pixels of x around it and the tile of the gradient to shared memory, two tiles under way at
// once. A warp computes 16 channels x 32 filters for all taps, 144 sums a thread, over its slice of the tile's rows.
// Row r of x meets rows r, r - 1 and r - 2 of the gradient at the three taps of a column: those three rows' fragments
// stay in registers, and a fragment of x is loaded once for three products. In the end the slices are added in order,
// and the block's sums go to the workspace, [range][k][f], which sum_partials adds in order. The bias's gradient, the
// sum over pixels of the gradient, comes along where `bias` is not null.
//
// Macros: PRECISION, T as in conv_tensor.cuh; CB (16 or a multiple), BN (a multiple of 32), TH, SLICES (dividing TH),
// RESULT. The image's rows and columns must be multiples of TH and 16: no pixel outside is multiplied, so neither is an
// infinity by its zero. Channel counts and addresses are multiples of a chunk.
// Shared memory: lines are 8 elements longer than a multiple of 16, so the 4 pixels x 8 channels that a warp reads meet
// every bank once (float16: by ldmatrix, likewise). TF32: 0.7 wavefronts a product for slices of 4 rows, 0.9 for 2.
// Bytes: (1 + 2 / TH)(1 + 2 / 16) times the image for each BN filters, the gradient for each CB channels, and twice the
// workspace. 18 operations a pixel, channel and filter. Limit: tensor cores.
//
// variant sm_80+: PRECISION={TF32,BF16} T=float RESULT=float CB=32 BN=32 SLICES=4 TH=8
// variant sm_80+: PRECISION=TF32 T=float RESULT=float CB=32 BN=64 SLICES=2 TH=8
// variant sm_75+: PRECISION=FP16 T=half_t RESULT=half_t CB=16 BN=32 SLICES=4 TH=8
// variant sm_75+: PRECISION=FP16 T=half_t RESULT=float CB=32 BN=64 SLICES=2 TH=8
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t RESULT=float CB=32 BN=64 SLICES=2 TH=8
#define WM 16
#define WN 32
#define ACTIVATION 0
#define STATISTICS 0
#define VEC_Y 1
#include "conv_bias.cuh"
#include "conv_tensor.cuh"

const int TW = 16, HALO_W = TW + 2, STAGES = 2;
const int TILES_C = CB / 16, TILES_N = BN / 32;
const int THREADS = TILES_C * TILES_N * SLICES * 32;
const int ROWS = TH / SLICES;                          // of the gradient, in a slice
const int X_LINE = CB + PAD, G_LINE = BN + PAD;        // elements of a pixel in shared memory
const int X_CHUNKS = (TH + 2) * HALO_W * (CB / CHUNK), G_CHUNKS = TH * TW * (BN / CHUNK);
const int X_SIZE = (TH + 2) * HALO_W * X_LINE, STAGE_SIZE = X_SIZE + TH * TW * G_LINE;

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_weight_halo(const T* __restrict__ x, const T* __restrict__ gradient, RESULT* __restrict__ result,
                 RESULT* __restrict__ bias, long long tiles_per_range, int ranges, long long range_size,
                 const Convolution c) {
  extern __shared__ Chunk shared[];

  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int c0 = blockIdx.x * CB, n0 = blockIdx.y * BN;
  const int tiles_x = c.columns / TW, tiles_y = c.rows / TH;
  const long long tiles = (long long)c.images * tiles_y * tiles_x;
  const long long begin = blockIdx.z * tiles_per_range, end = min(tiles, begin + tiles_per_range);

  auto copy_tile = [&](long long tile) {
    T* x_lines = (T*)shared + tile % STAGES * STAGE_SIZE;
    T* g_lines = x_lines + X_SIZE;
    const long long tile_row = tile / tiles_x;
    const int image = (int)(tile_row / tiles_y);
    const int x0 = (int)(tile - tile_row * tiles_x) * TW, y0 = (int)(tile_row - (long long)image * tiles_y) * TH;
    const T* x_image = x + (long long)image * c.height * c.width * c.channels;
    const T* g_image = gradient + (long long)image * c.rows * c.columns * c.filters;
#pragma unroll 1
    for (int index = tid; index < X_CHUNKS; index += THREADS) {
      int pixel = index / (CB / CHUNK), channel = index % (CB / CHUNK) * CHUNK;
      int row = y0 - c.top + pixel / HALO_W, column = x0 - c.left + pixel % HALO_W;
      bool inside = (unsigned)row < (unsigned)c.height && (unsigned)column < (unsigned)c.width &&
                    c0 + channel < c.channels;
      const T* p = x_image + (row * c.width + column) * c.channels + c0 + channel;
      copy_chunk((Chunk*)(x_lines + pixel * X_LINE + channel), inside ? p : nullptr, x);
    }
#pragma unroll 1
    for (int index = tid; index < G_CHUNKS; index += THREADS) {
      int pixel = index / (BN / CHUNK), n = index % (BN / CHUNK) * CHUNK;
      const T* p = g_image + ((y0 + pixel / TW) * c.columns + x0 + pixel % TW) * c.filters + n0 + n;
      copy_chunk((Chunk*)(g_lines + pixel * G_LINE + n), n0 + n < c.filters ? p : nullptr, gradient);
    }
  };

  const int slice = warp / (TILES_C * TILES_N);
  const int channel0 = warp % TILES_C * 16, column0 = warp / TILES_C % TILES_N * 32;
  float sum[9][NI][4] = {};
  const bool sums_bias = bias != nullptr && blockIdx.x == 0;
  ColumnSums<float, BN, THREADS> bias_sums;
  if (begin < end) copy_tile(begin);
  end_of_copies();
  for (long long tile = begin; tile < end; tile++) {
    // After the barrier all copies of this tile have landed, and nobody reads the one that is written next.
    await_copies<0>();
    __syncthreads();
    if (tile + 1 < end) copy_tile(tile + 1);
    end_of_copies();
    const T* x_lines = (const T*)shared + tile % STAGES * STAGE_SIZE;
    const T* g_lines = x_lines + X_SIZE;
    if (sums_bias) bias_sums.template add<TH * TW, G_LINE>(g_lines);
#pragma unroll 1
    for (int k = 0; k < TW; k += K_STEP) {
      unsigned b[3][NI][2];
#pragma unroll
      for (int row = 0; row < ROWS + 2; row++) {
        if (row < ROWS) {
          const T* g_row = g_lines + ((slice * ROWS + row) * TW + k) * G_LINE + column0;
#pragma unroll
          for (int ni = 0; ni < NI; ni += 2) {
            unsigned (&two)[2][2] = *(unsigned (*)[2][2])&b[row % 3][ni];
            load_b_lines_of_n(two, [&](int pixel) { return g_row + ni * 8 + pixel * G_LINE; });
          }
        }
#pragma unroll
        for (int tap_x = 0; tap_x < 3; tap_x++) {
          const T* x_row = x_lines + ((slice * ROWS + row) * HALO_W + k + tap_x) * X_LINE + channel0;
          unsigned a[4];
          load_a_lines_of_m(a, [&](int pixel) { return x_row + pixel * X_LINE; });
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
    float sum_of_column = bias_sums.total((float*)shared);
    int n = n0 + tid;
    if (tid < BN && n < c.filters) bias[blockIdx.z * range_size + n] = store<RESULT>(sum_of_column);
  }
  // Slice by slice into shared memory, [tap][channel][filter].
  float* total = (float*)shared;
  const int g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int turn = 0; turn < SLICES; turn++) {
    __syncthreads();
    if (slice != turn) continue;
#pragma unroll
    for (int tap = 0; tap < 9; tap++) {
#pragma unroll
      for (int ni = 0; ni < NI; ni++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int channel = channel0 + g + i / 2 * 8, n = column0 + ni * 8 + 2 * t + i % 2;
          float& place = total[(tap * CB + channel) * G_LINE + n];
          place = turn == 0 ? sum[tap][ni][i] : place + sum[tap][ni][i];
        }
      }
    }
  }
  __syncthreads();
  RESULT* out = result + blockIdx.z * range_size;
#pragma unroll 1
  for (int index = tid; index < 9 * CB * BN; index += THREADS) {
    int n = index % BN, line = index / BN, tap = line / CB, channel = line % CB;
    if (c0 + channel < c.channels && n0 + n < c.filters) {
      int k = tap * c.channels + c0 + channel;
      out[(long long)k * c.filters + n0 + n] = store<RESULT>(total[line * G_LINE + n]);
    }
  }
}
