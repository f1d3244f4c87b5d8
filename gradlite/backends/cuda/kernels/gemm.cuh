// What the matrix products share: which tile a block computes, activations, splitting over k, and the epilogue.
//
// C[m, n] = activation(A[m, k] B[k, n] + bias[n] + residual[m, n]), for a batch of matrices. An operand's element is
// found by two strides, one of which is 1: either k runs along memory ("by k"), or its m or n does. So transposed
// operands need no copy. The including file has the macros
//
//   T, C                       type of the elements; type of the sums (float, or double for double)
//   BM, BN, BK                 tile of a block
//   A_BY_K, B_BY_K             which index of an operand has the stride 1
//   VECTOR_A, VECTOR_B         elements of one load: 16 bytes (4 elements in gemm_ffma.cu), or 1 where addresses,
//                              strides or sizes are no multiples of that
//   DERIVATIVE_A, DERIVATIVE_B the operand is multiplied by this activation's derivative, from its outputs, as it loads
//   COLUMN_SUMS                also the sums over k of B's columns: B is a gradient, they are the bias's
//   ACTIVATION                 what becomes of a sum with bias and residual. What happens once to each element of C
//                              should be little code: a kernel that runs once a step fetches all of it from L2
#pragma once
#include "common.cuh"
#include "last_block.cuh"

// Activations; the numbers are those of gemm.py.
#define NONE 0
#define RELU 1
#define SIGMOID 2
#define TANH 3

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ __forceinline__ double hyperbolic_tangent(double x) { return tanh(x); }

__device__ __forceinline__ C activated(C x) {
  if (ACTIVATION == RELU) return relu_of(x);
  if (ACTIVATION == SIGMOID) return C(1) / (C(1) + exponential(-x));
  if (ACTIVATION == TANH) return hyperbolic_tangent(x);
  return x;
}

// gradient * activation'(input), from y = activation(input). relu selects: a NaN passes or is blocked like any value.
template <int KIND> __device__ __forceinline__ C times_derivative(C gradient, C y) {
  if (KIND == RELU) return y > C(0) ? gradient : C(0);
  if (KIND == SIGMOID) return gradient * y * (C(1) - y);
  if (KIND == TANH) return gradient * (C(1) - y * y);
  return gradient;
}

// Several elements in one load or store.
template <typename Type, int COUNT> struct alignas(sizeof(Type) * COUNT < 16 ? sizeof(Type) * COUNT : 16) Vector {
  Type v[COUNT];
};

// The part of the product that a block computes: one tile of one matrix, over one slice of k.
struct Part {
  int m, n;            // the tile's first row and column
  int batch;           // number of the matrix
  int k_begin, k_end;  // the slice
};

// Tiles run down groups of 8 rows of tiles before they go on to the next column, so that the blocks running at one
// time share rows of A and columns of B in the L2 cache.
__device__ __forceinline__ Part part_of_block(int m, int n, int k, int slice) {
  const int GROUP = 8;
  int rows = (m + BM - 1) / BM, columns = (n + BN - 1) / BN;
  int batch = blockIdx.x / (rows * columns), tile = blockIdx.x % (rows * columns);
  int group = tile / (GROUP * columns), inside = tile % (GROUP * columns);
  int height = min(rows - group * GROUP, GROUP);
  Part part;
  part.m = (group * GROUP + inside % height) * BM;
  part.n = inside / height * BN;
  part.batch = batch;
  part.k_begin = blockIdx.y * slice;
  part.k_end = min(k, part.k_begin + slice);
  return part;
}

// Where a matrix of an operand begins. Two batch axes are enough for any that broadcasting leaves after merging those
// that lie evenly in memory; a stride is 0 where the operand is broadcast.
__device__ __forceinline__ long long batch_offset(int batch, int inner, long long outer_stride, long long inner_stride) {
  return batch / inner * outer_stride + batch % inner * inner_stride;
}

