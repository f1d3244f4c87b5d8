// variant sm_80+: T=float C=float MULTIPLY={0,1} BM=128 BN=128 BK=32 WM=64 WN=64 STAGES=3 MIN_BLOCKS=2 A_BY_K=1 B_BY_K={0,1} VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// variant sm_80+: T=float C=float MULTIPLY=0 BM=128 BN=128 BK=32 WM=64 WN=64 STAGES=3 MIN_BLOCKS=2 A_BY_K=0 B_BY_K=0 VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B=1 COLUMN_SUMS=1 ACTIVATION=0
// variant sm_80+: T=float C=float MULTIPLY=0 BM=128 BN=64 BK=32 WM=64 WN=32 STAGES=3 MIN_BLOCKS=2 A_BY_K=0 B_BY_K=0 VECTOR_A=4 VECTOR_B=4 DERIVATIVE_A=0 DERIVATIVE_B=1 COLUMN_SUMS=1 ACTIVATION=0
// variant sm_80+: T=float C=float MULTIPLY=0 BM=32 BN=32 BK=32 WM=16 WN=16 STAGES=4 MIN_BLOCKS=4 A_BY_K=1 B_BY_K=1 VECTOR_A=1 VECTOR_B=1 DERIVATIVE_A=1 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// variant sm_80+: T=half_t C=float MULTIPLY=2 BM=128 BN=128 BK=64 WM=64 WN=64 STAGES=3 MIN_BLOCKS=2 A_BY_K=1 B_BY_K=0 VECTOR_A=8 VECTOR_B=8 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// variant sm_75+: T=half_t C=float MULTIPLY=2 BM=64 BN=64 BK=32 WM=32 WN=32 STAGES=2 MIN_BLOCKS=4 A_BY_K=0 B_BY_K=0 VECTOR_A=8 VECTOR_B=8 DERIVATIVE_A=0 DERIVATIVE_B=1 COLUMN_SUMS=1 ACTIVATION=0
// variant sm_80+: T=bfloat16_t C=float MULTIPLY=1 BM=128 BN=64 BK=64 WM=64 WN=32 STAGES=3 MIN_BLOCKS=2 A_BY_K=1 B_BY_K=0 VECTOR_A=8 VECTOR_B=8 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=1
// variant sm_80+: T=bfloat16_t C=float MULTIPLY=1 BM=128 BN=128 BK=64 WM=64 WN=64 STAGES=3 MIN_BLOCKS=2 A_BY_K=1 B_BY_K=0 VECTOR_A=8 VECTOR_B=8 DERIVATIVE_A=0 DERIVATIVE_B=0 COLUMN_SUMS=0 ACTIVATION=0
// Matrix products in tensor cores: float32 as TF32 or bfloat16 (sm_80 on), bfloat16 (sm_80 on), float16 (sm_75 on).
// Sums are float32.
//
// A block computes a BM x BN tile of C. Tiles of A and B, BK deep, pass through STAGES buffers in shared memory: while
// one is multiplied, cp.async brings those of the next STAGES - 1 steps, with one barrier a step. (sm_75 copies through
// registers.) A warp multiplies WM x WN elements of the tile with mma.sync; of each step of 16 in k it reads A once and
// B once. Float32 is rounded when a warp reads it. An activation's derivative, and the sums of columns, are computed by
// each thread on the elements that it copied itself, in place, when they have landed and before the barrier.
//
// Operations: 2 m n k. Shared memory, of 128 x 128 tiles of float32 with 64 x 64 elements a warp: a step of 8 writes
// 8 KB and reads 4 KB a warp, 24 KB in all, 192 cycles at 128 bytes; its 32 mma.m16n8k8 a warp take about 200 on an
// H100. So that tile is about as small as arithmetic can be the limit with, and tiles of bfloat16 are the better bet.
//
// Macros beside those of gemm.cuh: MULTIPLY, the format of the factors; WM, WN, STAGES.
#include "gemm.cuh"

