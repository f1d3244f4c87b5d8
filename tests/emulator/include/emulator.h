// Everything a CUDA kernel may name, for g++: this header is included before the text of every emulated kernel file.
//
// The order matters: the system's headers come first, because the macros below (__noinline__, __align__, ...) would
// change what they mean. What a kernel calls is either plain C++ here (intrinsics.h, atomics.h) or a call into the
// runtime (interface.h), which holds the scheduler, the barriers and all checks.
//
// A kernel file that holds inline PTX writes each such line twice, under `#ifdef EMU_SHIM` as a call of one of
//
//   emu_cp_async(shared, global, bytes, source_bytes)     interface.h
//   emu_cp_commit()    emu_cp_wait(groups_left)
//   emu_ldmatrix(registers, row, matrices, transposed)
//   emu_mma_tf32(d, a, b, c)      m16n8k8,  tf32 inputs
//   emu_mma_bf16(d, a, b, c)      m16n8k16, bfloat16 inputs
//   emu_mma_f16(d, a, b, c)       m16n8k16, float16 inputs
//   emu_mma_f16_k8(d, a, b, c)    m16n8k8,  float16 inputs (sm_75)
//   emu::tf32_rna(x)              emu::tf32_truncate(bits)     number_formats.h
//   emu::half_to_float(bits)      emu::float_to_half_rn(x)
//   emu::bf16_to_float(bits)      emu::float_to_bf16_rn(x)
//
// EMU_SHIM and __CUDA_ARCH__ are defined on the command line, since the kernel's text is preprocessed once before this
// header is there.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>
#include <type_traits>
#include <utility>

#include "number_formats.h"
#include "vector_types.h"

#include "interface.h"

#include "qualifiers.h"

#include "atomics.h"
#include "intrinsics.h"
#include "warp_operations.h"

#include "entry.h"
