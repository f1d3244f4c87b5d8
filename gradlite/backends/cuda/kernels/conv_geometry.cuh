// Where a convolution reads and writes: images in memory, pixels of a destination, taps of a kernel.
//
// Forward and input gradient are one gather. A destination pixel at position p along an axis meets, at tap t, the
// source pixel p * stride + origin + t * step, and the kernel's tap first + t * skip:
//   forward:         stride = s, origin = -padding, step = dilation, first = 0, skip = 1;
//   input gradient:  source and destination change places. Destination pixels of one phase (position modulo s) meet the
//                    same taps, every skip-th, whose source pixels lie next to each other; so nothing is multiplied by
//                    the zeros between the pixels of a transposed convolution, and no sum needs an atomic.
// Products run over k = (tap y, tap x, channel), channels fastest, with no gap between taps: 27 for three channels.
#pragma once
#include "common.cuh"

// The sizes of the convolution, as of the forward direction.
struct Convolution {
  int images, height, width, channels;  // x (n, h, w, c)
  int rows, columns, filters;           // y (n, oh, ow, f)
  int kernel_h, kernel_w;
  int stride_y, stride_x;
  int top, left;
  int dilation_y, dilation_x;
  int groups;
  int skip_y, skip_x;  // stride / gcd(stride, dilation)
};

// N neighbouring elements, read or written at once.
template <typename E, int N> struct __align__(sizeof(E) * N) Vector {
  E at[N];
};

// The elements at p; zeros where p is null.
template <typename E, int N> __device__ __forceinline__ Vector<E, N> read(const E* p) {
  if (p == nullptr) return Vector<E, N>{};
  return *(const Vector<E, N>*)p;
}

// One axis of a gather; `count` destination pixels, those at positions first_pixel, first_pixel + pixel_step, ...
struct Axis {
  int stride, origin, step, first, skip, taps, count, first_pixel, pixel_step;
};

__device__ __forceinline__ Axis forward_axis(int rows, int kernel, int stride, int padding, int dilation) {
  return Axis{stride, -padding, dilation, 0, 1, kernel, rows, 0, 1};
}

// Taps whose distance from the phase's pixels is a multiple of the stride: every skip-th from the first such one.
__device__ __forceinline__ Axis gradient_axis(int size, int kernel, int stride, int padding, int dilation, int skip,
                                              int phase) {
  int first = 0;
  while (first < skip && (phase + padding - first * dilation) % stride != 0) first++;
  int taps = first < skip && first < kernel ? (kernel - first + skip - 1) / skip : 0;
  int count = phase < size ? (size - phase + stride - 1) / stride : 0;
  int origin = (phase + padding - first * dilation) / stride;
  return Axis{1, origin, -(dilation * skip) / stride, first, skip, taps, count, phase, stride};
}

// A position in k = (tap y, tap x, channel) that moves on by a constant step without dividing.
struct TapWalker {
  int y, x, channel;

  __device__ __forceinline__ TapWalker(int k, int taps_x, int channels) {
    int tap = k / channels;
    channel = k - tap * channels;
    y = tap / taps_x;
    x = tap - y * taps_x;
  }

  // `step` is a walker built from the step's length.
  __device__ __forceinline__ void advance(const TapWalker& step, int taps_x, int channels) {
    channel += step.channel;
    int carry = channel >= channels;
    channel -= carry ? channels : 0;
    x += step.x + carry;
    carry = x >= taps_x;
    x -= carry ? taps_x : 0;
    y += step.y + carry;
  }
};

// An output pixel that moves on by a constant step without dividing.
struct PixelWalker {
  int image, y, x;

  __device__ __forceinline__ PixelWalker() {}
  __device__ __forceinline__ PixelWalker(long long pixel, int rows, int columns) {
    unsigned per_image = (unsigned)(rows * columns);
    // 32 bits where they do: dividing 64 takes some five times as long.
    image = pixel >> 32 != 0 ? (int)(pixel / per_image) : (int)((unsigned)pixel / per_image);
    unsigned rest = (unsigned)(pixel - (long long)image * per_image);
    y = (int)(rest / (unsigned)columns);
    x = (int)rest - y * columns;
  }

