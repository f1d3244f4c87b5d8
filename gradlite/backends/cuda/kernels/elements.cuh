// Elements of any type, one and four at a time: what kernels that go over arrays element by element share.
#pragma once
#include "common.cuh"

// Integers and booleans are computed with as they are; common.cuh has the floating-point types.
template <typename Type> __device__ __forceinline__ Type load(Type x) { return x; }

// A value of the computing type as an element of type Type, rounded once.
template <typename Type, typename Value> __device__ __forceinline__ Type element(Value x) {
  return store<Type>((typename compute<Type>::type)x);
}

// Four consecutive elements, read and written by one instruction where they are aligned to their own size.
template <typename Type> struct alignas(4 * sizeof(Type)) Four {
  Type at[4];
};

template <typename Type> __device__ __forceinline__ bool whole(const Type* x) {
  return ((unsigned long long)x & (sizeof(Four<Type>) - 1)) == 0;
}

// Elements i to i + 3 of an array of `size`, as far as there are any; zeros beyond.
template <typename Value, typename Type>
__device__ __forceinline__ void read_four(Value (&values)[4], const Type* x, long long i, long long size) {
  if (whole(x) && i + 3 < size) {
    Four<Type> four = *(const Four<Type>*)(x + i);
#pragma unroll
    for (int k = 0; k < 4; k++) values[k] = (Value)load(four.at[k]);
  } else {
#pragma unroll
    for (int k = 0; k < 4; k++) values[k] = i + k < size ? (Value)load(x[i + k]) : Value(0);
  }
}

template <typename Value, typename Type>
__device__ __forceinline__ void write_four(Type* x, long long i, long long size, const Value (&values)[4]) {
  if (whole(x) && i + 3 < size) {
    Four<Type> four;
#pragma unroll
    for (int k = 0; k < 4; k++) four.at[k] = element<Type>(values[k]);
    *(Four<Type>*)(x + i) = four;
  } else {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (i + k < size) x[i + k] = element<Type>(values[k]);
    }
  }
}

// The first of the four elements that a thread starts with, and how far its next four are.
__device__ __forceinline__ long long first_four() { return 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x); }
__device__ __forceinline__ long long next_four() { return 4 * (long long)gridDim.x * blockDim.x; }
