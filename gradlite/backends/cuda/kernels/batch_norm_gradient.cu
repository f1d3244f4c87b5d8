// variant: T=float S=float P=float WIDTH={1,4} SUMS={SLICES,DIRECT} APART=1 MASKED={0,1} POOLED=0 DROPPED=0
// variant: T=float S=float P=float WIDTH=4 SUMS=SLICES APART={0,1} MASKED=1 POOLED=1 KH=2 KW=2 SH=2 SW=2 DROPPED={0,1}
// variant: T=double S=double P=double WIDTH=2 SUMS=DIRECT APART=1 MASKED=0 POOLED=1 KH=2 KW=2 SH=2 SW=2 DROPPED=1
// variant: T={half_t,bfloat16_t} S=float P=float WIDTH=4 SUMS=SLICES APART=1 MASKED=1 POOLED=1 KH=2 KW=2 SH=2 SW=2 DROPPED=1
// variant: T=half_t S=float P=half_t WIDTH=4 SUMS=SLICES APART=0 MASKED=1 POOLED=1 KH=3 KW=3 SH=2 SW=2 DROPPED=1
// The gradient of batch normalization, with the max pooling and the dropout behind it.
//
// With z = (x - mean) / sqrt(variance + epsilon), dy the gradient of the normalized x and N the number of rows:
//   dbeta = sum(dy), dgamma = sum(dy z), dx = gamma / sqrt(variance + epsilon) (dy - dbeta / N - z dgamma / N)
// (Ioffe and Szegedy 2015, section 3). Behind a pooling dy is zero but where `index` points, so that both sums run over
// the pooled pixels alone, and read of x what was the largest of its window.
//
// Two launches: batch_norm_sums leaves every slice's two sums, batch_norm_input_gradient adds them (SUMS SLICES) and
// writes dx. Up to about a thousand rows one launch does both (DIRECT). Bytes: gradient and x twice, dx once; with
// pooling the gradient and the index are a quarter of that and less. Limit: memory bandwidth.
//
// Macros: those of batch_norm.cu; APART: windows meet neither each other nor padding (strides equal the window), so
// that a thread writes all pixels of one window; otherwise it gathers the windows over one pixel. MASKED: x is what a
// relu returned, and dx is taken on through it, zero where x is not positive: no more bytes, since x is read anyway.
// Sums of products are written as multiply_add, so that no compiler rounds them differently in one of the variants.
#include "channels.cuh"
#include "philox.cuh"

#define SLICES 1
#define DIRECT 2

#if POOLED
#define TAPS (KH * KW)
#else
#define TAPS 1
#endif

// The gradient that comes in at output pixel p, of this thread's channels, as dropout lets it through.
__device__ __forceinline__ void incoming(const T* __restrict__ gradient, const Draw& draw, int p, int channels,
                                         int channel, S keep, unsigned long long threshold, S* out) {
  long long first = (long long)p * channels + channel;
  Elements<T, WIDTH> values = read<WIDTH>(gradient + first);
#if DROPPED
  Kept<WIDTH> mask = kept<WIDTH>(draw, first, threshold);
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) out[k] = mask.at[k] ? load(values.at[k]) / keep : S(0);
#else
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) out[k] = load(values.at[k]);
#endif
}

// What is stored of dx at a pixel whose value is x.
__device__ __forceinline__ T outgoing(S dx, S x) {
#if MASKED
  return x > 0 ? store<T>(dx) : store<T>(0);
#else
  return store<T>(dx);
#endif
}

// The geometry of the pooling; without one a pixel is a row and none of it is read.
struct Images { int height, width, out_height, out_width, top, left; };

