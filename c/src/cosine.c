/* Go's loss.CosineEmbedding. */
#include "loss.h"
#include "mode.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Sizes of crossentropy.c. */
enum {
	BLOCK = 4 << 10,
	PIECE = 1 << 10,
	COLUMNS = 1 << 20,
	CELLS = COLUMNS / PIECE
};

/* A call at work, whose rows are cut into cells. */
typedef struct call {
	const lockstep_table *table;
	const lockstep_pairs *b;
	double margin, eps, scale;
	size_t wide, full, rest; /* columns of a cell but the last, cells of that width, and columns of the last */
	float ones[BLOCK], zeros[CELLS], weight[CELLS], cost[CELLS], a[CELLS], d[CELLS];
} call;

/* Adds up products of cells from one on. */
static void add_cells(call *p, const float *x, const float *y, size_t cell, size_t cells, size_t columns) {
	size_t at = cell * p->wide, n = cells * columns;
	lockstep_buffer list[] = {{p->weight + cell, cells, 0}, {p->cost + cell, cells, 0}, {(float *)x + at, n, 0}, {(float *)y + at, n, 0}, {p->zeros, cells, 0}, {p->ones, columns, 0}};
	lockstep_kernel_row_targets(p->table, list, 6, &(lockstep_row_targets_scalars){1, 0});
}

static double dot(call *p, const float *x, const float *y) {
	add_cells(p, x, y, 0, p->full, p->wide);
	if (p->rest) add_cells(p, x, y, p->full, 1, p->rest);
	double sum = 0;
	for (size_t c = 0; c < p->full + (p->rest > 0); c++) sum -= (double)p->cost[c];
	return sum;
}

static void scale_cells(call *p, float *g, const float *y, size_t cell, size_t cells, size_t columns) {
	size_t at = cell * p->wide, n = cells * columns;
	lockstep_buffer list[] = {{g + at, n, 0}, {(float *)y + at, n, 0}, {p->a, cells, 0}, {p->d, cells, 0}, {p->zeros, cells, 0}, {p->ones, columns, 0}};
	lockstep_kernel_row_targets_scale(p->table, list, 6);
}

/* Stores slope·(y/product - x·turn). */
static void set_grad(call *p, float *g, const float *x, const float *y, double slope, double turn, double product) {
	size_t n = p->b->columns;
	if (slope == 0) {
		memset(g, 0, n * sizeof *g);
		return;
	}
	memcpy(g, x, n * sizeof *g);
	for (size_t c = 0; c < p->full + (p->rest > 0); c++) p->a[c] = (float)-(slope * turn), p->d[c] = (float)(-slope / product);
	scale_cells(p, g, y, 0, p->full, p->wide);
	if (p->rest) scale_cells(p, g, y, p->full, 1, p->rest);
}

/* The loss of a pair, and its gradients. */
static double pair_loss(call *p, size_t row) {
	const lockstep_pairs *b = p->b;
	size_t at = row * b->columns;
	const float *x = b->x + at, *y = b->y + at;
	double loss = 0, slope = 0, cosine = 0, product = 0, xx = 0, yy = 0, weight = b->weights ? (double)b->weights[row] : 1;
	if (weight != 0) {
		xx = dot(p, x, x) + p->eps, yy = dot(p, y, y) + p->eps;
		product = sqrt(xx * yy);
		cosine = dot(p, x, y) / product;
		loss = 1 - cosine, slope = -1;
		if (b->labels && b->labels[row] < 0) {
			loss = cosine - p->margin, slope = 1;
			if (loss <= 0) loss = 0, slope = 0;
		}
		loss *= weight;
		slope *= p->scale * weight;
	}
	if (b->each) b->each[row] = (float)loss;
	if (b->grad_x) set_grad(p, b->grad_x + at, x, y, slope, cosine / xx, product);
	if (b->grad_y) set_grad(p, b->grad_y + at, y, x, slope, cosine / yy, product);
	return loss;
}

static LOCKSTEP_NOT_INLINED double value_of(const lockstep_table *table, const lockstep_pairs *b, double margin, double eps, double scale) {
	call p = {.table = table, .b = b, .margin = margin, .eps = eps};
	double divisor = b->reduction == LOCKSTEP_REDUCE_MEAN ? (double)b->rows : 1, total = 0;
	p.scale = scale / divisor;
	p.wide = b->columns > BLOCK ? PIECE : b->columns;
	if (b->rows) p.full = b->columns / p.wide, p.rest = b->columns % p.wide;
	for (size_t i = 0; i < p.wide; i++) p.ones[i] = 1;
	for (size_t row = 0; row < b->rows; row++) total += pair_loss(&p, row);
	return total / divisor;
}

static lockstep_status check_numbers(const lockstep_pairs *b, lockstep_error *error) {
	for (size_t i = 0; b->weights && i < b->rows; i++)
		if (!(b->weights[i] >= 0 && b->weights[i] <= FLT_MAX))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "weights[%zu] is %g, want a finite number of at least 0", i, (double)b->weights[i]);
	for (size_t i = 0; b->labels && i < b->rows; i++)
		if (b->labels[i] != 1 && b->labels[i] != -1)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "labels[%zu] is %g, want 1 or -1", i, (double)b->labels[i]);
	return LOCKSTEP_OK;
}

static lockstep_status check(const lockstep_pairs *b, double margin, double eps, lockstep_error *error) {
	if ((unsigned)b->reduction > LOCKSTEP_REDUCE_NONE)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "reduction is %d, want LOCKSTEP_REDUCE_MEAN, LOCKSTEP_REDUCE_SUM or LOCKSTEP_REDUCE_NONE", (int)b->reduction);
	if (!(margin >= -1 && margin <= 1))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "margin is %g, want a number from -1 to 1", margin);
	if (!(eps >= 0 && eps <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "eps is %g, want a finite float of at least 0", eps);
	if (b->rows && (b->columns < 1 || b->columns > COLUMNS))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "columns is %zu, want from 1 to %d", b->columns, COLUMNS);
	if (b->rows && b->rows > PTRDIFF_MAX / sizeof(float) / b->columns)
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "x has %zu rows of %zu columns, want no more than memory", b->rows, b->columns);
	if (b->reduction == LOCKSTEP_REDUCE_NONE && !b->each && b->rows)
		return lockstep_reject(error, LOCKSTEP_NULL, "each is NULL, want a buffer for the losses");
	size_t n = b->rows * b->columns;
	lockstep_named list[] = {{"each", b->each, b->each ? b->rows : 0}, {"grad_x", b->grad_x, b->grad_x ? n : 0}, {"grad_y", b->grad_y, b->grad_y ? n : 0},
		{"x", b->x, n}, {"y", b->y, n}, {"labels", b->labels, b->labels ? b->rows : 0}, {"weights", b->weights, b->weights ? b->rows : 0}};
	lockstep_status status = lockstep_check_buffers(list, 7, 3, error);
	return status ? status : check_numbers(b, error);
}

lockstep_status lockstep_loss_cosine_embedding(const lockstep_table *table, const lockstep_pairs *pairs, double margin, double eps, double scale, double *value, lockstep_error *error) {
	lockstep_status status = check(pairs, margin, eps, error);
	if (!status) status = lockstep_choose(&table, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	double v = value_of(table, pairs, margin, eps, scale);
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}
