// The gradient of a convolution in its weights as an implicit matrix product, on any device.
//
// Rows k = (tap y, tap x, channel) (M) x filters (N), summed over output pixels (K): dw = A' G, with A gathered from
// the image while it is loaded. The sum is long and the result small, so blockIdx.z cuts the pixels into `splits`
// ranges; every range leaves its sums in a workspace, [split][k][f], and sum_partials adds them in order: the same bits
// whatever the schedule, without atomics. With one range the block writes the result itself. The bias's gradient, the
// sum over pixels of G, comes along where `bias` is not null.
//
// A block computes BM x BN over slabs of BP pixels, a thread TM x TN in groups of 4 x 4. Tiles lie in shared memory as
// they come, [pixel][k] and [pixel][f]; a thread's k never changes, so taps are worked out once, and its pixels move on
// by BP without dividing.
//
// Macros: T; BM, BN, BP, TM, TN; VEC_A, VEC_B elements loaded at once; RESULT, T or the type of
// the sums that go to the workspace.
// Bytes: per k tile the gradient once, the image once (9 times from L1), and 2 * splits * M N for the workspace.
// 2 M N K operations. Limit: arithmetic from about 16 channels and filters on.
//
// variant: T=float RESULT=float BM=64 BN=64 BP=8 TM=4 TN=8 VEC_A={1,4} VEC_B=4
// variant: T=float RESULT=float BM=32 BN=32 BP=8 TM=4 TN=4 VEC_A=1 VEC_B=4
// variant: T=half_t RESULT=half_t BM=64 BN=32 BP=8 TM=4 TN=4 VEC_A=4 VEC_B=1
// variant: T=double RESULT=double BM=64 BN=64 BP=8 TM=4 TN=8 VEC_A=4 VEC_B=4
// variant: T=bfloat16_t RESULT=float BM=32 BN=32 BP=8 TM=4 TN=4 VEC_A=1 VEC_B=4
#include "conv_bias.cuh"
#include "conv_geometry.cuh"