// Sums over output pixels first to last - 1, over the block.
__device__ __forceinline__ Sums sums_of_pixels(const T* __restrict__ gradient, const T* __restrict__ x,
                                               const unsigned char* __restrict__ index, const Draw& draw,
                                               const Images& images, int first, int last, int channels,
                                               const S* centre, const S* inverse, S keep,
                                               unsigned long long threshold) {
  int channel = first_channel();
  Sums total = no_sums();
  if (channel < channels) {
    for (int p = first + threadIdx.y; p < last; p += blockDim.y) {
      S dy[WIDTH];
      incoming(gradient, draw, p, channels, channel, keep, threshold, dy);
#if POOLED
      Elements<unsigned char, WIDTH> place = read<WIDTH>(index + (long long)p * channels + channel);
      unsigned row = (unsigned)p / images.out_width;
      int iy = (int)(row % images.out_height) * SH - images.top;
      int ix = (int)((unsigned)p % images.out_width) * SW - images.left;
      long long image = (long long)(row / images.out_height) * images.height;
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        int ty = iy + place.at[k] / KW, tx = ix + place.at[k] % KW;
        // A window that is all padding names its first tap, outside the image.
        if ((unsigned)ty >= images.height || (unsigned)tx >= images.width) continue;
        S value = load(x[((image + ty) * images.width + tx) * channels + channel + k]);
        total.scale[k] = multiply_add(dy[k], (value - centre[k]) * inverse[k], total.scale[k]);
        total.shift[k] += dy[k];
      }
#else
      Elements<T, WIDTH> values = read<WIDTH>(x + (long long)p * channels + channel);
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        total.scale[k] = multiply_add(dy[k], (load(values.at[k]) - centre[k]) * inverse[k], total.scale[k]);
        total.shift[k] += dy[k];
      }
#endif
    }
  }
  return added_over_block(total);
}

__device__ __forceinline__ void statistics(const S* __restrict__ mean, const S* __restrict__ variance, int channels,
                                           S epsilon, S* centre, S* inverse) {
  int channel = first_channel();
  parameters_of(mean, channel, channels, S(0), centre);
  parameters_of(variance, channel, channels, S(1), inverse);
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) inverse[k] = 1 / square_root(inverse[k] + epsilon);
}

__device__ __forceinline__ Draw draw_if_any(const unsigned long long* __restrict__ state) {
#if DROPPED
  return draw_of(state);
#else
  return Draw{0, 0, 0, 0, 0};
#endif
}

