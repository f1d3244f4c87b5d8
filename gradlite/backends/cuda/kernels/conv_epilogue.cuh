// What happens to a convolution's sums before they are stored: the activation, and statistics of the block's pixels.
#pragma once
#include "common.cuh"

enum Activation { LINEAR, RELU, SIGMOID, TANH };

__device__ __forceinline__ float exp_of(float x) { return expf(x); }
__device__ __forceinline__ double exp_of(double x) { return exp(x); }
__device__ __forceinline__ float tanh_of(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_of(double x) { return tanh(x); }

template <int KIND, typename X> __device__ __forceinline__ X activated(X x) {
  if (KIND == RELU) return relu_of(x);
  if (KIND == TANH) return tanh_of(x);
  if (KIND == SIGMOID) {  // the exponential of -|x| never overflows
    X small = exp_of(x < 0 ? x : -x);
    return (x >= 0 ? X(1) : small) / (X(1) + small);
  }
  return x;
}

// Statistics of a block: count, then for each channel its mean and the sum of squared distances from it. They lie in
// one array, [blocks] counts, [blocks][channels] means, [blocks][channels] sums; conv_statistics.cu merges them.
template <typename S>
__device__ __forceinline__ void store_statistics(S* partials, long long blocks, long long block, int channels,
                                                 int channel, S count, S mean, S squares) {
  if (channel == 0) partials[block] = count;
  S* means = partials + blocks;
  means[block * channels + channel] = mean;
  means[(blocks + block) * channels + channel] = squares;
}

// Adds the rows of parts[PARTS][N] in order; every thread of the block calls it, and finds the sums in row 0.
template <int PARTS, int N, int THREADS, typename S> __device__ __forceinline__ void add_parts(S* parts) {
  __syncthreads();
  for (int n = threadIdx.x; n < N; n += THREADS) {
    S sum = parts[n];
    for (int p = 1; p < PARTS; p++) sum += parts[p * N + n];
    parts[n] = sum;
  }
  __syncthreads();
}
