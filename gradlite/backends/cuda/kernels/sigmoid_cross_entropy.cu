// variant: T={float,double,half_t}
// Binary cross-entropy of logits x and labels z: max(x, 0) - x z + log(1 + exp(-|x|)), element by element.
//
// Bytes: 3 times the array; about 40 operations an element. Limit: memory bandwidth.
#include "vectors.cuh"

extern "C" __global__ void sigmoid_cross_entropy(const T* __restrict__ logits, const T* __restrict__ labels,
                                                 T* __restrict__ losses, long long size) {
  typedef typename compute<T>::type Number;
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
    Number x = load(logits[i]), z = load(labels[i]), distance = x < 0 ? -x : x;
    losses[i] = store<T>(relu_of(x) - x * z + logarithm_of_one_plus(exponential(-distance)));
  }
}
