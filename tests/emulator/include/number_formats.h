// The number formats of tensor cores: float16, bfloat16 and TF32, as bits in integers.
//
// Rounding is written in integer arithmetic on the bits, as in the IEEE 754 definition, so that it depends neither on
// the machine's own float16 support nor on its rounding mode.
#pragma once

#include <cmath>
#include <cstring>

namespace emu {

inline unsigned float_bits(float x) {
  unsigned bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float bits_float(unsigned bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

inline bool is_nan_bits(unsigned bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

// value >> shift, rounded to the nearest integer, ties to even; 0 < shift < 32.
inline unsigned shift_right_to_even(unsigned value, unsigned shift) {
  unsigned quotient = value >> shift, rest = value & ((1u << shift) - 1), half = 1u << (shift - 1);
  return quotient + (rest > half || (rest == half && (quotient & 1)));
}

// ---- float16: 1 sign, 5 exponent (bias 15), 10 fraction bits

inline float half_to_float(unsigned short half) {
  unsigned sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
  if (exponent == 31) return bits_float(sign | 0x7f800000u | (fraction << 13));
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in float32
    float magnitude = (float)fraction * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
  }
  return bits_float(sign | ((exponent + 112) << 23) | (fraction << 13));
}

// Nearest, ties to even; values from 65520 on become infinite, as cvt.rn.f16.f32 does.
inline unsigned short float_to_half_rn(float x) {
  unsigned bits = float_bits(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return (unsigned short)0x7fffu;        // the canonical NaN of the device
  if (magnitude >= 0x47800000u) return (unsigned short)(sign | 0x7c00u);  // 65536 and above
  if (magnitude >= 0x38800000u)  // normal; a carry out of the fraction correctly raises the exponent, up to infinity
    return (unsigned short)(sign | shift_right_to_even(magnitude - 0x38000000u, 13));
  unsigned shift = 126 - (magnitude >> 23);  // subnormal: fraction in units of 2^-24
  if (shift > 24) return (unsigned short)sign;
  return (unsigned short)(sign | shift_right_to_even((magnitude & 0x7fffffu) | 0x800000u, shift));
}

// ---- bfloat16: the upper half of a float32

inline float bf16_to_float(unsigned short bf16) { return bits_float((unsigned)bf16 << 16); }

// Nearest, ties to even, as cvt.rn.bf16.f32 does.
inline unsigned short float_to_bf16_rn(float x) {
  unsigned bits = float_bits(x);
  if (is_nan_bits(bits)) return (unsigned short)0x7fffu;
  return (unsigned short)shift_right_to_even(bits, 16);
}

// ---- TF32: a float32 whose lowest 13 bits do not count

// cvt.rna.tf32.f32: nearest, ties away from zero.
inline unsigned tf32_rna(float x) {
  unsigned bits = float_bits(x);
  if (is_nan_bits(bits)) return 0x7fffffffu;
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & 0xffffe000u;
}

// What a tensor core sees of a register: it ignores the low bits, whoever put them there.
inline float tf32_truncate(unsigned bits) { return bits_float(bits & 0xffffe000u); }

// Rounds toward zero, which is closer to how tensor cores accumulate than rounding to nearest.
inline float round_toward_zero(double x) {
  float nearest = (float)x;
  if (std::fabs((double)nearest) > std::fabs(x)) nearest = bits_float(float_bits(nearest) - 1);
  return nearest;
}

}  // namespace emu
