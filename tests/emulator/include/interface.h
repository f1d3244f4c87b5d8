// What a compiled kernel and the runtime know of each other.
#pragma once

#include <cstddef>

#include "vector_types.h"

namespace emu {

// The running thread's place in its block; the runtime keeps more in a type derived from this.
struct ThreadPosition {
  uint3 index;
  unsigned lane, warp, linear;  // linear = index.x + blockDim.x * (index.y + blockDim.y * index.z)
};

struct Position {
  ThreadPosition* thread;  // null outside a launch
  uint3 block_index, block_dim, grid_dim;
  char* dynamic_shared;
};

// One per `__shared__` declaration; the runtime gives it an offset the first time a launch reaches it.
struct SharedVariable {
  unsigned launch, offset;
};

// Executes a warp operation for all lanes in `mask` at once; arguments[lane] is what that lane passed.
using WarpOperation = void (*)(void** arguments, unsigned mask);

enum class Access { read, write, atomic };
enum class Reduction { count, all, any };

}  // namespace emu

#pragma GCC visibility push(default)
extern "C" {
extern emu::Position emu_position;

// Ends the launch with a message; the runtime adds block and thread. Does not return inside a kernel.
void emu_fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

void* emu_shared_variable(emu::SharedVariable* variable, size_t bytes, size_t alignment, const char* name);

// `place` is "file:line" of the call.
void emu_syncthreads(const char* place);
int emu_syncthreads_reduce(const char* place, emu::Reduction reduction, int predicate);
void emu_syncwarp(unsigned mask, const char* place);
void emu_warp_operation(unsigned mask, const char* operation, const char* place, void* argument,
                        emu::WarpOperation execute);
void emu_threadfence();

// Checks an access that the compiler's hooks do not see, on behalf of the code at `pc`.
void emu_check_access(const void* address, size_t bytes, emu::Access access, void* pc);

// cp.async: copies `source_bytes` of `bytes` (4, 8 or 16) to shared memory and zeroes the rest, some time before the
// thread has waited for it. emu_cp_wait(n) waits until at most n of the thread's committed groups are in flight;
// emu_cp_wait(-1) waits for all copies, committed or not.
void emu_cp_async(void* shared, const void* global, int bytes, int source_bytes);
void emu_cp_commit();
void emu_cp_wait(int groups_left);

// mma.sync: d = a b + c for one warp, float32 accumulators, the fragment layouts of the PTX manual; d may be c.
void emu_mma_tf32(float* d, const unsigned* a, const unsigned* b, const float* c);    // m16n8k8: 4 + 2 registers
void emu_mma_bf16(float* d, const unsigned* a, const unsigned* b, const float* c);    // m16n8k16: 4 + 2 registers
void emu_mma_f16(float* d, const unsigned* a, const unsigned* b, const float* c);     // m16n8k16: 4 + 2 registers
void emu_mma_f16_k8(float* d, const unsigned* a, const unsigned* b, const float* c);  // m16n8k8: 2 + 1 registers

// ldmatrix.m8n8.x{1,2,4}[.trans].b16: lane 8i + r gives the address of row r (16 bytes) of matrix i.
void emu_ldmatrix(unsigned* registers, const void* row, int matrices, int transposed);
}
#pragma GCC visibility pop
