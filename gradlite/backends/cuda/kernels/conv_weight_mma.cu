// The weight gradient of any convolution as an implicit matrix product on tensor cores (sm_80 and up; float16 also
// sm_75): the product of conv_weight_ffma.cu. Rows k = (tap y, tap x, channel) (M) x filters (N), summed over a range
// of output pixels (K), which blockIdx.z gives; sum_partials adds the ranges. The bias's gradient comes along where
// `bias` is not null.
//
// A block computes BM x BN in slabs of BP pixels, STAGES of them under way at once by cp.async, which writes zeros
// where a tap lies outside the image. Tiles lie as they come, [pixel][k] and [pixel][f]. A thread's k never changes, so
// its tap is worked out once, and its pixels move on without dividing.
//
// Macros: those of conv_tensor.cuh; BM, BN, BP, STAGES; VEC_A, VEC_B: elements of a copy, a chunk's or 1 (float only);
// RESULT; VEC_Y: sums stored at once, several or 1 (where filters are odd or the result begins anywhere).
// Shared memory: lines are 8 elements longer than a multiple of 32: no bank is met twice. 2 wavefronts a product.
// Bytes: per tile of k the gradient once and its taps' pixels from L2, twice the workspace. 2 M N K operations.
// Limit: L2, and memory for the few rows of a first layer; conv_weight_halo.cu reads each pixel once for nine taps.
//
// variant sm_80+: PRECISION={TF32,BF16} T=float RESULT=float VEC_Y=4 BM=64 BN=64 WM=32 WN=32 BP=16 STAGES=3 VEC_A={1,4} VEC_B=4
// variant sm_80+: PRECISION=TF32 T=float RESULT=float VEC_Y={1,4} BM=32 BN=32 WM=16 WN=16 BP=16 STAGES=3 VEC_A=1 VEC_B=4
// variant sm_75+: PRECISION=FP16 T=half_t RESULT=half_t VEC_Y=4 BM=64 BN=32 WM=16 WN=32 BP=32 STAGES=3 VEC_A=8 VEC_B=8
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t RESULT=bfloat16_t VEC_Y=4 BM=64 BN=32 WM=16 WN=32 BP=32 STAGES=3 VEC_A=8 VEC_B=8
#include "conv_bias.cuh"
#include "conv_tensor.cuh"

const int THREADS = (BM / WM) * (BN / WN) * 32;
const int A_CHUNKS = BM / VEC_A, A_ROWS = THREADS / A_CHUNKS;  // lines that the block copies at once
const int B_CHUNKS = BN / VEC_B, B_ROWS = THREADS / B_CHUNKS;
static_assert(BP % A_ROWS == 0, "a thread walks along all its pixels of x in every slab");
const int A_LINE = BM + PAD, B_LINE = BN + PAD, STAGE_SIZE = BP * (A_LINE + B_LINE);

