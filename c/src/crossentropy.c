/* Losses of rows of logits: Go's loss.CrossEntropy. */
#include "loss.h"
#include "mode.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Sizes, in elements, rows and cells: see Go's internal/tune, which has the reasons. Other values
 * change bits. */
enum {
	BLOCK = 4 << 10,
	PIECE = 1 << 10,
	GROUP = 256,
	UNIT = 64 << 10,
	PARTS = 256,
	CLASSES = 1 << 20,
	CELLS = CLASSES / PIECE
};

/* Logits that are as much work as an element of a step. */
enum { ELEMENTS = 1 };

#define FOUR(x) x, x, x, x
#define SIXTEEN(x) FOUR(x), FOUR(x), FOUR(x), FOUR(x)
#define MANY(x) SIXTEEN(x), SIXTEEN(x), SIXTEEN(x), SIXTEEN(x)
_Alignas(64) static const float ones[BLOCK] = {
	MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1),
	MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1),
	MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1),
	MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1), MANY(1)};

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t most(size_t x, size_t y) { return x > y ? x : y; }

/* A call at work. */
typedef struct pass {
	const lockstep_table *table;
	const lockstep_cross_entropy_options *o;
	const lockstep_logits *b;
	size_t wide, cells, group, unit; /* columns of a cell but the last, cells of a row, rows of a group and of a unit */
	double scale, keep, each, weight_of;
	double sums[PARTS];
} pass;

/* What is known of a group of rows: see Go's rowRoom. */
typedef struct room {
	_Alignas(64) float unwanted[BLOCK];
	float most[CELLS], sum[CELLS], factor[CELLS], weight[CELLS], cost[CELLS], a[CELLS], b[CELLS], d[CELLS];
	float top[GROUP], over[GROUP], log[GROUP], at[GROUP];
	size_t cell[GROUP];
	double rest[GROUP];
} room;

/* Cells that go through kernels together: the first, how many, the columns of each, and the first
 * column. */
typedef struct block {
	size_t cell, cells, columns, at;
} block;

static size_t elements(block b) { return b.cells * b.columns; }

static block first_block(const pass *p, size_t rows) {
	if (p->b->classes > p->wide) return (block){.cells = BLOCK / PIECE, .columns = p->wide};
	return (block){.cells = rows, .columns = p->wide};
}

/* Goes on to the next block, if there is one. */
static int next_block(const pass *p, block *b) {
	b->cell += b->cells;
	b->at += elements(*b);
	if (p->b->classes <= p->wide || b->at >= p->b->classes) return 0;
	size_t left = p->b->classes - b->at;
	if (left < p->wide)
		b->cells = 1, b->columns = left;
	else
		b->cells = least(b->cells, left / p->wide);
	return 1;
}

/* Whether a row's loss is of all its classes and not of its label's alone. */
static int spreads(const pass *p) { return p->b->targets || p->o->smoothing > 0; }

/* Whether a row costs nothing. */
static int skips(const pass *p, size_t row) {
	if (p->b->weights && p->b->weights[row] == 0) return 1;
	return !p->b->targets && p->o->ignores && p->b->labels[row] == p->o->ignored;
}

/* What is left by a row that does. */
static void clear_row(const pass *p, size_t row) {
	if (p->b->grad) memset(p->b->grad + row * p->b->classes, 0, p->b->classes * sizeof(float));
	if (p->b->each) p->b->each[row] = 0;
}

/* Sets where the j-th row's label is in a block, and its cell, if it is there. */
static int place(const pass *p, block b, size_t row, size_t j, size_t *i, size_t *cell) {
	uint64_t y = (uint64_t)p->b->labels[row] - b.at;
	size_t width = p->b->classes;
	if (b.columns < width) width = elements(b); /* of pieces of this row alone */
	if (y >= width) return 0;
	*i = j * p->b->classes + (size_t)y;
	*cell = b.cell + *i / b.columns;
	return 1;
}

static void find(const pass *p, room *r, block b, size_t lo, size_t n, const float *x) {
	size_t i, cell;
	for (size_t j = 0; j < n; j++)
		if (place(p, b, lo + j, j, &i, &cell)) r->at[j] = x[i], r->cell[j] = cell;
}

