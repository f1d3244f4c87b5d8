// variant: T={float,double,half_t} L=float U=float
// Adam, AdaMax and Nadam: flat parameters updated in place.
//
// Bytes: parameter and two states read and written, the gradient read: 28 an element in float32 (36 with AMSGrad's
// maximum); some ten operations an element. Limit: memory bandwidth, for small networks the latency of the step's
// number, then of the powers.
#include "optimizer.cuh"

// What a step does to one element:
// m += (g - m)(1 - b1); v += (g**2 - v)(1 - b2); p -= m lr sqrt(1 - b2**t) / (1 - b1**t) / (sqrt(v) + epsilon).
// With v_max, the running maximum of v takes its place in the last formula.
struct Step {
  Real rate, of_gradient, of_square, epsilon;

  __device__ __forceinline__ void update(Real& p, Real g, Real& m, Real& v, Real& v_max, bool with_maximum) const {
    m = towards(m, g, of_gradient);
    v = towards(v, g * g, of_square);
    if (with_maximum) v_max = op_maximum(v_max, v);
    p -= m * rate / (op_sqrt(with_maximum ? v_max : v) + epsilon);
  }
};

// lr sqrt(1 - b2**t) / (1 - b1**t), in all threads of the block. Two lanes of the first warp take a power each.
__device__ __forceinline__ Real rate_of_step(const L* learning_rate, const long long* step, double beta_1,
                                             double beta_2) {
  __shared__ Real rate;
  if (threadIdx.x < 32) {
    const Real t = (Real)*step, base = (Real)load(*learning_rate);
    const Real power = power_of(threadIdx.x == 1 ? beta_2 : beta_1, t);
    const Real second = __shfl_sync(0xffffffffu, power, 1);
    // By all lanes: a load that only one of them needs would be put off until the powers are known.
    const Real found = rounded(base * op_sqrt(1 - second) / (1 - power));
    if (threadIdx.x == 0) rate = found;
  }
  __syncthreads();
  return rate;
}

// The step of four elements from the i-th on: at once where all arrays are aligned, one by one at a ragged end.
__device__ __forceinline__ void adam_four(T* parameter, const T* gradient, T* m, T* v, T* v_max, long long i,
                                          long long size, const L* learning_rate, const long long* step, double beta_1,
                                          double beta_2, double epsilon) {
  const bool with_maximum = v_max != nullptr;
  const bool at_once = i + 3 < size && whole(parameter) && whole(gradient) && whole(m) && whole(v) && whole(v_max);
  Four<T> p, g, first, second, largest;
  if (at_once) {
    p = *(const Four<T>*)(parameter + i);
    g = *(const Four<T>*)(gradient + i);
    first = *(const Four<T>*)(m + i);
    second = *(const Four<T>*)(v + i);
    if (with_maximum) largest = *(const Four<T>*)(v_max + i);
  }
  const Step one = {rate_of_step(learning_rate, step, beta_1, beta_2), (Real)(1.0 - beta_1), (Real)(1.0 - beta_2),
                    (Real)epsilon};
  if (at_once) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      Real values[] = {load(p.at[k]), load(first.at[k]), load(second.at[k]), with_maximum ? load(largest.at[k]) : 0};
      one.update(values[0], load(g.at[k]), values[1], values[2], values[3], with_maximum);
      p.at[k] = element<T>(values[0]);
      first.at[k] = element<T>(values[1]);
      second.at[k] = element<T>(values[2]);
      if (with_maximum) largest.at[k] = element<T>(values[3]);
    }
    *(Four<T>*)(parameter + i) = p;
    *(Four<T>*)(m + i) = first;
    *(Four<T>*)(v + i) = second;
    if (with_maximum) *(Four<T>*)(v_max + i) = largest;
    return;
  }
#pragma unroll 1
  for (long long j = i; j < min(i + 4, size); j++) {
    Real values[] = {load(parameter[j]), load(m[j]), load(v[j]), with_maximum ? load(v_max[j]) : 0};
    one.update(values[0], load(gradient[j]), values[1], values[2], values[3], with_maximum);
    parameter[j] = element<T>(values[0]);
    m[j] = element<T>(values[1]);
    v[j] = element<T>(values[2]);
    if (with_maximum) v_max[j] = element<T>(values[3]);
  }
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
  int r = 0;  // the last run that begins at this block or before
#pragma unroll 1
  for (int half = MAX_RUNS / 2; half > 0; half /= 2) {
    if (r + half < runs.count && blockIdx.x >= runs.at[r + half].block) r += half;
  }
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
