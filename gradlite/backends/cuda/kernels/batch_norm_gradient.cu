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
// Two launches: batch_norm_sums leaves every slice's sums of dy and of dy (x - mean), batch_norm_input_gradient adds
// them (SUMS SLICES) and writes dx. Up to about a thousand rows one launch does both (DIRECT). Bytes: gradient and x
// twice, dx once; with pooling the gradient and the index are a quarter of that and less. Limit: memory bandwidth. For
// a small batch it is latency: whatever can be is asked for before anything is waited for.
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
#define KW 1
#endif
// Windows of so few taps are read as a whole, so that no load waits for the index.
#define WHOLE (TAPS <= 4)
#define WINDOWS_AT_ONCE (TAPS == 1 ? 2 : 1)

// The geometry of the pooling; without one a window is a row and none of it is read.
struct Images { int height, width, out_height, out_width, top, left; };

// The place of a window among `down` x `across` of an image.
struct Place {
#if POOLED
  int image, y, x;

  __device__ __forceinline__ Place(int window, int down, int across) {
    unsigned row = (unsigned)window / (unsigned)across;
    x = window - row * across;
    image = row / (unsigned)down;
    y = row - image * down;
  }
#else
  int row;

  __device__ __forceinline__ Place(int window, int down, int across) : row(window) {}
#endif
};

// A window as it lies in memory, all loads of it under way at once: the gradient of its output pixel, where it has one,
// which tap was the largest, and x at its taps.
struct Window {
  int output;       // the first element of the gradient
  int corner;       // the first element of x at tap 0
  int y, left;      // tap 0
  unsigned inside;  // the taps inside the image, as bits
  Elements<T, WIDTH> gradient, values[WHOLE ? TAPS : 1];
  Elements<unsigned char, WIDTH> place;
};

// The elements of x between tap 0 and another one.
__device__ __forceinline__ int tap_offset(int tap, const Images& images, int channels) {
  return (tap / KW * images.width + tap % KW) * channels;
}

// Nothing is read, and nothing is inside, where there is no such window.
__device__ __forceinline__ Window read_window(bool exists, const T* __restrict__ gradient, const T* __restrict__ x,
                                              const unsigned char* __restrict__ index, const Place& at,
                                              const Images& images, int channels, int channel) {
  Window w;
  w.gradient = Elements<T, WIDTH>{};
  w.place = Elements<unsigned char, WIDTH>{};
  w.inside = 0;
#if POOLED
  w.y = at.y * SH - images.top, w.left = at.x * SW - images.left;
  w.output = ((at.image * images.out_height + at.y) * images.out_width + at.x) * channels + channel;
  w.corner = ((at.image * images.height + w.y) * images.width + w.left) * channels + channel;
  if (exists && at.y < images.out_height && at.x < images.out_width) {
    w.gradient = read<WIDTH>(gradient + w.output);
    w.place = read<WIDTH>(index + w.output);
  }
#else
  w.output = w.corner = at.row * channels + channel;
  if (exists) w.gradient = read<WIDTH>(gradient + w.output);
#endif
#if WHOLE
  #pragma unroll
  for (int tap = 0; tap < TAPS; tap++) {
    w.values[tap] = Elements<T, WIDTH>{};
#if POOLED
    int y = w.y + tap / KW, left = w.left + tap % KW;
    bool inside = exists && (unsigned)y < images.height && (unsigned)left < images.width;
#else
    bool inside = exists;
#endif
    w.inside |= inside ? 1u << tap : 0u;
    if (inside) w.values[tap] = read<WIDTH>(x + w.corner + tap_offset(tap, images, channels));
  }
#endif
  return w;
}

// The gradient of the output pixel, of this thread's channels, as dropout lets it through.
__device__ __forceinline__ void incoming(const Elements<T, WIDTH>& values, int first, const Draw& draw, S keep,
                                         unsigned long long threshold, S* out) {
#if DROPPED
  Kept<WIDTH> mask = kept<WIDTH>(draw, first, threshold);
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) out[k] = mask.at[k] ? load(values.at[k]) / keep : S(0);
#else
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) out[k] = load(values.at[k]);
#endif
}