// One slice of output pixels a blockIdx.x.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
batch_norm_sums(const T* __restrict__ gradient, const T* __restrict__ x, const S* __restrict__ mean,
                const S* __restrict__ variance, const unsigned char* __restrict__ index,
                const unsigned long long* __restrict__ state, S* __restrict__ partial, int outputs, int channels,
                int height, int width, int out_height, int out_width, int top, int left, int outputs_each, S epsilon,
                S keep, unsigned long long threshold) {
  S centre[WIDTH], inverse[WIDTH];
  statistics(mean, variance, channels, epsilon, centre, inverse);
  Images images = {height, width, out_height, out_width, top, left};
  int first = blockIdx.x * outputs_each, last = min(first + outputs_each, outputs);
  Sums sums = sums_of_pixels(gradient, x, index, draw_if_any(state), images, first, last, channels, centre, inverse,
                             keep, threshold);
  keep_sums(sums, partial, gridDim.x, channels);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
batch_norm_input_gradient(const T* __restrict__ gradient, const T* __restrict__ x, const P* __restrict__ gamma,
                          const S* __restrict__ mean, const S* __restrict__ variance,
                          const unsigned char* __restrict__ index, const unsigned long long* __restrict__ state,
                          const S* __restrict__ partial, T* __restrict__ dx, P* __restrict__ dgamma,
                          P* __restrict__ dbeta, int rows, int outputs, int channels, int height, int width,
                          int out_height, int out_width, int top, int left, int slices, S epsilon, S keep,
                          unsigned long long threshold) {
  int channel = first_channel();
  S centre[WIDTH], inverse[WIDTH], scale[WIDTH];
  statistics(mean, variance, channels, epsilon, centre, inverse);
  parameters_of(gamma, channel, channels, S(1), scale);
  Images images = {height, width, out_height, out_width, top, left};
  Draw draw = draw_if_any(state);
#if SUMS == SLICES
  Sums sums = sums_of_slices(partial, slices, channels);
#else
  Sums sums = sums_of_pixels(gradient, x, index, draw, images, 0, outputs, channels, centre, inverse, keep, threshold);
#endif
  if (channel >= channels) return;
  // dx = scale (dy - shift - (x - centre) slope)
  S slope[WIDTH], shift[WIDTH];
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    if (blockIdx.x == 0 && threadIdx.y == 0) {
      dgamma[channel + k] = store<P>(sums.scale[k]);
      dbeta[channel + k] = store<P>(sums.shift[k]);
    }
    shift[k] = sums.shift[k] / rows;
    slope[k] = sums.scale[k] / rows * inverse[k];
    scale[k] *= inverse[k];
  }

#if APART
  // One window a threadIdx.y; those that stick out at the bottom or right have no output and no gradient.
#if POOLED
  int windows_down = (height + KH - 1) / KH, windows_across = (width + KW - 1) / KW;
  int windows = rows / (height * width) * windows_down * windows_across;
#else
  int windows = rows;
#endif
  for (int q = blockIdx.x * blockDim.y + threadIdx.y; q < windows; q += gridDim.x * blockDim.y) {
    S dy[WIDTH];
#if POOLED
    unsigned row = (unsigned)q / windows_across;
    int oy = row % windows_down, ox = (unsigned)q % windows_across, image = row / windows_down;
    Elements<unsigned char, WIDTH> place = {};
    if (oy < out_height && ox < out_width) {
      int p = (image * out_height + oy) * out_width + ox;
      incoming(gradient, draw, p, channels, channel, keep, threshold, dy);
      place = read<WIDTH>(index + (long long)p * channels + channel);
    } else {
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) dy[k] = 0;
    }
#else
    incoming(gradient, draw, q, channels, channel, keep, threshold, dy);
#endif
    #pragma unroll(TAPS <= 9 ? TAPS : 1)
    for (int tap = 0; tap < TAPS; tap++) {
#if POOLED
      int iy = oy * KH + tap / KW, ix = ox * KW + tap % KW;
      if (iy >= height || ix >= width) continue;
      long long at = (((long long)image * height + iy) * width + ix) * channels + channel;
#else
      long long at = (long long)q * channels + channel;
#endif
      Elements<T, WIDTH> values = read<WIDTH>(x + at);
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        S own = dy[k];
#if POOLED
        if (place.at[k] != tap) own = 0;
#endif
        S value = load(values.at[k]);
        values.at[k] = outgoing(scale[k] * multiply_add(centre[k] - value, slope[k], own - shift[k]), value);
      }
      write<WIDTH>(dx + at, values);
    }
  }
#else
  // One pixel a threadIdx.y: the windows over it, tap after tap in ascending order as in the reference.
  for (int q = blockIdx.x * blockDim.y + threadIdx.y; q < rows; q += gridDim.x * blockDim.y) {
    unsigned row = (unsigned)q / width;
    int y = (int)(row % height) + top, across = (int)((unsigned)q % width) + left, image = row / height;
    S dy[WIDTH];
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) dy[k] = 0;
    for (int oy = min(y / SH, out_height - 1); oy >= 0 && y - oy * SH < KH; oy--) {
      for (int ox = min(across / SW, out_width - 1); ox >= 0 && across - ox * SW < KW; ox--) {
        int p = (image * out_height + oy) * out_width + ox, tap = (y - oy * SH) * KW + across - ox * SW;
        Elements<unsigned char, WIDTH> place = read<WIDTH>(index + (long long)p * channels + channel);
        S part[WIDTH];
        incoming(gradient, draw, p, channels, channel, keep, threshold, part);
        #pragma unroll
        for (int k = 0; k < WIDTH; k++) dy[k] += place.at[k] == tap ? part[k] : S(0);
      }
    }
    long long at = (long long)q * channels + channel;
    Elements<T, WIDTH> values = read<WIDTH>(x + at);
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      S value = load(values.at[k]);
      values.at[k] = outgoing(scale[k] * multiply_add(centre[k] - value, slope[k], dy[k] - shift[k]), value);
    }
    write<WIDTH>(dx + at, values);
  }
#endif
}
