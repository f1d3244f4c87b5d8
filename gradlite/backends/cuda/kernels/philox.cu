// variant: T={float,double,half_t}
// Random states, words, uniform and normal numbers: the reference's bits.
//
// One thread a counter, that is four words, in a grid-stride loop. About 100 integer operations a counter and 16 bytes
// written: on a large array the limit is arithmetic on integers, some 60% of memory bandwidth.
#include "vectors.cuh"
#include "philox.cuh"

typedef typename compute<T>::type Number;

// The snapshot that one random operation draws from, and the state moved on. One thread: no order to keep.
__device__ __forceinline__ void move_on(unsigned long long* state, unsigned long long* snapshot) {
  const unsigned long long seed = state[0], stream = state[1], draw = state[2];
  snapshot[0] = seed;
  snapshot[1] = stream;
  snapshot[2] = draw;
  state[2] = draw + 1;
}

extern "C" __global__ void draw_random(unsigned long long* state, unsigned long long* snapshot) {
  move_on(state, snapshot);
}

#define MAX_STATES 64

struct States {
  long long count;
  struct {
    unsigned long long* state;
    unsigned long long* snapshot;
  } at[MAX_STATES];
};

// The same for several states, a thread each: those of all layers of a network, at the latency of one.
extern "C" __global__ void draw_random_each(States states) {
  if (threadIdx.x < states.count) move_on(states.at[threadIdx.x].state, states.at[threadIdx.x].snapshot);
}

extern "C" __global__ void random_bits(const unsigned long long* __restrict__ state, unsigned* __restrict__ out,
                                       long long size) {
  Draw draw = draw_of(state);
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; 4 * i < size; i += stride) {
    Words words = words_of(draw, (unsigned)i);
    if (4 * i + 4 <= size) {
      write<4>(out + 4 * i, Elements<unsigned, 4>{{words.at[0], words.at[1], words.at[2], words.at[3]}});
    } else {
      #pragma unroll
      for (int k = 0; k < 4; k++) {
        if (4 * i + k < size) out[4 * i + k] = words.at[k];
      }
    }
  }
}

// How many numbers four words make: a float64 takes two words.
#define NUMBERS (sizeof(T) == 8 ? 2 : 4)

// Number k of the four words, in [0, 1): 24 bits of a word for float32, 11 for float16 (none rounds to 1), 53 of two
// words for float64.
__device__ __forceinline__ float uniform(const Words& words, int k, float) {
  const int kept = sizeof(T) == 4 ? 24 : 11;
  return (float)(words.at[k] >> (32 - kept)) * (1.0f / (1 << kept));
}
__device__ __forceinline__ double uniform(const Words& words, int k, double) {
  double high = words.at[2 * k] >> 5, low = words.at[2 * k + 1] >> 6;
  return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

extern "C" __global__ void random_uniform(const unsigned long long* __restrict__ state, T* __restrict__ out,
                                          long long size) {
  Draw draw = draw_of(state);
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; NUMBERS * i < size; i += stride) {
    Words words = words_of(draw, (unsigned)i);
    #pragma unroll
    for (int k = 0; k < NUMBERS; k++) {
      if (NUMBERS * i + k < size) out[NUMBERS * i + k] = store<T>(uniform(words, k, Number(0)));
    }
  }
}

// Sine and cosine of x in [-pi / 4, pi / 4] by the polynomials of the Cephes library (Moshier 1992), within an ulp.
// The C library's would bring along the reduction of large arguments, and a stack for it.
__device__ __forceinline__ void sine_and_cosine(float x, float& sine, float& cosine) {
  float z = x * x;
  sine = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * x + x;
  cosine = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
}
__device__ __forceinline__ void sine_and_cosine(double x, double& sine, double& cosine) {
  double z = x * x;
  double s = 1.58962301576546568060e-10;
  s = s * z - 2.50507477628578072866e-8;
  s = s * z + 2.75573136213857245213e-6;
  s = s * z - 1.98412698295895385996e-4;
  s = s * z + 8.33333333332211858878e-3;
  s = s * z - 1.66666666666666307295e-1;
  sine = s * z * x + x;
  double c = -1.13585365213876817300e-11;
  c = c * z + 2.08757008419747316778e-9;
  c = c * z - 2.75573141792967388112e-7;
  c = c * z + 2.48015872888517045348e-5;
  c = c * z - 1.38888888888730564116e-3;
  c = c * z + 4.16666666666665929218e-2;
  cosine = c * z * z - 0.5 * z + 1.0;
}

// log(1 - u) for u = bits / 2^32. Close to u = 1 the integer holds 1 - u exactly, close to 0 log1p keeps the digits.
__device__ __forceinline__ float log_of_rest(unsigned bits) {
  const float unit = 1.0f / 4294967296.0f;
  if (bits < 0x80000000u) return log1pf(-(float)bits * unit);
  return logf((float)(0u - bits) * unit);
}

// The quarter turn nearest to a fraction of a turn, and what remains of the angle, in radians.
__device__ __forceinline__ void reduce_angle(unsigned bits, unsigned& quarter, float& angle) {
  quarter = (bits + 0x20000000u) >> 30;
  angle = (float)(int)(bits - (quarter << 30)) * (6.28318530717958648f / 4294967296.0f);
}
__device__ __forceinline__ void reduce_angle(double turn, unsigned& quarter, double& angle) {
  int nearest = (int)(4.0 * turn + 0.5);
  quarter = nearest & 3;
  angle = (turn - 0.25 * nearest) * 6.28318530717958647692;
}

template <typename Real, typename Turn>
__device__ __forceinline__ void box_muller(Real radius, Turn turn, Real& first, Real& second) {
  unsigned quarter;
  Real angle, sine, cosine;
  reduce_angle(turn, quarter, angle);
  sine_and_cosine(angle, sine, cosine);
  Real x = quarter & 1 ? -sine : cosine, y = quarter & 1 ? cosine : sine;
  first = radius * (quarter & 2 ? -x : x);
  second = radius * (quarter & 2 ? -y : y);
}

__device__ __forceinline__ void normals(const Words& words, float* out) {
  #pragma unroll
  for (int pair = 0; pair < 2; pair++) {
    float radius = sqrtf(-2.0f * log_of_rest(words.at[2 * pair]));
    box_muller(radius, words.at[2 * pair + 1], out[2 * pair], out[2 * pair + 1]);
  }
}
__device__ __forceinline__ void normals(const Words& words, double* out) {
  double radius = sqrt(-2.0 * log1p(-uniform(words, 0, 0.0)));
  box_muller(radius, uniform(words, 1, 0.0), out[0], out[1]);
}

// By Box and Muller (1958); float32 in float32 arithmetic that keeps all digits of both uniform numbers.
extern "C" __global__ void random_normal(const unsigned long long* __restrict__ state, T* __restrict__ out,
                                         long long size) {
  Draw draw = draw_of(state);
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; NUMBERS * i < size; i += stride) {
    Number values[NUMBERS];
    normals(words_of(draw, (unsigned)i), values);
    #pragma unroll
    for (int k = 0; k < NUMBERS; k++) {
      if (NUMBERS * i + k < size) out[NUMBERS * i + k] = store<T>(values[k]);
    }
  }
}