__device__ __forceinline__ Draw draw_if_any(const unsigned long long* __restrict__ state) {
#if DROPPED
  return draw_of(state);
#else
  return Draw{0, 0, 0, 0, 0};
#endif
}

// Adds what a window contributes. A window that is all padding names its first tap, outside the image: nothing.
__device__ __forceinline__ void add_window(Sums& total, const Window& w, const T* __restrict__ x, const Draw& draw,
                                           const Images& images, int channels, const S* centre, S keep,
                                           unsigned long long threshold) {
  S dy[WIDTH];
  incoming(w.gradient, w.output, draw, keep, threshold, dy);
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) {
    S value = 0;
    bool found = false;
#if WHOLE
    #pragma unroll
    for (int tap = 0; tap < TAPS; tap++) {
      // Selected, not branched to: a compiler that knew the tap to be the place would read values[place] from memory.
      S candidate = load(w.values[tap].at[k]);
      bool here = w.place.at[k] == tap && (w.inside >> tap & 1);
      value = here ? candidate : value;
      found = found || here;
    }
#else
    int tap = w.place.at[k];
    found = (unsigned)(w.y + tap / KW) < images.height && (unsigned)(w.left + tap % KW) < images.width;
    if (found) value = load(x[w.corner + tap_offset(tap, images, channels) + k]);
#endif
    if (!found) continue;
    total.scale[k] = multiply_add(dy[k], value - centre[k], total.scale[k]);
    total.shift[k] += dy[k];
  }
}

// sum(dy (x - mean)) and sum(dy) over output pixels first to last - 1, over the block: in the threads with
// threadIdx.y == 0.
__device__ __forceinline__ Sums sums_of_pixels(const T* __restrict__ gradient, const T* __restrict__ x,
                                               const unsigned char* __restrict__ index,
                                               const unsigned long long* __restrict__ state, const Images& images,
                                               const S* __restrict__ mean, int first, int last, int channels, S keep,
                                               unsigned long long threshold) {
  int channel = first_channel(), p = first + threadIdx.y;
  Sums total = no_sums();
  if (channel < channels && p < last) {
    Draw draw;
    S centre[WIDTH];
    bool begun = false;
    #pragma unroll 1
    for (; p < last; p += WINDOWS_AT_ONCE * blockDim.y) {
      Window windows[WINDOWS_AT_ONCE];
      #pragma unroll
      for (int u = 0; u < WINDOWS_AT_ONCE; u++) {
        int window = p + u * blockDim.y;
        Place at(window, images.out_height, images.out_width);
        windows[u] = read_window(window < last, gradient, x, index, at, images, channels, channel);
      }
      // Not before the first windows are on their way: what depends on these would wait for them.
      if (!begun) {
        parameters_of(mean, channel, channels, S(0), centre);
        draw = draw_if_any(state);
        begun = true;
      }
      #pragma unroll
      for (int u = 0; u < WINDOWS_AT_ONCE; u++) {
        add_window(total, windows[u], x, draw, images, channels, centre, keep, threshold);
      }
    }
  }
  return merged_over_block(total, no_sums());
}

// Blocks of the most threads that should fit into a multiprocessor: doubles, and windows that are kept while the next
// one is read, need too many registers for two.
const int SUM_BLOCKS = sizeof(S) == 8 ? 1 : 2, GRADIENT_BLOCKS = POOLED || sizeof(S) == 8 ? 1 : 2;

