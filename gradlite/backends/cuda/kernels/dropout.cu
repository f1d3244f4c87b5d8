// variant: T={float,half_t,bfloat16_t} S=float WIDTH={1,4}
// variant: T=double S=double WIDTH={1,2}
// Dropout: x / keep where the element's random word is at least the threshold, else 0. Its own derivative.
//
// Bytes: 2 times the array; 25 integer operations an element for the mask, which is never stored. Limit: memory
// bandwidth for WIDTH 4. A division, not a product with 1 / keep: the same bits as the reference.
#include "vectors.cuh"
#include "philox.cuh"

__device__ __forceinline__ T dropped(T x, bool is_kept, S keep) {
  return is_kept ? store<T>(load(x) / keep) : store<T>(0);
}

// WIDTH elements a thread, in a grid-stride loop. The size is a multiple of WIDTH, and so are the addresses.
extern "C" __global__ void dropout(const T* __restrict__ x, const unsigned long long* __restrict__ state,
                                   T* __restrict__ y, long long size, S keep, unsigned long long threshold) {
  Draw draw = draw_of(state);
  long long stride = (long long)gridDim.x * blockDim.x * WIDTH;
  for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * WIDTH; i < size; i += stride) {
    Elements<T, WIDTH> values = read<WIDTH>(x + i);
    Kept<WIDTH> mask = kept<WIDTH>(draw, i, threshold);
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) values.at[k] = dropped(values.at[k], mask.at[k], keep);
    write<WIDTH>(y + i, values);
  }
}

// Elements that share their decision: x has the four axes (.., d1, d2, d3), and the mask the strides m0 to m3 along
// them, 0 where an axis shares. One thread an element, with a draw of four words for each.
extern "C" __global__ void dropout_shared(const T* __restrict__ x, const unsigned long long* __restrict__ state,
                                          T* __restrict__ y, long long size, S keep, unsigned long long threshold,
                                          long long d1, long long d2, long long d3, long long m0, long long m1,
                                          long long m2, long long m3) {
  Draw draw = draw_of(state);
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
    long long i3 = i % d3, rest = i / d3;
    long long i2 = rest % d2, upper = rest / d2;
    long long place = upper / d1 * m0 + upper % d1 * m1 + i2 * m2 + i3 * m3;
    y[i] = dropped(x[i], kept<1>(draw, place, threshold).at[0], keep);
  }
}
