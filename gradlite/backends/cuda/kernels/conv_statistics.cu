// Merges the statistics that the blocks of a convolution left behind: mean and population variance of every channel,
// where they are too many for the last of those blocks.
//
// Groups of samples with counts n_b, means m_b and sums of squared distances q_b have the mean m = sum n_b m_b / N and
// the sum of squared distances sum (q_b + n_b (m_b - m)^2): Chan, Golub and LeVeque (1983), for many groups at once. A
// block of 1024 threads takes 8 channels, 32 bytes of a record; 128 threads share a channel's groups, each every 128th,
// and their sums are added as a tree: a fixed order. The second pass finds its data in L2.
//
// Bytes: 8 (float32) per group and channel. Limit: latency, some microseconds.
//
// Macros: STAT; WIDTH, the channels of a slab (conv_epilogue.cuh).
//
// variant: STAT={float,double} WIDTH={32,64,128}
#include "conv_epilogue.cuh"

const int CHANNELS = 8, LANES = 128, AHEAD = 8;
const int SIZE = Record<WIDTH, STAT>::SIZE, SPREAD = Record<WIDTH, STAT>::SPREAD, COUNT = Record<WIDTH, STAT>::COUNT;

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

// blockIdx.y is the slab, `slabs` of which make a group of `channels` channels; blockIdx.x the 8 channels of it.
extern "C" __global__ void __launch_bounds__(1024, 1)
merge_statistics(const STAT* __restrict__ partials, STAT* __restrict__ mean, STAT* __restrict__ variance, int blocks,
                 int slabs, int channels, long long count) {
  __shared__ STAT shared[LANES][CHANNELS];
  const int lane = threadIdx.x / CHANNELS, own = threadIdx.x % CHANNELS;
  const int n = blockIdx.x * CHANNELS + own, group = blockIdx.y / slabs, in_group = blockIdx.y % slabs * WIDTH + n;
  const STAT* records = partials + (long long)blockIdx.y * blocks * SIZE;

  STAT centre = 0;
#pragma unroll 1
  for (int pass = 0; pass < 2; pass++) {
    STAT sum = 0;
#pragma unroll 1
    for (int first = lane; first < blocks; first += LANES * AHEAD) {
      STAT size[AHEAD], distance[AHEAD], spread[AHEAD];  // loads on their way together
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        const STAT* record = records + (long long)min(first + i * LANES, blocks - 1) * SIZE;
        size[i] = first + i * LANES < blocks ? record[COUNT] : STAT(0);
        distance[i] = record[n];
        spread[i] = record[SPREAD + n];
      }
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        if (first + i * LANES >= blocks) break;
        distance[i] -= centre;
        sum += pass == 0 ? size[i] * distance[i] : spread[i] + size[i] * distance[i] * distance[i];
      }
    }
    sum = sum_over_lanes(shared, sum, lane, own) / (STAT)count;
    if (pass == 0) centre = sum;
    if (lane == 0 && in_group < channels) (pass == 0 ? mean : variance)[group * channels + in_group] = sum;
  }
}
