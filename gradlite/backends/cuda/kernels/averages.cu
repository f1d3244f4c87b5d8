// variant: T={float,double,half_t} V=float
// Moving averages, and limits on gradients: flat arrays updated in place, four consecutive elements a thread.
//
// Bytes: the array read and written, and what it is averaged with. Limit: memory bandwidth.
#include "optimizer.cuh"

// a = kept a + added value, four elements from the i-th on.
template <typename Value>
__device__ __forceinline__ void average_four(T* average, const Value* value, long long i, long long size, Real kept) {
  const Real added = rounded(1 - kept);
  Real a[4];
  Real x[4];
  read_four(a, average, i, size);
  read_four(x, value, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) a[k] = a[k] * kept + x[k] * added;
  write_four(average, i, size, a);
}

// a = momentum a + (1 - momentum) value; at step 1, where there are steps, the value itself.
extern "C" __global__ void moving_average(T* average, const V* __restrict__ value, const long long* __restrict__ step,
                                          double momentum, long long size, const int* go) {
  if (skipped(go)) return;
  average_four(average, value, first_four(), size, rounded(step && *step == 1 ? (Real)0 : (Real)momentum));
}

#define MAX_AVERAGES 64

struct Average {
  T* average;
  const T* value;
  long long size;
  unsigned long long block;  // the first block that works on it
};

struct Averages {
  long long count;
  Average at[MAX_AVERAGES];
};

// The same for many arrays in one launch: the statistics of all normalization layers of a model.
extern "C" __global__ void moving_averages(Averages averages, double momentum) {
  int a = 0;
  while (a + 1 < averages.count && blockIdx.x >= averages.at[a + 1].block) a++;
  const Average& one = averages.at[a];
  const long long i = 4 * ((blockIdx.x - one.block) * blockDim.x + threadIdx.x);
  average_four(one.average, one.value, i, one.size, rounded((Real)momentum));
}

// Every element held in [-limit, limit]; NaN stays.
extern "C" __global__ void clip_by_value(T* gradient, double limit, long long size, const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real high = rounded((Real)limit);
  Real g[4];
  read_four(g, gradient, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) g[k] = g[k] > high ? high : g[k] < -high ? -high : g[k];
  write_four(gradient, i, size, g);
}

// gradient *= norm / max(sqrt(squares), norm), or NaN where `squares` is not finite.
extern "C" __global__ void scale_to_norm(T* gradient, const double* __restrict__ squares, double norm, long long size,
                                         const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const double sum = *squares, factor = norm / op_maximum(op_sqrt(sum), norm);
  const Real scale = rounded((Real)(op_isfinite(sum) ? factor : sum - sum));
  Real g[4];
  read_four(g, gradient, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) g[k] *= scale;
  write_four(gradient, i, size, g);
}