// Adds up the sums that the blocks of all slices of a tile hold in `sums`. True in the block that then has the totals:
// the last one to arrive. It adds in the order of the slices, whichever came last, its own included: same bits always.
//
// `workspace` holds COUNT * THREADS sums a block, each thread's COUNT at a distance of THREADS, so all accesses are
// coalesced and none is out of bounds at ragged tiles. `counters` holds a zero for each tile, and does so again after.
// `scratch` is shared memory that no one uses any more behind the next barrier.
template <int COUNT, int THREADS>
__device__ __forceinline__ bool sum_of_slices(C (&sums)[COUNT], C* workspace, int* counters, void* scratch) {
  int slices = gridDim.y;
  if (slices == 1) return true;
  const long long SIZE = COUNT * THREADS;
  C* first = workspace + (long long)blockIdx.x * slices * SIZE + threadIdx.x;
  C* mine = first + blockIdx.y * SIZE;
#pragma unroll
  for (int i = 0; i < COUNT; i++) mine[i * THREADS] = sums[i];

  if (!is_last_block(counters + blockIdx.x, slices, (int*)scratch)) return false;
  // Sums of as many slices on their way at once as registers allow: each takes as long as L2 does.
  const int FIT = 256 / sizeof(C) / COUNT, AHEAD = FIT < 1 ? 1 : FIT > 8 ? 8 : FIT;
#pragma unroll
  for (int i = 0; i < COUNT; i++) sums[i] = C(0);
  for (int slice = 0; slice < slices; slice += AHEAD) {
    C theirs[AHEAD][COUNT];
#pragma unroll
    for (int ahead = 0; ahead < AHEAD; ahead++) {
      const C* from = first + min(slice + ahead, slices - 1) * SIZE;
#pragma unroll
      for (int i = 0; i < COUNT; i++) theirs[ahead][i] = __ldcg(from + i * THREADS);
    }
#pragma unroll
    for (int ahead = 0; ahead < AHEAD; ahead++) {
      if (slice + ahead >= slices) break;
#pragma unroll
      for (int i = 0; i < COUNT; i++) sums[i] += theirs[ahead][i];
    }
  }
  return true;
}

// Where totals go, and what is done with them before.
struct Epilogue {
  const T* bias;      // (n,) or null
  const T* residual;  // laid out as c, or null; may be c itself, to accumulate
  T* c;
  long long ldc;
  int m, n;
};

// The bias of COUNT columns.
template <int COUNT> __device__ __forceinline__ Vector<C, COUNT> bias_of(const Epilogue& to, int column) {
  Vector<C, COUNT> bias;
#pragma unroll
  for (int j = 0; j < COUNT; j++) bias.v[j] = to.bias && column + j < to.n ? load(to.bias[column + j]) : C(0);
  return bias;
}

// COUNT totals side by side in a row, stored at once where `vectors` says that whole vectors are aligned.
template <int COUNT>
__device__ __forceinline__ void finish(const Epilogue& to, int row, int column, const C* totals,
                                       const Vector<C, COUNT>& bias, bool vectors) {
  if (row >= to.m || column >= to.n) return;
  long long at = row * to.ldc + column;
  if (vectors) {
    Vector<T, COUNT> stored;
    if (to.residual) stored = *(const Vector<T, COUNT>*)(to.residual + at);
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
      C value = totals[j] + bias.v[j];
      if (to.residual) value += load(stored.v[j]);
      stored.v[j] = store<T>(activated(value));
    }
    *(Vector<T, COUNT>*)(to.c + at) = stored;
  } else {
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
      if (column + j >= to.n) break;
      C value = totals[j] + bias.v[j];
      if (to.residual) value += load(to.residual[at + j]);
      to.c[at + j] = store<T>(activated(value));
    }
  }
}

// Whether all rows of c, and of the residual, can be read and stored in vectors of COUNT.
template <int COUNT> __device__ __forceinline__ bool stores_vectors(const Epilogue& to) {
  unsigned long long addresses = (unsigned long long)to.c | (unsigned long long)to.residual;
  return to.n % COUNT == 0 && to.ldc % COUNT == 0 && addresses % alignof(Vector<T, COUNT>) == 0;
}

// The sum of column threadIdx.x of B's tile, from what threads have summed over their own rows: thread t has, in
// sums[j], part of column t % (BN / PIECE) * PIECE + j. `scratch` is shared memory that no one else uses by now.
template <int PIECE, int THREADS>
__device__ __forceinline__ C column_sum(const C (&sums)[PIECE], C* scratch) {
  static_assert(THREADS % (BN / PIECE) == 0 && THREADS >= BN, "each thread keeps to its columns");
  const int PARTS = THREADS / (BN / PIECE);
#pragma unroll
  for (int j = 0; j < PIECE; j++) scratch[threadIdx.x * PIECE + j] = sums[j];
  __syncthreads();
  C sum = C(0);
  if (threadIdx.x < BN) {
#pragma unroll
    for (int i = 0; i < PARTS; i++) sum += scratch[i * BN + threadIdx.x];
  }
  return sum;
}
