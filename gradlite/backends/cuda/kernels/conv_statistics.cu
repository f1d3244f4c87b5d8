// Merges the statistics that the blocks of a convolution left behind: mean and population variance of every channel,
// where they are too many for the last of those blocks.
//
// Groups of samples with counts n_b, means m_b and sums of squared distances q_b have the mean m = sum n_b m_b / N and
// the sum of squared distances sum (q_b + n_b (m_b - m)^2): Chan, Golub and LeVeque (1983), for many groups at once. A
// block of 1024 threads takes 8 channels, 32 bytes of a row; 128 threads share a channel's groups, each every 128th,
// and their sums are added as a tree: a fixed order. The second pass finds its data in L2.
//
// Bytes: 8 (float32) per group and channel. Limit: latency, some microseconds.
//
// variant: STAT={float,double}
#include "common.cuh"

const int CHANNELS = 8;
const int LANES = 128;

// The sum of `value` over the lanes of one channel, for every thread.
__device__ __forceinline__ STAT sum_over_lanes(STAT (*shared)[CHANNELS], STAT value, int lane, int channel) {
  shared[lane][channel] = value;
  __syncthreads();
#pragma unroll
  for (int half = LANES / 2; half > 0; half /= 2) {
    if (lane < half) shared[lane][channel] += shared[lane + half][channel];
    __syncthreads();
  }
  STAT total = shared[0][channel];
  __syncthreads();
  return total;
}

extern "C" __global__ void __launch_bounds__(1024, 1)
merge_statistics(const STAT* __restrict__ partials, STAT* __restrict__ mean, STAT* __restrict__ variance,
                 long long blocks, int channels, long long count) {
  __shared__ STAT shared[LANES][CHANNELS];
  const int lane = threadIdx.x / CHANNELS, own = threadIdx.x % CHANNELS;
  const int channel = blockIdx.x * CHANNELS + own;
  const STAT* means = partials + blocks;
  const STAT* squares = means + blocks * channels;

  STAT sum = 0;
  if (channel < channels) {
#pragma unroll 4
    for (long long b = lane; b < blocks; b += LANES) sum += partials[b] * means[b * channels + channel];
  }
  const STAT total_mean = sum_over_lanes(shared, sum, lane, own) / (STAT)count;

  sum = 0;
  if (channel < channels) {
#pragma unroll 4
    for (long long b = lane; b < blocks; b += LANES) {
      STAT distance = means[b * channels + channel] - total_mean;
      sum += squares[b * channels + channel] + partials[b] * distance * distance;
    }
  }
  sum = sum_over_lanes(shared, sum, lane, own);
  if (lane == 0 && channel < channels) {
    mean[channel] = total_mean;
    variance[channel] = sum / (STAT)count;
  }
}
