// variant: T={float,double,half_t} L=float
// Gradient descent, with momentum or with a learning rate for each parameter: flat parameters updated in place.
//
// Bytes: parameter and states read and written, the gradient read. Limit: memory bandwidth.
#include "optimizer.cuh"

// p -= lr g
extern "C" __global__ void sgd(T* parameter, const T* __restrict__ gradient, const L* __restrict__ learning_rate,
                               long long size, const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real rate = rate_of(learning_rate);
  Real p[4];
  Real g[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) p[k] -= g[k] * rate;
  write_four(parameter, i, size, p);
}

// v = momentum v - lr g; p += v, or p += momentum v - lr g with Nesterov's look-ahead.
extern "C" __global__ void sgd_momentum(T* parameter, const T* __restrict__ gradient, T* velocity,
                                        const L* __restrict__ learning_rate, double momentum, bool nesterov,
                                        long long size, const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real rate = rate_of(learning_rate);
  Real p[4];
  Real g[4];
  Real v[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(v, velocity, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const Real step = g[k] * rate;
    v[k] = v[k] * (Real)momentum - step;
    p[k] += nesterov ? v[k] * (Real)momentum - step : v[k];
  }
  write_four(parameter, i, size, p);
  write_four(velocity, i, size, v);
}

// s = rho s + (1 - rho) g**2; p -= lr g / sqrt(s + epsilon). With `average`, the mean of g: sqrt(s - average**2 +
// epsilon). With `momentum_buffer`: b = momentum b + the step above, which then is what p loses.
extern "C" __global__ void rmsprop(T* parameter, const T* __restrict__ gradient, T* square, T* average,
                                   T* momentum_buffer, const L* __restrict__ learning_rate, double rho, double momentum,
                                   double epsilon, long long size, const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real rate = rate_of(learning_rate), kept = (Real)rho, added = (Real)(1.0 - rho);
  Real p[4];
  Real g[4];
  Real s[4];
  Real a[4];
  Real b[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(s, square, i, size);
  if (average) read_four(a, average, i, size);
  if (momentum_buffer) read_four(b, momentum_buffer, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    s[k] = s[k] * kept + g[k] * g[k] * added;
    Real variance = s[k];
    if (average) {
      a[k] = a[k] * kept + g[k] * added;
      variance -= a[k] * a[k];
    }
    Real step = g[k] * rate / op_sqrt(variance + (Real)epsilon);
    if (momentum_buffer) {
      b[k] = b[k] * (Real)momentum + step;
      step = b[k];
    }
    p[k] -= step;
  }
  write_four(parameter, i, size, p);
  write_four(square, i, size, s);
  if (average) write_four(average, i, size, a);
  if (momentum_buffer) write_four(momentum_buffer, i, size, b);
}

// a += g**2; p -= lr g / sqrt(a + epsilon)
extern "C" __global__ void adagrad(T* parameter, const T* __restrict__ gradient, T* accumulator,
                                   const L* __restrict__ learning_rate, double epsilon, long long size, const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real rate = rate_of(learning_rate);
  Real p[4];
  Real g[4];
  Real a[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(a, accumulator, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    a[k] += g[k] * g[k];
    p[k] -= g[k] * rate / op_sqrt(a[k] + (Real)epsilon);
  }
  write_four(parameter, i, size, p);
  write_four(accumulator, i, size, a);
}

// s = rho s + (1 - rho) g**2; d = g sqrt(e + epsilon) / sqrt(s + epsilon); e = rho e + (1 - rho) d**2; p -= lr d.
extern "C" __global__ void adadelta(T* parameter, const T* __restrict__ gradient, T* square, T* delta_square,
                                    const L* __restrict__ learning_rate, double rho, double epsilon, long long size,
                                    const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real rate = rate_of(learning_rate), kept = (Real)rho, added = (Real)(1.0 - rho);
  Real p[4];
  Real g[4];
  Real s[4];
  Real e[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(s, square, i, size);
  read_four(e, delta_square, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    s[k] = s[k] * kept + g[k] * g[k] * added;
    const Real delta = op_sqrt(e[k] + (Real)epsilon) * g[k] / op_sqrt(s[k] + (Real)epsilon);
    e[k] = e[k] * kept + delta * delta * added;
    p[k] -= delta * rate;
  }
  write_four(parameter, i, size, p);
  write_four(square, i, size, s);
  write_four(delta_square, i, size, e);
}

// p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g
extern "C" __global__ void lion(T* parameter, const T* __restrict__ gradient, T* m, const L* __restrict__ learning_rate,
                                double beta_1, double beta_2, long long size, const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real rate = rate_of(learning_rate);
  Real p[4];
  Real g[4];
  Real first[4];
  read_four(p, parameter, i, size);
  read_four(g, gradient, i, size);
  read_four(first, m, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    p[k] -= op_sign(first[k] * (Real)beta_1 + g[k] * (Real)(1.0 - beta_1)) * rate;
    first[k] = first[k] * (Real)beta_2 + g[k] * (Real)(1.0 - beta_2);
  }
  write_four(parameter, i, size, p);
  write_four(m, i, size, first);
}

// p -= p rate lr
extern "C" __global__ void weight_decay(T* parameter, const L* __restrict__ learning_rate, double rate, long long size,
                                        const int* go) {
  if (skipped(go)) return;
  const long long i = first_four();
  const Real decay = rounded((Real)(load(*learning_rate) * (compute<L>::type)rate));
  Real p[4];
  read_four(p, parameter, i, size);
#pragma unroll
  for (int k = 0; k < 4; k++) p[k] -= p[k] * decay;
  write_four(parameter, i, size, p);
}
