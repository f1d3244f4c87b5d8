// CUDA's vector types with CUDA's alignment: 2- and 4-vectors are read and written in one aligned access.
#pragma once

#define EMU_VECTOR_TYPES(name, type, align2, align4)                                                    \
  struct __attribute__((aligned(align2))) name##2 { type x, y; };                                       \
  struct name##3 { type x, y, z; };                                                                     \
  struct __attribute__((aligned(align4))) name##4 { type x, y, z, w; };                                 \
  inline name##2 make_##name##2(type x, type y) { return name##2{x, y}; }                               \
  inline name##3 make_##name##3(type x, type y, type z) { return name##3{x, y, z}; }                    \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return name##4{x, y, z, w}; }

EMU_VECTOR_TYPES(char, signed char, 2, 4)
EMU_VECTOR_TYPES(uchar, unsigned char, 2, 4)
EMU_VECTOR_TYPES(short, short, 4, 8)
EMU_VECTOR_TYPES(ushort, unsigned short, 4, 8)
EMU_VECTOR_TYPES(int, int, 8, 16)
EMU_VECTOR_TYPES(uint, unsigned int, 8, 16)
EMU_VECTOR_TYPES(longlong, long long, 16, 16)
EMU_VECTOR_TYPES(ulonglong, unsigned long long, 16, 16)
EMU_VECTOR_TYPES(float, float, 8, 16)
EMU_VECTOR_TYPES(double, double, 16, 16)
#undef EMU_VECTOR_TYPES

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
