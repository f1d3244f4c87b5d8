// variant: T={float,double,half_t} L={long long,int,unsigned char}
// How many rows of scores have their largest one where the label says: what accuracy counts.
//
// One block; a thread takes every 1024th row and looks for its largest score from left to right, then the counts are
// added up. The first of equal scores counts, and a NaN is larger than anything. Bytes: scores and labels once; one
// comparison a score. Limit: latency; for batches, not for whole data sets.
#include "common.cuh"

#define THREADS 1024

extern "C" __global__ void __launch_bounds__(1024) count_correct(const L* __restrict__ labels,
                                                                 const T* __restrict__ scores,
                                                                 long long* __restrict__ count, int rows, int columns) {
  __shared__ int counts[THREADS];
  int mine = 0;
  for (int row = threadIdx.x; row < rows; row += THREADS) {
    const T* score = scores + (long long)row * columns;
    typename compute<T>::type largest = load(score[0]);
    int place = 0;
    for (int j = 1; j < columns && largest == largest; j++) {
      const typename compute<T>::type value = load(score[j]);
      if (value > largest || value != value) {
        largest = value;
        place = j;
      }
    }
    mine += (long long)labels[row] == place;
  }
  counts[threadIdx.x] = mine;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) counts[threadIdx.x] += counts[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *count = counts[0];
}
