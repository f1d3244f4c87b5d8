// variant: T={float,double,half_t} L={long long,int,unsigned char} LABEL_ROWS=0
// variant: T=float L={float,double} LABEL_ROWS=1
// How many rows of scores have their largest one where the label says: what accuracy counts.
//
// One block. Bytes: scores and labels once; one comparison a score. Limit: latency; for batches, not for whole data
// sets.
#include "correct.cuh"

extern "C" __global__ void __launch_bounds__(1024) count_correct(const L* __restrict__ labels,
                                                                 const T* __restrict__ scores,
                                                                 long long* __restrict__ count, int rows, int columns) {
  const int correct = correct_rows<LABEL_ROWS>(labels, scores, rows, columns);
  if (threadIdx.x == 0) *count = correct;
}
