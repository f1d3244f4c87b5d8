// mma.sync and ldmatrix for one warp, with the fragment layouts of the PTX manual.
//
// In all of them a lane is known as g = lane / 4 (its group) and t = lane % 4 (its thread in the group). The
// accumulators of every shape are those of a 16 x 8 matrix: register i of a lane holds row g + 8 (i / 2),
// column 2t + i % 2.
#include <cstring>

#include "../include/number_formats.h"
#include "runtime.h"

struct MmaArgument {
  float* d;
  const unsigned *a, *b;
  const float* c;
};

template <int K>
struct Tile {
  float a[16][K], b[K][8], c[16][8];
};

static int accumulator_row(int lane, int i) { return lane / 4 + 8 * (i / 2); }
static int accumulator_column(int lane, int i) { return 2 * (lane % 4) + i % 2; }

template <int K>
static void multiply(Tile<K>& tile) {
  if (options.round_toward_zero) {  // one rounding of the exact sum, toward zero: closer to what devices do
    for (int i = 0; i < 16; i++)
      for (int j = 0; j < 8; j++) {
        double sum = tile.c[i][j];
        for (int k = 0; k < K; k++) sum += (double)tile.a[i][k] * tile.b[k][j];
        tile.c[i][j] = emu::round_toward_zero(sum);
      }
    return;
  }
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < K; k++)
      for (int j = 0; j < 8; j++) tile.c[i][j] += tile.a[i][k] * tile.b[k][j];
}

// `load(tile, lane, a, b)` puts a lane's input registers where they belong.
template <int K, class Load>
static void execute_mma(void** arguments, Load load) {
  Tile<K> tile;
  for (int lane = 0; lane < 32; lane++) {
    const MmaArgument& mine = *(MmaArgument*)arguments[lane];
    load(tile, lane, mine.a, mine.b);
    for (int i = 0; i < 4; i++) tile.c[accumulator_row(lane, i)][accumulator_column(lane, i)] = mine.c[i];
  }
  multiply(tile);
  for (int lane = 0; lane < 32; lane++) {
    const MmaArgument& mine = *(MmaArgument*)arguments[lane];
    for (int i = 0; i < 4; i++) mine.d[i] = tile.c[accumulator_row(lane, i)][accumulator_column(lane, i)];
  }
}

// A register is one TF32 number. a: i -> row g + 8 (i % 2), column t + 4 (i / 2); b: i -> row t + 4i, column g.
static void execute_tf32(void** arguments, unsigned) {
  execute_mma<8>(arguments, [](Tile<8>& tile, int lane, const unsigned* a, const unsigned* b) {
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) tile.a[g + 8 * (i % 2)][t + 4 * (i / 2)] = emu::tf32_truncate(a[i]);
    for (int i = 0; i < 2; i++) tile.b[t + 4 * i][g] = emu::tf32_truncate(b[i]);
  });
}

// A register is two 16-bit numbers, the lower half first.
// a: register i, half h -> row g + 8 (i % 2), column 2t + h + 8 (i / 2); b: row 2t + h + 8i, column g.
template <int K, float (*Convert)(unsigned short)>
static void execute_16_bit(void** arguments, unsigned) {
  execute_mma<K>(arguments, [](Tile<K>& tile, int lane, const unsigned* a, const unsigned* b) {
    int g = lane / 4, t = lane % 4;
    for (int h = 0; h < 2; h++) {
      for (int i = 0; i < K / 4; i++)
        tile.a[g + 8 * (i % 2)][2 * t + h + 8 * (i / 2)] = Convert((unsigned short)(a[i] >> (16 * h)));
      for (int i = 0; i < K / 8; i++) tile.b[2 * t + h + 8 * i][g] = Convert((unsigned short)(b[i] >> (16 * h)));
    }
  });
}

static void refuse_partial_warp(const char* operation, void* pc) {
  if (warps[current().warp].existing != 0xffffffffu)
    fail("%s in a warp of fewer than 32 threads %s", operation, source_of(pc));
}

static void mma(const char* name, MmaArgument argument, void* pc, emu::WarpOperation execute) {
  refuse_partial_warp(name, pc);
  meet(0xffffffffu, name, nullptr, pc, &argument, execute);
}

#define HERE __builtin_return_address(0)

EMU_API void emu_mma_tf32(float* d, const unsigned* a, const unsigned* b, const float* c) {
  mma("mma.m16n8k8.tf32", MmaArgument{d, a, b, c}, HERE, execute_tf32);
}
EMU_API void emu_mma_bf16(float* d, const unsigned* a, const unsigned* b, const float* c) {
  mma("mma.m16n8k16.bf16", MmaArgument{d, a, b, c}, HERE, execute_16_bit<16, emu::bf16_to_float>);
}
EMU_API void emu_mma_f16(float* d, const unsigned* a, const unsigned* b, const float* c) {
  mma("mma.m16n8k16.f16", MmaArgument{d, a, b, c}, HERE, execute_16_bit<16, emu::half_to_float>);
}
EMU_API void emu_mma_f16_k8(float* d, const unsigned* a, const unsigned* b, const float* c) {
  mma("mma.m16n8k8.f16", MmaArgument{d, a, b, c}, HERE, execute_16_bit<8, emu::half_to_float>);
}

// ---- ldmatrix

struct LoadArgument {
  unsigned* registers;
  const void* row;
  int matrices;
  bool transposed;
};

// Register m of a lane: row g, columns 2t and 2t + 1 of matrix m; transposed: rows 2t and 2t + 1, column g.
static void execute_ldmatrix(void** arguments, unsigned) {
  const LoadArgument& any = *(LoadArgument*)arguments[0];
  for (int m = 0; m < any.matrices; m++) {
    unsigned short matrix[8][8];
    for (int row = 0; row < 8; row++) memcpy(matrix[row], ((LoadArgument*)arguments[8 * m + row])->row, 16);
    for (int lane = 0; lane < 32; lane++) {
      int g = lane / 4, t = lane % 4;
      unsigned low = any.transposed ? matrix[2 * t][g] : matrix[g][2 * t];
      unsigned high = any.transposed ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
      ((LoadArgument*)arguments[lane])->registers[m] = low | high << 16;
    }
  }
}

EMU_API void emu_ldmatrix(unsigned* registers, const void* row, int matrices, int transposed) {
  static const char* const names[2][5] = {
      {"", "ldmatrix.x1", "ldmatrix.x2", "", "ldmatrix.x4"},
      {"", "ldmatrix.x1.trans", "ldmatrix.x2.trans", "", "ldmatrix.x4.trans"},
  };
  void* pc = HERE;
  if (matrices != 1 && matrices != 2 && matrices != 4) fail("ldmatrix of %d matrices %s", matrices, source_of(pc));
  const char* name = names[transposed != 0][matrices];
  refuse_partial_warp(name, pc);
  if ((int)current().lane < 8 * matrices) {  // the addresses of other lanes are not used
    if ((uintptr_t)row % 16) fail("misaligned access: %s of a row that is not on 16 bytes %s", name, source_of(pc));
    if (!static_shared.holds(row) && !dynamic_window.holds(row))
      fail("%s: the row is not in shared memory %s", name, source_of(pc));
    check_shared_bounds((const char*)row, 16, emu::Access::read, pc);
    emu_check_access(row, 16, emu::Access::read, pc);
  }
  LoadArgument argument{registers, row, matrices, transposed != 0};
  meet(0xffffffffu, name, nullptr, pc, &argument, execute_ldmatrix);
}
