// Elementwise operations, each a function op_<name> of one, two or three values of the type that is computed in.
//
// Meaning is NumPy's. Templates are for every type; where float and double have functions of their own, these are
// overloads, which the compiler prefers.
#pragma once
#include "elements.cuh"

#define DEVICE __device__ __forceinline__
#define UNARY(name, type, expression) \
  template <typename Value> DEVICE type op_##name(Value a) { return expression; }
#define BINARY(name, type, expression) \
  template <typename Value> DEVICE type op_##name(Value a, Value b) { return expression; }
// A function that the CUDA library has under this name for double, and with an f behind it for float.
#define FUNCTION(name, library) \
  DEVICE float op_##name(float a) { return library##f(a); } \
  DEVICE double op_##name(double a) { return library(a); }
#define FUNCTION_OF_TWO(name, library) \
  DEVICE float op_##name(float a, float b) { return library##f(a, b); } \
  DEVICE double op_##name(double a, double b) { return library(a, b); }

// Arithmetic.
UNARY(identity, Value, a)
UNARY(negative, Value, -a)
UNARY(square, Value, a * a)
UNARY(reciprocal, Value, Value(1) / a)
UNARY(abs, Value, a < Value(0) ? -a : a)
FUNCTION(abs, fabs)
UNARY(sign, Value, a > Value(0) ? Value(1) : a < Value(0) ? Value(-1) : a == Value(0) ? Value(0) : a)
BINARY(add, Value, a + b)
BINARY(subtract, Value, a - b)
BINARY(multiply, Value, a * b)
BINARY(divide, Value, a / b)
// The exponents that are met most are products, faster than the library's function, and exact as that is not.
DEVICE float op_power(float a, float b) { return b == 2 ? a * a : b == 1 ? a : powf(a, b); }
DEVICE double op_power(double a, double b) { return b == 2 ? a * a : b == 1 ? a : pow(a, b); }
FUNCTION_OF_TWO(hypot, hypot)

// Integers: a division by zero gives zero; the smallest integer divided by -1 overflows, which machines dislike.
template <typename Value> DEVICE bool minus_one(Value b) { return Value(-1) < Value(0) && b == Value(-1); }

template <typename Value> DEVICE Value op_floor_divide(Value a, Value b) {
  if (b == Value(0)) return Value(0);
  if (minus_one(b)) return Value(0) - a;
  Value quotient = a / b;
  return a % b != Value(0) && (a < Value(0)) != (b < Value(0)) ? quotient - Value(1) : quotient;
}

template <typename Value> DEVICE Value op_remainder(Value a, Value b) {
  if (b == Value(0) || minus_one(b)) return Value(0);
  Value rest = a % b;
  return rest != Value(0) && (rest < Value(0)) != (b < Value(0)) ? rest + b : rest;
}

// Floats: the remainder has the sign of b, also where it is zero; the quotient is the whole number nearest to
// (a - remainder) / b, which that division itself may miss by a rounding.
DEVICE float truncated_remainder(float a, float b) { return fmodf(a, b); }
DEVICE double truncated_remainder(double a, double b) { return fmod(a, b); }
DEVICE float with_sign(float a, float b) { return copysignf(a, b); }
DEVICE double with_sign(double a, double b) { return copysign(a, b); }
DEVICE float whole_below(float a) { return floorf(a); }
DEVICE double whole_below(double a) { return floor(a); }

template <typename Value> DEVICE Value float_remainder(Value a, Value b) {
  Value rest = truncated_remainder(a, b);
  if (b == Value(0)) return rest;
  if (rest == Value(0)) return with_sign(Value(0), b);
  return (rest < Value(0)) != (b < Value(0)) ? rest + b : rest;
}

template <typename Value> DEVICE Value float_floor_divide(Value a, Value b) {
  if (b == Value(0)) return a / b;
  Value rest = truncated_remainder(a, b);
  Value quotient = (a - rest) / b;
  if (rest != Value(0) && (rest < Value(0)) != (b < Value(0))) quotient -= Value(1);
  if (quotient == Value(0)) return with_sign(Value(0), a / b);
  Value below = whole_below(quotient);
  return quotient - below > Value(0.5) ? below + Value(1) : below;
}

DEVICE float op_remainder(float a, float b) { return float_remainder(a, b); }
DEVICE double op_remainder(double a, double b) { return float_remainder(a, b); }
DEVICE float op_floor_divide(float a, float b) { return float_floor_divide(a, b); }
DEVICE double op_floor_divide(double a, double b) { return float_floor_divide(a, b); }

// Roots, exponentials and logarithms.
FUNCTION(sqrt, sqrt)
FUNCTION(exp, exp)
FUNCTION(exp2, exp2)
FUNCTION(expm1, expm1)
FUNCTION(log, log)
FUNCTION(log2, log2)
FUNCTION(log10, log10)
FUNCTION(log1p, log1p)
// The reciprocal of the root, as the reference has it: the approximate instruction would give other last bits.
UNARY(rsqrt, Value, Value(1) / op_sqrt(a))

// Trigonometry.
FUNCTION(sin, sin)
FUNCTION(cos, cos)
FUNCTION(tan, tan)
FUNCTION(arcsin, asin)
FUNCTION(arccos, acos)
FUNCTION(arctan, atan)
FUNCTION(sinh, sinh)
FUNCTION(cosh, cosh)
FUNCTION(tanh, tanh)
FUNCTION(arcsinh, asinh)
FUNCTION(arccosh, acosh)
FUNCTION(arctanh, atanh)
FUNCTION_OF_TWO(arctan2, atan2)

// Rounding.
FUNCTION(floor, floor)
FUNCTION(ceil, ceil)
FUNCTION(rint, rint)
FUNCTION(trunc, trunc)

// Functions of networks. The exponentials are taken of -|a|, so that they never overflow.
FUNCTION(erf, erf)
UNARY(sigmoid, Value, (a >= Value(0) ? Value(1) : op_exp(-op_abs(a))) / (Value(1) + op_exp(-op_abs(a))))
UNARY(softplus, Value, relu_of(a) + op_log1p(op_exp(-op_abs(a))))
UNARY(relu, Value, relu_of(a))
// A selection, not a product: a NaN in the gradient a passes or is blocked like any other value.
BINARY(relu_gradient, Value, b > Value(0) ? a : Value(0))

// Selection; NaN where either is.
BINARY(maximum, Value, a > b || a != a ? a : b)
BINARY(minimum, Value, a < b || a != a ? a : b)

// Comparison and logic.
BINARY(equal, bool, a == b)
BINARY(not_equal, bool, a != b)
BINARY(less, bool, a < b)
BINARY(less_equal, bool, a <= b)
BINARY(greater, bool, a > b)
BINARY(greater_equal, bool, a >= b)
BINARY(logical_and, bool, a != Value(0) && b != Value(0))
BINARY(logical_or, bool, a != Value(0) || b != Value(0))
BINARY(logical_xor, bool, (a != Value(0)) != (b != Value(0)))
UNARY(logical_not, bool, a == Value(0))
UNARY(isnan, bool, a != a)
UNARY(isinf, bool, a - a != a - a && a == a)
UNARY(isfinite, bool, a - a == a - a)