// One slice of output pixels a blockIdx.x.
extern "C" __global__ void __launch_bounds__(THREADS, SUM_BLOCKS)
batch_norm_sums(const T* __restrict__ gradient, const T* __restrict__ x, const S* __restrict__ mean,
                const unsigned char* __restrict__ index, const unsigned long long* __restrict__ state,
                S* __restrict__ partial, int outputs, int channels, int height, int width, int out_height,
                int out_width, int top, int left, int outputs_each, S keep, unsigned long long threshold) {
  Images images = {height, width, out_height, out_width, top, left};
  int first = blockIdx.x * outputs_each, last = min(first + outputs_each, outputs);
  Sums sums = sums_of_pixels(gradient, x, index, state, images, mean, first, last, channels, keep, threshold);
  keep_sums(sums, partial, gridDim.x, channels);
}

// dx = scale (dy - shift - (x - centre) slope), of this thread's channels.
struct Formula {
  S centre[WIDTH], scale[WIDTH], slope[WIDTH], shift[WIDTH];

  Formula() = default;

  // What it is made of, besides the sums, is asked for first: gamma, mean and (as slopes) variance.
  __device__ __forceinline__ Formula(const P* __restrict__ gamma, const S* __restrict__ mean,
                                     const S* __restrict__ variance, int channels) {
    parameters_of(gamma, first_channel(), channels, S(1), scale);
    parameters_of(mean, first_channel(), channels, S(0), centre);
    parameters_of(variance, first_channel(), channels, S(1), slope);
  }

  // With the block's sums, which the first block of the channels also leaves as the parameters' gradients.
  __device__ __forceinline__ void finish(const Sums& sums, P* __restrict__ dgamma, P* __restrict__ dbeta, int rows,
                                         int channels, S epsilon) {
    const int channel = first_channel();
    const S share = S(1) / rows;
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      const S inverse = inverse_root(slope[k] + epsilon), sum = sums.scale[k] * inverse;
      if (blockIdx.x == 0 && threadIdx.y == 0 && channel < channels) {
        dgamma[channel + k] = store<P>(sum);
        dbeta[channel + k] = store<P>(sums.shift[k]);
      }
      shift[k] = sums.shift[k] * share;
      slope[k] = sum * share * inverse;
      scale[k] *= inverse;
    }
  }

  // What is stored of dx at a pixel whose value is x.
  __device__ __forceinline__ T dx(int k, S dy, T x) const {
    const S value = load(x), result = scale[k] * multiply_add(centre[k] - value, slope[k], dy - shift[k]);
#if MASKED
    return value > 0 ? store<T>(result) : store<T>(0);
#else
    return store<T>(result);
#endif
  }
};

#if APART
// Writes dx at all pixels of a window.
__device__ __forceinline__ void write_window(T* __restrict__ dx, const Window& w, const T* __restrict__ x,
                                             const Formula& formula, const Images& images, int channels, const S* dy) {
  #pragma unroll(TAPS <= 9 ? TAPS : 1)
  for (int tap = 0; tap < TAPS; tap++) {
    const int place = w.corner + tap_offset(tap, images, channels);
#if WHOLE
    if (!(w.inside >> tap & 1)) continue;
    Elements<T, WIDTH> values = w.values[tap];
#else
    if (w.y + tap / KW >= images.height || w.left + tap % KW >= images.width) continue;
    Elements<T, WIDTH> values = read<WIDTH>(x + place);
#endif
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) {
      values.at[k] = formula.dx(k, !POOLED || w.place.at[k] == tap ? dy[k] : S(0), values.at[k]);
    }
    write<WIDTH>(dx + place, values);
  }
}
#else
// The gradient that comes in at pixel q: of the windows over it, tap after tap in ascending order as in the reference.
__device__ __forceinline__ void gathered(const T* __restrict__ gradient, const unsigned char* __restrict__ index,
                                         const Draw& draw, const Images& images, int q, int channels, int channel,
                                         S keep, unsigned long long threshold, S* dy) {
  const unsigned row = (unsigned)q / images.width;
  const int y = (int)(row % images.height) + images.top, image = row / images.height;
  const int across = (int)((unsigned)q % images.width) + images.left;
  #pragma unroll
  for (int k = 0; k < WIDTH; k++) dy[k] = 0;
  for (int oy = min(y / SH, images.out_height - 1); oy >= 0 && y - oy * SH < KH; oy--) {
    for (int ox = min(across / SW, images.out_width - 1); ox >= 0 && across - ox * SW < KW; ox--) {
      const int p = (image * images.out_height + oy) * images.out_width + ox, first = p * channels + channel;
      const int tap = (y - oy * SH) * KW + across - ox * SW;
      const Elements<unsigned char, WIDTH> place = read<WIDTH>(index + first);
      S part[WIDTH];
      incoming(read<WIDTH>(gradient + first), first, draw, keep, threshold, part);
      #pragma unroll
      for (int k = 0; k < WIDTH; k++) dy[k] += place.at[k] == tap ? part[k] : S(0);
    }
  }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, GRADIENT_BLOCKS)
