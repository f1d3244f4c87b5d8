// variant: T={float,half_t,bfloat16_t} S=float I={unsigned char} WIDTH={1,4} KH=2 KW=2 SH=2 SW=2
// variant: T=double S=double I={unsigned char} WIDTH=2 KH=3 KW=3 SH=2 SW=2
// variant: T=float S=float I=int WIDTH=1 KH=17 KW=17 SH=3 SW=2
// Pooling of images (n, h, w, c): the largest element or the mean of every window, and their gradients.
//
// One thread an output pixel and WIDTH neighbouring channels, in a grid-stride loop; neighbouring threads have
// neighbouring addresses. The gradients gather: every input pixel adds up the windows over it, in the order of their
// taps, so that no two threads write one element. Bytes: every array once (inputs of overlapping windows come from the
// caches). Limit: memory bandwidth.
//
// Macros: T elements, S arithmetic, I the index, WIDTH channels a thread (16 bytes, for float32); KH, KW the window,
// SH, SW its strides, constants for the sake of the loops and divisions.
#include "vectors.cuh"

#define TAPS (KH * KW)
#define UNROLLED (TAPS <= 9 ? TAPS : 1)

// What pooling maps: images of height x width pixels to out_height x out_width.
struct Place { int image, y, x, channel; };

// Where number i of all groups of WIDTH channels of images (.., height, width, channels) is.
__device__ __forceinline__ Place place_of(unsigned i, int height, int width, int channels) {
  unsigned groups = channels / WIDTH, pixel = i / groups, row = pixel / width;
  Place place;
  place.channel = (i - pixel * groups) * WIDTH;
  place.x = pixel - row * width;
  place.image = row / height;
  place.y = row - place.image * height;
  return place;
}

__device__ __forceinline__ long long offset(int image, int y, int x, int channel, int height, int width,
                                            int channels) {
  return (((long long)image * height + y) * width + x) * channels + channel;
}

// `index` numbers the taps of the window row by row and names the first maximum; padding is never named.
extern "C" __global__ void max_pool2d(const T* __restrict__ x, T* __restrict__ y, I* __restrict__ index, int outputs,
                                      int channels, int height, int width, int out_height, int out_width, int top,
                                      int left) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    Place out = place_of(i, out_height, out_width, channels);
    int iy = out.y * SH - top, ix = out.x * SW - left;
    S best[WIDTH];
    Elements<I, WIDTH> place;
    bool found = false;
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      best[k] = -1 / S(0);
      place.at[k] = 0;
    }
    #pragma unroll(UNROLLED)
    for (int tap = 0; tap < TAPS; tap++) {
      int ty = iy + tap / KW, tx = ix + tap % KW;
      if ((unsigned)ty >= height || (unsigned)tx >= width) continue;
      Elements<T, WIDTH> values = read<WIDTH>(x + offset(out.image, ty, tx, out.channel, height, width, channels));
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) {
        S value = load(values.at[k]);
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
    write<WIDTH>(y + (long long)i * WIDTH, result);
    write<WIDTH>(index + (long long)i * WIDTH, place);
  }
}

// The transpose of max_pool2d_gather: dx of every input pixel. Ascending taps are descending windows.
extern "C" __global__ void max_pool2d_scatter(const T* __restrict__ gradient, const I* __restrict__ index,
                                              T* __restrict__ dx, int inputs, int channels, int height, int width,
                                              int out_height, int out_width, int top, int left) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < inputs; i += gridDim.x * blockDim.x) {
    Place in = place_of(i, height, width, channels);
    int y = in.y + top, x = in.x + left;
    S sum[WIDTH];
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) sum[k] = 0;
    for (int oy = min(y / SH, out_height - 1); oy >= 0 && y - oy * SH < KH; oy--) {
      for (int ox = min(x / SW, out_width - 1); ox >= 0 && x - ox * SW < KW; ox--) {
        long long at = offset(in.image, oy, ox, in.channel, out_height, out_width, channels);
        int tap = (y - oy * SH) * KW + x - ox * SW;
        Elements<I, WIDTH> place = read<WIDTH>(index + at);
        Elements<T, WIDTH> values = read<WIDTH>(gradient + at);
        #pragma unroll
        for (int k = 0; k < WIDTH; k++) sum[k] += place.at[k] == tap ? S(load(values.at[k])) : S(0);
      }
    }
    Elements<T, WIDTH> result;
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) result.at[k] = store<T>(sum[k]);
    write<WIDTH>(dx + (long long)i * WIDTH, result);
  }
}

