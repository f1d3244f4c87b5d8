// variant: T=float TEAM={8,32,256}
// variant: T=double TEAM=32
// variant: T={half_t,bfloat16_t} TEAM=256
// Softmax, its logarithm and their gradients over the last axis.
//
// A team of threads a row (team.cuh): 8 up to 16 columns, a warp up to 1024, else a block. The row is read again from
// the L1 cache for each step: maximum, sum of exponentials, result. Bytes: 2 (forward) or 3 (gradient) times the array;
// about 40 operations an element. Limit: memory bandwidth, on small arrays the latency of three dependent steps.
#include "team.cuh"

typedef typename compute<T>::type Number;

// The largest element of the team's row and the sum of exp(x - largest).
__device__ __forceinline__ void largest_and_sum(const T* __restrict__ x, int columns, Number& largest, Number& sum) {
  largest = -1 / Number(0);
  for (int j = team_thread(); j < columns; j += TEAM) largest = larger_of(load(x[j]), largest);
  largest = team_max(largest);
  sum = 0;
  for (int j = team_thread(); j < columns; j += TEAM) sum += exponential(load(x[j]) - largest);
  sum = team_sum(sum);
}

extern "C" __global__ void softmax(const T* __restrict__ x, T* __restrict__ y, long long rows, int columns) {
  long long row = team_row();
  int mine = row < rows ? columns : 0;
  Number largest, sum;
  largest_and_sum(x + row * columns, mine, largest, sum);
  for (int j = team_thread(); j < mine; j += TEAM) {
    long long at = row * columns + j;
    y[at] = store<T>(exponential(load(x[at]) - largest) / sum);
  }
}

extern "C" __global__ void log_softmax(const T* __restrict__ x, T* __restrict__ y, long long rows, int columns) {
  long long row = team_row();
  int mine = row < rows ? columns : 0;
  Number largest, sum;
  largest_and_sum(x + row * columns, mine, largest, sum);
  Number log_sum = logarithm(sum);
  for (int j = team_thread(); j < mine; j += TEAM) {
    long long at = row * columns + j;
    y[at] = store<T>(load(x[at]) - largest - log_sum);
  }
}

// y (g - sum(g y))
extern "C" __global__ void softmax_gradient(const T* __restrict__ gradient, const T* __restrict__ y,
                                            T* __restrict__ dx, long long rows, int columns) {
  long long first = team_row() * columns;
  int mine = team_row() < rows ? columns : 0;
  Number sum = 0;
  for (int j = team_thread(); j < mine; j += TEAM) sum += load(gradient[first + j]) * load(y[first + j]);
  sum = team_sum(sum);
  for (int j = team_thread(); j < mine; j += TEAM) {
    dx[first + j] = store<T>(load(y[first + j]) * (load(gradient[first + j]) - sum));
  }
}

// g - exp(y) sum(g)
extern "C" __global__ void log_softmax_gradient(const T* __restrict__ gradient, const T* __restrict__ y,
                                                T* __restrict__ dx, long long rows, int columns) {
  long long first = team_row() * columns;
  int mine = team_row() < rows ? columns : 0;
  Number sum = 0;
  for (int j = team_thread(); j < mine; j += TEAM) sum += load(gradient[first + j]);
  sum = team_sum(sum);
  for (int j = team_thread(); j < mine; j += TEAM) {
    dx[first + j] = store<T>(load(gradient[first + j]) - exponential(load(y[first + j])) * sum);
  }
}
