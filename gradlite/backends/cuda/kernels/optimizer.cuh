// What the update kernels of the optimizers share.
//
// T is the type of parameters, gradients and state, L that of the learning rate. A thread updates four consecutive
// elements, by one load and one store an array where they are aligned. What depends on the step alone is computed by
// one thread of a block while the block's loads are on their way, in the parameters' type (float16: in float32), as
// Keras does: float32's 0.999 is not 0.999.
#pragma once
#include "operations.cuh"

typedef compute<T>::type Real;

// Whether the step is to be left out, its gradients being infinite: then an update returns at once. Null: never.
__device__ __forceinline__ bool skipped(const int* go) { return go && *go == 0; }

// As the array module rounds an intermediate result to the parameters' type.
__device__ __forceinline__ Real rounded(Real x) { return load(store<T>(x)); }

template <typename Type> __device__ __forceinline__ Real rate_of(const Type* learning_rate) {
  return rounded((Real)load(*learning_rate));
}

// beta ** t
__device__ __forceinline__ Real power_of(double beta, Real t) { return op_power((Real)beta, t); }

// x moved towards `target` by the fraction `weight`.
__device__ __forceinline__ Real towards(Real x, Real target, Real weight) { return x + (target - x) * weight; }
