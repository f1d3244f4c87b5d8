// Kernels with one mistake each, which the emulator must find: its own test, since a checker that never fires looks
// fine.
//
// With -DBUG=1 a kernel has the mistake, with -DBUG=0 it has not and must run clean. The line that the message must
// name ends in a comment with the kernel's name: "// here: NAME".

#if BUG
#define CORRECT(statement)
#define MISTAKE(statement) statement
#else
#define CORRECT(statement) statement
#define MISTAKE(statement)
#endif

// ---- races

extern "C" __global__ void missing_barrier(float* x) {
  __shared__ float tile[128];
  tile[threadIdx.x] = 0.f;
  __syncthreads();
  tile[threadIdx.x] = x[threadIdx.x];
  CORRECT(__syncthreads();)
  x[threadIdx.x] = tile[127 - threadIdx.x];  // here: missing_barrier
}

extern "C" __global__ void overwritten_too_early(float* x) {
  __shared__ float tile[128];
  for (int step = 0; step < 3; step++) {
    tile[threadIdx.x] = x[threadIdx.x];  // here: overwritten_too_early
    __syncthreads();
    x[threadIdx.x] = tile[127 - threadIdx.x];
    CORRECT(__syncthreads();)
  }
}

extern "C" __global__ void overwritten_while_being_read(float* x) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncthreads();
  if (t < 32) x[t] = tile[t + 32];  // here: overwritten_while_being_read
  CORRECT(__syncthreads();)
  if (t >= 32) tile[t] = 0.f;       // here: overwritten_while_being_read
}

extern "C" __global__ void half_of_a_word_is_another_s(unsigned short* x) {
  __shared__ unsigned short tile[32];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncwarp();
  unsigned short value = tile[BUG ? t ^ 1 : t];  // here: half_of_a_word_is_another_s
  tile[t] = value + 1;                           // here: half_of_a_word_is_another_s
  x[t] = tile[t];
}

extern "C" __global__ void not_atomic(const int* x, int* bins) {
  __shared__ int mine[8];
  if (threadIdx.x < 8) mine[threadIdx.x] = 0;
  __syncthreads();
  MISTAKE(mine[x[threadIdx.x]] += 1;)  // here: not_atomic
  CORRECT(atomicAdd(&mine[x[threadIdx.x]], 1);)
  __syncthreads();
  if (threadIdx.x < 8) bins[threadIdx.x] = mine[threadIdx.x];
}

extern "C" __global__ void blocks_overlap(float* y) {
  int width = BUG ? blockDim.x - 1 : blockDim.x;
  y[blockIdx.x * width + threadIdx.x] = 1.f;  // here: blocks_overlap
}

extern "C" __global__ void block_reads_what_another_writes(float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, last = gridDim.x * blockDim.x - 1;
  float value = y[BUG ? last - i : i];  // here: block_reads_what_another_writes
  y[i] = value + 1.f;                   // here: block_reads_what_another_writes
}

extern "C" __global__ void missing_fence(float* partial, unsigned* done, float* y) {
  if (threadIdx.x != 0) return;
  partial[blockIdx.x] = 1.f;
  CORRECT(__threadfence();)
  if (atomicAdd(done, 1u) < gridDim.x - 1) return;
  float sum = 0.f;
  for (int b = 0; b < gridDim.x; b++) sum += partial[b];  // here: missing_fence
  *y = sum;
}

extern "C" __global__ void missing_syncwarp(float* x) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  if (t >= 32) return;
  s[t] += s[t + 32];  // here: missing_syncwarp
  CORRECT(__syncwarp();)
  float other = s[(t + 16) % 32];  // here: missing_syncwarp
  CORRECT(__syncwarp();)
  s[t] += other;                   // here: missing_syncwarp
  x[t] = s[t];
}

