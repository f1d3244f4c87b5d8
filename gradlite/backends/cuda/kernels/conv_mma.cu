// Convolution and its input gradient as an implicit matrix product on tensor cores (sm_80 and up; float16 also sm_75).
//
// The product of conv_ffma.cu: destination pixels (M) x channels (N), summed over k = (tap, channel) without gaps, any
// kernel, stride, dilation and group. A block computes BM x BN in slabs of 64 bytes of k; STAGES slabs are under way at
// once, copied past the registers by cp.async, which writes zeros where a tap lies outside the image. A warp computes
// WM x WN with mma.sync.
//
// Macros: those of conv_results.cuh; BM, BN, STAGES; VEC_A, VEC_B: elements of a copy, a chunk's or 1 (float only);
// GRADIENT (as in conv_ffma.cu).
// Shared memory per slab: A as lines of k, W as lines [k] of n forward and as lines [n] of k for the gradient. For a
// warp tile of 64 x 32 a product costs 1.5 wavefronts of shared memory, about what an H100 has for mma.sync.
// Bytes: every tap's pixels from L2 (9 times the image for 3 x 3: conv_halo.cu avoids that), w from L2, y once.
// Limit: L2 below 64 channels, the tensor cores above.
//
// variant sm_80+: PRECISION=TF32 T=float BM=128 BN=64 WM=64 WN=32 STAGES=3 VEC_A=4 VEC_B=4 VEC_Y=4 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
// variant sm_80+: PRECISION=BF16 T=float BM=128 BN=128 WM=64 WN=32 STAGES=3 VEC_A=4 VEC_B=4 VEC_Y=4 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
// variant sm_80+: PRECISION=TF32 T=float BM=256 BN=32 WM=64 WN=32 STAGES=3 VEC_A=4 VEC_B=4 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=TF32 T=float BM=64 BN=32 WM=16 WN=32 STAGES=3 VEC_A=1 VEC_B=4 VEC_Y=4 GRADIENT=0 ACTIVATION=1 STATISTICS=1
// variant sm_80+: PRECISION=BF16 T=float BM=128 BN=64 WM=32 WN=32 STAGES=3 VEC_A=1 VEC_B=1 VEC_Y=1 GRADIENT=1 ACTIVATION=2 STATISTICS=0
// variant sm_75+: PRECISION=FP16 T=half_t BM=128 BN=64 WM=64 WN=32 STAGES=3 VEC_A=8 VEC_B=8 VEC_Y=8 GRADIENT={0,1} ACTIVATION=3 STATISTICS=0
// variant sm_80+: PRECISION=HALF_BF16 T=bfloat16_t BM=128 BN=64 WM=64 WN=32 STAGES=3 VEC_A=8 VEC_B=8 VEC_Y=8 GRADIENT={0,1} ACTIVATION=1 STATISTICS=0
#include "conv_results.cuh"

const int THREADS = (BM / WM) * (BN / WN) * 32;
const int A_CHUNKS = SLAB / VEC_A, A_ROWS = THREADS / A_CHUNKS, A_PASSES = BM / A_ROWS;
const int B_VEC = GRADIENT ? VEC_A : VEC_B;
const int B_CHUNKS = GRADIENT ? A_CHUNKS : BN / B_VEC, B_ROWS = THREADS / B_CHUNKS, B_LINES = GRADIENT ? BN : SLAB;
const int B_PASSES = (B_LINES + B_ROWS - 1) / B_ROWS;
const int A_BYTES = BM * 64, B_BYTES = GRADIENT ? BN * 64 : SLAB * (BN + PAD) * (int)sizeof(T);

