// variant: T=float S=float P=float WIDTH={1,4} STATISTICS={GIVEN,SLICES,DIRECT} POOLED=0 DROPPED=0
// variant: T=float S=float P=float WIDTH=4 STATISTICS={GIVEN,SLICES} POOLED=1 KH=2 KW=2 SH=2 SW=2 DROPPED={0,1}
// variant: T=double S=double P=double WIDTH=2 STATISTICS=DIRECT POOLED=1 KH=2 KW=2 SH=2 SW=2 DROPPED=1
// variant: T={half_t,bfloat16_t} S=float P=float WIDTH=4 STATISTICS={GIVEN,SLICES} POOLED=1 KH=2 KW=2 SH=2 SW=2 DROPPED=1
// variant: T=half_t S=float P=half_t WIDTH=4 STATISTICS=SLICES POOLED=1 KH=3 KW=3 SH=2 SW=2 DROPPED=1
// Batch normalization over all axes but the last, and in the same pass the max pooling and the dropout behind it.
//
// Two launches: batch_norm_moments leaves every slice of rows' (mean, M2); batch_norm_apply merges them (STATISTICS
// SLICES) and writes the output. Up to about a thousand rows one launch does both (DIRECT: a block has all rows of its
// channels, and finds them in its cache the second time). Statistics that a convolution has left are GIVEN.
// Bytes: x twice and y once; with pooling y is a quarter. A few operations an element. Limit: memory bandwidth, for the
// second reading that of the L2 cache where x fits in.
//
// Macros: those of channels.cuh; P the type of gamma and beta; POOLED whether there is pooling, by windows of KH x KW
// with strides SH, SW; DROPPED whether there is dropout.
#include "channels.cuh"
#include "philox.cuh"

#define GIVEN 0
#define SLICES 1
#define DIRECT 2

// One slice of rows a blockIdx.x.
extern "C" __global__ void __launch_bounds__(THREADS)
batch_norm_moments(const T* __restrict__ x, S* __restrict__ partial, int rows, int channels, int rows_each) {
  int first = blockIdx.x * rows_each;
  Moments moments = moments_of_rows(x, pivot_of(x, channels), first, min(first + rows_each, rows), channels);
  keep_moments(moments, partial, gridDim.x, channels);
}

// Mean and variance of this thread's channels; what is not given is written for the gradient.
__device__ __forceinline__ void statistics(const T* __restrict__ x, const S* __restrict__ partial,
                                           S* __restrict__ mean, S* __restrict__ variance, int rows, int channels,
                                           int slices, int rows_each, S* centre, S* spread) {
  int channel = first_channel();
#if STATISTICS == GIVEN
  parameters_of(mean, channel, channels, S(0), centre);
  parameters_of(variance, channel, channels, S(1), spread);
#else
  Pivot pivot = pivot_of(x, channels);
#if STATISTICS == SLICES
  Moments all = shared_with_block(moments_of_slices(partial, slices, rows_each, rows, channels));
#else
  Moments all = moments_of_block(x, pivot, rows, channels);
#endif
  const S share = 1 / all.count;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    centre[k] = pivot.at[k] + all.mean[k];
    spread[k] = all.m2[k] * share;
    if (blockIdx.x == 0 && threadIdx.y == 0 && channel < channels) {
      mean[channel + k] = centre[k];
      variance[channel + k] = spread[k];
    }
  }
#endif
}

#if POOLED
#define TAPS (KH * KW)
#else
#define TAPS 1
#endif
// Windows of so few taps are read as a whole before they are looked at, and two rows at once.
#define WHOLE (TAPS <= 4)
#define OUTPUTS_AT_ONCE (POOLED ? 1 : 2)

// An output pixel's window in x: the first element at tap 0, and which taps are inside the image.
struct Window {
  int corner, y, left;
  unsigned inside;
  Elements<T, WIDTH> values[WHOLE ? TAPS : 1];
};