extern "C" __global__ void shuffle_instead_of_syncwarp(float* x) {
  __shared__ float s[32];
  int t = threadIdx.x;
  s[t] = 0.f;
  __syncwarp();
  s[t] = x[t];
  CORRECT(__syncwarp();)
  float sum = __shfl_xor_sync(0xffffffffu, x[t], 1);
  x[t] = sum + s[t ^ 1];  // here: shuffle_instead_of_syncwarp
}

// ---- barriers

extern "C" __global__ void barrier_after_exit(float* x, int n) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  if (BUG && t >= n) return;
  if (t < n) tile[t] = x[t];
  __syncthreads();  // here: barrier_after_exit
  if (t < n) x[t] = tile[n - 1 - t];
}

extern "C" __global__ void barrier_in_both_branches(float* x) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  tile[t] = x[t];
  CORRECT(__syncthreads();)
  if (t < 32) {
    MISTAKE(__syncthreads();)  // here: barrier_in_both_branches
    x[t] = tile[63 - t];
  } else {
    MISTAKE(__syncthreads();)  // here: barrier_in_both_branches
    x[t] = -tile[63 - t];
  }
}

extern "C" __global__ void barrier_in_a_loop_of_unequal_length(float* x, int n) {
  __shared__ float sum;
  if (threadIdx.x == 0) sum = 0.f;
  __syncthreads();
  int trips = BUG ? (n + 63 - threadIdx.x) / 64 : (n + 63) / 64;
  for (int k = 0; k < trips; k++) {
    if (threadIdx.x == 0) sum += x[k];
    __syncthreads();  // here: barrier_in_a_loop_of_unequal_length
  }
}

// ---- warp operations

extern "C" __global__ void shuffle_with_exited_lanes(float* x, int n) {
  int t = threadIdx.x;
  if (BUG && t >= n) return;
  float v = t < n ? x[t] : 0.f;
  for (int o = 16; o; o /= 2) v += __shfl_down_sync(0xffffffffu, v, o);  // here: shuffle_with_exited_lanes
  if (t % 32 == 0) x[t] = v;
}

extern "C" __global__ void shuffle_in_both_branches(float* x) {
  float v = x[threadIdx.x];
  int distance = threadIdx.x & 1 ? 2 : 4;
  CORRECT(v += __shfl_xor_sync(0xffffffffu, v, 2) * 0.f;)
  MISTAKE(if (distance == 2) v += __shfl_xor_sync(0xffffffffu, v, 2);)  // here: shuffle_in_both_branches
  MISTAKE(else v += __shfl_xor_sync(0xffffffffu, v, 4);)                // here: shuffle_in_both_branches
  x[threadIdx.x] = v;
}

extern "C" __global__ void shuffle_from_an_absent_lane(float* x) {
  float v = x[threadIdx.x];
  if (threadIdx.x < 16) v = __shfl_sync(0x0000ffffu, v, BUG ? 20 : 5);  // here: shuffle_from_an_absent_lane
  x[threadIdx.x] = v;
}

extern "C" __global__ void mask_without_oneself(float* x) {
  float v = x[threadIdx.x];
  v = __shfl_xor_sync(BUG ? 0x7fffffffu : 0xffffffffu, v, 1);  // here: mask_without_oneself
  x[threadIdx.x] = v;
}

extern "C" __global__ void lanes_wait_for_a_barrier_and_each_other(int* x) {
  if (BUG && threadIdx.x == 0) __syncthreads();
  __syncwarp();  // here: lanes_wait_for_a_barrier_and_each_other
  if (!BUG || threadIdx.x != 0) __syncthreads();
  x[threadIdx.x] = 1;
}

// ---- copies

extern "C" __global__ void copy_not_waited_for(const float* x, float* y) {
  __shared__ __align__(16) float tile[128];
  int t = threadIdx.x;
  emu_cp_async(&tile[4 * t], &x[4 * t], 16, 16);
  emu_cp_commit();
  emu_cp_wait(BUG ? 1 : 0);
  __syncthreads();
  for (int i = t; i < 128; i += 32) y[i] = tile[127 - i];  // here: copy_not_waited_for
  emu_cp_wait(0);
}

