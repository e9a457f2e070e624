/* What the portable kernels are made of: the operations that C has no operator for, each
 * with the one meaning that it has in all tables. A value that is handled as bits is a
 * uint32_t, so that no compiler can change a NaN's. */
#ifndef LOCKSTEP_PORTABLE_H
#define LOCKSTEP_PORTABLE_H

#include "internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "Each operation rounds once, in its order: -ffast-math must be off."
#endif
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 /* 16 is 0 where _Float16 is arithmetic too */
#error "Each operation rounds to its own type: -std=gnu11, and on 32-bit x86 -msse2 -mfpmath=sse."
#endif

/* GCC knows no such pragma and fuses unless -ffp-contract=off is given. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define SIGN UINT32_C(0x80000000)

static inline uint32_t bits(float x) {
	uint32_t b;
	memcpy(&b, &x, sizeof b);
	return b;
}

static inline float number(uint32_t b) {
	float x;
	memcpy(&x, &b, sizeof x);
	return x;
}

static inline uint32_t magnitude(uint32_t x) { return x & ~SIGN; }

/* y where either is NaN or both are zero. */
static inline float larger(float x, float y) { return x > y ? x : y; }
static inline float smaller(float x, float y) { return x < y ? x : y; }

/* Filled with the sign. */
static inline uint32_t shift(uint32_t x, int by) {
	return x >> by | (x & SIGN ? ~(~UINT32_C(0) >> by) : 0);
}

/* Of a signed integer. */
static inline float from_int(uint32_t x) {
	int32_t i;
	memcpy(&i, &x, sizeof i);
	return (float)i;
}

/* x where it has a bit in common with keep, else +0. */
static inline uint32_t flush(uint32_t x, uint32_t keep) { return x & keep ? x : 0; }

/* The bits of the float that a bf16 is, and those of the bf16 nearest to a float, of two the
 * even one. A NaN keeps its sign and the upper part of its payload, and is quiet. */
static inline uint32_t from_bf16(uint16_t h) { return (uint32_t)h << 16; }

static inline uint16_t to_bf16(uint32_t x) {
	if (magnitude(x) > UINT32_C(0x7f800000)) return (uint16_t)(x >> 16 | 0x40);
	return (uint16_t)((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

/* The same of f16, subnormal numbers too. A NaN that is widened is quiet. */
static inline uint32_t from_f16(uint16_t h) {
	uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023;
	if (exponent == 31) return sign | UINT32_C(0x7f800000) | (fraction ? UINT32_C(0x400000) | fraction << 13 : 0);
	if (exponent == 0) return sign | bits((float)fraction * 0x1p-24f);
	return sign | (exponent + 112) << 23 | fraction << 13;
}

static inline uint16_t to_f16(uint32_t x) {
	uint32_t sign = x >> 31 << 15, size = magnitude(x), exponent = size >> 23;
	if (size > UINT32_C(0x7f800000)) return (uint16_t)(sign | 0x7e00 | (size >> 13 & 511));
	if (size >= UINT32_C(0x477ff000)) return (uint16_t)(sign | 0x7c00); /* 65520 */
	if (exponent >= 113) return (uint16_t)(sign | (size - (UINT32_C(112) << 23) + 0xfff + (size >> 13 & 1)) >> 13);
	if (exponent < 102) return (uint16_t)sign; /* less than half of the smallest */
	uint32_t fraction = (size & 0x7fffff) | 0x800000, last = 126 - exponent; /* in units of 2^-24 */
	return (uint16_t)(sign | (fraction + (UINT32_C(1) << (last - 1)) - 1 + (fraction >> last & 1)) >> last);
}

/* x·y + z, rounded once. */
#if defined(FP_FAST_FMAF)

static inline float fused(float x, float y, float z) { return fmaf(x, y, z); }

#else

static inline uint64_t bits_of(double x) {
	uint64_t b;
	memcpy(&b, &x, sizeof b);
	return b;
}

static inline double double_of(uint64_t b) {
	double x;
	memcpy(&x, &b, sizeof x);
	return x;
}

/* The sum is rounded to odd in double, for the reasons of Go's fallback. */
static inline float fused(float x, float y, float z) {
	const double p = (double)x * (double)y, q = (double)z, sum = p + q;
	if (bits_of(sum) << 36) return (float)sum;
	const double part = sum - p, rest = sum - part, lost = (p - rest) + (q - part);
	if ((lost > 0 && sum > 0) || (lost < 0 && sum < 0)) return (float)double_of(bits_of(sum) + 1);
	if (lost > 0 || lost < 0) return (float)double_of(bits_of(sum) - 1); /* of infinities it is NaN */
	return (float)sum;
}

#endif

/* z - x·y, rounded once. */
static inline float fused_minus(float x, float y, float z) { return fused(-x, y, z); }

/* The sum of the lanes: j and j+16, then j and j+8, 4, 2, 1. */
static inline float fold(float lanes[LOCKSTEP_LANES]) {
	for (int half = LOCKSTEP_LANES / 2; half > 0; half /= 2)
		for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
	return lanes[0];
}

/* The largest of the lanes, in the same order, which begin with the least finite number. */
static inline float fold_larger(float lanes[LOCKSTEP_LANES]) {
	for (int half = LOCKSTEP_LANES / 2; half > 0; half /= 2)
		for (int j = 0; j < half; j++) lanes[j] = larger(lanes[j], lanes[j + half]);
	return lanes[0];
}

static inline void lowest(float lanes[LOCKSTEP_LANES]) {
	for (int j = 0; j < LOCKSTEP_LANES; j++) lanes[j] = -0x1.fffffep127f;
}

#endif
