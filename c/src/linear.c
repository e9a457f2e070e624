/* Linear models: Go's loss.Linear. */
#include "loss.h"
#include "mode.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The shape of sums, in rows and elements: see Go's internal/tune, which has the reasons. Other
 * values change bits. */
enum {
	BLOCK_LEN_MAX = 2 << 10,
	BLOCK_ROWS = 1024,
	RUN_ROWS = 256,
	SEGMENTS = 64,
	SEGMENT_ROWS = 32,
	LONG_ROWS = 4,
	LONG_LEN = 128 << 10,
	PIECE = 16 << 10
};

/* Elements of a matrix that are as much work as one of a step, which says from which size on a
 * second thread pays. */
enum { ELEMENTS = 4 };

/* Doubles of a cache's line. */
enum { LINE = 8 };

struct lockstep_linear {
	lockstep_model model;
	lockstep_labels labels;
	lockstep_huber_scalars huber;
	size_t columns, block; /* rows of a block */
	int intercept;
	float *gradient;      /* of a run */
	double *sums, *total; /* of a segment, and of those before: the gradient, the intercept's, the loss */
	double *room;         /* sums and gradient of each segment, once a pool has shared some */
	size_t segments;      /* that there is room for */
};

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t most(size_t x, size_t y) { return x > y ? x : y; }
static size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* How many rows are read twice, once from memory and once from the cache. */
static size_t block_rows(size_t columns) {
	columns = most(1, columns);
	size_t block = most(1, least(BLOCK_ROWS, BLOCK_LEN_MAX / columns));
	if (block < LONG_ROWS && columns <= LONG_LEN / LONG_ROWS) return LONG_ROWS;
	return block;
}

/* The number of parameters. */
static size_t length(const lockstep_linear *l) { return l->columns + (l->intercept ? 1 : 0); }

static lockstep_status check_new(lockstep_model model, size_t columns, lockstep_labels labels, lockstep_error *error) {
	if ((unsigned)model > LOCKSTEP_LINEAR_LOG_COSH)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "model is %d, want LOCKSTEP_LINEAR_SQUARED to LOCKSTEP_LINEAR_LOG_COSH", (int)model);
	if (columns > PTRDIFF_MAX / 64)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "columns is %zu, want no more than memory", columns);
	return lockstep_check_labels(labels, error);
}

static lockstep_huber_scalars huber(float delta) { return (lockstep_huber_scalars){1, delta, 1, delta, 1, 1}; }

static lockstep_huber_scalars quantile(double level) { return (lockstep_huber_scalars){1, 0, 0, 1, (float)(1 - level), (float)level}; }

static lockstep_huber_scalars scalars_of(lockstep_model model) {
	switch (model) {
	case LOCKSTEP_LINEAR_HUBER: return huber(1);
	case LOCKSTEP_LINEAR_QUANTILE: return quantile(.5);
	default: return (lockstep_huber_scalars){1, 0, 0, 1, 1, 1}; /* of the absolute error */
	}
}

lockstep_status lockstep_linear_new(lockstep_model model, size_t columns, int intercept, lockstep_labels labels,
	lockstep_linear **l, lockstep_error *error) {
	lockstep_status status = check_new(model, columns, labels, error);
	if (status) return status;
	size_t doubles = 2 * (columns + 2);
	lockstep_linear *new = malloc(sizeof *new + doubles * sizeof(double) + columns * sizeof(float));
	if (!new) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for %zu columns", columns);
	double *sums = (double *)(new + 1);
	*new = (lockstep_linear){.model = model, .labels = labels, .huber = scalars_of(model), .columns = columns, .block = block_rows(columns), .intercept = intercept,
		.sums = sums, .total = sums + columns + 2, .gradient = (float *)(sums + doubles)};
	*l = new;
	return LOCKSTEP_OK;
}

void lockstep_linear_free(lockstep_linear *l) {
	if (l) free(l->room);
	free(l);
}