// The elements of x that the index names; 0 where it names padding.
extern "C" __global__ void max_pool2d_gather(const T* __restrict__ x, const I* __restrict__ index, T* __restrict__ y,
                                             int outputs, int channels, int height, int width, int out_height,
                                             int out_width, int top, int left) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    Place out = place_of(i, out_height, out_width, channels);
    Elements<I, WIDTH> place = read<WIDTH>(index + (long long)i * WIDTH);
    Elements<T, WIDTH> result;
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      int ty = out.y * SH - top + place.at[k] / KW, tx = out.x * SW - left + place.at[k] % KW;
      bool inside = (unsigned)ty < height && (unsigned)tx < width;
      result.at[k] = inside ? x[offset(out.image, ty, tx, out.channel + k, height, width, channels)] : store<T>(0);
    }
    write<WIDTH>(y + (long long)i * WIDTH, result);
  }
}

// How many of `size` pixels the window from `first` on has inside the image.
__device__ __forceinline__ int inside(int first, int window, int size) {
  return max(min(first + window, size) - max(first, 0), 0);
}

// A window without any pixel has the mean 0.
__device__ __forceinline__ S count_of(int oy, int ox, int height, int width, int top, int left) {
  return max(inside(oy * SH - top, KH, height) * inside(ox * SW - left, KW, width), 1);
}

extern "C" __global__ void avg_pool2d(const T* __restrict__ x, T* __restrict__ y, int outputs, int channels, int height,
                                      int width, int out_height, int out_width, int top, int left) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    Place out = place_of(i, out_height, out_width, channels);
    S sum[WIDTH], count = count_of(out.y, out.x, height, width, top, left);
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) sum[k] = 0;
    #pragma unroll(UNROLLED)
    for (int tap = 0; tap < TAPS; tap++) {
      int ty = out.y * SH - top + tap / KW, tx = out.x * SW - left + tap % KW;
      if ((unsigned)ty >= height || (unsigned)tx >= width) continue;
      Elements<T, WIDTH> values = read<WIDTH>(x + offset(out.image, ty, tx, out.channel, height, width, channels));
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) sum[k] += load(values.at[k]);
    }
    Elements<T, WIDTH> result;
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) result.at[k] = store<T>(sum[k] / count);
    write<WIDTH>(y + (long long)i * WIDTH, result);
  }
}

extern "C" __global__ void avg_pool2d_gradient(const T* __restrict__ gradient, T* __restrict__ dx, int inputs,
                                               int channels, int height, int width, int out_height, int out_width,
                                               int top, int left) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < inputs; i += gridDim.x * blockDim.x) {
    Place in = place_of(i, height, width, channels);
    int y = in.y + top, x = in.x + left;
    S sum[WIDTH];
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) sum[k] = 0;
    for (int oy = min(y / SH, out_height - 1); oy >= 0 && y - oy * SH < KH; oy--) {
      for (int ox = min(x / SW, out_width - 1); ox >= 0 && x - ox * SW < KW; ox--) {
        S count = count_of(oy, ox, height, width, top, left);
        Elements<T, WIDTH> values =
            read<WIDTH>(gradient + offset(in.image, oy, ox, in.channel, out_height, out_width, channels));
        #pragma unroll
        for (int k = 0; k < WIDTH; k++) sum[k] += load(values.at[k]) / count;
      }
    }
    Elements<T, WIDTH> result;
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) result.at[k] = store<T>(sum[k]);
    write<WIDTH>(dx + (long long)i * WIDTH, result);
  }
}
