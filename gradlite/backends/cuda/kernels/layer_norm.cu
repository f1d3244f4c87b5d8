// variant: T=float S=float P=float TEAM={32,256}
// variant: T=half_t S=float P={float,half_t} TEAM=32
// variant: T=double S=double P=double TEAM=256
// Layer normalization over the last axis, and its gradient.
//
// A team of threads a row (team.cuh): a warp up to 1024 columns, else a block. The row is read from the L1 cache for
// mean, variance (of centred values) and result. Bytes: 2 times the array forward; the gradient reads x and the
// gradient twice, the second time for the columns' sums and mostly from the cache. Limit: memory bandwidth.
#include "team.cuh"

extern "C" __global__ void layer_norm(const T* __restrict__ x, const P* __restrict__ gamma, const P* __restrict__ beta,
                                      T* __restrict__ y, S* __restrict__ mean, S* __restrict__ variance, int rows,
                                      int columns, S epsilon) {
  long long row = team_row(), first = row * columns;
  int mine = row < rows ? columns : 0;
  S sum = 0, squares = 0;
  for (int j = team_thread(); j < mine; j += TEAM) sum += load(x[first + j]);
  S centre = team_sum(sum) / columns;
  for (int j = team_thread(); j < mine; j += TEAM) {
    S difference = load(x[first + j]) - centre;
    squares += difference * difference;
  }
  S spread = team_sum(squares) / columns, inverse = 1 / square_root(spread + epsilon);
  for (int j = team_thread(); j < mine; j += TEAM) {
    S z = (load(x[first + j]) - centre) * inverse;
    if (gamma) z *= load(gamma[j]);
    if (beta) z += load(beta[j]);
    y[first + j] = store<T>(z);
  }
  if (row < rows && team_thread() == 0) {
    mean[row] = centre;
    variance[row] = spread;
  }
}

// With z = (x - mean) / sqrt(variance + epsilon) and dz = gradient gamma, over each row:
// dx = (dz - mean(dz) - z mean(dz z)) / sqrt(variance + epsilon).
//
// A block has rows_each rows: its teams go through them for dx, then each of its threads adds up columns of them for
// dgamma and dbeta, (2, blocks, columns) in `parts`, which layer_norm_parameters adds up.
extern "C" __global__ void layer_norm_gradient(const T* __restrict__ gradient, const T* __restrict__ x,
                                               const P* __restrict__ gamma, const S* __restrict__ mean,
                                               const S* __restrict__ variance, T* __restrict__ dx,
                                               S* __restrict__ parts, int rows, int columns, int rows_each,
                                               S epsilon) {
  int start = blockIdx.x * rows_each, end = min(start + rows_each, rows), teams = blockDim.x / TEAM;
  for (int base = start; base < end; base += teams) {
    int row = base + threadIdx.x / TEAM, mine = row < end ? columns : 0;
    long long first = (long long)row * columns;
    S centre = row < end ? mean[row] : S(0), inverse = 1 / square_root((row < end ? variance[row] : S(1)) + epsilon);
    S sum = 0, product = 0;
    for (int j = team_thread(); j < mine; j += TEAM) {
      S dz = load(gradient[first + j]) * (gamma ? S(load(gamma[j])) : S(1));
      sum += dz;
      product += dz * ((load(x[first + j]) - centre) * inverse);
    }
    sum = team_sum(sum) / columns;
    product = team_sum(product) / columns;
    for (int j = team_thread(); j < mine; j += TEAM) {
      S dz = load(gradient[first + j]) * (gamma ? S(load(gamma[j])) : S(1));
      S z = (load(x[first + j]) - centre) * inverse;
      dx[first + j] = store<T>((dz - sum - z * product) * inverse);
    }
  }
  for (int j = threadIdx.x; j < columns; j += blockDim.x) {
    S scale = 0, shift = 0;
    for (int row = start; row < end; row++) {
      S g = load(gradient[(long long)row * columns + j]), inverse = 1 / square_root(variance[row] + epsilon);
      scale += g * ((load(x[(long long)row * columns + j]) - mean[row]) * inverse);
      shift += g;
    }
    parts[(long long)blockIdx.x * columns + j] = scale;
    parts[((long long)gridDim.x + blockIdx.x) * columns + j] = shift;
  }
}

// Blocks of (32, 8) threads: 32 columns, and every eighth part; the eight are added in order.
extern "C" __global__ void layer_norm_parameters(const S* __restrict__ parts, P* __restrict__ dgamma,
                                                 P* __restrict__ dbeta, int count, int columns) {
  __shared__ S scales[8][32], shifts[8][32];
  int j = blockIdx.x * 32 + threadIdx.x;
  S scale = 0, shift = 0;
  for (int part = threadIdx.y; j < columns && part < count; part += 8) {
    scale += parts[(long long)part * columns + j];
    shift += parts[((long long)count + part) * columns + j];
  }
  scales[threadIdx.y][threadIdx.x] = scale;
  shifts[threadIdx.y][threadIdx.x] = shift;
  __syncthreads();
  if (threadIdx.y != 0 || j >= columns) return;
  for (int y = 1; y < 8; y++) {
    scale += scales[y][threadIdx.x];
    shift += shifts[y][threadIdx.x];
  }
  dgamma[j] = store<P>(scale);
  dbeta[j] = store<P>(shift);
}