typedef compute<T>::type C;
const int THREADS = (BM / TM) * (BN / TN);
const int A_CHUNKS = BM / VEC_A, A_ROWS = THREADS / A_CHUNKS, A_PASSES = BP / A_ROWS;
const int B_CHUNKS = BN / VEC_B, B_ROWS = THREADS / B_CHUNKS, B_PASSES = (BP + B_ROWS - 1) / B_ROWS;

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_weight_ffma(const T* __restrict__ x, const T* __restrict__ gradient, RESULT* __restrict__ result,
                 RESULT* __restrict__ bias, long long pixels_per_split, int splits, long long split_size,
                 const Convolution c) {
  __shared__ __align__(16) C a_tile[2][BP][BM];
  __shared__ __align__(16) C b_tile[2][BP][BN];

  const int group = blockIdx.z / splits, split = blockIdx.z % splits;
  const int channels = c.channels / c.groups, filters = c.filters / c.groups;
  const int k_size = c.kernel_h * c.kernel_w * channels;
  const int k0 = blockIdx.x * BM, n0 = blockIdx.y * BN, tid = threadIdx.x;
  const long long pixels = (long long)c.images * c.rows * c.columns;
  const long long begin = split * pixels_per_split, end = min(pixels, begin + pixels_per_split);

  const int a_chunk = tid % A_CHUNKS * VEC_A, a_row = tid / A_CHUNKS;
  const TapWalker tap(k0 + a_chunk, c.kernel_w, channels);
  const int tap_y = tap.y * c.dilation_y - c.top, tap_x = tap.x * c.dilation_x - c.left;
  const bool k_inside = k0 + a_chunk < k_size;
  const T* a_source = x + group * channels + tap.channel;
  PixelWalker at[A_PASSES];
#pragma unroll
  for (int i = 0; i < A_PASSES; i++) at[i] = PixelWalker(begin + a_row + i * A_ROWS, c.rows, c.columns);
  const PixelWalker step(BP, c.rows, c.columns);
  const int b_chunk = tid % B_CHUNKS * VEC_B, b_row = tid / B_CHUNKS;
  const bool n_inside = n0 + b_chunk < filters;
  const T* b_source = gradient + group * filters + n0 + b_chunk;

  Vector<T, VEC_A> a_next[A_PASSES];
  Vector<T, VEC_B> b_next[B_PASSES];
  auto load_slab = [&](long long pixel) {
#pragma unroll
    for (int i = 0; i < A_PASSES; i++) {
      int source_y = at[i].y * c.stride_y + tap_y, source_x = at[i].x * c.stride_x + tap_x;
      bool inside = k_inside && pixel + a_row + i * A_ROWS < end && (unsigned)source_y < (unsigned)c.height &&
                    (unsigned)source_x < (unsigned)c.width;
      long long source = ((long long)at[i].image * c.height + source_y) * c.width + source_x;
      a_next[i] = read<T, VEC_A>(inside ? a_source + source * c.channels : nullptr);
      at[i].advance(step, c.rows, c.columns);
    }
#pragma unroll
    for (int i = 0; i < B_PASSES; i++) {
      long long p = pixel + b_row + i * B_ROWS;
      bool inside = n_inside && p < end && (BP % B_ROWS == 0 || b_row + i * B_ROWS < BP);
      b_next[i] = read<T, VEC_B>(inside ? b_source + p * c.filters : nullptr);
    }
  };
  auto store_slab = [&](int buffer) {
#pragma unroll
    for (int i = 0; i < A_PASSES; i++) {
#pragma unroll
      for (int j = 0; j < VEC_A; j++) a_tile[buffer][a_row + i * A_ROWS][a_chunk + j] = load(a_next[i].at[j]);
    }
#pragma unroll
    for (int i = 0; i < B_PASSES; i++) {
      if (BP % B_ROWS != 0 && b_row + i * B_ROWS >= BP) break;
#pragma unroll
      for (int j = 0; j < VEC_B; j++) b_tile[buffer][b_row + i * B_ROWS][b_chunk + j] = load(b_next[i].at[j]);
    }
  };

  const int tx = tid % (BN / TN) * 4, ty = tid / (BN / TN) * 4;
  C sum[TM][TN] = {};
  const bool sums_bias = bias != nullptr && blockIdx.x == 0;
  ColumnSums<C, BN, THREADS> bias_sums;
  load_slab(begin);
  store_slab(0);
  __syncthreads();
  int buffer = 0;
  for (long long pixel = begin; pixel < end; pixel += BP, buffer ^= 1) {
    const bool more = pixel + BP < end;
    if (more) load_slab(pixel + BP);
    if (sums_bias) bias_sums.template add<BP, BN>(&b_tile[buffer][0][0]);
#pragma unroll
    for (int p = 0; p < BP; p++) {
      C a[TM], b[TN];
#pragma unroll
      for (int i = 0; i < TM; i += 4) {
        Vector<C, 4> v = *(const Vector<C, 4>*)&a_tile[buffer][p][i * (BM / TM) + ty];
#pragma unroll
        for (int j = 0; j < 4; j++) a[i + j] = v.at[j];
      }
#pragma unroll
      for (int i = 0; i < TN; i += 4) {
        Vector<C, 4> v = *(const Vector<C, 4>*)&b_tile[buffer][p][i * (BN / TN) + tx];
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

  if (sums_bias) {
    C total = bias_sums.total(&a_tile[0][0][0]);
    int n = n0 + tid;
    if (tid < BN && n < filters) bias[split * split_size + group * filters + n] = store<RESULT>(total);
  }
  RESULT* out = result + split * split_size;
#pragma unroll
  for (int i = 0; i < TM; i++) {
    int k = k0 + i / 4 * (BM * 4 / TM) + ty + i % 4;
    if (k >= k_size) break;
#pragma unroll
    for (int j = 0; j < TN; j++) {
      int n = n0 + j / 4 * (BN * 4 / TN) + tx + j % 4;
      if (n < filters) out[(long long)k * c.filters + group * filters + n] = store<RESULT>(sum[i][j]);
    }
  }
}
