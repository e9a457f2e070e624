/* The kernel of products of matrices for any CPU: see Go's fallback.MatMulTile. */
#include "portable.h"

enum { ROWS = 4, COLUMNS = 16 };

/* x·y + z, rounded once. */
#if defined(FP_FAST_FMAF)

static inline float fused(float x, float y, float z) { return fmaf(x, y, z); }

#else

static uint64_t bits_of(double x) {
	uint64_t b;
	memcpy(&b, &x, sizeof b);
	return b;
}

static double double_of(uint64_t b) {
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

void lockstep_portable_matmul_tile(const lockstep_buffer *list, int64_t buffers, const void *scalars, void *const *lanes) {
	const lockstep_matmul_scalars *s = scalars;
	const float *a = list[0].data, *b = list[1].data, *d = list[3].data;
	float *c = list[2].data, sums[ROWS][COLUMNS] = {{0}};
	(void)buffers;
	(void)lanes;
	for (size_t k = 0; k < list[0].len; k++)
		for (size_t i = 0; i < ROWS; i++)
			for (size_t j = 0; j < COLUMNS; j++) sums[i][j] = fused(a[k * ROWS + i], b[k * COLUMNS + j], sums[i][j]);
	for (size_t i = 0; i < ROWS; i++)
		for (size_t j = 0; j < COLUMNS; j++) {
			float x = 0;
			if (s->beta != 0) x = s->beta * d[i * list[3].len + j];
			c[i * list[2].len + j] = fused(s->alpha, sums[i][j], x);
		}
}