#define TF32 0
#define BFLOAT16 1
#define FLOAT16 2

#define WARPS_N (BN / WN)
#define THREADS (BM / WM * WARPS_N * 32)

// 16-byte chunks are what is copied and, mostly, read.
constexpr int CHUNK = 16 / sizeof(T);
constexpr bool WIDE = sizeof(T) == 4;  // float32 elements

#if __CUDA_ARCH__ < 800
__device__ __forceinline__ void commit_copies() {}
template <int LEFT> __device__ __forceinline__ void wait_for_copies() {}
#endif

// Copies VECTOR elements to shared memory, or zeros where there are none. A single 16-bit element goes through a
// register, since 4 bytes are the least that cp.async copies.
template <int VECTOR> __device__ __forceinline__ void copy(T* shared, const T* global, bool exists) {
#if __CUDA_ARCH__ >= 800
  if (VECTOR == CHUNK) {
    copy_async_16(shared, global, exists ? 16 : 0);
    return;
  }
  if (sizeof(T) == 4) {
    copy_async_4(shared, global, exists ? 4 : 0);
    return;
  }
#endif
  Vector<T, VECTOR> x;
#pragma unroll
  for (int j = 0; j < VECTOR; j++) x.v[j] = store<T>(0.0f);
  if (exists) x = *(const Vector<T, VECTOR>*)global;
  *(Vector<T, VECTOR>*)shared = x;
}

// A tile of an operand with EXTENT rows (of A) or columns (of B) in shared memory, lines of memory as lines of the
// tile: of BK elements by k, of EXTENT elements else. Chunk c of line r is at c ^ crossing(r), such that no reads meet
// in a bank:
// - by k, ldmatrix reads the same chunk of 8 lines from a multiple of 8 on: `crossing` takes 8 values on them (4 on
//   pairs of lines where a line is 64 bytes, so that 2 lines fill the banks).
// - by k, float32 is read as 16 bytes a lane, chunks t = 0..3 of line g for lanes 4 g + t; 8 lanes at a time, so lines
//   g and g + 1 must differ in the chunk's upper half: the lowest bit of the line becomes the highest of `crossing`.
// - along EXTENT, 16-bit elements are read by ldmatrix as above, now with k as the line.
// - along EXTENT, float32 is read as 4 bytes a lane, column g of lines 4 t + j: `crossing` is 2 t, 8 columns.
// Copies write whole lines, whose chunks are permuted within 128 bytes.
template <int EXTENT, bool BY_K_, int VECTOR, int DERIVATIVE, bool SUMS> struct Tile {
  static constexpr bool BY_K = BY_K_;
  static constexpr int LENGTH = BY_K ? BK : EXTENT;
  static constexpr int SIZE = EXTENT * BK;
  static constexpr int BUFFERS = DERIVATIVE ? 2 : 1;  // the second for the activation's outputs
  static constexpr int ACROSS = LENGTH / VECTOR;      // vectors of a line
  static constexpr int LINES = THREADS / ACROSS;      // that the block copies at once
  static constexpr int COUNT = SIZE / VECTOR / THREADS;
  static constexpr int UNROLLED = VECTOR == 1 ? 1 : COUNT;  // as many single elements would fill the registers
  static_assert(LINES * ACROSS == THREADS && COUNT * THREADS * VECTOR == SIZE, "threads share a tile evenly");
  static_assert(BK * sizeof(T) == 128 || (!WIDE && BK * sizeof(T) == 64), "what `crossing` expects");

  const T* next;     // the thread's first element of the next tile
  const T* outputs;  // and the activation's output there
  long long stride;  // of the index that does not run along memory
  int left, depth;   // rows or columns, and elements of k, from the thread's first element on
  C sums[VECTOR];

  static __device__ __forceinline__ unsigned crossing(unsigned line) {
    if (WIDE && !BY_K) return line / 4 % 4 * 2;
    if (LENGTH / CHUNK < 8) return line / 2 % 4;
    return line % 2 * 4 + line / 2 % 4;
  }

  // Of element (i, k); a chunk's elements stay together. Unsigned, or divisions would not be shifts.
  static __device__ __forceinline__ unsigned position(unsigned i, unsigned k) {
    unsigned line = BY_K ? i : k, along = BY_K ? k : i;
    return line * LENGTH + ((along / CHUNK) ^ crossing(line)) * CHUNK + along % CHUNK;
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
    depth = k_end - k;
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sums[j] = C(0);
  }

  // Where in the tile the thread's r-th vector is.
  static __device__ __forceinline__ unsigned own(int r) {
    unsigned along = threadIdx.x % ACROSS * VECTOR, line = threadIdx.x / ACROSS + r * LINES;
    return BY_K ? position(line, along) : position(along, line);
  }

  // Starts to copy the next tile; zeros where there is nothing, on both sides of the product: zero times NaN is NaN.
  __device__ __forceinline__ void fetch(T* tile) {
#pragma unroll UNROLLED
    for (int r = 0; r < COUNT; r++) {
      bool exists = BY_K ? r * LINES < left && 0 < depth : 0 < left && r * LINES < depth;
      long long at = r * LINES * stride;
      copy<VECTOR>(tile + own(r), next + at, exists);
      if (DERIVATIVE) copy<VECTOR>(tile + SIZE + own(r), outputs + at, exists);
    }
    long long step = BY_K ? BK : BK * stride;
    next += step;
    if (DERIVATIVE) outputs += step;
    depth -= BK;
  }

  // Once the thread's own copies have landed.
  __device__ __forceinline__ void apply(T* tile, bool sum) {
    if (!DERIVATIVE && !(SUMS && sum)) return;
#pragma unroll 2  // beside the warp's sums there are no registers for more
    for (int r = 0; r < COUNT; r++) {
      Vector<T, VECTOR>* at = (Vector<T, VECTOR>*)(tile + own(r));
      Vector<T, VECTOR> x = *at, y;
      if (DERIVATIVE) y = *(Vector<T, VECTOR>*)(tile + SIZE + own(r));
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        C value = load(x.v[j]);
        if (DERIVATIVE) value = times_derivative<DERIVATIVE>(value, load(y.v[j]));
        x.v[j] = store<T>(value);
        if (SUMS) sums[j] += value;
      }
      if (DERIVATIVE) *at = x;
    }
  }
};

