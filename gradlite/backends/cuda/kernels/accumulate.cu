// variant: T={float,double,half_t} L={long long,int,unsigned char} LABEL_ROWS=0
// variant: T=float L={float,double} LABEL_ROWS=1
// The bookkeeping of a training step in one launch: totals of losses and metrics, and the number of the step.
//
// One block, a thread for each total; with labels, all threads first count the rows whose largest score is theirs.
// Limit: latency, that of one launch, where each of them alone would cost one.
#include "correct.cuh"
#include "totals.cuh"

extern "C" __global__ void __launch_bounds__(1024) accumulate(Totals totals, const L* __restrict__ labels,
                                                              const T* __restrict__ scores, int rows, int columns) {
  const ReadAhead ahead = read_totals(totals, Found{});
  const long long correct = labels ? correct_rows<LABEL_ROWS>(labels, scores, rows, columns) : 0;
  add_totals(totals, ahead, Found{correct, nullptr, 0});
}