// One element or chunk into line `line`, k `k` of a tile of lines of k.
template <int VEC>
__device__ __forceinline__ void copy_to_line(Chunk* tile, int line, int k, const T* p, const T* valid) {
  Chunk* chunk = tile + place(line, k / CHUNK);
#if !HALVES
  if (VEC == 1) {
    copy_element((float*)chunk + k % CHUNK, p, valid);
    return;
  }
#endif
  copy_chunk(chunk, p, valid);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_mma(const T* __restrict__ source, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ y,
         float* __restrict__ partials, float* __restrict__ mean, float* __restrict__ variance,
         int* __restrict__ counters, const Convolution c) {
  extern __shared__ Chunk shared[];

  const Gather g = gather_of<GRADIENT>(c, blockIdx.z);
  const long long m0 = (long long)blockIdx.x * BM;
  const int n0 = blockIdx.y * BN;
  if (m0 >= g.pixels) return;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int channel0 = g.group * g.n_channels + n0;
  const float own_bias = GRADIENT ? 0.f : bias_of(bias != nullptr ? bias + channel0 : nullptr, g.n_channels - n0);
  const int k_size = g.k(), taps_x = max(g.x.taps, 1), slabs = (k_size + SLAB - 1) / SLAB;

  const int a_k = tid % A_CHUNKS * VEC_A, a_row = tid / A_CHUNKS;
  GatherRow rows[A_PASSES];
  PixelWalker pixel(m0 + a_row, g.y.count, g.x.count);
  const PixelWalker next(A_ROWS, g.y.count, g.x.count);
#pragma unroll
  for (int i = 0; i < A_PASSES; i++) {
    rows[i] = g.row(source, m0 + a_row + i * A_ROWS, pixel);
    pixel.advance(next, g.y.count, g.x.count);
  }
  TapWalker tap(a_k, taps_x, g.k_channels);
  const TapWalker step(SLAB, taps_x, g.k_channels);
  const int b_chunk = tid % B_CHUNKS * B_VEC, b_row = tid / B_CHUNKS;

  auto a_tile = [&](int stage) { return shared + stage * (A_BYTES + B_BYTES) / 16; };
  auto b_tile = [&](int stage) { return a_tile(stage) + A_BYTES / 16; };
  auto copy_slab = [&](int slab) {
    Chunk* a = a_tile(slab % STAGES);
    Chunk* b = b_tile(slab % STAGES);
#pragma unroll
    for (int i = 0; i < A_PASSES; i++) {
      copy_to_line<VEC_A>(a, a_row + i * A_ROWS, a_k, g.at<T>(rows[i], tap), source);
    }
#pragma unroll
    for (int i = 0; i < B_PASSES; i++) {
      int line = b_row + i * B_ROWS;
      if (B_LINES % B_ROWS != 0 && line >= B_LINES) break;
      const T* p = nullptr;
#if GRADIENT
      int n = n0 + line;
      if (n < g.n_channels && tap.y < g.y.taps) {
        int index = g.kernel_tap(tap, c.kernel_w) * g.n_channels + n;
        p = w + (long long)index * c.filters + g.group * g.k_channels + tap.channel;
      }
      copy_to_line<VEC_A>(b, line, a_k, p, w);
#else
      int k = slab * SLAB + line, n = n0 + b_chunk;
      if (k < k_size && n < g.n_channels) p = w + (long long)k * c.filters + g.group * g.n_channels + n;
      T* to = (T*)b + line * (BN + PAD) + b_chunk;
#if !HALVES
      if (VEC_B == 1) {
        copy_element(to, p, w);
        continue;
      }
#endif
      copy_chunk((Chunk*)to, p, w);
#endif
    }
    tap.advance(step, taps_x, g.k_channels);
  };

  const int row0 = warp / (BN / WN) * WM, column0 = warp % (BN / WN) * WN;
  float sum[MI][NI][4] = {};
#pragma unroll 1
  for (int slab = 1 - STAGES; slab < slabs; slab++) {
    // After the barrier every thread's copies of this slab have landed, and nobody reads the stage that is written
    // next. The first rounds only copy: one piece of code for all.
    if (slab >= 0) {
      await_copies<STAGES - 2>();
      __syncthreads();
    }
    if (slab + STAGES - 1 < slabs) copy_slab(slab + STAGES - 1);
    end_of_copies();
    if (slab < 0) continue;
    const Chunk* a_lines = a_tile(slab % STAGES);
    const Chunk* b_lines = b_tile(slab % STAGES);
#pragma unroll
    for (int product = 0; product < STEPS; product++) {
      unsigned a[MI][4], b[NI][2];
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
        int line = row0 + mi * 16 + lane % 16;
        load_a(a[mi], [&](int s) { return a_lines + place(line, 2 * (product + s) + lane / 16); });
      }
#pragma unroll
      for (int ni = 0; ni < NI; ni += 2) {
        unsigned (&two)[2][2] = *(unsigned (*)[2][2])&b[ni];
#if GRADIENT
        int line = column0 + ni * 8 + lane / 16 * 8 + lane % 8;
        load_b_lines_of_k(two, [&](int s) { return b_lines + place(line, 2 * (product + s) + lane / 8 % 2); });
#else
        const T* first = (const T*)b_lines + product * 2 * CHUNK * (BN + PAD) + column0 + ni * 8;
        load_b_lines_of_n(two, [&](int k) { return first + k * (BN + PAD); });
#endif
      }
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
#pragma unroll
        for (int ni = 0; ni < NI; ni++) multiply(sum[mi][ni], a[mi], b[ni]);
      }
    }
  }
  await_copies<0>();

  auto destination = [&](int row) { return m0 + row < g.pixels ? g.destination(m0 + row) + n0 : -1LL; };
  const Statistics all{partials, mean + channel0, variance + channel0, counters, (float)g.pixels};
  finish<BM, BN, THREADS>(sum, shared, y, own_bias, row0, column0,
                          g.n_channels - n0, destination, all, (float)min((long long)BM, g.pixels - m0));
}