lockstep_status lockstep_linear_set_delta(lockstep_linear *l, double delta, lockstep_error *error) {
	float limit = (float)delta;
	if (l->model != LOCKSTEP_LINEAR_HUBER)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "model is %d, want LOCKSTEP_LINEAR_HUBER, which has a delta", (int)l->model);
	if (!(limit > 0 && limit <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "delta is %g, want a finite float above 0", delta);
	l->huber = huber(limit);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_linear_set_level(lockstep_linear *l, double level, lockstep_error *error) {
	if (l->model != LOCKSTEP_LINEAR_QUANTILE)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "model is %d, want LOCKSTEP_LINEAR_QUANTILE, which has a level", (int)l->model);
	if (!(level > 0 && level < 1))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "level is %g, want a number between 0 and 1", level);
	l->huber = quantile(level);
	return LOCKSTEP_OK;
}

static int is_hinge(const lockstep_linear *l) { return l->model == LOCKSTEP_LINEAR_HINGE || l->model == LOCKSTEP_LINEAR_SQUARED_HINGE; }

/* Whether y has a meaning for the model. */
static int is_label(const lockstep_linear *l, float y) {
	if (l->model == LOCKSTEP_LINEAR_LOGISTIC) return y >= 0 && y <= 1;
	if (l->model == LOCKSTEP_LINEAR_POISSON) return y >= 0 && y <= FLT_MAX;
	if (!is_hinge(l)) return 1;
	return l->labels == LOCKSTEP_ZERO_ONE ? y == 0 || y == 1 : y == 1 || y == -1;
}

static lockstep_status check_y(const lockstep_linear *l, const float *y, size_t rows, lockstep_error *error) {
	for (size_t i = 0; i < rows; i++) {
		if (is_label(l, y[i])) continue;
		const char *want = l->labels ? "1 or 0" : "1 or -1, or other labels";
		if (!is_hinge(l)) want = l->model == LOCKSTEP_LINEAR_POISSON ? "a count, finite and at least 0" : "a probability, from 0 to 1";
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "y[%zu] is %g, want %s", i, (double)y[i], want);
	}
	return LOCKSTEP_OK;
}

/* What a call is about. */
typedef struct matrix {
	const lockstep_table *table;
	const float *x, *w;
	size_t rows;
} matrix;

/* Checks the buffers of a call, of which out is written. */
static lockstep_status check_call(const lockstep_linear *l, matrix *m, lockstep_named out, lockstep_named y, lockstep_error *error) {
	if (l->columns && m->rows > PTRDIFF_MAX / sizeof(float) / l->columns)
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "x has %zu rows of %zu columns, want no more than memory", m->rows, l->columns);
	lockstep_named list[] = {out, {"x", m->x, m->rows * l->columns}, {"w", m->w, length(l)}, y};
	lockstep_status status = lockstep_check_buffers(list, 4, 1, error);
	return status ? status : lockstep_choose(&m->table, error);
}

/* A row's product, in pieces that are added as double. */
static float long_dot(const lockstep_table *table, const float *x, const float *w, size_t n) {
	double sum = 0;
	for (size_t lo = 0; lo < n; lo += PIECE) {
		float part;
		size_t len = least(PIECE, n - lo);
		lockstep_buffer list[] = {{&part, 1, 0}, {(float *)x + lo, len, 0}, {(float *)w + lo, len, 0}}; /* which kernels only read */
		lockstep_kernel_dots(table, list, 3);
		sum += (double)part;
	}
	return (float)sum;
}

/* The products of some rows from the first on, one by one where that is faster. */
static void add_products(const lockstep_linear *l, const matrix *m, size_t first, size_t rows, float *z) {
	size_t n = l->columns, step = lockstep_rows_apart(m->rows, n) ? 1 : rows;
	for (size_t i = 0; i < rows; i += step) {
		lockstep_buffer list[] = {{z + i, step, 0}, {(float *)m->x + (first + i) * n, step * n, 0}, {(float *)m->w, n, 0}};
		lockstep_kernel_dots(m->table, list, 3);
	}
}

static LOCKSTEP_NOT_INLINED void predict(const lockstep_linear *l, const matrix *m, size_t first, size_t rows, float *z) {
	size_t n = l->columns;
	if (n <= PIECE)
		add_products(l, m, first, rows, z);
	else
		for (size_t i = 0; i < rows; i++) z[i] = long_dot(m->table, m->x + (first + i) * n, m->w, n);
	if (l->intercept)
		for (size_t i = 0; i < rows; i++) z[i] += m->w[n];
}

