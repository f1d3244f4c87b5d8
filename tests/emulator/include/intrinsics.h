// CUDA's device functions that the C library lacks. The fast approximations (__expf, ...) are computed exactly: a test
// must hold within their error anyway.
#pragma once

// ---- loads and stores with cache hints

template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline T __ldca(const T* p) { return *p; }
template <class T, class U> inline void __stcs(T* p, U v) { *p = v; }
template <class T, class U> inline void __stcg(T* p, U v) { *p = v; }
template <class T, class U> inline void __stwt(T* p, U v) { *p = v; }

// ---- bits of numbers

namespace emu {
template <class To, class From>
inline To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "");
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
}  // namespace emu

inline unsigned __float_as_uint(float x) { return emu::same_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emu::same_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emu::same_bits<float>(x); }
inline float __int_as_float(int x) { return emu::same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu::same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu::same_bits<double>(x); }

// ---- integers

inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
inline int __mulhi(int a, int b) { return (int)(((long long)a * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }

inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; bit++) reversed |= (x >> bit & 1u) << (31 - bit);
  return reversed;
}

// Byte i of the result is byte (selector >> 4i) & 7 of the eight bytes of y:x; bit 3 of a selector copies the sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long bytes = (unsigned long long)y << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) {
    unsigned pick = selector >> (4 * i) & 15u, byte = (unsigned)(bytes >> (8 * (pick & 7u))) & 0xffu;
    if (pick & 8u) byte = byte & 0x80u ? 0xffu : 0u;
    result |= byte << (8 * i);
  }
  return result;
}

inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)((((unsigned long long)high << 32 | low) << (shift & 31u)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31u));
}

// ---- float32 and float64

// The _rn forms are never contracted into a fused multiply-add; the barrier keeps g++ from doing so.
namespace emu {
template <class T>
inline T uncontracted(T x) {
  asm("" : "+m"(x));
  return x;
}
}  // namespace emu

inline float __fmul_rn(float a, float b) { return emu::uncontracted(a * b); }
inline float __fadd_rn(float a, float b) { return emu::uncontracted(a + b); }
inline float __fsub_rn(float a, float b) { return emu::uncontracted(a - b); }
inline double __dmul_rn(double a, double b) { return emu::uncontracted(a * b); }
inline double __dadd_rn(double a, double b) { return emu::uncontracted(a + b); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
inline float rsqrt(float a) { return 1.0f / sqrtf(a); }
inline float normcdff(float x) { return 0.5f * erfcf(-0.70710678118654752f * x); }
inline double normcdf(double x) { return 0.5 * erfc(-0.70710678118654752440 * x); }

// sin and cos of pi x; reducing first makes the multiples of 1/2 exact, as CUDA's are.
namespace emu {
inline double sine_of_half_turns(double x) {
  double reduced = remainder(x, 2.0);  // in [-1, 1]
  if (reduced > 0.5) reduced = 1.0 - reduced;
  if (reduced < -0.5) reduced = -1.0 - reduced;
  return sin(3.14159265358979323846 * reduced);
}
inline double cosine_of_half_turns(double x) { return sine_of_half_turns(0.5 - fabs(remainder(x, 2.0))); }
}  // namespace emu

// C23 has some of CUDA's functions, so newer versions of glibc declare them.
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 41)
#define EMU_LIBRARY_HAS_SINPI 1
#endif
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 42)
#define EMU_LIBRARY_HAS_RSQRT 1
#endif
#ifndef EMU_LIBRARY_HAS_SINPI
inline double sinpi(double x) { return emu::sine_of_half_turns(x); }
inline double cospi(double x) { return emu::cosine_of_half_turns(x); }
inline float sinpif(float x) { return (float)emu::sine_of_half_turns(x); }
inline float cospif(float x) { return (float)emu::cosine_of_half_turns(x); }
#endif
#ifndef EMU_LIBRARY_HAS_RSQRT
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
#endif
inline void sincospif(float x, float* sine, float* cosine) { *sine = sinpif(x), *cosine = cospif(x); }
inline void sincospi(double x, double* sine, double* cosine) { *sine = sinpi(x), *cosine = cospi(x); }

inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x >= 1.0f ? 1.0f : x > 0.0f ? x : 0.0f; }  // NaN becomes 0

// glibc declares __expf, __logf, ... itself, hence macros.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __powf(x, y) powf(x, y)
#define __sincosf(x, sine, cosine) sincosf(x, sine, cosine)

// ---- conversions: _rn nearest even, _rz toward zero, _rd down, _ru up; out of range saturates, NaN becomes 0

namespace emu {
template <class To>
inline To saturated(double x) {
  static_assert(sizeof(To) == 4, "float64 holds every 32-bit integer");
  const double lowest = std::is_signed<To>::value ? -2147483648.0 : 0.0;
  const double highest = std::is_signed<To>::value ? 2147483647.0 : 4294967295.0;
  if (x != x) return 0;
  return (To)(x < lowest ? lowest : x > highest ? highest : x);
}
}  // namespace emu

inline int __float2int_rn(float x) { return emu::saturated<int>(nearbyint(x)); }
inline int __float2int_rz(float x) { return emu::saturated<int>(trunc(x)); }
inline int __float2int_rd(float x) { return emu::saturated<int>(floor(x)); }
inline int __float2int_ru(float x) { return emu::saturated<int>(ceil(x)); }
inline unsigned __float2uint_rn(float x) { return emu::saturated<unsigned>(nearbyint(x)); }
inline unsigned __float2uint_rz(float x) { return emu::saturated<unsigned>(trunc(x)); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __double2float_rn(double x) { return (float)x; }

// ---- min and max, with CUDA's overloads: mixed signs compare as unsigned, and of a NaN and a number the number wins

#define EMU_MIN_MAX(result, first, second)                                                                    \
  inline result min(first a, second b) { return (result)a < (result)b ? (result)a : (result)b; }              \
  inline result max(first a, second b) { return (result)a > (result)b ? (result)a : (result)b; }
#define EMU_INTEGER_MIN_MAX(type)                   \
  EMU_MIN_MAX(type, type, type)                     \
  EMU_MIN_MAX(unsigned type, unsigned type, unsigned type) \
  EMU_MIN_MAX(unsigned type, type, unsigned type)   \
  EMU_MIN_MAX(unsigned type, unsigned type, type)
EMU_INTEGER_MIN_MAX(int)
EMU_INTEGER_MIN_MAX(long)
EMU_INTEGER_MIN_MAX(long long)
#undef EMU_INTEGER_MIN_MAX
#undef EMU_MIN_MAX

inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(a, b); }
inline double max(float a, double b) { return fmax(a, b); }
inline double min(double a, float b) { return fmin(a, b); }
inline double max(double a, float b) { return fmax(a, b); }