extern "C" __global__ void copy_waited_for_without_barrier(const float* x, float* y) {
  __shared__ __align__(16) float tile[128];
  int t = threadIdx.x;
  emu_cp_async(&tile[4 * t], &x[4 * t], 16, 16);
  emu_cp_commit();
  emu_cp_wait(0);
  CORRECT(__syncthreads();)
  for (int i = t; i < 128; i += 32) y[i] = tile[127 - i];  // here: copy_waited_for_without_barrier
}

extern "C" __global__ void copy_over_what_is_being_read(const float* x, float* y) {
  __shared__ __align__(16) float tile[256];
  int t = threadIdx.x;
  for (int step = 0; step < 3; step++) {
    emu_cp_async(&tile[4 * t], &x[4 * t], 16, 16);  // here: copy_over_what_is_being_read
    emu_cp_commit();
    emu_cp_wait(0);
    __syncthreads();
    y[t] = tile[255 - t];
    CORRECT(__syncthreads();)
  }
}

extern "C" __global__ void copy_never_waited_for(const float* x, float* y) {
  __shared__ __align__(16) float tile[128];
  emu_cp_async(&tile[4 * threadIdx.x], &x[4 * threadIdx.x], 16, 16);
  emu_cp_commit();
  CORRECT(emu_cp_wait(0);)
  y[threadIdx.x] = 0.f;
}

extern "C" __global__ void copy_from_past_the_end(const float* x, float* y, int n) {
  __shared__ __align__(16) float tile[128];
  int t = threadIdx.x, left = n - 4 * t, bytes = left >= 4 ? 16 : left > 0 ? 4 * left : 0;
  emu_cp_async(&tile[4 * t], bytes ? &x[4 * t] : x, 16, BUG ? 16 : bytes);  // here: copy_from_past_the_end
  emu_cp_wait(-1);
  __syncthreads();
  for (int i = t; i < n; i += 32) y[i] = tile[i];
}

// ---- bounds

extern "C" __global__ void global_read_past_the_end(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[BUG ? i + 1 : i];  // here: global_read_past_the_end
}

extern "C" __global__ void global_write_past_the_end(float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n + BUG) y[i] = 1.f;  // here: global_write_past_the_end
}

extern "C" __global__ void global_read_before_the_start(const float* x, float* y, int n) {
  int i = threadIdx.x;
  if (i < n) y[i] = x[i - BUG];  // here: global_read_before_the_start
}

extern "C" __global__ void vector_read_past_the_end(const float4* x, float4* y, int n) {
  int i = threadIdx.x;
  if (i < (BUG ? (n + 3) / 4 : n / 4)) y[i] = x[i];  // here: vector_read_past_the_end
}

struct Eight {
  float4 low, high;
};

extern "C" __global__ void struct_read_past_the_end(const Eight* x, Eight* y, int n) {
  int i = threadIdx.x;
  if (i < (BUG ? (n + 7) / 8 : n / 8)) y[i] = x[i];  // here: struct_read_past_the_end
}

extern "C" __global__ void struct_cleared_past_the_end(Eight* y, int n) {
  int i = threadIdx.x;
  if (i < (BUG ? (n + 7) / 8 : n / 8)) y[i] = Eight{};  // here: struct_cleared_past_the_end
}

extern "C" __global__ void shared_row_overrun(float* x) {
  __shared__ float tile[4][32];
  int t = threadIdx.x;
  for (int i = 0; i < 4; i++) tile[i][t] = x[t];
  __syncthreads();
  x[t] = tile[1][BUG ? t + 1 : t];  // here: shared_row_overrun
}

extern "C" __global__ void static_shared_overrun(float* x) {
  __shared__ float tile[32];
  float* flat = tile;
  flat[threadIdx.x + BUG] = x[threadIdx.x];  // here: static_shared_overrun
  if (!BUG) x[threadIdx.x] = flat[threadIdx.x];
}

