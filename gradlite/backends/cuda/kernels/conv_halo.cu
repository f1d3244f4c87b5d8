// 3 x 3 convolution with stride 1, and its input gradient, on tensor cores: every pixel is fetched once, not nine
// times.
//
// A block computes TH x 16 destination pixels of one image, BN channels of them. For a few channels at a time (a stage:
// 32 bytes a pixel, 64 for bfloat16) it copies the (TH + 2) x 18 source pixels around them and the nine taps' weights
// to shared memory; all nine products read from there. A fragment is one row of 16 pixels, so a warp with WM / 16 rows
// loads WM / 16 + 2 rows for a column of taps and uses each for up to three of them: for WM = 64, 6 loads instead of
// 12. With WN = 32 a product costs one wavefront of shared memory, less than it takes an H100 to compute.
//
// The gradient is the same convolution of `gradient`, padded by 2 - padding, with the taps in reverse and channels and
// filters in each other's place; w is read as it lies, as lines [n] of k.
//
// Macros: those of conv_tensor.cuh (WM a multiple of 16); TH, BN, STAGES; VEC_Y, GRADIENT, ACTIVATION, STATISTICS (as
// in conv_ffma.cu). Needs one group, and channel counts and addresses that are multiples of a chunk.
// Shared memory: chunk q of pixel (or line of k) p lies at place q ^ (p / 4 % 2) of its two, so any 8 neighbouring
// pixels meet every bank once, whatever the tap. Rows of the patch are 20 pixels apart.
// Bytes: (1 + 2 / TH)(1 + 2 / 16) times the image for each BN channels, w for each block from L2, y once. 18 operations
// a pixel, channel and filter. Limit: tensor cores from 32 channels on.
//
// variant sm_80+: PRECISION={TF32,BF16} T=float TH=16 BN=64 WM=64 WN=32 STAGES=2 VEC_Y=2 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_80+: PRECISION={TF32,BF16} T=float TH={16,32} BN=32 WM=64 WN=32 STAGES=2 VEC_Y=2 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float TH=16 BN=32 WM=64 WN=32 STAGES=2 VEC_Y=2 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_80+: PRECISION=TF32 T=float TH=8 BN=64 WM={32,64} WN=32 STAGES=2 VEC_Y=2 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float TH=8 BN=32 WM=32 WN=32 STAGES=2 VEC_Y=2 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t TH=16 BN={32,64} WM=64 WN=32 STAGES=2 VEC_Y=2 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t TH=8 BN=32 WM=32 WN=32 STAGES=2 VEC_Y=2 GRADIENT=0 ACTIVATION=3 STATISTICS=1
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t TH=16 BN=32 WM=64 WN=32 STAGES=2 VEC_Y=2 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
#include "conv_tensor.cuh"

const int TW = 16, HALO_W = TW + 2, HALO = (TH + 2) * HALO_W;
const int PITCH = 20;                                          // pixels from one row of the patch to the next
const int ROWS = WM / 16;                                      // rows of pixels of a warp
const int THREADS = (TH / ROWS) * (BN / WN) * 32;
const int PARTS = PRECISION == BF16 ? 4 : 2;                   // chunks of a pixel in a stage
const int DEPTH = PARTS * CHUNK;                               // channels of a stage
const int PATCH_COPIES = HALO * PARTS, PATCH_CHUNKS = (TH + 2) * PITCH * PARTS;
const int LINES = GRADIENT ? 9 * BN : 9 * DEPTH;               // of weights in a stage
const int LINE_CHUNKS = GRADIENT ? PARTS : BN / CHUNK;         // to copy of a line
const int WEIGHT_BYTES = GRADIENT ? LINES * PARTS * 16 : LINES * (BN + PAD) * (int)sizeof(T);
const int STAGE_CHUNKS = PATCH_CHUNKS + WEIGHT_BYTES / 16;
const int PATCH_PASSES = (PATCH_COPIES + THREADS - 1) / THREADS;