#if POOLED
// The largest of a window, normalized, and its tap. Every tap is normalized and rounded before it is compared, as if the
// kernels ran one after the other.
__device__ __forceinline__ Elements<T, WIDTH> largest_of(const Window& w, const T* __restrict__ x, int height,
                                                         int width, int channels, const S* centre, const S* scale,
                                                         const S* shift, Elements<unsigned char, WIDTH>& place) {
  S best[WIDTH];
  bool found = false;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    best[k] = -1 / S(0);
    place.at[k] = 0;
  }
  #pragma unroll(TAPS <= 9 ? TAPS : 1)
  for (int tap = 0; tap < TAPS; tap++) {
#if WHOLE
    if (!(w.inside >> tap & 1)) continue;
    Elements<T, WIDTH> values = w.values[tap];
#else
    if ((unsigned)(w.y + tap / KW) >= height || (unsigned)(w.left + tap % KW) >= width) continue;
    Elements<T, WIDTH> values = read<WIDTH>(x + w.corner + (tap / KW * width + tap % KW) * channels);
#endif
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      S value = load(store<T>((load(values.at[k]) - centre[k]) * scale[k] + shift[k]));
      // Neither may be NaN for <= to hold: a NaN replaces a number, nothing replaces a NaN.
      if (!found || (!(value <= best[k]) && best[k] == best[k])) {
        best[k] = value;
        place.at[k] = tap;
      }
    }
    found = true;
  }
  Elements<T, WIDTH> result;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) result.at[k] = store<T>(best[k]);
  return result;
}
#endif

// x (images, height, width, channels) -> y and index (images, out_height, out_width, channels); one output pixel a
// threadIdx.y. Without pooling a pixel is a row, whatever the shape. `index`: see max_pool2d in pooling.cu.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
batch_norm_apply(const T* __restrict__ x, const P* __restrict__ gamma, const P* __restrict__ beta,
                 const unsigned long long* __restrict__ state, const S* __restrict__ partial, S* __restrict__ mean,
                 S* __restrict__ variance, T* __restrict__ y, unsigned char* __restrict__ index, int rows, int outputs,
                 int channels, int height, int width, int out_height, int out_width, int top, int left, int slices,
                 int rows_each, S epsilon, S keep, unsigned long long threshold) {
  int channel = first_channel();
  S centre[WIDTH], spread[WIDTH], scale[WIDTH], shift[WIDTH];
  parameters_of(gamma, channel, channels, S(1), scale);
  parameters_of(beta, channel, channels, S(0), shift);
  statistics(x, partial, mean, variance, rows, channels, slices, rows_each, centre, spread);
  if (channel >= channels) return;
#if DROPPED
  Draw draw;
#endif
  bool begun = false;
  const int step = gridDim.x * blockDim.y;
  #pragma unroll 1
  for (int first = blockIdx.x * blockDim.y + threadIdx.y; first < outputs; first += OUTPUTS_AT_ONCE * step) {
    Window windows[OUTPUTS_AT_ONCE];
    #pragma unroll
    for (int u = 0; u < OUTPUTS_AT_ONCE; u++) {
      Window& w = windows[u];
      const int p = first + u * step;
#if POOLED
      unsigned row = (unsigned)p / out_width;
      w.y = (int)(row % out_height) * SH - top, w.left = (int)((unsigned)p % out_width) * SW - left;
      w.corner = (((int)(row / out_height) * height + w.y) * width + w.left) * channels + channel;
#else
      w.corner = p * channels + channel;
#endif
      w.inside = 0;
#if WHOLE
      #pragma unroll
      for (int tap = 0; tap < TAPS; tap++) {
        w.values[tap] = Elements<T, WIDTH>{};
#if POOLED
        if ((unsigned)(w.y + tap / KW) >= height || (unsigned)(w.left + tap % KW) >= width) continue;
        w.inside |= 1u << tap;
        w.values[tap] = read<WIDTH>(x + w.corner + (tap / KW * width + tap % KW) * channels);
#else
        if (p < outputs) w.values[tap] = read<WIDTH>(x + w.corner);
#endif
      }
#endif
    }
    // Not before the first windows are on their way: what depends on the statistics would wait for them.
    if (!begun) {
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) scale[k] *= inverse_root(spread[k] + epsilon);
#if DROPPED
      draw = draw_of(state);
#endif
      begun = true;
    }
    #pragma unroll
    for (int u = 0; u < OUTPUTS_AT_ONCE; u++) {
      const int p = first + u * step, at = p * channels + channel;
      if (p >= outputs) break;
      Elements<T, WIDTH> result;
#if POOLED
      Elements<unsigned char, WIDTH> place;
      result = largest_of(windows[u], x, height, width, channels, centre, scale, shift, place);
      write<WIDTH>(index + at, place);
#else
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        result.at[k] = store<T>((load(windows[u].values[0].at[k]) - centre[k]) * scale[k] + shift[k]);
      }
#endif
#if DROPPED
      Kept<WIDTH> mask = kept<WIDTH>(draw, at, threshold);
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        result.at[k] = mask.at[k] ? store<T>(load(result.at[k]) / keep) : store<T>(0);
      }
#endif
      write<WIDTH>(y + at, result);
    }
  }
}