batch_norm_input_gradient(const T* __restrict__ gradient, const T* __restrict__ x, const P* __restrict__ gamma,
                          const S* __restrict__ mean, const S* __restrict__ variance,
                          const unsigned char* __restrict__ index, const unsigned long long* __restrict__ state,
                          const S* __restrict__ partial, T* __restrict__ dx, P* __restrict__ dgamma,
                          P* __restrict__ dbeta, int rows, int outputs, int channels, int height, int width,
                          int out_height, int out_width, int top, int left, int slices, S epsilon, S keep,
                          unsigned long long threshold) {
  const Images images = {height, width, out_height, out_width, top, left};
  const int channel = first_channel();
  const unsigned step = gridDim.x * blockDim.y;  // without a sign, as what is counted by it goes beyond 2^31 - 1
  auto formula_of_block = [&]() {
    Formula formula(gamma, mean, variance, channels);
#if SUMS == SLICES
    Sums sums = sums_of_slices(partial, slices, channels);
#else
    Sums sums = sums_of_pixels(gradient, x, index, state, images, mean, 0, outputs, channels, keep, threshold);
#endif
    formula.finish(shared_with_block(sums), dgamma, dbeta, rows, channels, epsilon);
    return formula;
  };
  unsigned q = blockIdx.x * blockDim.y + threadIdx.y;
#if APART
  // One window a threadIdx.y; those that stick out at the bottom or right have no output and no gradient. In every round
  // the next one is read and then the last one written, in the first round the formula found: nothing waits for anything
  // else, and code that is there once is fetched once.
#if POOLED
  const int down = (height + KH - 1) / KH, across = (width + KW - 1) / KW;
  const int all = rows / (height * width) * down * across;
#else
  const int down = 1, across = 1, all = rows;
#endif
  const unsigned windows = channel < channels ? all : 0;
  Window next;
  Formula formula;
  Draw draw;
  bool begun = false;
  #pragma unroll 1
  do {
    const Window now = next;
    next = read_window(q < windows, gradient, x, index, Place(q, down, across), images, channels, channel);
    q += step;
    if (begun) {
      S dy[WIDTH];
      incoming(now.gradient, now.output, draw, keep, threshold, dy);
      write_window(dx, now, x, formula, images, channels, dy);
    } else {
      formula = formula_of_block();
      draw = draw_if_any(state);
      begun = true;
    }
  } while (q - step < windows);
#else
  const Formula formula = formula_of_block();
  if (channel >= channels) return;
  const Draw draw = draw_if_any(state);
  for (; q < rows; q += step) {  // one pixel a threadIdx.y
    S dy[WIDTH];
    gathered(gradient, index, draw, images, q, channels, channel, keep, threshold, dy);
    const int at = q * channels + channel;
    Elements<T, WIDTH> values = read<WIDTH>(x + at);
    #pragma unroll
    for (int k = 0; k < WIDTH; k++) values.at[k] = formula.dx(k, dy[k], values.at[k]);
    write<WIDTH>(dx + at, values);
  }
#endif
}
