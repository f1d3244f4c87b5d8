// variant: T=float C=float BM=128 BN=128 BK=8 TM=8 TN=8 MIN_BLOCKS=2 A_BY_K={0,1} B_BY_K={0,1} VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// variant: T=float C=float BM=64 BN=64 BK=16 TM=8 TN=4 MIN_BLOCKS=4 A_BY_K=0 B_BY_K=0 VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B={1,2} COLUMN_SUMS=1 ACTIVATION=0
// variant: T=float C=float BM=32 BN=32 BK=32 TM=4 TN=4 MIN_BLOCKS=8 A_BY_K=1 B_BY_K={0,1} VECTOR_A=4 VECTOR_B=1 DERIVATIVE_A=1 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// variant: T=double C=double BM=64 BN=64 BK=16 TM=4 TN=4 MIN_BLOCKS=2 A_BY_K=1 B_BY_K=0 VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// variant: T=half_t C=float BM=64 BN=64 BK=16 TM=8 TN=4 MIN_BLOCKS=4 A_BY_K=1 B_BY_K=0 VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// Matrix products in the ordinary arithmetic units: exact float32 and float64 anywhere, float16 where there are no
// tensor cores.
//
// A block computes a BM x BN tile of C. Tiles of A and B, BK deep, are kept in shared memory with k as the slow index,
// two of each: while one is multiplied, the next is on its way from global memory in registers, where also an
// activation's derivative is applied and columns are summed. One barrier a step of BK. A warp computes a 4 TM x 8 TN
// tile: a thread has TM x TN sums, in 4 x 4 patches, so that it reads four operands at once and a warp's reads of A
// (4 x 4 elements side by side) and of B (8 x 4) are contiguous: no bank conflicts.
//
// Operations: 2 m n k. Bytes, of an n x n x n product: n^3 (1 / BM + 1 / BN) elements from L2, half of them hit there.
// At 128 x 128 tiles of 8 x 8 a thread reads 16 elements from shared memory for 64 multiply-adds, so 4 of 68 issued
// instructions are loads and the limit is arithmetic; registers stay under 128, for two blocks a multiprocessor.
#include "gemm.cuh"

#define WARPS_N (BN / (8 * TN))
#define THREADS (BM / (4 * TM) * WARPS_N * 32)

