/* The pass of Muon over matrices: Go's package update has the same. */
#include "optimizer.h"

#include <string.h>

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t greatest(size_t x, size_t y) { return x > y ? x : y; }

/* The sum of two rooms, if memory has so much. */
static size_t sum(size_t x, size_t y) { return x > SIZE_MAX - y ? SIZE_MAX : x + y; }

/* Another X, XXᵀ, the polynomial of it, and what the largest product takes. */
size_t lockstep_newton_schulz_room(const lockstep_table *table, size_t rows, size_t columns) {
	size_t small = least(rows, columns), large = greatest(rows, columns);
	size_t product = greatest(lockstep_matmul_room(table, small, small, large), lockstep_matmul_room(table, rows, columns, small));
	return sum(rows * columns + 2 * small * small, product);
}

/* Elements of a matrix times a factor, each rounded once. */
typedef struct scaling {
	float *to;
	const float *from;
	size_t n;
	double factor;
} scaling;

static void scale_unit(void *context, size_t unit) {
	const scaling *s = context;
	for (size_t i = unit * UNIT_LEN; i < least((unit + 1) * UNIT_LEN, s->n); i++) s->to[i] = (float)((double)s->from[i] * s->factor);
}

static lockstep_matrix row_major(float *data, size_t rows, size_t columns) { return (lockstep_matrix){data, rows, columns, columns, 1}; }
static lockstep_matrix transposed(lockstep_matrix m) { return (lockstep_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride}; }

static void swap(lockstep_matrix *x, lockstep_matrix *y) {
	lockstep_matrix before = *x;
	*x = *y;
	*y = before;
}

/* X is multiplied on its shorter side, of which a matrix and its transposed have the same:
 *
 *	S = XXᵀ, P = b·S + c·S², X ← a·X + P·X        of XᵀX on the right if columns are fewer
 */
void lockstep_orthogonalize(const lockstep_row_range *m, const void *scalars) {
	lockstep_newton_schulz c;
	memcpy(&c, scalars, sizeof c);
	size_t n = least(m->rows, m->columns), size = m->rows * m->columns;
	int high = m->columns < m->rows;
	float *room = m->room + size + 2 * n * n;
	lockstep_matrix x = row_major(m->state[1], m->rows, m->columns), y = row_major(m->room, m->rows, m->columns);
	lockstep_matrix s = row_major(m->room + size, n, n), p = row_major(m->room + size + n * n, n, n);
	if (c.iterations % 2) swap(&x, &y); /* so that the last one ends in the state */
	scaling first = {x.data, m->state[1], size, c.factor};
	lockstep_share(m->pool, scale_unit, &first, (size + UNIT_LEN - 1) / UNIT_LEN, size);
	for (int64_t k = 0; k < c.iterations; k++) {
		lockstep_product square = {s, s, high ? transposed(x) : x, high ? x : transposed(x), 1, 0, 1};
		lockstep_product polynomial = {p, s, s, s, c.c, c.b, 1};
		lockstep_product next = {y, x, high ? x : p, high ? p : x, 1, c.a, 0};
		lockstep_multiply(m->table, &square, room, m->pool);
		lockstep_multiply(m->table, &polynomial, room, m->pool);
		lockstep_multiply(m->table, &next, room, m->pool);
		swap(&x, &y);
	}
}