/* Those of logarithms of rates, of which a block has no more than BLOCK_ROWS. */
static void add_poisson(const lockstep_table *table, const lockstep_buffer *list, double *loss) {
	float room[BLOCK_ROWS];
	const lockstep_buffer rates = {room, list[0].len, 0}, z = list[2], y = list[3];
	lockstep_kernel_exp(table, (lockstep_buffer[]){rates, z}, 2);
	lockstep_kernel_poisson_nll(table, (lockstep_buffer[]){list[0], list[1], rates, y, z, y}, 6, &(lockstep_poisson_nll_scalars){1, 0, 0, INFINITY}, loss);
}

/* The losses of predictions z: their sum, and the slope of each in residual. */
static void add_losses(const lockstep_linear *l, const lockstep_table *table, const lockstep_buffer *list, double *loss) {
	lockstep_hinge_scalars h = lockstep_label_scalars(l->labels);
	switch (l->model) {
	case LOCKSTEP_LINEAR_SQUARED: lockstep_kernel_mse(table, list, 4, &(lockstep_mse_scalars){1}, loss); return;
	case LOCKSTEP_LINEAR_LOGISTIC: lockstep_kernel_bce_with_logits(table, list, 4, &(lockstep_bce_with_logits_scalars){1, 1, 1, 0}, loss); return;
	case LOCKSTEP_LINEAR_HINGE: lockstep_kernel_hinge(table, list, 4, &h, loss); return;
	case LOCKSTEP_LINEAR_SQUARED_HINGE: {
		lockstep_squared_hinge_scalars c = {h.scale, h.label_scale, h.label_shift};
		lockstep_kernel_squared_hinge(table, list, 4, &c, loss);
		return;
	}
	case LOCKSTEP_LINEAR_POISSON: add_poisson(table, list, loss); return;
	case LOCKSTEP_LINEAR_HUBER:
	case LOCKSTEP_LINEAR_ABSOLUTE:
	case LOCKSTEP_LINEAR_QUANTILE: lockstep_kernel_huber(table, list, 4, &l->huber, loss); return;
	case LOCKSTEP_LINEAR_LOG_COSH: lockstep_kernel_log_cosh(table, list, 4, &(lockstep_log_cosh_scalars){1}, loss);
	}
}

/* A gradient at work. */
typedef struct pass {
	lockstep_linear *l;
	const matrix *m;
	const float *y;
	size_t segment; /* rows of one */
} pass;

/* A segment at work. */
typedef struct segment {
	const pass *p;
	float *gradient; /* of a run */
	double *sums;
	double loss[LOCKSTEP_LANES], slope[LOCKSTEP_LANES];
} segment;

/* Adds a block of rows to the run's gradient and the segment's lanes. */
static void add_rows(segment *s, size_t lo, size_t rows) {
	float z[BLOCK_ROWS], residual[BLOCK_ROWS], each[BLOCK_ROWS];
	const lockstep_linear *l = s->p->l;
	const matrix *m = s->p->m;
	predict(l, m, lo, rows, z);
	lockstep_buffer losses[] = {{residual, rows, 0}, {each, rows, 0}, {z, rows, 0}, {(float *)s->p->y + lo, rows, 0}};
	add_losses(l, m->table, losses, s->loss);
	lockstep_buffer outer[] = {{s->gradient, l->columns, 0}, {(float *)m->x + lo * l->columns, rows * l->columns, 0}, {residual, rows, 0}};
	lockstep_kernel_rank_one(m->table, outer, 3);
	if (l->intercept) lockstep_kernel_sum(m->table, losses, 1, s->slope);
}

static void add_run(segment *s, size_t lo, size_t end) {
	size_t columns = s->p->l->columns, block = s->p->l->block;
	for (size_t j = 0; j < columns; j++) s->gradient[j] = 0;
	for (; lo < end; lo += block) add_rows(s, lo, least(block, end - lo));
	for (size_t j = 0; j < columns; j++) s->sums[j] += (double)s->gradient[j];
}

