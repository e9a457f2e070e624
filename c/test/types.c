/* Conversions of bf16 and f16 on every table: all that are widened, and what every 4093rd
 * float is narrowed to, with those half way between two; LOCKSTEP_ALL in the environment
 * takes all floats. */
#include "test.h"

#include <math.h>
#include <string.h>

typedef lockstep_status conversion(const lockstep_table *table, const lockstep_buffer *list, size_t buffers);

typedef struct format {
	const char *name;
	int exponent, fraction; /* bits */
	uint32_t quiets;        /* what widening adds to a NaN */
	conversion *widen, *narrow;
} format;

static const format formats[] = {
	{"bf16", 8, 7, 0, lockstep_kernel_widen_bf16, lockstep_kernel_narrow_bf16},
	{"f16", 5, 10, 0x400000, lockstep_kernel_widen_f16, lockstep_kernel_narrow_f16},
};

enum { HALVES = 1 << 16, SOME = 1 << 14 };

static double values[HALVES / 2 + 1]; /* of those that are not negative, by their bits; infinity is the next */

static unsigned infinity_of(const format *f) { return ((1u << f->exponent) - 1) << f->fraction; }

static void find_values(const format *f) {
	int bias = (1 << (f->exponent - 1)) - 1;
	for (unsigned h = 0; h <= infinity_of(f); h++) {
		int exponent = (int)(h >> f->fraction);
		double fraction = h & ((1u << f->fraction) - 1);
		if (exponent) fraction += 1 << f->fraction;
		values[h] = ldexp(fraction, (exponent ? exponent : 1) - bias - f->fraction);
	}
}

static uint32_t widened(const format *f, unsigned h) {
	uint32_t sign = (uint32_t)(h >> 15) << 31, size = h & 0x7fff;
	if (size < infinity_of(f)) return sign | bits_of((float)values[size]);
	uint32_t payload = (size - infinity_of(f)) << (23 - f->fraction);
	return sign | 0x7f800000 | payload | (payload ? f->quiets : 0);
}

static unsigned narrowed(const format *f, uint32_t x) {
	unsigned sign = x >> 31 << 15, infinite = infinity_of(f), low = 0, high = infinite;
	uint32_t size = x & 0x7fffffff;
	if (size > 0x7f800000) return sign | infinite | 1u << (f->fraction - 1) | (size & 0x7fffff) >> (23 - f->fraction);
	float number;
	memcpy(&number, &size, sizeof number);
	while (high - low > 1) {
		unsigned middle = (low + high) / 2;
		if (values[middle] <= number) low = middle;
		else high = middle;
	}
	double down = number - values[low], up = values[high] - number;
	return sign | (up < down || (up == down && low % 2) ? high : low);
}

static void check_widen(const format *f, const lockstep_table *table) {
	static uint16_t h[HALVES];
	static float x[HALVES];
	for (unsigned k = 0; k < HALVES; k++) h[k] = (uint16_t)k;
	lockstep_buffer list[] = {{x, HALVES, 0}, {(float *)h, HALVES, 0}};
	CHECK(!f->widen(table, list, 2), "refused");
	for (unsigned k = 0; k < HALVES; k++)
		CHECK(bits_of(x[k]) == widened(f, k), "%s: %s %#x is %#x, want %#x", table->isa, f->name, k, bits_of(x[k]), widened(f, k));
}

static float x[SOME];

static void check_narrow(const format *f, const lockstep_table *table, size_t n) {
	static uint16_t h[SOME];
	lockstep_buffer list[] = {{(float *)h, n, 0}, {x, n, 0}};
	CHECK(!f->narrow(table, list, 2), "refused");
	for (size_t k = 0; k < n; k++) {
		uint32_t bits;
		memcpy(&bits, &x[k], sizeof bits);
		CHECK(h[k] == narrowed(f, bits), "%s: %s of %#x is %#x, want %#x", table->isa, f->name, bits, h[k], narrowed(f, bits));
	}
}

static void put_number(size_t *n, uint32_t bits) { memcpy(&x[(*n)++], &bits, sizeof bits); }

static void check_type(const format *f, const lockstep_table *table, uint64_t stride) {
	size_t n = 0;
	find_values(f);
	check_widen(f, table);
	for (unsigned h = 0; h < infinity_of(f); h++) {
		uint32_t between = bits_of((float)((values[h] + values[h + 1]) / 2));
		for (uint32_t k = 0; k < 3; k++) put_number(&n, between + k - 1), put_number(&n, (between + k - 1) ^ 0x80000000);
		if (n + 6 > SOME) check_narrow(f, table, n), n = 0;
	}
	for (uint64_t bits = 0; bits < (uint64_t)1 << 32; bits += stride) {
		put_number(&n, (uint32_t)bits);
		if (n + 6 > SOME) check_narrow(f, table, n), n = 0;
	}
	check_narrow(f, table, n);
}

void test_types(void) {
	const lockstep_table *list[TABLES];
	size_t n = tables(list);
	for (size_t t = 0; t < n; t++)
		for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) check_type(&formats[k], list[t], getenv("LOCKSTEP_ALL") ? 1 : 4093);
}
