/* The random numbers and the hashes of gen/vectors. */
#include "test.h"

#include <string.h>

uint32_t bits_of(float x) {
	uint32_t b;
	memcpy(&b, &x, sizeof b);
	return b;
}

uint64_t hash_word(uint64_t h, uint64_t w) { return (h ^ w) * UINT64_C(0x100000001b3); }

uint64_t hash_floats(uint64_t h, const float *list, size_t n) {
	for (size_t i = 0; i < n; i++) {
		uint32_t bits = bits_of(list[i]);
		h = hash_word(h, (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits);
	}
	return h;
}

uint64_t hash_doubles(uint64_t h, const double *list, size_t n) {
	for (size_t i = 0; i < n; i++) {
		uint64_t bits;
		memcpy(&bits, &list[i], sizeof bits);
		if (list[i] != list[i]) bits = UINT64_C(0x7ff8) << 48;
		h = hash_word(hash_word(h, bits & UINT32_C(0xffffffff)), bits >> 32);
	}
	return h;
}

uint32_t hash_sum(uint64_t h) { return (uint32_t)(h >> 32 ^ h); }

source new_source(const char *name, int number) {
	source s = {HASH_START, number};
	for (const char *c = name; *c; c++) s.state = hash_word(s.state, (unsigned char)*c);
	s.state += (uint64_t)number;
	return s;
}

uint32_t next(source *s) {
	uint64_t z = s->state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ z >> 31) >> 32);
}

uint32_t below(source *s, uint32_t n) { return next(s) % n; }

float ordinary(source *s) { return (float)((int32_t)(next(s) >> 8) - (1 << 23)) * 0x1p-21f; }
