// The words CUDA adds to C++: function and memory qualifiers, and the built-in index variables.
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static __attribute__((used))
#define __grid_constant__
#define __builtin_assume(condition) ((void)0)
#define __builtin_assume_aligned(pointer, ...) (pointer)

// `__shared__ T name[2][3];` and `extern __shared__ T name[];` are rewritten to these (by rewrite.py), because no C++
// storage class means 'one per block': a static with a section attribute loses the section inside templates.
#define EMU_TYPE(...) __VA_ARGS__  // lets a type hold commas
#define EMU_SHARED(type, alignment, name, ...)                                                                      \
  typedef type emu_type_of_##name __VA_ARGS__;                                                                      \
  static emu::SharedVariable emu_variable_##name;                                                                   \
  emu_type_of_##name& name = *(emu_type_of_##name*)emu_shared_variable(                                             \
      &emu_variable_##name, sizeof(emu_type_of_##name),                                                             \
      alignment > alignof(emu_type_of_##name) ? alignment : alignof(emu_type_of_##name), #name)
#define EMU_DYNAMIC_SHARED(type, name) type* const name = (type*)emu_position.dynamic_shared

#define threadIdx ((const uint3&)emu_position.thread->index)
#define blockIdx ((const uint3&)emu_position.block_index)
#define blockDim ((const uint3&)emu_position.block_dim)
#define gridDim ((const uint3&)emu_position.grid_dim)
#define warpSize 32

// For functions of these headers that touch memory on the kernel's behalf: the access hooks are not called inside.
#define EMU_UNCHECKED __attribute__((noinline, no_sanitize_thread, no_sanitize("undefined")))