// ---- From shared memory to the registers of mma.sync, a step of 16 in k. `ROWS`: of A, 16 of them; else 16 columns of
// B. Either way 4 registers of 16-bit factors, 8 of TF32 ones: two products of 8, one after the other.

constexpr int REGISTERS = MULTIPLY == TF32 ? 8 : 4;

#if MULTIPLY == TF32 || MULTIPLY == BFLOAT16
// In which order k enters is free, as long as it is the same for A and B. Here lane 4 g + t takes elements 4 t to
// 4 t + 3 of the step, of i = g and i = g + 8: one load where k runs along memory.
template <typename Operand, bool ROWS>
__device__ __forceinline__ void read_wide(unsigned* registers, const T* tile, unsigned i, unsigned k) {
  unsigned lane = threadIdx.x % 32;
  C x[2][4];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    unsigned row = i + lane / 4 + 8 * half, depth = k + lane % 4 * 4;
    if (Operand::BY_K) {
      Vector<T, 4> four = *(const Vector<T, 4>*)(tile + Operand::position(row, depth));
#pragma unroll
      for (int j = 0; j < 4; j++) x[half][j] = load(four.v[j]);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++) x[half][j] = load(tile[Operand::position(row, depth + j)]);
    }
  }
#pragma unroll
  for (int j = 0; j < 2; j++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#if MULTIPLY == TF32
      // The factor of k step j: registers half + 2 q of rows, of columns q of the half's own product.
      registers[ROWS ? 4 * j + half : 4 * half + 2 * j] = tf32(x[half][2 * j]);
      registers[ROWS ? 4 * j + half + 2 : 4 * half + 2 * j + 1] = tf32(x[half][2 * j + 1]);
#else
      registers[ROWS ? 2 * j + half : 2 * half + j] = bfloat16_pair(x[half][2 * j], x[half][2 * j + 1]);
#endif
    }
  }
}
#endif