/* Adds cells up once more, as double and without the label, where that is the one largest. */
static void leave(const pass *p, room *r, block b, size_t lo, size_t n, float *e) {
	size_t i, cell;
	for (size_t j = 0; j < n; j++) {
		if (!place(p, b, lo + j, j, &i, &cell) || r->at[j] != r->most[cell] || !(r->sum[cell] < 2)) continue;
		double lanes[LOCKSTEP_LANES] = {0};
		lockstep_buffer list[] = {{e + (cell - b.cell) * b.columns, b.columns, 0}};
		e[i] = 0;
		lockstep_kernel_sum(p->table, list, 1, lanes);
		r->rest[j] = lockstep_total(lanes);
	}
}

/* The weights of the columns of a block's cells from one on, and how many cells have them. */
static const float *weights(const pass *p, block b, size_t done, int matter, size_t *cells) {
	*cells = b.cells - done;
	if (!p->o->class_weights || !matter) return ones;
	if (b.columns == p->b->classes) return p->o->class_weights;
	*cells = 1;
	return p->o->class_weights + b.at + done * b.columns;
}

static void weigh(const pass *p, room *r, block b, const float *x, const float *y) {
	lockstep_row_targets_scalars c = {p->b->targets ? (float)p->keep : 0, (float)p->each};
	for (size_t done = 0, cells; done < b.cells; done += cells) {
		const float *w = weights(p, b, done, 1, &cells);
		size_t from = done * b.columns, n = cells * b.columns, k = b.cell + done;
		lockstep_buffer list[] = {{r->weight + k, cells, 0}, {r->cost + k, cells, 0}, {(float *)x + from, n, 0}, {(float *)y + from, n, 0}, {r->most + k, cells, 0}, {(float *)w, b.columns, 0}};
		lockstep_kernel_row_targets(p->table, list, 6, &c);
	}
}

/* Stores the exponentials of n rows from lo on, and what is known of their cells. */
static void exponentials(const pass *p, room *r, size_t lo, size_t n) {
	block b = first_block(p, n);
	do {
		size_t at = lo * p->b->classes + b.at, len = elements(b);
		const float *x = p->b->logits + at;
		float *e = p->b->grad ? p->b->grad + at : r->unwanted;
		lockstep_buffer largest[] = {{r->most + b.cell, b.cells, 0}, {(float *)x, len, 0}, {(float *)ones, b.columns, 0}};
		lockstep_kernel_row_max(p->table, largest, 3);
		if (!p->b->targets) find(p, r, b, lo, n, x);
		if (spreads(p)) weigh(p, r, b, x, p->b->targets ? p->b->targets + at : x);
		if (e == x) x = memcpy(r->unwanted, x, len * sizeof *x); /* kernels in C have what they write apart */
		lockstep_buffer list[] = {{e, len, 0}, {(float *)x, len, 0}, {r->most + b.cell, b.cells, 0}, {r->sum + b.cell, b.cells, 0}, {(float *)ones, b.columns, 0}};
		lockstep_kernel_row_exp(p->table, list, 5);
		if (!p->b->targets) leave(p, r, b, lo, n, e);
	} while (next_block(p, &b));
}

/* Finds the largest element of a row, and the sum of all exponentials below it. */
static double join(const pass *p, room *r, size_t first, float *top) {
	*top = r->most[first];
	r->factor[first] = 1;
	if (p->cells == 1) return (double)r->sum[first];
	for (size_t c = first + 1; c < first + p->cells; c++)
		if (r->most[c] > *top) *top = r->most[c];
	for (size_t c = first; c < first + p->cells; c++) r->a[c] = r->most[c] - *top;
	lockstep_buffer list[] = {{r->factor + first, p->cells, 0}, {r->a + first, p->cells, 0}};
	lockstep_kernel_exp(p->table, list, 2);
	double sum = 0;
	for (size_t c = first; c < first + p->cells; c++) sum += (double)r->factor[c] * (double)r->sum[c];
	return sum;
}

