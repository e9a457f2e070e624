/* The passes of Adafactor over matrices, function by function those of Go's package update,
 * and of fallback what has no kernel. */
#include "optimizer.h"

#include <math.h>
#include <string.h>

/* A matrix' state, and the factors of its rows and columns, which are sums of squares first. */
static float *row_var(const lockstep_row_range *m) { return m->state[0]; }
static float *col_var(const lockstep_row_range *m) { return m->state[1]; }
static float *row_of(const lockstep_row_range *m) { return m->state[m->slot_count - 2]; }
static float *column_of(const lockstep_row_range *m) { return m->state[m->slot_count - 1]; }

static void sum_squares(const lockstep_row_range *m, float *row, size_t rows, const float *g, float *column, size_t columns,
	const lockstep_adafactor_squares_scalars *c) {
	lockstep_buffer list[] = {{row, rows, 0}, {(float *)g, rows * columns, 0}, {column, columns, 0}};
	lockstep_kernel_adafactor_squares(m->table, list, 3, c);
}

/* A row that is added up in pieces: its sum is what one of FACTOR_PIECE columns with the same
 * mean would have. */
static void sum_long_row(const lockstep_row_range *m, float *row, const float *g, const lockstep_adafactor_squares_scalars *c) {
	double sum = 0;
	for (size_t at = 0; at < m->columns; at += FACTOR_PIECE) {
		size_t n = m->columns - at < FACTOR_PIECE ? m->columns - at : FACTOR_PIECE;
		sum_squares(m, row, 1, g + at, m->room + at, n, c);
		sum += (double)*row;
	}
	*row = (float)(sum * FACTOR_PIECE / (double)m->columns);
}

void lockstep_adafactor_squares(const lockstep_row_range *m, const void *scalars) {
	float *row = row_of(m);
	if (m->columns <= FACTOR_PIECE) {
		sum_squares(m, row, m->rows, m->grads, m->room, m->columns, scalars);
		return;
	}
	for (size_t k = 0; k < m->rows; k++) sum_long_row(m, row + k, m->grads + k * m->columns, scalars);
}

/* Moves a mean towards that of squares. */
static void move(float *x, double square, const lockstep_adafactor_factors_scalars *c) {
	double from = (double)*x, part = c->weight * (square + c->eps_square - from);
	*x = (float)(from + part);
}

static float root_of(double x, float y) { return y == 0 ? INFINITY : (float)sqrt(x / (double)y); }

void lockstep_adafactor_factors(const lockstep_row_range *m, const void *scalars) {
	lockstep_adafactor_factors_scalars c;
	memcpy(&c, scalars, sizeof c);
	double mean = 0, summed = (double)(m->columns < FACTOR_PIECE ? m->columns : FACTOR_PIECE);
	for (size_t i = 0; i < m->rows; i++) {
		double by = c.squares * summed;
		move(&row_var(m)[i], (double)row_of(m)[i] / by, &c);
		mean += (double)row_var(m)[i];
	}
	mean /= (double)m->rows;
	if (mean < c.eps_floor) mean = c.eps_floor;
	for (size_t i = 0; i < m->rows; i++) row_of(m)[i] = root_of(mean, row_var(m)[i]);
	for (size_t j = 0; j < m->columns; j++) {
		double by = c.squares * (double)m->rows;
		move(&col_var(m)[j], m->column_sums[j] / by, &c);
		column_of(m)[j] = root_of(1, col_var(m)[j]);
	}
}

/* The buffers of a kernel that takes parameters, gradients, maybe a mean of steps, and the
 * factors. Returns how many there are. */
static size_t factored(const lockstep_row_range *m, float *mean, lockstep_buffer list[5]) {
	size_t n = 0, size = m->rows * m->columns;
	list[n++] = (lockstep_buffer){m->params, size, 0};
	list[n++] = (lockstep_buffer){(float *)m->grads, size, 0};
	if (mean) list[n++] = (lockstep_buffer){mean, size, 0};
	list[n++] = (lockstep_buffer){row_of(m), m->rows, 0};
	list[n++] = (lockstep_buffer){column_of(m), m->columns, 0};
	return n;
}

void lockstep_adafactor_length(const lockstep_row_range *m, const void *scalars) {
	lockstep_buffer list[5];
	lockstep_kernel_adafactor_factored(m->table, list, factored(m, NULL, list), scalars, m->lanes[0], m->lanes[1]);
}

void lockstep_adafactor_move(const lockstep_row_range *m, const void *scalars) {
	lockstep_buffer list[5];
	lockstep_kernel_adafactor_factored_move(m->table, list, factored(m, NULL, list), scalars);
}

void lockstep_adafactor_momentum(const lockstep_row_range *m, const void *scalars) {
	lockstep_buffer list[5];
	lockstep_kernel_adafactor_factored_momentum(m->table, list, factored(m, m->state[2], list), scalars);
}
