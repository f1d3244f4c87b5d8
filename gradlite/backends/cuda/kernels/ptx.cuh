// Inline PTX, all of it: asynchronous copies, tensor-core products, conversions of 16-bit floats.
// Under the emulator (EMU_SHIM) the same functions are computed on the CPU.
//
// What a device lacks is not declared for it: cp.async, TF32, bfloat16 and the k16 product of float16 begin with sm_80,
// ldmatrix and the k8 product of float16 with sm_75. Names with a number in them give the size: bytes of a copy,
// 8 x 8 matrices of a load.
#pragma once

// 16-bit floats are words here; arithmetic on them is done in float32 or in tensor cores.
struct half_t { unsigned short bits; };
struct bfloat16_t { unsigned short bits; };

// ---- 16-bit floats

#ifdef EMU_SHIM

__device__ __forceinline__ float half_to_float(half_t x) { return emu::half_to_float(x.bits); }
__device__ __forceinline__ half_t float_to_half(float x) { return half_t{emu::float_to_half_rn(x)}; }
__device__ __forceinline__ float bfloat16_to_float(bfloat16_t x) { return emu::bf16_to_float(x.bits); }
__device__ __forceinline__ bfloat16_t float_to_bfloat16(float x) { return bfloat16_t{emu::float_to_bf16_rn(x)}; }

#else

__device__ __forceinline__ float half_to_float(half_t x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

__device__ __forceinline__ half_t float_to_half(float x) {
  half_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

__device__ __forceinline__ float bfloat16_to_float(bfloat16_t x) {
  return __uint_as_float((unsigned)x.bits << 16);
}

// Rounds to nearest, ties to even; NaN stays NaN. The instruction exists from sm_80 on, this is as short anywhere.
__device__ __forceinline__ bfloat16_t float_to_bfloat16(float x) {
  unsigned u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return bfloat16_t{(unsigned short)((u >> 16) | 0x40u)};
  u += 0x7fffu + ((u >> 16) & 1u);
  return bfloat16_t{(unsigned short)(u >> 16)};
}

#endif

// ---- code

// The same number, of which the compiler knows no more: it makes no loop of its own for each value.
__device__ __forceinline__ int unknown(int x) {
#ifndef EMU_SHIM
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// ---- global memory

// 16 bytes at once, on 16: of four stores next to each other the compiler does not always make one.
__device__ __forceinline__ void store_16(void* global, const unsigned (&words)[4]) {
#ifdef EMU_SHIM
  struct __align__(16) Words { unsigned at[4]; };
  *(Words*)global = Words{{words[0], words[1], words[2], words[3]}};
#else
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
               :: "l"(global), "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
#endif
}

// Adds 1, and gives what was there. Whoever adds later sees what this thread, and those it has met at a barrier, wrote
// before; lighter than two full fences around an atomic.
__device__ __forceinline__ int count_and_order(int* counter) {
#ifdef EMU_SHIM
  __threadfence();
  return atomicAdd(counter, 1);
#else
  int before;
  asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
  return before;
#endif
}

// ---- ldmatrix: lane 8i + r gives the address of row r (16 bytes, on 16) of matrix i, and receives in d[i] elements
// 2 (lane % 4) and the next of row lane / 4 of matrix i; transposed, of its column lane / 4.

#if __CUDA_ARCH__ >= 750
#ifdef EMU_SHIM

__device__ __forceinline__ void ldmatrix_2(unsigned* d, const void* row) { emu_ldmatrix(d, row, 2, 0); }
__device__ __forceinline__ void ldmatrix_4(unsigned* d, const void* row) { emu_ldmatrix(d, row, 4, 0); }
__device__ __forceinline__ void ldmatrix_2_transposed(unsigned* d, const void* row) { emu_ldmatrix(d, row, 2, 1); }
__device__ __forceinline__ void ldmatrix_4_transposed(unsigned* d, const void* row) { emu_ldmatrix(d, row, 4, 1); }

#else

// The address of shared memory in its own window, which these instructions want in 32 bits.
__device__ __forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void ldmatrix_2(unsigned* d, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(d[0]), "=r"(d[1]) : "r"(shared_address(row)) : "memory");
}

__device__ __forceinline__ void ldmatrix_4(unsigned* d, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
}

__device__ __forceinline__ void ldmatrix_2_transposed(unsigned* d, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(d[0]), "=r"(d[1]) : "r"(shared_address(row)) : "memory");
}

__device__ __forceinline__ void ldmatrix_4_transposed(unsigned* d, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(row)) : "memory");
}

