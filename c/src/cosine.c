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

/* Of units that threads share: see crossentropy.c. */
enum { UNIT = 64 << 10, PARTS = 256 };

/* A call at work, whose rows are cut into cells. */
typedef struct call {
	const lockstep_table *table;
	const lockstep_pairs *b;
	double margin, eps, scale;
	size_t wide, full, rest; /* columns of a cell but the last, cells of that width, and columns of the last */
	size_t unit;             /* rows of one */
	double sums[PARTS];
} call;

/* What is known of a row's cells. */
typedef struct room {
	const call *p;
	float ones[BLOCK], zeros[CELLS], weight[CELLS], cost[CELLS], a[CELLS], d[CELLS];
} room;

/* Adds up products of cells from one on. */
static void add_cells(room *r, const float *x, const float *y, size_t cell, size_t cells, size_t columns) {
	size_t at = cell * r->p->wide, n = cells * columns;
	lockstep_buffer list[] = {{r->weight + cell, cells, 0}, {r->cost + cell, cells, 0}, {(float *)x + at, n, 0}, {(float *)y + at, n, 0}, {r->zeros, cells, 0}, {r->ones, columns, 0}};
	lockstep_kernel_row_targets(r->p->table, list, 6, &(lockstep_row_targets_scalars){1, 0});
}

static double dot(room *r, const float *x, const float *y) {
	const call *p = r->p;
	add_cells(r, x, y, 0, p->full, p->wide);
	if (p->rest) add_cells(r, x, y, p->full, 1, p->rest);
	double sum = 0;
	for (size_t c = 0; c < p->full + (p->rest > 0); c++) sum -= (double)r->cost[c];
	return sum;
}

static void scale_cells(room *r, float *g, const float *y, size_t cell, size_t cells, size_t columns) {
	size_t at = cell * r->p->wide, n = cells * columns;
	lockstep_buffer list[] = {{g + at, n, 0}, {(float *)y + at, n, 0}, {r->a, cells, 0}, {r->d, cells, 0}, {r->zeros, cells, 0}, {r->ones, columns, 0}};
	lockstep_kernel_row_targets_scale(r->p->table, list, 6);
}

/* Stores slope·(y/product - x·turn). */
static void set_grad(room *r, float *g, const float *x, const float *y, double slope, double turn, double product) {
	const call *p = r->p;
	size_t n = p->b->columns;
	if (slope == 0) {
		memset(g, 0, n * sizeof *g);
		return;
	}
	memcpy(g, x, n * sizeof *g);
	for (size_t c = 0; c < p->full + (p->rest > 0); c++) r->a[c] = (float)-(slope * turn), r->d[c] = (float)(-slope / product);
	scale_cells(r, g, y, 0, p->full, p->wide);
	if (p->rest) scale_cells(r, g, y, p->full, 1, p->rest);
}

/* The loss of a pair, and its gradients. */
static double pair_loss(room *r, size_t row) {
	const call *p = r->p;
	const lockstep_pairs *b = p->b;
	size_t at = row * b->columns;
	const float *x = b->x + at, *y = b->y + at;
	double loss = 0, slope = 0, cosine = 0, product = 0, xx = 0, yy = 0, weight = b->weights ? (double)b->weights[row] : 1;
	if (weight != 0) {
		xx = dot(r, x, x) + p->eps, yy = dot(r, y, y) + p->eps;
		product = sqrt(xx * yy);
		cosine = dot(r, x, y) / product;
		loss = 1 - cosine, slope = -1;
		if (b->labels && b->labels[row] < 0) {
			loss = cosine - p->margin, slope = 1;
			if (loss <= 0) loss = 0, slope = 0;
		}
		loss *= weight;
		slope *= p->scale * weight;
	}
	if (b->each) b->each[row] = (float)loss;
	if (b->grad_x) set_grad(r, b->grad_x + at, x, y, slope, cosine / xx, product);
	if (b->grad_y) set_grad(r, b->grad_y + at, y, x, slope, cosine / yy, product);
	return loss;
}

static void add_unit(void *context, size_t unit) {
	call *p = context;
	room r = {.p = p};
	for (size_t i = 0; i < p->wide; i++) r.ones[i] = 1;
	size_t row = unit * p->unit, end = p->b->rows - row < p->unit ? p->b->rows : row + p->unit;
	double sum = 0;
	for (; row < end; row++) sum += pair_loss(&r, row);
	p->sums[unit] = sum;
}

static LOCKSTEP_NOT_INLINED double value_of(const lockstep_table *table, const lockstep_pairs *b, double margin, double eps, double scale) {
	call p = {.table = table, .b = b, .margin = margin, .eps = eps};
	int means = b->reduction == LOCKSTEP_REDUCE_MEAN || b->reduction == LOCKSTEP_REDUCE_BATCH_MEAN;
	double divisor = means ? (double)b->rows : 1, total = 0;
	if (!b->rows) return total / divisor;
	p.scale = scale / divisor;
	p.wide = b->columns > BLOCK ? PIECE : b->columns;
	p.full = b->columns / p.wide, p.rest = b->columns % p.wide;
	p.unit = UNIT / b->columns;
	if (p.unit < 1) p.unit = 1;
	if (p.unit < (b->rows + PARTS - 1) / PARTS) p.unit = (b->rows + PARTS - 1) / PARTS;
	size_t units = (b->rows + p.unit - 1) / p.unit;
	lockstep_share(b->pool, add_unit, &p, units, b->rows * b->columns);
	for (size_t k = 0; k < units; k++) total += p.sums[k];
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
	if ((unsigned)b->reduction > LOCKSTEP_REDUCE_BATCH_MEAN)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "reduction is %d, want one from LOCKSTEP_REDUCE_MEAN to LOCKSTEP_REDUCE_BATCH_MEAN", (int)b->reduction);
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