  // `step` is a walker built from the step's length.
  __device__ __forceinline__ void advance(const PixelWalker& step, int rows, int columns) {
    x += step.x;
    int carry = x >= columns;
    x -= carry ? columns : 0;
    y += step.y + carry;
    carry = y >= rows;
    y -= carry ? rows : 0;
    image += step.image + carry;
  }
};

// A destination pixel of a gather: its source at tap (0, 0). A row past the last pixel lies outside every image.
struct GatherRow {
  const char* image;  // the first byte of its source image
  int y, x;
};

const int OUTSIDE = -(1 << 28);

// The source and the destination of a gather, for one group and one phase.
struct Gather {
  Axis y, x;
  int source_h, source_w, source_channels;  // all channels of the source
  int destination_h, destination_w, destination_channels;
  int k_channels, n_channels;  // of one group: summed over, and computed
  int group;
  long long pixels;  // of this phase in all images

  __device__ __forceinline__ int k() const { return y.taps * x.taps * k_channels; }

  // The source of destination pixel m, which `at` is the place of.
  template <typename E>
  __device__ __forceinline__ GatherRow row(const E* source, long long m, const PixelWalker& at) const {
    if (m >= pixels) return GatherRow{(const char*)source, OUTSIDE, OUTSIDE};
    const E* image = source + (long long)at.image * source_h * source_w * source_channels + group * k_channels;
    return GatherRow{(const char*)image, at.y * y.stride + y.origin, at.x * x.stride + x.origin};
  }

  // The element of channel `channel` that the row meets at a tap; null where that is outside the image.
  template <typename E>
  __device__ __forceinline__ const E* at(const GatherRow& row, const TapWalker& tap) const {
    int source_y = row.y + tap.y * y.step, source_x = row.x + tap.x * x.step;
    bool inside = tap.y < y.taps && (unsigned)source_y < (unsigned)source_h && (unsigned)source_x < (unsigned)source_w;
    return inside ? (const E*)row.image + (source_y * source_w + source_x) * source_channels + tap.channel : nullptr;
  }

  // Index of the kernel's tap that the walker stands at.
  __device__ __forceinline__ int kernel_tap(const TapWalker& tap, int kernel_w) const {
    return (y.first + tap.y * y.skip) * kernel_w + x.first + tap.x * x.skip;
  }

  // Offset of the first of this group's channels of pixel `m` in the destination.
  __device__ __forceinline__ long long destination(long long m) const {
    long long pixel = m;
    if (y.pixel_step * x.pixel_step != 1) {
      PixelWalker at(m, y.count, x.count);
      pixel = ((long long)at.image * destination_h + y.first_pixel + at.y * y.pixel_step) * destination_w +
              x.first_pixel + at.x * x.pixel_step;
    }
    return pixel * destination_channels + group * n_channels;
  }
};

// The gather of block row z = phase * groups + group; forward has one phase, the input gradient stride_y * stride_x.
template <bool BACKWARD> __device__ __forceinline__ Gather gather_of(const Convolution& c, int z) {
  Gather g;
  g.group = z % c.groups;
  int phase = z / c.groups;
  if (BACKWARD) {
    int phase_y = phase / c.stride_x, phase_x = phase - phase_y * c.stride_x;
    g.y = gradient_axis(c.height, c.kernel_h, c.stride_y, c.top, c.dilation_y, c.skip_y, phase_y);
    g.x = gradient_axis(c.width, c.kernel_w, c.stride_x, c.left, c.dilation_x, c.skip_x, phase_x);
    if (g.x.taps == 0) g.y.taps = 0;  // no tap at all, and none is looked for
    g.source_h = c.rows, g.source_w = c.columns, g.source_channels = c.filters;
    g.destination_h = c.height, g.destination_w = c.width, g.destination_channels = c.channels;
  } else {
    g.y = forward_axis(c.rows, c.kernel_h, c.stride_y, c.top, c.dilation_y);
    g.x = forward_axis(c.columns, c.kernel_w, c.stride_x, c.left, c.dilation_x);
    g.source_h = c.height, g.source_w = c.width, g.source_channels = c.channels;
    g.destination_h = c.rows, g.destination_w = c.columns, g.destination_channels = c.filters;
  }
  g.k_channels = g.source_channels / c.groups;
  g.n_channels = g.destination_channels / c.groups;
  g.pixels = (long long)c.images * g.y.count * g.x.count;
  return g;
}
