// variant: T={float,half_t} C=float I={long long}
// Elements named one by one along the middle axis: x (outer, length, inner), indices (outer, k, inner).
//
// One thread an element of the result, in a grid-stride loop. `take_along` reads an index and an element;
// `take_along_gradient` lets every element of x look through its k indices, which are few where this is used (one label
// a row). Limit: memory bandwidth.
#include "elements.cuh"
#include "indices.cuh"

extern "C" __global__ void take_along(const T* __restrict__ x, const I* __restrict__ indices, T* __restrict__ y,
                                      long long size, long long length, long long k, long long inner) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += stride) {
    const long long outer = e / (k * inner), i = e % inner;
    y[e] = x[(outer * length + wrapped(indices[e], length)) * inner + i];
  }
}

extern "C" __global__ void take_along_gradient(const T* __restrict__ gradient, const I* __restrict__ indices,
                                               T* __restrict__ out, long long size, long long length, long long k,
                                               long long inner) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += stride) {
    const long long outer = e / (length * inner), i = e % inner, wanted = e / inner % length;
    C sum = 0;
    for (long long j = 0; j < k; j++) {
      const long long from = (outer * k + j) * inner + i;
      if (wrapped(indices[from], length) == wanted) sum += load(gradient[from]);
    }
    out[e] = store<T>(sum);
  }
}

// Rows of zeros with a one at each index; an index out of range gives zeros.
extern "C" __global__ void one_hot(const I* __restrict__ indices, T* __restrict__ out, long long size,
                                   long long depth) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += stride) {
    out[e] = element<T>(indices[e / depth] == e % depth ? 1 : 0);
  }
}
