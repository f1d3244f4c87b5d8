// 3 x 3 convolution with stride 1, and its input gradient, on tensor cores: every pixel is fetched once, not nine
// times.
//
// A block computes TH x 16 destination pixels of one image, BN channels of them. For a few channels at a time (a stage:
// 32 bytes a pixel, 64 for bfloat16) it copies the (TH + 2) x 18 source pixels around them and the nine taps' weights
// to shared memory, STAGES - 1 stages ahead; all nine products read from there. Floats for TF32 are rounded in place,
// once, not in every fragment. A fragment is one row of 16 pixels, so a warp with WM / 16 rows loads WM / 16 + 2 rows
// for a column of taps and uses each for up to three of them: for WM = 64, 6 loads instead of 12. With WN = 32 a product
// costs one wavefront of shared memory, less than it takes an H100 to compute.
//
// The gradient is the same convolution of `gradient`, padded by 2 - padding, with the taps in reverse and channels and
// filters in each other's place; w is read as it lies, as lines [n] of k.
//
// Macros: those of conv_results.cuh (WM a multiple of 32); TH, BN, STAGES; GRADIENT (as in conv_ffma.cu). Needs one
// group, and channel counts and addresses that are multiples of a chunk.
// Shared memory: chunk q of pixel (or line of k) p lies at place q ^ (p / 4 % 2) of its two, so any 8 neighbouring
// pixels meet every bank once, whatever the tap. Rows of the patch are 20 pixels apart.
// Bytes: (1 + 2 / TH)(1 + 2 / 16) times the image for each BN channels, w for each block from L2, y once. 18 operations
// a pixel, channel and filter. Limit: tensor cores from 32 channels on.
//
// variant sm_80+: PRECISION={TF32,BF16} T=float TH=16 BN=64 WM=64 WN=32 STAGES=3 VEC_Y=4 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_80+: PRECISION={TF32,BF16} T=float TH=32 BN=32 WM=64 WN=32 STAGES=3 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float TH=16 BN=64 WM=64 WN=32 STAGES=3 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float TH=32 BN=32 WM=64 WN=32 STAGES=3 VEC_Y=4 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_80+: PRECISION=TF32 T=float TH=8 BN=64 WM=32 WN=32 STAGES=3 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float TH=8 BN=32 WM=32 WN=32 STAGES=4 VEC_Y=4 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
// variant sm_80+: PRECISION={TF32,BF16} T=float TH=16 BN=32 WM=32 WN=32 STAGES=4 VEC_Y=4 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t TH=16 BN=64 WM=64 WN=32 STAGES=3 VEC_Y=8 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t TH=16 BN=32 WM=32 WN=32 STAGES=4 VEC_Y=8 GRADIENT=1 ACTIVATION=0 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t TH=8 BN=32 WM=32 WN=32 STAGES=4 VEC_Y=8 GRADIENT=0 ACTIVATION=3 STATISTICS=1
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t TH=16 BN=32 WM=32 WN=32 STAGES=4 VEC_Y=8 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
#include "conv_results.cuh"

const int TW = 16, HALO_W = TW + 2;
const int PITCH = 20;                                          // pixels from one row of the patch to the next
const int ROWS = WM / 16;                                      // rows of pixels of a warp
static_assert(ROWS % 2 == 0, "places of rows alternate");
const int THREADS = (TH / ROWS) * (BN / WN) * 32;
const int PARTS = PRECISION == BF16 ? 4 : 2;                   // chunks of a pixel in a stage
const int DEPTH = PARTS * CHUNK;                               // channels of a stage
const int PATCH_CHUNKS = (TH + 2) * PITCH * PARTS;
const int TAP_LINES = GRADIENT ? BN : DEPTH;                   // of weights of a tap, in a stage
const int LINE_CHUNKS = GRADIENT ? PARTS : BN / CHUNK;         // to copy of a line
const int LINE_BYTES = GRADIENT ? PARTS * 16 : (BN + PAD) * (int)sizeof(T);
const int STAGE_CHUNKS = PATCH_CHUNKS + 9 * TAP_LINES * LINE_BYTES / 16;
// Columns of taps in one piece of code: with 32 pixels a warp the next one's fragments are loaded during products; with
// 64 there is another block to do that in, and no register left.
const int TAPS_AT_ONCE = WM >= 64 ? 1 : 3;
const int PATCH_LINE = HALO_W * PARTS, PATCH_ROWS = THREADS / PATCH_LINE;  // chunks of a row; rows copied at once
const int PATCH_PASSES = (TH + 2 + PATCH_ROWS - 1) / PATCH_ROWS;
const int TAP_STEP = THREADS / LINE_CHUNKS / TAP_LINES, TAP_PASSES = (9 + TAP_STEP - 1) / TAP_STEP;  // taps at once
static_assert(TAP_STEP * TAP_LINES * LINE_CHUNKS == THREADS, "threads copy the weights of whole taps at once");

