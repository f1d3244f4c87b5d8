// Depthwise convolutions, where every channel is convolved by itself: forward, and both gradients.
//
// There is no matrix product in them: each input element meets kernel_h * kernel_w weights, a few operations per byte.
// Neighbouring threads have neighbouring channels, so all access is coalesced; repeated reads of a pixel hit L1.
// Bytes: image and gradient once, result once. Limit: memory.
//
// Macros: T; GRADIENT (of the input) and ACTIVATION for `depthwise`; KERNEL_W for `depthwise_weight`.
//
// variant: T={float,half_t} GRADIENT=1 ACTIVATION=0
// variant: T=double GRADIENT=0 ACTIVATION=2
// variant: T=float RESULT=float KERNEL_W={3,16}
// variant: T=double RESULT=double KERNEL_W=5
#include "conv_epilogue.cuh"
#include "conv_geometry.cuh"

typedef compute<T>::type C;
const int PIXELS = 4;  // destination pixels of a row that a thread computes, for one load of each weight

// The forward convolution, or with GRADIENT the input gradient: a gather as in conv_geometry.cuh, by groups of one
// channel with `filters / channels` outputs each.
#ifdef GRADIENT
extern "C" __global__ void __launch_bounds__(128, 1)
depthwise(const T* __restrict__ source, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ y,
          const Convolution c) {
  const Gather g = gather_of<GRADIENT>(c, blockIdx.z * c.groups);
  const int parts = (g.x.count + PIXELS - 1) / PIXELS, channels = g.destination_channels;
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const long long row_part = i / channels;
  const int channel = (int)(i - row_part * channels);
  const long long image_row = parts > 0 ? row_part / parts : 0;
  if (parts == 0 || image_row >= (long long)c.images * g.y.count) return;
  const int part = (int)(row_part - image_row * parts);
  const int image = (int)(image_row / g.y.count), row = (int)(image_row - (long long)image * g.y.count);
  const int multiple = c.filters / c.channels;
  const int reads = GRADIENT ? multiple : 1;  // source channels of one destination channel
  const int source_channel = GRADIENT ? channel * multiple : channel / multiple;
  const int filter = GRADIENT ? source_channel : channel;
  const T* base = source + (long long)image * g.source_h * g.source_w * g.source_channels + source_channel;

  C sum[PIXELS] = {};
  for (int tap_y = 0; tap_y < g.y.taps; tap_y++) {
    int source_y = row * g.y.stride + g.y.origin + tap_y * g.y.step;
    if ((unsigned)source_y >= (unsigned)g.source_h) continue;
    for (int tap_x = 0; tap_x < g.x.taps; tap_x++) {
      int tap = (g.y.first + tap_y * g.y.skip) * c.kernel_w + g.x.first + tap_x * g.x.skip;
      for (int j = 0; j < reads; j++) {
        C weight = load(w[(long long)tap * c.filters + filter + j]);
#pragma unroll
        for (int p = 0; p < PIXELS; p++) {
          int source_x = (part * PIXELS + p) * g.x.stride + g.x.origin + tap_x * g.x.step;
          if ((unsigned)source_x < (unsigned)g.source_w) {
            sum[p] += weight * load(base[(long long)(source_y * g.source_w + source_x) * g.source_channels + j]);
          }
        }
      }
    }
  }

  const C shift = bias != nullptr ? load(bias[channel]) : C(0);
  const long long out_row = (long long)image * g.destination_h + g.y.first_pixel + row * g.y.pixel_step;
#pragma unroll
  for (int p = 0; p < PIXELS; p++) {
    int column = part * PIXELS + p;
    if (column >= g.x.count) break;
    long long pixel = out_row * g.destination_w + g.x.first_pixel + column * g.x.pixel_step;
    y[pixel * channels + channel] = store<T>(activated<ACTIVATION>(sum[p] + shift));
  }
}
#endif

// The weight gradient: a block has 32 filters, one row of taps (blockIdx.y) and a range of pixels (blockIdx.z), of
// which each of its 8 warps takes every 8th. The warps' sums are added in order, the ranges' by sum_partials.
#ifdef KERNEL_W
const int FILTERS = 32, WARPS = 8;

extern "C" __global__ void __launch_bounds__(256)
depthwise_weight(const T* __restrict__ x, const T* __restrict__ gradient, RESULT* __restrict__ result,
                 long long pixels_per_split, const Convolution c) {
  __shared__ C shared[WARPS][KERNEL_W][FILTERS];
  const int lane = threadIdx.x % FILTERS, warp = threadIdx.x / FILTERS;
  const int filter = blockIdx.x * FILTERS + lane, channel = filter / (c.filters / c.channels);
  const int tap_y = blockIdx.y * c.dilation_y - c.top;
  const long long pixels = (long long)c.images * c.rows * c.columns;
  const long long begin = blockIdx.z * pixels_per_split, end = min(pixels, begin + pixels_per_split);

  C sum[KERNEL_W] = {};
  if (filter < c.filters) {
    PixelWalker at(begin + warp, c.rows, c.columns);
    const PixelWalker step(WARPS, c.rows, c.columns);
    for (long long p = begin + warp; p < end; p += WARPS) {
      int source_y = at.y * c.stride_y + tap_y;
      if ((unsigned)source_y < (unsigned)c.height) {
        C g = load(gradient[p * c.filters + filter]);
        const T* row = x + ((long long)at.image * c.height + source_y) * c.width * c.channels + channel;
#pragma unroll
        for (int tap_x = 0; tap_x < KERNEL_W; tap_x++) {
          int source_x = at.x * c.stride_x + tap_x * c.dilation_x - c.left;
          if ((unsigned)source_x < (unsigned)c.width) sum[tap_x] += g * load(row[(long long)source_x * c.channels]);
        }
      }
      at.advance(step, c.rows, c.columns);
    }
  }
#pragma unroll
  for (int tap_x = 0; tap_x < KERNEL_W; tap_x++) shared[warp][tap_x][lane] = sum[tap_x];
  __syncthreads();
  if (filter >= c.filters) return;
  for (int tap_x = warp; tap_x < KERNEL_W; tap_x += WARPS) {
    C total = shared[0][tap_x][lane];
    for (int other = 1; other < WARPS; other++) total += shared[other][tap_x][lane];
    long long tap = ((long long)blockIdx.z * c.kernel_h + blockIdx.y) * KERNEL_W + tap_x;
    result[tap * c.filters + filter] = store<RESULT>(total);
  }
}
#endif