/* Stores the sums of a segment, with room for the gradient of a run. */
static void sum_segment(const pass *p, size_t number, double *sums, float *gradient) {
	const lockstep_linear *l = p->l;
	size_t run = most(l->block, RUN_ROWS / l->block * l->block), n = length(l);
	size_t lo = number * p->segment, end = least(lo + p->segment, p->m->rows);
	segment s = {.p = p, .gradient = gradient, .sums = sums};
	for (size_t j = 0; j <= n; j++) sums[j] = 0;
	for (; lo < end; lo += run) add_run(&s, lo, least(lo + run, end));
	if (l->intercept) sums[l->columns] = lockstep_total(s.slope);
	sums[n] = lockstep_total(s.loss);
}

/* How many doubles lie from one segment's sums to the next's, with its gradient between them and
 * no line in common. */
static size_t stride(const lockstep_linear *l) { return round_up(length(l) + 1 + (l->columns + 1) / 2, LINE) + LINE; }

/* Has room for segments at work at the same time. */
static int has_room(lockstep_linear *l, size_t segments) {
	if (segments <= l->segments) return 1;
	free(l->room);
	l->room = malloc(segments * stride(l) * sizeof *l->room);
	l->segments = l->room ? segments : 0;
	return l->room != NULL;
}

static void sum_unit(void *context, size_t unit) {
	const pass *p = context;
	double *sums = p->l->room + unit * stride(p->l);
	sum_segment(p, unit, sums, (float *)(sums + length(p->l) + 1));
}

/* Adds the sums of all segments up, in order. */
static void add_segments(pass *p, size_t segments, lockstep_pool *pool) {
	lockstep_linear *l = p->l;
	size_t n = length(l), size = p->m->rows * l->columns / ELEMENTS;
	int shared = lockstep_shares(pool, segments, size) && has_room(l, segments);
	if (shared) lockstep_share(pool, sum_unit, p, segments, size);
	for (size_t j = 0; j <= n; j++) l->total[j] = 0;
	for (size_t k = 0; k < segments; k++) {
		const double *sums = shared ? l->room + k * stride(l) : l->sums;
		if (!shared) sum_segment(p, k, l->sums, l->gradient);
		for (size_t j = 0; j <= n; j++) l->total[j] += sums[j];
	}
}

/* The mean loss, whose gradient is stored. */
static LOCKSTEP_NOT_INLINED double mean_loss(pass *p, lockstep_pool *pool, float *grad) {
	lockstep_linear *l = p->l;
	size_t n = length(l), rows = p->m->rows;
	p->segment = round_up(most(SEGMENT_ROWS, (rows + SEGMENTS - 1) / SEGMENTS), l->block);
	add_segments(p, (rows + p->segment - 1) / p->segment, pool);
	double scale = rows ? 1 / (double)rows : 0;
	for (size_t j = 0; j < n; j++) grad[j] = (float)(l->total[j] * scale);
	return rows ? l->total[n] * scale : (double)NAN;
}

lockstep_status lockstep_linear_gradient_shared(lockstep_linear *l, const lockstep_table *table, const float *x, const float *y, size_t rows,
	const float *w, float *grad, lockstep_pool *pool, double *value, lockstep_error *error) {
	matrix m = {table, x, w, rows};
	lockstep_status status = check_call(l, &m, (lockstep_named){"grad", grad, length(l)}, (lockstep_named){"y", y, rows}, error);
	if (!status) status = check_y(l, y, rows, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	double v = mean_loss(&(pass){.l = l, .m = &m, .y = y}, pool, grad);
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_linear_gradient(lockstep_linear *l, const lockstep_table *table, const float *x, const float *y, size_t rows,
	const float *w, float *grad, double *value, lockstep_error *error) {
	return lockstep_linear_gradient_shared(l, table, x, y, rows, w, grad, NULL, value, error);
}

lockstep_status lockstep_linear_predict(lockstep_linear *l, const lockstep_table *table, const float *x, size_t rows,
	const float *w, float *z, lockstep_error *error) {
	matrix m = {table, x, w, rows};
	lockstep_status status = check_call(l, &m, (lockstep_named){"z", z, rows}, (lockstep_named){"", NULL, 0}, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	predict(l, &m, 0, rows, z);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}