// Four 8 x 8 matrices: of A both halves of the rows and then of k, of B the other way round.
template <typename Operand, bool ROWS>
__device__ __forceinline__ void read_narrow(unsigned* registers, const T* tile, unsigned i, unsigned k) {
  unsigned matrix = threadIdx.x % 32 / 8, line = threadIdx.x % 8;
  unsigned row = i + (ROWS ? matrix % 2 : matrix / 2) * 8, depth = k + (ROWS ? matrix / 2 : matrix % 2) * 8;
  if (Operand::BY_K) {
    ldmatrix_4(registers, tile + Operand::position(row + line, depth));
  } else {
    ldmatrix_4_transposed(registers, tile + Operand::position(row, depth + line));
  }
}

template <typename Operand, bool ROWS>
__device__ __forceinline__ void read(unsigned* registers, const T* tile, unsigned i, unsigned k) {
#if MULTIPLY == TF32 || MULTIPLY == BFLOAT16
  if (WIDE) {
    read_wide<Operand, ROWS>(registers, tile, i, k);
    return;
  }
#endif
  read_narrow<Operand, ROWS>(registers, tile, i, k);
}

// 16 rows times 8 columns, 16 deep.
__device__ __forceinline__ void multiply(C* sums, const unsigned* a, const unsigned* b) {
#if MULTIPLY == TF32
  mma_tf32(sums, a, b);
  mma_tf32(sums, a + 4, b + 2);
#elif MULTIPLY == BFLOAT16
  mma_bf16(sums, a, b);
#elif __CUDA_ARCH__ >= 800
  mma_f16(sums, a, b);
#else
  mma_f16_k8(sums, a, b);
  mma_f16_k8(sums, a + 2, b + 1);
#endif
}

// Stores what a warp has computed. 16 rows at a time pass through its part of shared memory, so that lanes store four
// columns each, neighbours in a row, and what is done with a total is the body of a loop. Lines are 8 longer than a
// multiple of 16: writes, two sums a lane, meet every bank once.
constexpr int PITCH = WN + 8, ACROSS = WN / 4;