#endif

// ---- mma.sync: d += a b for a warp, accumulated in float32. With g = lane / 4 and t = lane % 4, a lane holds
//
//   d[i], 16 x 8:          row g + 8 (i / 2), column 2t + i % 2
//   TF32, a[i] 16 x 8:     row g + 8 (i % 2), column t + 4 (i / 2)         b[i] 8 x 8:   row t + 4i, column g
//   16 bits, a[i] 16 x k:  row g + 8 (i % 2), columns 2t + 8 (i / 2), +1   b[i] k x 8:   rows 2t + 8i, +1, column g
//
// with the lower column or row of a pair in the lower half of the register.

// float16, m16n8k8: a[2], b[1]. The product that sm_75 has.
__device__ __forceinline__ void mma_f16_k8(float* d, const unsigned* a, const unsigned* b) {
#ifdef EMU_SHIM
  emu_mma_f16_k8(d, a, b, d);
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#endif
}

#endif  // sm_75

#if __CUDA_ARCH__ >= 800

// TF32, m16n8k8: a[4], b[2]. The unit drops the lowest 13 bits: round with tf32() first.
__device__ __forceinline__ void mma_tf32(float* d, const unsigned* a, const unsigned* b) {
#ifdef EMU_SHIM
  emu_mma_tf32(d, a, b, d);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// bfloat16, m16n8k16: a[4], b[2].
__device__ __forceinline__ void mma_bf16(float* d, const unsigned* a, const unsigned* b) {
#ifdef EMU_SHIM
  emu_mma_bf16(d, a, b, d);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// float16, m16n8k16: a[4], b[2].
__device__ __forceinline__ void mma_f16(float* d, const unsigned* a, const unsigned* b) {
#ifdef EMU_SHIM
  emu_mma_f16(d, a, b, d);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Nearest TF32 number, ties away from zero; NaN and infinity stay what they are.
__device__ __forceinline__ unsigned tf32(float x) {
#ifdef EMU_SHIM
  return emu::tf32_rna(x);
#else
  unsigned y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
#endif
}

// The same where the unit drops the lowest bits itself: two instructions, on a number that is to go back to memory.
__device__ __forceinline__ unsigned nearly_tf32(unsigned x) {
#ifdef EMU_SHIM
  return (x & 0x7f800000u) == 0x7f800000u ? x : x + 0x1000u;
#else
  asm("{ .reg .pred finite; .reg .f32 size; abs.f32 size, %1; setp.lt.f32 finite, size, 0f7F800000;\n"
      "@finite add.u32 %0, %0, 4096; }" : "+r"(x) : "f"(__uint_as_float(x)));
  return x;
#endif
}

// Two floats as bfloat16 in one register, `low` in the lower half; nearest, ties to even.
__device__ __forceinline__ unsigned bfloat16_pair(float low, float high) {
#ifdef EMU_SHIM
  return (unsigned)emu::float_to_bf16_rn(low) | (unsigned)emu::float_to_bf16_rn(high) << 16;
#else
  unsigned y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
#endif
}

// ---- cp.async: from global to shared memory past the registers. Of 16 (or 8, or 4) bytes the first `source_bytes` are
// read, the rest becomes zero; with 0 the address is not touched. A thread sees its own copies after waiting for them,
// those of other threads after a barrier behind that.

__device__ __forceinline__ void copy_async_16(void* shared, const void* global, int source_bytes) {
#ifdef EMU_SHIM
  emu_cp_async(shared, global, 16, source_bytes);
#else  // past L1, since no other thread of this processor wants the same line now
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
#endif
}

__device__ __forceinline__ void copy_async_8(void* shared, const void* global, int source_bytes) {
#ifdef EMU_SHIM
  emu_cp_async(shared, global, 8, source_bytes);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;"
               :: "r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
#endif
}

__device__ __forceinline__ void copy_async_4(void* shared, const void* global, int source_bytes) {
#ifdef EMU_SHIM
  emu_cp_async(shared, global, 4, source_bytes);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :: "r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
#endif
}

// Closes the group of copies that this thread has issued since the last call; a group may be empty.
__device__ __forceinline__ void commit_copies() {
#ifdef EMU_SHIM
  emu_cp_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `LEFT` of the latest groups are still under way.
template <int LEFT> __device__ __forceinline__ void wait_for_copies() {
#ifdef EMU_SHIM
  emu_cp_wait(LEFT);
#else
  asm volatile("cp.async.wait_group %0;" :: "n"(LEFT) : "memory");
#endif
}

#endif  // sm_80
