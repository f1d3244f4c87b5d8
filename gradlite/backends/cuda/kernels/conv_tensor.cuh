// What convolutions on tensor cores share: tiles in shared memory, and fragments of them.
//
// Macros: PRECISION, one of TF32 and BF16 (both with float32 in memory, rounded when a fragment is loaded), FP16 and
// HALF_BF16 (float16 and bfloat16 in memory); T, the element type; WM x WN, the part of the result that a warp computes.
//
// Tiles are counted in chunks of 16 bytes. A line of 64 bytes (a slab: 16 floats or 32 halves of one pixel) is 4
// chunks; chunk q of line r lies at place q ^ (r / 2 % 4), so that ldmatrix, which reads a chunk of 8 lines at once,
// and copies, which write 2 whole lines at once, meet every bank once. A step is 32 bytes of k: 8 floats or 16 halves.
//
// BF16 takes two steps of floats as one: the order of k within a product is free as long as both factors have the
// same, so lane t's k = t, t + 4 of a step, where ldmatrix puts them, become its neighbouring pair.
#pragma once
#include "common.cuh"
#include "conv_geometry.cuh"

#define TF32 0
#define BF16 1
#define FP16 2
#define HALF_BF16 3
#define HALVES (PRECISION == FP16 || PRECISION == HALF_BF16)

struct __align__(16) Chunk {
  unsigned words[4];
};

const int CHUNK = 16 / sizeof(T);      // elements of a chunk
const int SLAB = 4 * CHUNK;            // elements of k in a line
const int STEPS = PRECISION == BF16 ? 1 : 2;  // products that a slab takes
const int MI = WM / 16, NI = WN / 8;   // products that a warp's part consists of
const int PAD = 8;                     // elements between lines of [k][n]
const int K_STEP = PRECISION == TF32 ? 8 : 16;  // k of a product

// ---- copies: asynchronous where the device can, zeros where there is nothing to read

// `global` may point anywhere if it is not `there` to be read.
__device__ __forceinline__ void copy_chunk(Chunk* shared, const T* global, bool there) {
#if __CUDA_ARCH__ >= 800
  copy_async_16(shared, global, there ? 16 : 0);
#else
  *shared = there ? *(const Chunk*)global : Chunk{};
#endif
}

// Nothing where `global` is null; `valid` is any address that could be read.
__device__ __forceinline__ void copy_chunk(Chunk* shared, const T* global, const T* valid) {
  copy_chunk(shared, global != nullptr ? global : valid, global != nullptr);
}

__device__ __forceinline__ void copy_element(float* shared, const float* global, const float* valid) {
#if __CUDA_ARCH__ >= 800
  copy_async_4(shared, global != nullptr ? global : valid, global != nullptr ? 4 : 0);
#else
  *shared = global != nullptr ? *global : 0.f;
#endif
}

__device__ __forceinline__ void end_of_copies() {
#if __CUDA_ARCH__ >= 800
  commit_copies();
#endif
}

template <int LEFT> __device__ __forceinline__ void await_copies() {
#if __CUDA_ARCH__ >= 800
  wait_for_copies<LEFT>();
#endif
}

// ---- fragments

// Where chunk `chunk` of line `line` lies in a tile of lines of 4 chunks.
__device__ __forceinline__ int place(int line, int chunk) { return line * 4 + (chunk ^ ((line >> 1) & 3)); }

// Rounds the floats of one step, as they lie in memory; halves stay what they are.
template <int N> __device__ __forceinline__ void round_step(unsigned (&a)[N]) {
#if PRECISION == TF32
#pragma unroll
  for (int i = 0; i < N; i++) a[i] = tf32(__uint_as_float(a[i]));
#endif
}

#if PRECISION == TF32
// Rounds the floats of a chunk where they lie, once for all fragments that they go into. The thread that copied the
// chunk may do it before the barrier, when its copies have landed.
__device__ __forceinline__ void round_chunk(Chunk* chunk) {
  Chunk all = *chunk;
#pragma unroll
  for (int i = 0; i < 4; i++) all.words[i] = nearly_tf32(all.words[i]);
  *chunk = all;
}
#endif

#if PRECISION == BF16
__device__ __forceinline__ unsigned pair(unsigned low, unsigned high) {
  return bfloat16_pair(__uint_as_float(low), __uint_as_float(high));
}
#endif

