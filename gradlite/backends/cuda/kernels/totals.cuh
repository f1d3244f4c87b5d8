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

template <typename Type>
__device__ __forceinline__ Type value_of(const Total& entry, Type number, long long correct) {
  switch (entry.value_type) {
    // The product is rounded by itself, as if another kernel had computed it.
    case FLOAT64: return (Type)__dmul_rn(*(const double*)entry.value, entry.real);
    case FLOAT32: return (Type)__fmul_rn(*(const float*)entry.value, (float)entry.real);
    case INT64: return (Type)*(const long long*)entry.value;
    case INT32: return (Type)*(const int*)entry.value;
    case BOOL: return (Type)*(const bool*)entry.value;
    case CORRECT: return (Type)correct;
    default: return number;
  }
}

template <typename Type> __device__ __forceinline__ void add_to(const Total& entry, Type value) {
  const Type sum = *(Type*)entry.total + value;
  *(Type*)entry.total = sum;
  if (entry.copy) *(Type*)entry.copy = sum;
}

// Called by at least MAX_TOTALS threads of one block, after a barrier behind what the values are read from.
__device__ __forceinline__ void add_totals(const Totals& totals, long long correct) {
  if (threadIdx.x >= totals.count) return;
  const Total& entry = totals.at[threadIdx.x];
  if (entry.total_type == FLOAT64) {
    add_to(entry, value_of(entry, entry.real, correct));
  } else {
    add_to(entry, value_of(entry, entry.whole, correct));
  }
}