/* Whether the j-th row's label is its largest element, and the only one. */
static int exact(const room *r, size_t j) { return r->rest[j] >= 0 && r->factor[r->cell[j]] == 1; }

/* The sum of a row's exponentials without the label's. */
static double rest_of(const pass *p, const room *r, size_t j, size_t first) {
	double sum = r->rest[j];
	for (size_t c = first; c < first + p->cells; c++)
		if (c != r->cell[j]) sum += (double)r->factor[c] * (double)r->sum[c];
	return sum;
}

static void set_scales(const pass *p, room *r, size_t first, double a, float b, float d) {
	for (size_t c = first; c < first + p->cells; c++) r->a[c] = (float)(a * (double)r->factor[c]), r->b[c] = b, r->d[c] = d;
}

/* The weight of a row's label. */
static double keep_of(const pass *p, size_t row) {
	if (!p->o->class_weights) return p->keep;
	return p->keep * (double)p->o->class_weights[p->b->labels[row]];
}

/* The gradient of a row's label. */
static float label_gradient(const pass *p, const room *r, size_t row, size_t j, double scale, double own, double weight, double sum) {
	size_t y = (size_t)p->b->labels[row];
	double e = r->rest[j] < 0 ? (double)p->b->grad[row * p->b->classes + y] : 1;
	double s = e * (double)r->factor[r->cell[j]] / sum;
	double less = exact(r, j) ? (double)r->over[j] / sum : 1 - s;
	double spread = p->each;
	if (p->o->class_weights) spread *= (double)p->o->class_weights[y];
	return (float)(scale * (weight * s - own * less - spread));
}

/* What the classes of a row's cells cost that share a target, and their weight. */
static double spread_loss(const pass *p, const room *r, size_t first, double top, double log, double *weight) {
	double loss = 0;
	for (size_t c = first; c < first + p->cells; c++) {
		double w = (double)r->weight[c];
		if (w == 0) continue;
		*weight += w;
		loss += (double)r->cost[c] + w * ((top - (double)r->most[c]) + log);
	}
	return loss;
}

/* The loss of the j-th row of a group, and its gradient's numbers. */
static double row_loss(const pass *p, room *r, size_t row, size_t j) {
	double top = (double)r->top[j], log = (double)r->log[j], lse = top + log;
	size_t first = j * p->cells;
	double weight = 0, own = 0, z = p->o->z_loss, scale = p->scale;
	double loss = spreads(p) ? spread_loss(p, r, first, top, log, &weight) : 0;
	if (!p->b->targets) {
		own = keep_of(p, row);
		weight = p->each * p->weight_of;
		if (own != 0) loss += own * ((top - (double)r->at[j]) + log);
	}
	if (z != 0) loss += z * lse * lse, weight += 2 * (z * lse);
	if (p->b->weights) loss *= (double)p->b->weights[row], scale *= (double)p->b->weights[row];
	if (p->b->each) p->b->each[row] = (float)loss;
	if (!p->b->grad) return loss;
	double sum = 1 + (double)r->over[j];
	float b = (float)(scale * p->each), d = 0;
	if (p->b->targets) d = b, b = (float)(scale * p->keep);
	set_scales(p, r, first, (own + weight) * scale / sum, b, d);
	if (!p->b->targets) r->at[j] = label_gradient(p, r, row, j, scale, own, weight, sum);
	return loss;
}

/* Makes the gradient of the exponentials of n rows from lo on. */
static void make_gradient(const pass *p, room *r, size_t lo, size_t n) {
	block b = first_block(p, n);
	do {
		for (size_t done = 0, cells; done < b.cells; done += cells) {
			const float *w = weights(p, b, done, spreads(p), &cells);
			size_t at = lo * p->b->classes + b.at + done * b.columns, len = cells * b.columns, k = b.cell + done;
			lockstep_buffer g = {p->b->grad + at, len, 0}, a = {r->a + k, cells, 0}, c = {r->b + k, cells, 0}, columns = {(float *)w, b.columns, 0};
			if (p->b->targets)
				lockstep_kernel_row_targets_scale(p->table, (lockstep_buffer[]){g, {(float *)p->b->targets + at, len, 0}, a, c, {r->d + k, cells, 0}, columns}, 6);
			else
				lockstep_kernel_row_scale(p->table, (lockstep_buffer[]){g, a, c, columns}, 4);
		}
	} while (next_block(p, &b));
	for (size_t j = 0; j < n && !p->b->targets; j++)
		if (!skips(p, lo + j)) p->b->grad[(lo + j) * p->b->classes + (size_t)p->b->labels[lo + j]] = r->at[j];
}

