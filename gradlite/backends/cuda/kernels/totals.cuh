// Totals of one number each, and what is added to them: the sums and counts of losses and metrics, the step's number.
//
// The table is a parameter of the kernel that adds (Totals in totals.py). One thread a total; 16 to 32 bytes each.
#pragma once
#include "common.cuh"

#define MAX_TOTALS 32

// Types of totals and values. A total is FLOAT64 or INT64; CORRECT is the count that the kernel has found.
enum { NUMBER, FLOAT64, FLOAT32, INT64, INT32, BOOL, CORRECT };

struct Total {
  void* total;
  void* copy;          // also receives the new total, unless null
  const void* value;   // null for NUMBER and CORRECT
  double real;         // the value where it is a NUMBER, for a total of floats; else what a float is multiplied by
  long long whole;     // and for one of integers
  int total_type;
  int value_type;
};

struct Totals {
  long long count;
  Total at[MAX_TOTALS];
};

// What the kernel itself has found: the count, or a loss, which is in memory at `at` by and by.
struct Found {
  long long correct;
  const void* at;
  double loss;

  __device__ __forceinline__ bool is(const Total& entry) const {
    return entry.value_type == CORRECT || (entry.value != nullptr && entry.value == at);
  }
};

// A number for a total of floats or one of integers; the other part is zero.
struct Addend {
  double real;
  long long whole;
};

// A product is rounded by itself, as if another kernel had computed it. Integers may go to totals of floats.
__device__ __forceinline__ double product(const Total& entry, double value) {
  return entry.value_type == FLOAT64 ? __dmul_rn(value, entry.real) : __fmul_rn((float)value, (float)entry.real);
}

__device__ __forceinline__ Addend value_of(const Total& entry) {
  const void* at = entry.value;
  if (entry.value_type == NUMBER) return Addend{entry.real, entry.whole};
  if (entry.value_type == FLOAT64) return Addend{product(entry, *(const double*)at), 0};
  if (entry.value_type == FLOAT32) return Addend{product(entry, *(const float*)at), 0};
  const long long whole = entry.value_type == INT64   ? *(const long long*)at
                          : entry.value_type == INT32 ? *(const int*)at
                                                      : *(const bool*)at;
  return Addend{(double)whole, whole};
}

__device__ __forceinline__ Addend value_of(const Total& entry, const Found& found) {
  if (entry.value_type == CORRECT) return Addend{(double)found.correct, found.correct};
  return Addend{product(entry, found.loss), 0};
}

// A thread's total as it was, and what is to be added: read while the kernel has yet to find the rest.
struct ReadAhead { Addend total, value; };

__device__ __forceinline__ ReadAhead read_totals(const Totals& totals, const Found& later) {
  ReadAhead ahead = {};
  if (threadIdx.x >= totals.count) return ahead;
  const Total& entry = totals.at[threadIdx.x];
  if (entry.total_type == FLOAT64) {
    ahead.total.real = *(const double*)entry.total;
  } else {
    ahead.total.whole = *(const long long*)entry.total;
  }
  if (!later.is(entry)) ahead.value = value_of(entry);
  return ahead;
}

template <typename Type> __device__ __forceinline__ void put(const Total& entry, Type sum) {
  *(Type*)entry.total = sum;
  if (entry.copy) *(Type*)entry.copy = sum;
}

// Called by at least MAX_TOTALS threads of one block, those that called read_totals.
__device__ __forceinline__ void add_totals(const Totals& totals, const ReadAhead& ahead, const Found& found) {
  if (threadIdx.x >= totals.count) return;
  const Total& entry = totals.at[threadIdx.x];
  const Addend value = found.is(entry) ? value_of(entry, found) : ahead.value;
  if (entry.total_type == FLOAT64) {
    put(entry, ahead.total.real + value.real);
  } else {
    put(entry, ahead.total.whole + value.whole);
  }
}