// A tile of an operand with EXTENT rows (of A) or columns (of B): from global memory to registers, and from there to
// shared memory, where element (i, k) is at position(i, k).
//
// By k, a vector holds one i and four k, which are stored apart. The threads of a warp hold 4 G values of k (G = BK / 4
// vectors) of 32 / G different i. Bank conflicts between the G are avoided at BK = 8 by lines of EXTENT + 4, which put
// k and k + 4 16 banks apart, and at larger BK by an exclusive or of i with 32 / G times the vector's number, which
// keeps fours together. Single elements always get the longer lines: free of conflicts at BK = 8, up to BK / 8 fold
// ones above, on a path that is bound by its loads.
template <int EXTENT, bool BY_K, int VECTOR, int DERIVATIVE, bool SUMS> struct Tile {
  static constexpr bool CROSSED = BY_K && VECTOR == 4 && BK > 8;
  static constexpr int LINE = EXTENT + (BY_K && !CROSSED ? 4 : 0);
  static constexpr int SIZE = BK * LINE;
  static constexpr int ACROSS = (BY_K ? BK : EXTENT) / VECTOR;  // vectors along memory
  static constexpr int LINES = THREADS / ACROSS;                // that the block reads at once
  static constexpr int COUNT = EXTENT * BK / VECTOR / THREADS;  // vectors of a thread, LINES apart
  static_assert(LINES * ACROSS == THREADS && COUNT * THREADS * VECTOR == EXTENT * BK, "threads share a tile evenly");
  static_assert(!SUMS || !BY_K, "a thread must keep to its columns");

  const T* next;     // the thread's first element of the next tile
  const T* outputs;  // and the activation's output there, for its derivative
  long long stride;  // of the index that does not run along memory
  int left;          // rows or columns of the operand from the thread's first element on
  int depth;         // elements of k from there on; none where `left` is none
  Vector<T, VECTOR> held[COUNT], held_outputs[DERIVATIVE ? COUNT : 1];  // as loaded: nothing waits for them until `put`
  C sums[VECTOR];

  static __device__ __forceinline__ int position(int i, int k) {
    return k * LINE + (CROSSED ? i ^ (128 / BK * (k / 4 % (BK / 4))) : i);
  }

  __device__ __forceinline__ void begin(const T* operand, const T* y, long long distance, int first, int size,
                                        int k_begin, int k_end) {
    int along = threadIdx.x % ACROSS * VECTOR, line = threadIdx.x / ACROSS;
    int i = first + (BY_K ? line : along), k = k_begin + (BY_K ? along : line);
    long long at = BY_K ? i * distance + k : k * distance + i;
    next = operand + at;
    outputs = DERIVATIVE ? y + at : nullptr;
    stride = distance;
    left = size - i;
    depth = left > 0 ? k_end - k : 0;
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sums[j] = C(0);
  }

  // Zero where there is nothing, and never what happens to be in memory: zero times NaN is NaN.
  __device__ __forceinline__ void fetch() {
#pragma unroll
    for (int r = 0; r < COUNT; r++) {
      long long at = r * LINES * stride;
      bool inside = BY_K ? (r == 0 || r * LINES < left) && 0 < depth : r * LINES < depth;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) held[r].v[j] = store<T>(C(0));
      if (DERIVATIVE) held_outputs[r] = held[r];
      if (inside) {
        held[r] = *(const Vector<T, VECTOR>*)(next + at);
        if (DERIVATIVE) held_outputs[r] = *(const Vector<T, VECTOR>*)(outputs + at);
      }
    }
    long long step = BY_K ? BK : BK * stride;
    next += step;
    if (DERIVATIVE) outputs += step;
    depth -= BK;
  }

  __device__ __forceinline__ void put(C* tile) {
#pragma unroll
    for (int r = 0; r < COUNT; r++) {
      int along = threadIdx.x % ACROSS * VECTOR, line = threadIdx.x / ACROSS + r * LINES;
      Vector<C, VECTOR> x;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        x.v[j] = load(held[r].v[j]);
        if (DERIVATIVE) x.v[j] = times_derivative<DERIVATIVE>(x.v[j], load(held_outputs[r].v[j]));
      }
      if (BY_K) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) tile[position(line, along + j)] = x.v[j];
      } else {
        *(Vector<C, VECTOR>*)(tile + position(along, line)) = x;
      }
      if (SUMS) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) sums[j] += x.v[j];
      }
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) gemm(
    const T* a, const T* b, const T* outputs, const T* bias, const T* residual, T* c, T* column_sums, C* workspace,
    int* counters, int m, int n, int k, int slice, long long stride_a, long long stride_b, long long ldc,
    int inner, long long a_outer, long long a_inner, long long b_outer, long long b_inner, long long c_batch) {
  typedef Tile<BM, A_BY_K, VECTOR_A, DERIVATIVE_A, false> TileA;
  typedef Tile<BN, B_BY_K, VECTOR_B, DERIVATIVE_B, COLUMN_SUMS> TileB;
  __shared__ __align__(16) C shared[2 * (TileA::SIZE + TileB::SIZE)];

  Part part = part_of_block(m, n, k, slice);
  TileA from_a;
  TileB from_b;
  long long of_a = batch_offset(part.batch, inner, a_outer, a_inner);
  long long of_b = batch_offset(part.batch, inner, b_outer, b_inner);
  from_a.begin(a + of_a, outputs + of_a, stride_a, part.m, m, part.k_begin, part.k_end);
  from_b.begin(b + of_b, outputs + of_b, stride_b, part.n, n, part.k_begin, part.k_end);

  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int row = warp / WARPS_N * (4 * TM) + lane / 8 * 4;     // the thread's first; patches are 16 rows apart,
  int column = warp % WARPS_N * (8 * TN) + lane % 8 * 4;  // and 32 columns
  C sums[TM * TN + COLUMN_SUMS];
#pragma unroll
  for (int i = 0; i < TM * TN; i++) sums[i] = C(0);

  from_a.fetch();
  from_b.fetch();
  int buffer = 0;
  from_a.put(shared);
  from_b.put(shared + TileA::SIZE);
  __syncthreads();
  for (int left = part.k_end - part.k_begin; left > 0; left -= BK) {
    bool more = left > BK;
    if (more) {
      from_a.fetch();
      from_b.fetch();
    }
    const C* tile_a = shared + buffer;
    const C* tile_b = tile_a + TileA::SIZE;
#pragma unroll
    for (int step = 0; step < BK; step++) {
      Vector<C, 4> x[TM / 4], y[TN / 4];
#pragma unroll
      for (int i = 0; i < TM / 4; i++) x[i] = *(const Vector<C, 4>*)(tile_a + TileA::position(row + 16 * i, step));
#pragma unroll
      for (int j = 0; j < TN / 4; j++) y[j] = *(const Vector<C, 4>*)(tile_b + TileB::position(column + 32 * j, step));
#pragma unroll
      for (int j = 0; j < TN; j++) {  // columns outside: ptxas gets by with fewer registers
#pragma unroll
        for (int i = 0; i < TM; i++) sums[i * TN + j] += x[i / 4].v[i % 4] * y[j / 4].v[j % 4];
      }
    }
    buffer = TileA::SIZE + TileB::SIZE - buffer;
    if (more) {  // over tiles that all threads had finished reading at the last barrier
      from_a.put(shared + buffer);
      from_b.put(shared + buffer + TileA::SIZE);
    }
    __syncthreads();
  }

  part = part_of_block(m, n, k, slice);  // once more, rather than hold it in registers
  bool sums_columns = COLUMN_SUMS && part.m == 0;
#if COLUMN_SUMS
  sums[TM * TN] = sums_columns ? column_sum<VECTOR_B, THREADS>(from_b.sums, shared) : C(0);
#endif
  if (!sum_of_slices<TM * TN + COLUMN_SUMS, THREADS>(sums, workspace, counters, shared)) return;
  if (sums_columns && threadIdx.x < BN && part.n + threadIdx.x < n) {
    column_sums[part.n + threadIdx.x] = store<T>(sums[TM * TN + COLUMN_SUMS - 1]);
  }
  long long offset = part.batch * c_batch;
  Epilogue to{bias, residual ? residual + offset : nullptr, c + offset, ldc, m, n};
  bool vectors = stores_vectors<4>(to);
#pragma unroll
  for (int j = 0; j < TN; j += 4) {
    Vector<C, 4> shift = bias_of<4>(to, part.n + column + j * 8);
#pragma unroll
    for (int i = 0; i < TM; i++) {
      finish<4>(to, part.m + row + i / 4 * 16 + i % 4, part.n + column + j * 8, sums + i * TN + j, shift, vectors);
    }
  }
}