template <int VEC> __device__ __forceinline__ void copy_to(T* shared, const T* p, const T* valid) {
#if !HALVES
  if (VEC == 1) {
    copy_element(shared, p, valid);
    return;
  }
#endif
  copy_chunk((Chunk*)shared, p, valid);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_weight_mma(const T* __restrict__ x, const T* __restrict__ gradient, RESULT* __restrict__ result,
                RESULT* __restrict__ bias, long long pixels_per_range, int ranges, long long range_size,
                const Convolution c) {
  extern __shared__ Chunk shared[];

  const int group = blockIdx.z / ranges, range = blockIdx.z % ranges;
  const int channels = c.channels / c.groups, filters = c.filters / c.groups;
  const int k_size = c.kernel_h * c.kernel_w * channels;
  const int k0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const long long pixels = (long long)c.images * c.rows * c.columns;
  const long long begin = range * pixels_per_range, end = min(pixels, begin + pixels_per_range);
  const int slabs = begin < end ? (int)((end - begin + BP - 1) / BP) : 0;

  const int a_chunk = tid % A_CHUNKS * VEC_A, a_row = tid / A_CHUNKS;
  const TapWalker tap(k0 + a_chunk, c.kernel_w, channels);
  const int tap_y = tap.y * c.dilation_y - c.top, tap_x = tap.x * c.dilation_x - c.left;
  const bool k_inside = k0 + a_chunk < k_size;
  const T* a_source = x + group * channels + tap.channel;
  PixelWalker at(begin + a_row, c.rows, c.columns);
  const PixelWalker step(A_ROWS, c.rows, c.columns);
  const int b_chunk = tid % B_CHUNKS * VEC_B, b_row = tid / B_CHUNKS;
  const bool n_inside = n0 + b_chunk < filters;
  const T* b_source = gradient + group * filters + n0 + b_chunk;

  // Called for one slab after the other, since the pixels of x are walked along.
  auto copy_slab = [&](int slab) {
    T* a_lines = (T*)shared + slab % STAGES * STAGE_SIZE;
    T* b_lines = a_lines + BP * A_LINE;
    const long long pixel = begin + (long long)slab * BP;
    const int inside_lines = (int)min((long long)BP, end - pixel);
#pragma unroll 1
    for (int line = a_row; line < BP; line += A_ROWS) {
      int source_y = at.y * c.stride_y + tap_y, source_x = at.x * c.stride_x + tap_x;
      bool inside = k_inside && line < inside_lines && (unsigned)source_y < (unsigned)c.height &&
                    (unsigned)source_x < (unsigned)c.width;
      const T* image = a_source + (long long)at.image * c.height * c.width * c.channels;
      const T* p = image + (source_y * c.width + source_x) * c.channels;
      at.advance(step, c.rows, c.columns);
      copy_to<VEC_A>(a_lines + line * A_LINE + a_chunk, inside ? p : nullptr, x);
    }
    const T* p = b_source + (pixel + b_row) * c.filters;
#pragma unroll 1
    for (int line = b_row; line < BP; line += B_ROWS, p += B_ROWS * c.filters) {
      copy_to<VEC_B>(b_lines + line * B_LINE + b_chunk, n_inside && line < inside_lines ? p : nullptr, gradient);
    }
  };

  const int row0 = warp / (BN / WN) * WM, column0 = warp % (BN / WN) * WN;
  float sum[MI][NI][4] = {};
  const bool sums_bias = bias != nullptr && blockIdx.x == 0;
  ColumnSums<float, BN, THREADS> bias_sums;
  // In the first rounds there are only slabs to copy: code that is there once is fetched once.
#pragma unroll 1
  for (int slab = 1 - STAGES; slab < slabs; slab++) {
    // After the barrier every thread's copies of this slab have landed, and nobody reads the stage that is written
    // next.
    await_copies<STAGES - 2>();
    __syncthreads();
    if (slab + STAGES - 1 < slabs) copy_slab(slab + STAGES - 1);
    end_of_copies();
    if (slab < 0) continue;
    const T* a_lines = (const T*)shared + slab % STAGES * STAGE_SIZE;
    const T* b_lines = a_lines + BP * A_LINE;
    if (sums_bias) bias_sums.template add<BP, B_LINE>(b_lines);
#pragma unroll
    for (int k = 0; k < BP; k += K_STEP) {
      unsigned a[MI][4], b[NI][2];
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
        const T* first = a_lines + k * A_LINE + row0 + mi * 16;
        load_a_lines_of_m(a[mi], [&](int line) { return first + line * A_LINE; });
      }
#pragma unroll
      for (int ni = 0; ni < NI; ni += 2) {
        const T* first = b_lines + k * B_LINE + column0 + ni * 8;
        unsigned (&two)[2][2] = *(unsigned (*)[2][2])&b[ni];
        load_b_lines_of_n(two, [&](int line) { return first + line * B_LINE; });
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
    float total = bias_sums.total((float*)shared);
    int n = n0 + tid;
    if (tid < BN && n < filters) bias[range * range_size + group * filters + n] = store<RESULT>(total);
  }
  const int k = k0 + row0 + lane / 4, n = n0 + column0 + lane % 4 * 2;
  RESULT* out = result + range * range_size + (long long)k * c.filters + group * filters + n;
#pragma unroll
  for (int i = 0; i < 2 * MI; i++, out += 8 * c.filters) {
#pragma unroll
    for (int ni = 0; ni < NI; ni++) {
      const float* pair = sum[i / 2][ni] + i % 2 * 2;
      if (k + i * 8 >= k_size || n + ni * 8 >= filters) continue;
      store_pair<(VEC_Y > 1)>(out + ni * 8, pair[0], pair[1], n + ni * 8 + 1 < filters);
    }
  }
}