// Where chunk `chunk` of pixel or line `line` lies.
__device__ __forceinline__ int spot(int line, int chunk) {
  return PARTS == 4 ? place(line, chunk) : line * 2 + (chunk ^ ((line >> 2) & 1));
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_halo(const T* __restrict__ source, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ y,
          float* __restrict__ partials, float* __restrict__ mean, float* __restrict__ variance,
          int* __restrict__ counters, const Convolution c) {
  extern __shared__ Chunk shared[];

  const int source_h = GRADIENT ? c.rows : c.height, source_w = GRADIENT ? c.columns : c.width;
  const int rows = GRADIENT ? c.height : c.rows, columns = GRADIENT ? c.width : c.columns;
  const int channels = GRADIENT ? c.filters : c.channels, results = GRADIENT ? c.channels : c.filters;
  const int origin_y = GRADIENT ? c.top - 2 : -c.top, origin_x = GRADIENT ? c.left - 2 : -c.left;

  const int tiles_x = (columns + TW - 1) / TW, tiles_y = (rows + TH - 1) / TH;
  const int tile_row = (int)(blockIdx.x / tiles_x);
  const int image = tile_row / tiles_y;
  const int y0 = (tile_row - image * tiles_y) * TH, x0 = ((int)blockIdx.x - tile_row * tiles_x) * TW;
  const int n0 = blockIdx.y * BN;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;

  // This thread's chunks of the patch: offsets in the image, -1 outside.
  const T* source_image = source + (long long)image * source_h * source_w * channels;
  int offsets[PATCH_PASSES];
#pragma unroll
  for (int i = 0; i < PATCH_PASSES; i++) {
    int index = tid + i * THREADS, pixel = index / PARTS;
    int row = y0 + origin_y + pixel / HALO_W, column = x0 + origin_x + pixel % HALO_W;
    bool inside = index < PATCH_COPIES && (unsigned)row < (unsigned)source_h && (unsigned)column < (unsigned)source_w;
    offsets[i] = inside ? (row * source_w + column) * channels + index % PARTS * CHUNK : -1;
  }

  auto copy_stage = [&](int stage) {
    Chunk* patch = shared + stage % STAGES * STAGE_CHUNKS;
    Chunk* weights = patch + PATCH_CHUNKS;
    const int channel0 = stage * DEPTH;
#pragma unroll
    for (int i = 0; i < PATCH_PASSES; i++) {
      int index = tid + i * THREADS, pixel = index / PARTS, part = index % PARTS;
      if (PATCH_COPIES % THREADS != 0 && index >= PATCH_COPIES) break;
      bool inside = offsets[i] >= 0 && channel0 + part * CHUNK < channels;
      int line = pixel / HALO_W * PITCH + pixel % HALO_W;
      copy_chunk(patch + spot(line, part), inside ? source_image + offsets[i] + channel0 : nullptr, source);
    }
#pragma unroll 1  // unrolled, the addresses of all passes would be kept, and not all of them in registers
    for (int index = tid; index < LINES * LINE_CHUNKS; index += THREADS) {
      int line = index / LINE_CHUNKS, part = index % LINE_CHUNKS;
#if GRADIENT
      int tap = line / BN, n = n0 + line % BN, k = channel0 + part * CHUNK;
      bool inside = n < results && k < channels;
      const T* p = w + ((8 - tap) * results + n) * channels + k;
      copy_chunk(weights + spot(line, part), inside ? p : nullptr, w);
#else
      int tap = line / DEPTH, k = channel0 + line % DEPTH, n = n0 + part * CHUNK;
      bool inside = k < channels && n < results;
      const T* p = w + (tap * channels + k) * results + n;
      copy_chunk((Chunk*)((T*)weights + line * (BN + PAD) + part * CHUNK), inside ? p : nullptr, w);
#endif
    }
  };

  const int warp_row = warp / (BN / WN), column0 = warp % (BN / WN) * WN;
  const int stages = (channels + DEPTH - 1) / DEPTH;
  float sum[MI][NI][4] = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < stages) copy_stage(stage);
    end_of_copies();
  }
  for (int stage = 0; stage < stages; stage++) {
    // After the barrier all copies of this stage have landed, and nobody reads the one that is written next.
    await_copies<STAGES - 2>();
    __syncthreads();
    if (stage + STAGES - 1 < stages) copy_stage(stage + STAGES - 1);
    end_of_copies();
    const Chunk* patch = shared + stage % STAGES * STAGE_CHUNKS;
    const Chunk* weights = patch + PATCH_CHUNKS;
#pragma unroll
    for (int tap_x = 0; tap_x < 3; tap_x++) {
      unsigned a[ROWS + 2][4];
#pragma unroll
      for (int row = 0; row < ROWS + 2; row++) {
        int odd = row % 2;  // two rows on, places are the same: few addresses to keep
        const Chunk* rows_before = patch + (warp_row * ROWS + row - odd) * PITCH * PARTS;
        int pixel = odd * PITCH + tap_x + lane % 16;
        load_a(a[row], [&](int s) { return rows_before + spot(pixel, 2 * s + lane / 16); });
      }
#pragma unroll
      for (int tap_y = 0; tap_y < 3; tap_y++) {
        const int tap = tap_y * 3 + tap_x;
        unsigned b[NI][2];
#pragma unroll
        for (int ni = 0; ni < NI; ni += 2) {
          unsigned (&two)[2][2] = *(unsigned (*)[2][2])&b[ni];
#if GRADIENT
          const Chunk* lines_before = weights + (tap * BN + column0 + ni * 8) * PARTS;
          int line = lane / 16 * 8 + lane % 8;
          load_b_lines_of_k(two, [&](int s) { return lines_before + spot(line, 2 * s + lane / 8 % 2); });
#else
          const T* first = (const T*)weights + tap * DEPTH * (BN + PAD) + column0 + ni * 8;
          load_b_lines_of_n(two, [&](int k) { return first + k * (BN + PAD); });
#endif
        }
#pragma unroll
        for (int mi = 0; mi < MI; mi++) {
#pragma unroll
          for (int ni = 0; ni < NI; ni++) multiply(sum[mi][ni], a[mi + tap_y], b[ni]);
        }
      }
    }
  }
  await_copies<0>();

  auto destination = [&](int row) {
    int row_y = y0 + row / TW, row_x = x0 + row % TW;
    long long pixel = ((long long)image * rows + row_y) * columns + row_x;
    return row_y < rows && row_x < columns ? pixel * results + n0 : -1LL;
  };
  store_sums(sum, y, bias != nullptr ? bias + n0 : nullptr, warp_row * WM, column0, results - n0, destination);
#if STATISTICS
  const float count = (float)(min(TH, rows - y0) * min(TW, columns - x0));
  block_statistics<TH / ROWS, BN, THREADS>(sum, partials, count, warp_row * WM, column0, results - n0, n0, results,
                                           destination);
  __shared__ int last;
  if (counters != nullptr && is_last_block(counters + blockIdx.z * gridDim.y + blockIdx.y, gridDim.x, &last)) {
    merge_groups<BN, THREADS>(partials, mean, variance, gridDim.x, results, n0, results,
                              (float)((long long)c.images * rows * columns), [&](int block) {
                                const int row_of_tiles = block / tiles_x % tiles_y, column_of_tiles = block % tiles_x;
                                return min(TH, rows - row_of_tiles * TH) * min(TW, columns - column_of_tiles * TW);
                              });
  }
#endif
}
