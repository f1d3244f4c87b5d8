// What most kernels need: reading and writing elements of any type in the type that arithmetic is done in.
#pragma once
#include "ptx.cuh"

// Type parameters are called Type here: T is a macro in the files that include this.

// compute<Type>::type: float for 16-bit floats and float, double for double.
template <typename Type> struct compute { typedef Type type; };
template <> struct compute<half_t> { typedef float type; };
template <> struct compute<bfloat16_t> { typedef float type; };

__device__ __forceinline__ float load(half_t x) { return half_to_float(x); }
__device__ __forceinline__ float load(bfloat16_t x) { return bfloat16_to_float(x); }
__device__ __forceinline__ float load(float x) { return x; }
__device__ __forceinline__ double load(double x) { return x; }

template <typename Type> __device__ __forceinline__ Type store(typename compute<Type>::type x) { return x; }
template <> __device__ __forceinline__ half_t store<half_t>(float x) { return float_to_half(x); }
template <> __device__ __forceinline__ bfloat16_t store<bfloat16_t>(float x) { return float_to_bfloat16(x); }

// max(x, 0) that keeps NaN, as NumPy's maximum does; fmaxf would drop it.
template <typename Type> __device__ __forceinline__ Type relu_of(Type x) { return x > Type(0) || x != x ? x : Type(0); }

// a * b + c with one rounding. Written out where two kernels must give the same bits: whether a compiler contracts a
// product and a sum may depend on what else it compiles.
__device__ __forceinline__ float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return __fma_rn(a, b, c); }
