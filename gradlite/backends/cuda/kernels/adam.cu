// variant: T={float,double,half_t} L=float U=float
// Adam, AdaMax and Nadam: flat parameters updated in place.
//
// Bytes: parameter and two states read and written, the gradient read: 28 an element in float32 (36 with AMSGrad's
// maximum); some ten operations an element. Limit: memory bandwidth, for small networks the latency of the step's
// number, then of the powers.
#include "optimizer.cuh"

// m += (g - m)(1 - b1); v += (g**2 - v)(1 - b2); p -= m lr sqrt(1 - b2**t) / (1 - b1**t) / (sqrt(v) + epsilon), of four
// elements from the i-th on. With v_max, the running maximum of v takes its place in the last formula.
__device__ __forceinline__ void adam_four(T* parameter, const T* gradient, T* m, T* v, T* v_max, long long i,
                                          long long size, const L* learning_rate, const long long* step, double beta_1,
                                          double beta_2, double epsilon) {
  __shared__ Real rate;
  Real p[4];
  Real g[4];
  Real first[4];
  Real second[4];
  Real largest[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(first, m, i, size);
  read_four(second, v, i, size);
  if (v_max) read_four(largest, v_max, i, size);
  if (threadIdx.x == 0) {
    const Real t = (Real)*step;
    rate = rounded((Real)load(*learning_rate) * op_sqrt(1 - power_of(beta_2, t)) / (1 - power_of(beta_1, t)));
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 4; k++) {
    first[k] = towards(first[k], g[k], (Real)(1.0 - beta_1));
    second[k] = towards(second[k], g[k] * g[k], (Real)(1.0 - beta_2));
    if (v_max) largest[k] = op_maximum(largest[k], second[k]);
    p[k] -= first[k] * rate / (op_sqrt(v_max ? largest[k] : second[k]) + (Real)epsilon);
  }
  write_four(parameter, i, size, p);
  write_four(m, i, size, first);
  write_four(v, i, size, second);
  if (v_max) write_four(v_max, i, size, largest);
}

extern "C" __global__ void adam(T* parameter, const T* __restrict__ gradient, T* m, T* v, T* v_max,
                                const L* __restrict__ learning_rate, const long long* __restrict__ step, double beta_1,
                                double beta_2, double epsilon, long long size, const int* go) {
  if (skipped(go)) return;
  adam_four(parameter, gradient, m, v, v_max, first_four(), size, learning_rate, step, beta_1, beta_2, epsilon);
}

#define MAX_RUNS 64

struct Run {
  T* parameter;
  const T* gradient;
  T* m;
  T* v;
  long long size;
  unsigned long long block;  // the first block that works on it
};

struct Runs {
  long long count;
  Run at[MAX_RUNS];
};

// The same for many runs of parameters, each with its gradient where backpropagation left it.
extern "C" __global__ void adam_segments(Runs runs, const L* __restrict__ learning_rate,
                                         const long long* __restrict__ step, double beta_1, double beta_2,
                                         double epsilon) {
  int r = 0;
  while (r + 1 < runs.count && blockIdx.x >= runs.at[r + 1].block) r++;
  const Run& run = runs.at[r];
  const long long i = 4 * ((blockIdx.x - run.block) * blockDim.x + threadIdx.x);
  adam_four(run.parameter, run.gradient, run.m, run.v, nullptr, i, run.size, learning_rate, step, beta_1, beta_2,
            epsilon);
}

// m += (g - m)(1 - b1); u = max(b2 u, |g|); p -= lr m / ((1 - b1**t)(u + epsilon)).
extern "C" __global__ void adamax(T* parameter, const T* __restrict__ gradient, T* m, T* u,
                                  const L* __restrict__ learning_rate, const long long* __restrict__ step,
                                  double beta_1, double beta_2, double epsilon, long long size, const int* go) {
  if (skipped(go)) return;
  __shared__ Real rate;
  const long long i = first_four();
  Real p[4];
  Real g[4];
  Real first[4];
  Real norm[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(first, m, i, size);
  read_four(norm, u, i, size);
  if (threadIdx.x == 0) rate = rounded((Real)load(*learning_rate) / (1 - power_of(beta_1, (Real)*step)));
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 4; k++) {
    first[k] = towards(first[k], g[k], (Real)(1.0 - beta_1));
    norm[k] = op_maximum(norm[k] * (Real)beta_2, op_abs(g[k]));
    p[k] -= first[k] * rate / (norm[k] + (Real)epsilon);
  }
  write_four(parameter, i, size, p);
  write_four(m, i, size, first);
  write_four(u, i, size, norm);
}

// Nadam's momentum at step t.
__device__ __forceinline__ Real nadam_momentum(Real t, double beta_1) {
  return (1 - (Real)0.5 * power_of(0.96, t)) * (Real)beta_1;
}

// One thread: u_product *= b1 (1 - 0.96**t / 2).
extern "C" __global__ void nadam_product(T* u_product, const long long* step, double beta_1, const int* go) {
  if (skipped(go)) return;
  *u_product = store<T>(load(*u_product) * rounded(nadam_momentum((Real)*step, beta_1)));
}

// m and v as in Adam; for u_t the momentum and U_t its product up to t,
// p -= lr (u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) g / (1 - U_t)) / (sqrt(v / (1 - b2**t)) + epsilon).
extern "C" __global__ void nadam(T* parameter, const T* __restrict__ gradient, T* m, T* v,
                                 const U* __restrict__ u_product, const L* __restrict__ learning_rate,
                                 const long long* __restrict__ step, double beta_1, double beta_2, double epsilon,
                                 long long size, const int* go) {
  if (skipped(go)) return;
  __shared__ Real of_m;
  __shared__ Real of_g;
  __shared__ Real of_v;
  const long long i = first_four();
  Real p[4];
  Real g[4];
  Real first[4];
  Real second[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(first, m, i, size);
  read_four(second, v, i, size);
  if (threadIdx.x == 0) {
    const Real t = (Real)*step, rate = (Real)load(*learning_rate), product = (Real)load(*u_product);
    const Real now = nadam_momentum(t, beta_1), ahead = nadam_momentum(t + 1, beta_1);
    of_m = rounded(rate * (ahead / (1 - product * ahead)));
    of_g = rounded(rate * ((1 - now) / (1 - product)));
    of_v = rounded(1 / (1 - power_of(beta_2, t)));
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 4; k++) {
    first[k] = towards(first[k], g[k], (Real)(1.0 - beta_1));
    second[k] = towards(second[k], g[k] * g[k], (Real)(1.0 - beta_2));
    p[k] -= (first[k] * of_m + g[k] * of_g) / (op_sqrt(second[k] * of_v) + (Real)epsilon);
  }
  write_four(parameter, i, size, p);
  write_four(m, i, size, first);
  write_four(v, i, size, second);
}