/* Rows from lo on, in one go while they are in the caches. */
static double group_loss(const pass *p, room *r, size_t lo, size_t n) {
	if (n == 1 && skips(p, lo)) return clear_row(p, lo), 0;
	for (size_t j = 0; j < n; j++) r->rest[j] = -1, r->cell[j] = 0;
	exponentials(p, r, lo, n);
	for (size_t j = 0; j < n; j++) {
		double sum = join(p, r, j * p->cells, &r->top[j]);
		r->over[j] = (float)(exact(r, j) ? rest_of(p, r, j, j * p->cells) : sum - 1);
	}
	lockstep_kernel_log1p(p->table, (lockstep_buffer[]){{r->log, n, 0}, {r->over, n, 0}}, 2);
	double total = 0;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			clear_row(p, lo + j), set_scales(p, r, j * p->cells, 0, 0, 0);
		else
			total += row_loss(p, r, lo + j, j);
	}
	if (p->b->grad) make_gradient(p, r, lo, n);
	return total;
}

static void run_unit(void *context, size_t unit) {
	pass *p = context;
	room r;
	double sum = 0;
	size_t end = least((unit + 1) * p->unit, p->b->rows);
	for (size_t lo = unit * p->unit; lo < end; lo += p->group) sum += group_loss(p, &r, lo, least(p->group, end - lo));
	p->sums[unit] = sum;
}

/* A pass over some rows, whose gradient has a factor. */
static LOCKSTEP_NOT_INLINED pass begin(const lockstep_table *table, const lockstep_cross_entropy_options *o, const lockstep_logits *b, double scale) {
	size_t classes = b->classes;
	pass p = {.table = table, .o = o, .b = b, .scale = scale, .keep = 1 - o->smoothing, .each = o->smoothing / (double)classes, .weight_of = (double)classes};
	p.wide = classes > BLOCK ? PIECE : classes;
	p.cells = (classes + p.wide - 1) / p.wide;
	p.group = classes > BLOCK ? 1 : least(GROUP, BLOCK / classes);
	p.unit = most(most(1, UNIT / classes), (b->rows + PARTS - 1) / PARTS);
	if (o->class_weights) p.weight_of = 0;
	for (size_t c = 0; o->class_weights && c < classes; c++) p.weight_of += (double)o->class_weights[c];
	return p;
}

double lockstep_row_losses(const lockstep_table *table, const lockstep_cross_entropy_options *o, const lockstep_logits *b, double scale) {
	pass p = begin(table, o, b, scale);
	room r;
	double sum = 0;
	for (size_t lo = 0; lo < b->rows; lo += p.group) sum += group_loss(&p, &r, lo, least(p.group, b->rows - lo));
	return sum;
}

/* The sum of the losses. */
static LOCKSTEP_NOT_INLINED double run(pass *p, lockstep_pool *pool) {
	size_t rows = p->b->rows, classes = p->b->classes;
	size_t units = (rows + p->unit - 1) / p->unit, size = rows * classes / ELEMENTS;
	if (lockstep_shares(pool, units, size))
		lockstep_share(pool, run_unit, p, units, size);
	else
		for (size_t k = 0; k < units; k++) run_unit(p, k);
	double sum = 0;
	for (size_t k = 0; k < units; k++) sum += p->sums[k];
	return sum;
}

/* Checks. */