extern "C" __global__ void dynamic_shared_read_overrun(float* x) {
  extern __shared__ float tile[];
  int t = threadIdx.x;
  tile[t] = x[t];
  __syncwarp();
  x[t] = tile[BUG ? t + 1 : t];  // here: dynamic_shared_read_overrun
}

extern "C" __global__ void dynamic_shared_write_overrun(float* x) {
  extern __shared__ float tile[];
  tile[threadIdx.x + BUG] = x[threadIdx.x];  // here: dynamic_shared_write_overrun
}

extern "C" __global__ void local_array_overrun(float* x, int n) {
  float r[4] = {1.f, 2.f, 3.f, 4.f}, sum = 0.f;
  for (int i = 0; i < (BUG ? n : n - 1); i++) sum += r[i];  // here: local_array_overrun
  x[threadIdx.x] = sum;
}

extern "C" __global__ void address_of_nothing(float* x) {
  float* nowhere = BUG ? (float*)16 : x;
  nowhere[threadIdx.x] = 1.f;  // here: address_of_nothing
}

// ---- values

extern "C" __global__ void uninitialised_shared(float* x, int n) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  if (t < n) tile[t] = x[t];
  CORRECT(else tile[t] = 0.f;)
  __syncthreads();
  x[t] = tile[63 - t];  // here: uninitialised_shared
}

extern "C" __global__ void shared_left_by_another_block(float* x) {
  __shared__ float seen;
  if (threadIdx.x == 0 && (!BUG || blockIdx.x == 0)) seen = 1.f;
  __syncthreads();
  x[blockIdx.x * blockDim.x + threadIdx.x] = seen;  // here: shared_left_by_another_block
}

extern "C" __global__ void misaligned_vector(const float* x, float* y) {
  int i = threadIdx.x;
  float4 v = *reinterpret_cast<const float4*>(x + 4 * i + BUG);  // here: misaligned_vector
  y[i] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void integer_overflow(float* x, int stride) {
  int i = BUG ? threadIdx.x * stride : (int)threadIdx.x;
  int offset = BUG ? (int)threadIdx.x * stride : i;  // here: integer_overflow
  x[threadIdx.x] = offset < 0 ? 1.f : 0.f;
}

extern "C" __global__ void division_by_zero(int* x, int divisor) {
  x[threadIdx.x] = 100 / (BUG ? divisor : divisor + 1);  // here: division_by_zero
}

extern "C" __global__ void trap(int* x) {
  if (BUG && x[threadIdx.x] == 7) __trap();  // here: trap
  x[threadIdx.x] = 1;
}

extern "C" __global__ void failed_assertion(int* x) {
  MISTAKE(assert(x[threadIdx.x] < 7);)  // here: failed_assertion
  x[threadIdx.x] = 1;
}

// ---- endless loops

extern "C" __global__ void endless_loop(volatile int* x) {
  for (int i = 0; x[32 + threadIdx.x] != 0; i += 1 - BUG)  // here: endless_loop
    if (i > 3) x[32 + threadIdx.x] = 0;                      // here: endless_loop
}

extern "C" __global__ void endless_recursion(int* x) {
  struct Deeper {
    static __noinline__ int down(volatile int* x, int n) {             // here: endless_recursion
      volatile int keep[64];
      keep[n % 64] = n;                                                // here: endless_recursion
      return n < 1 ? 0 : down(x, BUG ? n + 1 : n - 1) + keep[n % 64];  // here: endless_recursion
    }
  };
  x[threadIdx.x] = Deeper::down(x, 3);
}

// ---- launches that a device refuses

extern "C" __global__ void __launch_bounds__(64) at_most_64_threads(float* x) { x[threadIdx.x] = 1.f; }

extern "C" __global__ void large_static_shared(float* x) {
  __shared__ float tile[(BUG ? 49 : 48) * 256];
  tile[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void
takes_many(const float* x, float* y, float scale, int n, long long stride, unsigned char flag) {
  y[0] = x[0] * scale + n + stride + flag;
}
