// Several neighbouring elements read or written in one aligned access.
#pragma once
#include "common.cuh"

template <typename Type, int Count> struct __align__(sizeof(Type) * Count) Elements { Type at[Count]; };

// The address must be a multiple of Count elements.
template <int Count, typename Type> __device__ __forceinline__ Elements<Type, Count> read(const Type* address) {
  return *(const Elements<Type, Count>*)address;
}

template <int Count, typename Type>
__device__ __forceinline__ void write(Type* address, const Elements<Type, Count>& elements) {
  *(Elements<Type, Count>*)address = elements;
}

// The C library's functions for float and double under one name: plain sqrt(float) computes in double in some places.
__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return sqrt(x); }
// One over the square root: two units in the last place off at most in float (CUDA C++ Programming Guide), and no
// division.
__device__ __forceinline__ float inverse_root(float x) { return rsqrtf(x); }
__device__ __forceinline__ double inverse_root(double x) { return 1 / sqrt(x); }
__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ float logarithm_of_one_plus(float x) { return log1pf(x); }
__device__ __forceinline__ double logarithm_of_one_plus(double x) { return log1p(x); }