// Factor a, 16 lines x one product's k. `address(step)` gives this lane's chunk: line lane % 16, chunk lane / 16 of the
// step. Floats are rounded unless they lie in shared memory ROUNDED, here and below.
template <bool ROUNDED = false, typename Address>
__device__ __forceinline__ void load_a(unsigned (&a)[4], Address address) {
  ldmatrix_4(a, address(0));
#if PRECISION == BF16
  unsigned second[4];
  ldmatrix_4(second, address(1));
  a[0] = pair(a[0], a[2]);
  a[1] = pair(a[1], a[3]);
  a[2] = pair(second[0], second[2]);
  a[3] = pair(second[1], second[3]);
#else
  if (!ROUNDED) round_step(a);
#endif
}

// Factor b for 16 columns from lines [n] of k: b[0] and b[1] are two products' fragments. `address(step)` gives line
// lane / 16 * 8 + lane % 8, chunk lane / 8 % 2 of the step.
template <bool ROUNDED = false, typename Address>
__device__ __forceinline__ void load_b_lines_of_k(unsigned (&b)[2][2], Address address) {
  unsigned first[4];
  ldmatrix_4(first, address(0));
#if PRECISION == BF16
  unsigned second[4];
  ldmatrix_4(second, address(1));
  b[0][0] = pair(first[0], first[1]);
  b[0][1] = pair(second[0], second[1]);
  b[1][0] = pair(first[2], first[3]);
  b[1][1] = pair(second[2], second[3]);
#else
  if (!ROUNDED) round_step(first);
  b[0][0] = first[0], b[0][1] = first[1];
  b[1][0] = first[2], b[1][1] = first[3];
#endif
}

// Factor b for 16 columns from lines [k] of n; `line(k)` points to column 0 of the 16. Floats are read one by one: a
// line is 8 elements longer than a multiple of 32, so 4 lines x 8 columns meet every bank once. Halves, by ldmatrix.
template <bool ROUNDED = false, typename Line>
__device__ __forceinline__ void load_b_lines_of_n(unsigned (&b)[2][2], Line line) {
  const int lane = threadIdx.x % 32;
#if HALVES
  unsigned both[4];
  ldmatrix_4_transposed(both, line(lane % 16) + lane / 16 * 8);
  b[0][0] = both[0], b[0][1] = both[1];
  b[1][0] = both[2], b[1][1] = both[3];
#else
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int n = 0; n < 2; n++) {
#if PRECISION == BF16
    b[n][0] = bfloat16_pair(line(t)[n * 8 + g], line(t + 4)[n * 8 + g]);
    b[n][1] = bfloat16_pair(line(t + 8)[n * 8 + g], line(t + 12)[n * 8 + g]);
#else
    b[n][0] = ROUNDED ? __float_as_uint(line(t)[n * 8 + g]) : tf32(line(t)[n * 8 + g]);
    b[n][1] = ROUNDED ? __float_as_uint(line(t + 4)[n * 8 + g]) : tf32(line(t + 4)[n * 8 + g]);
#endif
  }
#endif
}

// Factor a, 16 lines x one product's k, from lines [k] of m; `line(k)` points to column 0 of the 16. As above.
template <typename Line> __device__ __forceinline__ void load_a_lines_of_m(unsigned (&a)[4], Line line) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#if HALVES
  ldmatrix_4_transposed(a, line(lane / 16 * 8 + lane % 8) + lane / 8 % 2 * 8);
#elif PRECISION == BF16
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int m = g + i % 2 * 8, k = t + i / 2 * 8;
    a[i] = bfloat16_pair(line(k)[m], line(k + 4)[m]);
  }
#else
#pragma unroll
  for (int i = 0; i < 4; i++) a[i] = tf32(line(t + i / 2 * 4)[g + i % 2 * 8]);
#endif
}

__device__ __forceinline__ void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if PRECISION == TF32
  mma_tf32(d, a, b);
#elif PRECISION == BF16 || PRECISION == HALF_BF16
  mma_bf16(d, a, b);
#elif __CUDA_ARCH__ >= 800
  mma_f16(d, a, b);
#else
  mma_f16_k8(d, a, b);
  mma_f16_k8(d, a + 2, b + 1);
#endif
}