__device__ __forceinline__ void store_tile(const Epilogue& to, const C* sums, const Part& part, int row, int column,
                                           C* staged) {
  int lane = threadIdx.x % 32, across = lane % ACROSS * 4;
  bool vectors = stores_vectors<4>(to);
  Vector<C, 4> bias = bias_of<4>(to, part.n + column + across);
#pragma unroll
  for (int i = 0; i < WM / 16; i++) {
    __syncwarp();
#pragma unroll
    for (int j = 0; j < WN / 8; j++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const C* two = sums + (i * (WN / 8) + j) * 4 + 2 * half;
        *(Vector<C, 2>*)(staged + (lane / 4 + 8 * half) * PITCH + 8 * j + lane % 4 * 2) = {two[0], two[1]};
      }
    }
    __syncwarp();
#pragma unroll 1
    for (int line = lane / ACROSS; line < 16; line += 32 / ACROSS) {
      Vector<C, 4> four = *(const Vector<C, 4>*)(staged + line * PITCH + across);
      finish<4>(to, part.m + row + 16 * i + line, part.n + column + across, four.v, bias, vectors);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) gemm(
    const T* a, const T* b, const T* outputs, const T* bias, const T* residual, T* c, T* column_sums, C* workspace,
    int* counters, int m, int n, int k, int slice, long long stride_a, long long stride_b, long long ldc,
    int inner, long long a_outer, long long a_inner, long long b_outer, long long b_inner, long long c_batch) {
  typedef Tile<BM, A_BY_K, VECTOR_A, DERIVATIVE_A, false> TileA;
  typedef Tile<BN, B_BY_K, VECTOR_B, DERIVATIVE_B, COLUMN_SUMS> TileB;
  constexpr int OF_A = TileA::SIZE * TileA::BUFFERS, STAGE = OF_A + TileB::SIZE * TileB::BUFFERS;
  constexpr int MI = WM / 16, NI = WN / 8, COUNT = MI * NI * 4;
  extern __shared__ __align__(128) unsigned char memory[];
  T* stages = (T*)memory;

  Part part = part_of_block(m, n, k, slice);
  TileA from_a;
  TileB from_b;
  long long of_a = batch_offset(part.batch, inner, a_outer, a_inner);
  long long of_b = batch_offset(part.batch, inner, b_outer, b_inner);
  from_a.begin(a + of_a, outputs + of_a, stride_a, part.m, m, part.k_begin, part.k_end);
  from_b.begin(b + of_b, outputs + of_b, stride_b, part.n, n, part.k_begin, part.k_end);
  bool sums_columns = COLUMN_SUMS && part.m == 0;

  int warp = threadIdx.x / 32;
  int row = warp / WARPS_N * WM, column = warp % WARPS_N * WN;
  C sums[COUNT + COLUMN_SUMS];
#pragma unroll
  for (int i = 0; i < COUNT; i++) sums[i] = C(0);

#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    from_a.fetch(stages + stage * STAGE);
    from_b.fetch(stages + stage * STAGE + OF_A);
    commit_copies();
  }
  int reading = 0, writing = (STAGES - 1) * STAGE;
  for (int left = part.k_end - part.k_begin; left > 0; left -= BK) {
    wait_for_copies<STAGES - 2>();
    from_a.apply(stages + reading, false);
    from_b.apply(stages + reading + OF_A, sums_columns);
    __syncthreads();  // all copies of this stage have landed, and all reads of the one before are done
    from_a.fetch(stages + writing);
    from_b.fetch(stages + writing + OF_A);
    commit_copies();
    const T* tile_a = stages + reading;
    const T* tile_b = tile_a + OF_A;
#pragma unroll
    for (int step = 0; step < BK; step += 16) {
      unsigned y[NI / 2][REGISTERS];
#pragma unroll
      for (int j = 0; j < NI / 2; j++) read<TileB, false>(y[j], tile_b, column + 16 * j, step);
#pragma unroll
      for (int i = 0; i < MI; i++) {
        unsigned x[REGISTERS];
        read<TileA, true>(x, tile_a, row + 16 * i, step);
#pragma unroll
        for (int j = 0; j < NI; j++) multiply(sums + (i * NI + j) * 4, x, y[j / 2] + j % 2 * (REGISTERS / 2));
      }
    }
    reading = reading + STAGE == STAGES * STAGE ? 0 : reading + STAGE;
    writing = writing + STAGE == STAGES * STAGE ? 0 : writing + STAGE;
  }
  wait_for_copies<0>();

  part = part_of_block(m, n, k, slice);  // once more, rather than hold it in registers
#if COLUMN_SUMS
  __syncthreads();
  sums[COUNT] = sums_columns ? column_sum<VECTOR_B, THREADS>(from_b.sums, (C*)memory) : C(0);
#endif
  if (!sum_of_slices<COUNT + COLUMN_SUMS, THREADS>(sums, workspace, counters, memory)) return;
  if (sums_columns && threadIdx.x < BN && part.n + threadIdx.x < n) {
    column_sums[part.n + threadIdx.x] = store<T>(sums[COUNT + COLUMN_SUMS - 1]);
  }
  long long offset = part.batch * c_batch;
  Epilogue to{bias, residual ? residual + offset : nullptr, c + offset, ldc, m, n};
  __syncthreads();  // nobody reads the tiles any more
  store_tile(to, sums, part, row, column, (C*)memory + warp * 16 * PITCH);
}