lockstep_status lockstep_check_factors(const char *name, const float *x, size_t n, lockstep_error *error) {
	for (size_t i = 0; x && i < n; i++)
		if (!(x[i] >= 0 && x[i] <= FLT_MAX))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s[%zu] is %g, want a finite number of at least 0", name, i, (double)x[i]);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_check_entropy(const lockstep_cross_entropy_options *o, size_t classes, lockstep_error *error) {
	if (classes < 1 || classes > CLASSES)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "classes is %zu, want from 1 to %d", classes, CLASSES);
	if ((unsigned)o->reduction > LOCKSTEP_REDUCE_NONE)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "reduction is %d, want LOCKSTEP_REDUCE_MEAN, LOCKSTEP_REDUCE_SUM or LOCKSTEP_REDUCE_NONE", (int)o->reduction);
	if (!(o->smoothing >= 0 && o->smoothing <= 1))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "smoothing is %g, want from 0 to 1", o->smoothing);
	if (!(o->z_loss >= 0 && o->z_loss <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "z_loss is %g, want a finite float of at least 0", o->z_loss);
	return lockstep_check_factors("class_weights", o->class_weights, classes, error);
}

static lockstep_status check_rows(const lockstep_cross_entropy_options *o, const lockstep_logits *b, lockstep_error *error) {
	if (b->rows > PTRDIFF_MAX / sizeof(float) / b->classes)
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "logits has %zu rows of %zu classes, want no more than memory", b->rows, b->classes);
	if (b->labels && b->targets)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "targets are given, want NULL beside labels");
	if (b->rows && !b->labels && !b->targets)
		return lockstep_reject(error, LOCKSTEP_NULL, "labels is NULL, want labels or targets");
	if (o->reduction == LOCKSTEP_REDUCE_NONE && !b->each && b->rows)
		return lockstep_reject(error, LOCKSTEP_NULL, "each is NULL, want a buffer for the losses");
	size_t n = b->rows * b->classes, in_place = b->grad == b->logits;
	lockstep_named list[] = {{"each", b->each, b->each ? b->rows : 0}, {"grad", b->grad, b->grad ? n : 0}, {"targets", b->targets, b->targets ? n : 0},
		{"weights", b->weights, b->weights ? b->rows : 0}, {"logits", b->logits, n}};
	if (in_place) list[4].n = n ? 1 : 0; /* grad is as long */
	lockstep_status status = lockstep_check_buffers(list, in_place ? 4 : 5, 2, error);
	if (!status && in_place && n && !b->logits) status = lockstep_check_buffers(list + 4, 1, 0, error);
	return status ? status : lockstep_check_factors("weights", b->weights, b->rows, error);
}

lockstep_status lockstep_divide_entropy(const lockstep_cross_entropy_options *o, const lockstep_logits *b, double *divisor, lockstep_error *error) {
	double sum = b->labels ? 0 : (double)b->rows;
	for (size_t i = 0; b->labels && i < b->rows; i++) {
		int64_t y = b->labels[i];
		if (o->ignores && y == o->ignored) continue;
		if ((uint64_t)y >= b->classes)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "labels[%zu] is %lld, want a class, from 0 to %zu%s", i, (long long)y, b->classes - 1, o->ignores ? ", or the label that is ignored" : "");
		sum += o->class_weights ? (double)o->class_weights[y] : 1;
	}
	*divisor = o->reduction == LOCKSTEP_REDUCE_MEAN ? sum : 1;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_loss_cross_entropy(const lockstep_table *table, const lockstep_cross_entropy_options *options, const lockstep_logits *rows,
	double scale, lockstep_pool *pool, double *value, lockstep_error *error) {
	static const lockstep_cross_entropy_options defaults;
	const lockstep_cross_entropy_options *o = options ? options : &defaults;
	double divisor = 1, v;
	lockstep_status status = lockstep_check_entropy(o, rows->classes, error);
	if (!status) status = check_rows(o, rows, error);
	if (!status) status = lockstep_divide_entropy(o, rows, &divisor, error);
	if (!status) status = lockstep_choose(&table, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	pass p = begin(table, o, rows, scale / divisor);
	if (divisor == 0) {
		for (size_t i = 0; i < rows->rows; i++) clear_row(&p, i);
		v = o->empty_is_zero ? 0 : (double)NAN;
	} else {
		v = run(&p, pool) / divisor;
	}
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}