// Where chunk `chunk` of pixel or line `line` lies.
__device__ __forceinline__ int spot(int line, int chunk) {
  return PARTS == 4 ? place(line, chunk) : line * 2 + (chunk ^ ((line >> 2) & 1));
}

// Two blocks of 8 warps a multiprocessor, to wait for memory in turns, where registers do for both.
extern "C" __global__ void __launch_bounds__(THREADS, THREADS >= 256 && PRECISION == TF32 ? 2 : 1)
conv_halo(const T* __restrict__ source, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ y,
          float* __restrict__ partials, float* __restrict__ mean, float* __restrict__ variance,
          int* __restrict__ counters, const Convolution c) {
  extern __shared__ Chunk shared[];

  const int source_h = GRADIENT ? c.rows : c.height, source_w = GRADIENT ? c.columns : c.width;
  const int rows = GRADIENT ? c.height : c.rows, columns = GRADIENT ? c.width : c.columns;
  const int channels = GRADIENT ? c.filters : c.channels, results = GRADIENT ? c.channels : c.filters;
  const int origin_y = GRADIENT ? c.top - 2 : -c.top, origin_x = GRADIENT ? c.left - 2 : -c.left;

  const unsigned tiles_x = (unsigned)(columns + TW - 1) / TW, tiles_y = (unsigned)(rows + TH - 1) / TH;
  const unsigned tile_row = blockIdx.x / tiles_x, image = tile_row / tiles_y;
  const int y0 = (int)(tile_row - image * tiles_y) * TH, x0 = (int)(blockIdx.x - tile_row * tiles_x) * TW;
  const int n0 = blockIdx.y * BN;
  const unsigned tid = threadIdx.x;
  const int lane = tid % 32, warp = tid / 32;
  const float own_bias = GRADIENT ? 0.f : bias_of(bias != nullptr ? bias + n0 : nullptr, results - n0);

  // This thread's chunks of the patch: always the same column, every PATCH_ROWS-th row. Places of two rows are
  // computed, since all others lie even multiples of rows from them.
  const int patch_x = tid % PATCH_LINE / PARTS, patch_part = tid % PARTS, patch_y = tid / PATCH_LINE;
  const int even_place = spot(patch_y * PITCH + patch_x, patch_part);
  const int odd_place = spot((patch_y + PATCH_ROWS) * PITCH + patch_x, patch_part) - PATCH_ROWS * PITCH * PARTS;
  const int column = x0 + origin_x + patch_x;
  const bool in_columns = (unsigned)column < (unsigned)source_w;  // else no row of it is in the image either
  const int first_row = y0 + origin_y + patch_y, row0 = in_columns ? first_row : OUTSIDE;
  const T* own_pixels = source + (long long)image * (source_h * source_w * channels) +
                        ((first_row * source_w + column) * channels + patch_part * CHUNK);
  const int pixels_step = PATCH_ROWS * source_w * channels;
  auto for_pixels = [&](auto use) {  // pass, place in the stage
#pragma unroll
    for (int i = 0; i < PATCH_PASSES; i++) {
      if (patch_y + i * PATCH_ROWS >= TH + 2 || patch_y >= PATCH_ROWS) break;
      use(i, (i % 2 == 0 ? even_place : odd_place) + i * PATCH_ROWS * PITCH * PARTS);
    }
  };

  // Its chunks of the weights: always the same line of a tap, every TAP_STEP-th tap.
  const int line = tid / LINE_CHUNKS, first_tap = line / TAP_LINES, tap_line = line % TAP_LINES;
#if GRADIENT
  const int own_n = n0 + tap_line, k = tid % PARTS * CHUNK, line_place = spot(line, tid % PARTS);
  const T* own_weights = w + ((8 - first_tap) * results + own_n) * channels + k;
  const int weights_step = -TAP_STEP * results * channels;
#else
  const int own_n = n0 + tid % LINE_CHUNKS * CHUNK, k = tap_line;
  const int line_place = line * (LINE_BYTES / 16) + tid % LINE_CHUNKS;
  const T* own_weights = w + (first_tap * channels + k) * results + own_n;
  const int weights_step = TAP_STEP * results * channels;
#endif
  const int own_k = own_n < results ? k : channels;  // behind all k where there is no such n
  auto for_weights = [&](auto use) {
#pragma unroll
    for (int i = 0; i < TAP_PASSES; i++) {
      if (first_tap + i * TAP_STEP >= 9) break;
      use(i, PATCH_CHUNKS + line_place + i * (TAP_STEP * TAP_LINES * LINE_BYTES / 16));
    }
  };

  // Copies the next channels to a place for a stage. Pointers move on, since sums of them with every step in question
  // would fill the registers.
  int channel0 = 0;
  auto copy_next = [&](Chunk* to) {
    const bool has_pixels = channel0 + patch_part * CHUNK < channels, has_weights = channel0 + own_k < channels;
    const T* pixels = own_pixels;
    for_pixels([&](int i, int place) {
      bool inside = (unsigned)(row0 + i * PATCH_ROWS) < (unsigned)source_h;
      copy_chunk(to + place, pixels, has_pixels && inside);
      pixels += pixels_step;
    });
    const T* weights = own_weights;
    for_weights([&](int, int place) {
      copy_chunk(to + place, weights, has_weights);
      weights += weights_step;
    });
    channel0 += DEPTH;
    own_pixels += DEPTH;
    own_weights += GRADIENT ? DEPTH : DEPTH * results;
  };

  const int warp_row = warp / (BN / WN), column0 = warp % (BN / WN) * WN;
  const int stages = (channels + DEPTH - 1) / DEPTH;
  float sum[MI][NI][4] = {};
  int stage = 1 - STAGES;
#pragma unroll 1
  do {
    // After the barrier all copies of this stage have landed, and nobody reads the one that is written next. The first
    // rounds only copy: one piece of code for all.
    if (stage >= 0) {
      await_copies<STAGES - 2>();
#if PRECISION == TF32
      Chunk* copied = shared + stage % STAGES * STAGE_CHUNKS;
      for_pixels([&](int, int place) { round_chunk(copied + place); });
      for_weights([&](int, int place) { round_chunk(copied + place); });
#endif
      __syncthreads();
    }
    if (channel0 < channels) copy_next(shared + (stage + STAGES - 1) % STAGES * STAGE_CHUNKS);
    end_of_copies();
    if (stage < 0) continue;
    const Chunk* patch = shared + stage % STAGES * STAGE_CHUNKS;
    const Chunk* weights = patch + PATCH_CHUNKS;
#pragma unroll TAPS_AT_ONCE
    for (int tap_x = 0; tap_x < 3; tap_x++) {
      // Two rows on, places are the same; one row on, a bit of them is turned.
      const int even_row = spot(tap_x + lane % 16, lane / 16), odd_row = (even_row ^ PARTS / 2) + PITCH * PARTS;
      unsigned a[ROWS + 2][4];
#pragma unroll
      for (int row = 0; row < ROWS + 2; row++) {
        const Chunk* rows_before = patch + (warp_row * ROWS + row / 2 * 2) * PITCH * PARTS;
        load_a<true>(a[row], [&](int s) { return rows_before + ((row % 2 == 0 ? even_row : odd_row) ^ (2 * s)); });
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
          load_b_lines_of_k<true>(two, [&](int s) { return lines_before + spot(line, 2 * s + lane / 8 % 2); });
#else
          const T* first = (const T*)weights + tap * DEPTH * (BN + PAD) + column0 + ni * 8;
          load_b_lines_of_n<true>(two, [&](int k) { return first + k * (BN + PAD); });
#endif
        }
#pragma unroll
        for (int mi = 0; mi < MI; mi++) {
#pragma unroll
          for (int ni = 0; ni < NI; ni++) multiply(sum[mi][ni], a[mi + tap_y], b[ni]);
        }
      }
    }
  } while (++stage < stages);
  await_copies<0>();

  T* y_image = y + (long long)image * (rows * columns * results) + n0;
  auto destination = [&](int row) {
    int row_y = y0 + row / TW, row_x = x0 + row % TW;
    return row_y < rows && row_x < columns ? (row_y * columns + row_x) * results : -1;
  };
  const Statistics all{partials, mean + n0, variance + n0, counters, (float)((long long)c.images * rows * columns)};
  finish<TH * TW, BN, THREADS>(sum, shared, y_image, own_bias, warp_row * WM, column0,
                               results - n0, destination, all,
                               (float)(min(TH, rows - y0) * min(TW, columns - x0)));
}
