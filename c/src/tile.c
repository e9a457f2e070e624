/* The kernel of products of matrices for any CPU: see Go's fallback.MatMulTile. */
#include "portable.h"

enum { ROWS = 4, COLUMNS = 16 };

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
