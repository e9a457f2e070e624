/* What has a meaning in Go that C has not, for what is translated from Go. */
#ifndef LOCKSTEP_GO_H
#define LOCKSTEP_GO_H

#include "rule.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The larger of two numbers: NaN if one is, and 0 of the zeros. */
static inline double greatest_of(double x, double y) {
	if (x != x || y != y) return x + y;
	return x > y || (x == y && !signbit(x)) ? x : y;
}

/* The smaller of two numbers: NaN if one is, and -0 of the zeros. */
static inline double least_of(double x, double y) {
	if (x != x || y != y) return x + y;
	return x < y || (x == y && signbit(x)) ? x : y;
}

/* x·2ⁿ, without the bits that there is no room for. */
static inline int64_t shifted(int64_t x, int64_t n) { return n >= 0 && n < 64 ? (int64_t)((uint64_t)x << n) : 0; }

/* How many bits a number has. */
static inline int64_t length_of(uint64_t x) {
	int64_t n = 0;
	for (; x; x >>= 1) n++;
	return n;
}

/* The place of a slot among a pass's buffers. */
static inline int slot_of(const lockstep_plan *plan, const char *name) {
	int k = 0;
	while (k < plan->slot_count && strcmp(plan->slots[k].name, name)) k++;
	return LOCKSTEP_SLOT + k;
}

/* A number in decimals. */
typedef struct number_text {
	char text[32];
} number_text;

/* As few decimals as tell a number from all others, as Go's %g has them. */
number_text lockstep_shortest(double x);

/* An integer's decimals. */
number_text lockstep_decimal(int64_t x);

/* lockstep_bad_argument with what is wanted in the words of printf. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
lockstep_status lockstep_refuse(lockstep_error *error, const char *argument, const char *value, const char *want, ...);

#endif
