// What can be reduced: each a struct with a State, its identity, adding an element, joining two states, and the result.
//
// Value is the type computed in. `place` is the element's number along the reduced axes.
#pragma once
#include "elements.cuh"
#include "operations.cuh"

template <typename Value> struct Sum {
  typedef Value State;
  static __device__ State identity() { return Value(0); }
  static __device__ void add(State& s, Value x, long long place) { s += x; }
  static __device__ void join(State& s, State other) { s += other; }
  static __device__ Value result(State s, long long count) { return s; }
};

template <typename Value> struct Mean : Sum<Value> {
  static __device__ Value result(Value s, long long count) { return s / (Value)count; }
};

template <typename Value> struct SquareSum : Sum<Value> {
  static __device__ void add(Value& s, Value x, long long place) { s += x * x; }
};

template <typename Value> struct Product {
  typedef Value State;
  static __device__ State identity() { return Value(1); }
  static __device__ void add(State& s, Value x, long long place) { s *= x; }
  static __device__ void join(State& s, State other) { s *= other; }
  static __device__ Value result(State s, long long count) { return s; }
};

template <typename Value> struct CountNonzero {
  typedef long long State;
  static __device__ State identity() { return 0; }
  static __device__ void add(State& s, Value x, long long place) { s += x != Value(0); }
  static __device__ void join(State& s, State other) { s += other; }
  static __device__ long long result(State s, long long count) { return s; }
};

// Logic is an int until the end: bytes would be packed and unpacked at every step.
template <typename Value> struct All {
  typedef int State;
  static __device__ State identity() { return 1; }
  static __device__ void add(State& s, Value x, long long place) { s &= x != Value(0); }
  static __device__ void join(State& s, State other) { s &= other; }
  static __device__ bool result(State s, long long count) { return s != 0; }
};

template <typename Value> struct Any {
  typedef int State;
  static __device__ State identity() { return 0; }
  static __device__ void add(State& s, Value x, long long place) { s |= x != Value(0); }
  static __device__ void join(State& s, State other) { s |= other; }
  static __device__ bool result(State s, long long count) { return s != 0; }
};

// The extreme value and its place (-1: none yet). NaN is more extreme than anything; the first of several wins.
template <typename Value> struct Extreme {
  Value value;
  long long place;
};

template <typename Value> struct Larger {
  static __device__ bool than(Value a, Value b) { return a > b; }
};
template <typename Value> struct Smaller {
  static __device__ bool than(Value a, Value b) { return a < b; }
};

template <typename Value, typename Order> struct ExtremePlace {
  typedef Extreme<Value> State;
  static __device__ State identity() { return State{Value(0), -1}; }
  static __device__ bool beats(Value x, Value y) { return Order::than(x, y) || (x != x && y == y); }
  static __device__ void add(State& s, Value x, long long place) { join(s, State{x, place}); }
  static __device__ void join(State& s, State other) {
    if (other.place < 0) return;
    bool tied = !beats(s.value, other.value) && !beats(other.value, s.value);
    if (s.place < 0 || beats(other.value, s.value) || (tied && other.place < s.place)) s = other;
  }
  static __device__ long long result(State s, long long count) { return s.place; }
};

template <typename Value, typename Order> struct ExtremeValue : ExtremePlace<Value, Order> {
  static __device__ Value result(Extreme<Value> s, long long count) { return s.value; }
};

template <typename Value> struct Max : ExtremeValue<Value, Larger<Value>> {};
template <typename Value> struct Min : ExtremeValue<Value, Smaller<Value>> {};
template <typename Value> struct ArgMax : ExtremePlace<Value, Larger<Value>> {};
template <typename Value> struct ArgMin : ExtremePlace<Value, Smaller<Value>> {};

// log(sum(exp(x))) in one pass: the sum is kept relative to exp(peak), the largest so far, and rescaled as that grows.
// A sum of zero has no peak. NaN enters the sum and stays there.
template <typename Value> struct Scaled {
  Value peak;
  Value sum;
};

template <typename Value> struct LogSumExp {
  typedef Scaled<Value> State;
  static __device__ State identity() { return State{Value(0), Value(0)}; }
  static __device__ void add(State& s, Value x, long long place) {
    // exp(minus infinity) is 0 and leaves the sum as it is.
    if (!(x < Value(0)) || x - x == x - x) join(s, State{x, Value(1)});
  }
  static __device__ void join(State& s, State other) {
    if (other.sum == Value(0)) return;
    if (s.sum == Value(0)) {
      s = other;
    } else if (other.peak > s.peak) {
      s = State{other.peak, s.sum * op_exp(s.peak - other.peak) + other.sum};
    } else if (other.peak == s.peak) {  // also two infinities, whose difference is none
      s.sum += other.sum;
    } else {
      s.sum += other.sum * op_exp(other.peak - s.peak);
    }
  }
  static __device__ Value result(State s, long long count) { return s.peak + op_log(s.sum); }
};
