// Many totals of one number each, in one launch: the sums and counts of losses and metrics, and the number of the step.
//
// The table of totals is a parameter of the kernel. One thread a total; 16 to 24 bytes each. Limit: latency, that of
// one launch, where each of them alone would cost one.
#include "common.cuh"

#define MAX_TOTALS 32

// Types of totals and values. A total is FLOAT64 or INT64.
enum { NUMBER, FLOAT64, FLOAT32, INT64, INT32, BOOL };

struct Total {
  void* total;
  const void* value;   // null for NUMBER
  double real;         // the value where it is a NUMBER, for a total of floats
  long long whole;     // and for one of integers
  int total_type;
  int value_type;
};

struct Totals {
  long long count;
  Total at[MAX_TOTALS];
};

template <typename Type> __device__ __forceinline__ Type value_of(const Total& entry, Type number) {
  switch (entry.value_type) {
    case FLOAT64: return (Type)*(const double*)entry.value;
    case FLOAT32: return (Type)*(const float*)entry.value;
    case INT64: return (Type)*(const long long*)entry.value;
    case INT32: return (Type)*(const int*)entry.value;
    case BOOL: return (Type)*(const bool*)entry.value;
    default: return number;
  }
}

extern "C" __global__ void accumulate(Totals totals) {
  if (threadIdx.x >= totals.count) return;
  const Total& entry = totals.at[threadIdx.x];
  if (entry.total_type == FLOAT64) {
    *(double*)entry.total += value_of(entry, entry.real);
  } else {
    *(long long*)entry.total += value_of(entry, entry.whole);
  }
}
