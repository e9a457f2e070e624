/* Losses of rows of logits, and the softmax of rows: Go's loss.CrossEntropy, loss.RowLoss and
 * loss.Softmax. */
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
	lockstep_row_model model; /* 0 for the cross-entropy */
	int squared, clipped;     /* clipped: the focal loss is of probabilities */
	float gamma;
	double margin;
	size_t wide, cells, group, unit; /* columns of a cell but the last, cells of a row, rows of a group and of a unit */
	double scale, keep, each, weight_of;
	double sums[PARTS];
} pass;

/* What is known of a group of rows: see Go's rowRoom. */
typedef struct room {
	_Alignas(64) float unwanted[BLOCK];
	float most[CELLS], sum[CELLS], factor[CELLS], weight[CELLS], cost[CELLS], a[CELLS], b[CELLS], d[CELLS];
	float top[GROUP], over[GROUP], log[GROUP], at[GROUP];
	size_t cell[GROUP], class[GROUP];
	double rest[GROUP];
	float slope[GROUP], each[GROUP], wrong[GROUP], like[GROUP]; /* of the focal loss */
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
	if (p->b->targets) return 0;
	int64_t y = p->b->labels[row];
	return (p->o->ignores && y == p->o->ignored) || (p->model && !spreads(p) && p->o->class_weights && p->o->class_weights[y] == 0);
}

/* What is left by a row that does. */
static void clear_row(const pass *p, size_t row) {
	if (p->b->grad) memset(p->b->grad + row * p->b->classes, 0, p->b->classes * sizeof(float));
	if (p->b->each) p->b->each[row] = 0;
}

/* Whether it is a focal loss of all classes, whose weights are in the targets. */
static int of_all(const pass *p) { return p->model == LOCKSTEP_ROW_SOFTMAX_FOCAL && (p->clipped || spreads(p)); }

/* Sets where a class of the j-th row is in a block, and its cell, if it is there. */
static int place_of(const pass *p, block b, uint64_t class, size_t j, size_t *i, size_t *cell) {
	uint64_t y = class - b.at;
	size_t width = p->b->classes;
	if (b.columns < width) width = elements(b); /* of pieces of this row alone */
	if (y >= width) return 0;
	*i = j * p->b->classes + (size_t)y;
	*cell = b.cell + *i / b.columns;
	return 1;
}

/* That of a row's label. */
static int place(const pass *p, block b, size_t row, size_t j, size_t *i, size_t *cell) {
	return place_of(p, b, (uint64_t)p->b->labels[row], j, i, cell);
}

static void find(const pass *p, room *r, block b, size_t lo, size_t n, const float *x) {
	size_t i, cell;
	for (size_t j = 0; j < n; j++)
		if (place(p, b, lo + j, j, &i, &cell)) r->at[j] = x[i], r->cell[j] = cell;
}

/* The sum of n exponentials but one, as double, which is left as 0. */
static double sum_without(const pass *p, float *e, size_t n, size_t i) {
	double lanes[LOCKSTEP_LANES] = {0};
	e[i] = 0;
	lockstep_kernel_sum(p->table, (lockstep_buffer[]){{e, n, 0}}, 1, lanes);
	return lockstep_total(lanes);
}

/* Adds cells up once more without the label, where that is the one largest. */
static void leave(const pass *p, room *r, block b, size_t lo, size_t n, float *e) {
	size_t i, cell;
	for (size_t j = 0; j < n; j++) {
		if (!place(p, b, lo + j, j, &i, &cell) || r->at[j] != r->most[cell] || !(r->sum[cell] < 2)) continue;
		size_t start = (cell - b.cell) * b.columns;
		r->rest[j] = sum_without(p, e + start, b.columns, i - start);
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

/* The loss of a row times its weights, which is stored, and the gradient's factor. */
static double weighted_loss(const pass *p, size_t row, double loss, double *scale) {
	double weight = p->o->class_weights && !of_all(p) ? (double)p->o->class_weights[p->b->labels[row]] : 1;
	if (p->b->weights) weight *= (double)p->b->weights[row];
	loss *= weight;
	if (p->b->each) p->b->each[row] = (float)loss;
	*scale = p->scale * weight;
	return loss;
}

/* 1 less the probability of the j-th row's label. */
static double unlikely(const room *r, size_t j, float like) {
	double over = (double)r->over[j];
	return exact(r, j) ? over / (1 + over) : 1 - (double)like;
}

/* Stores what the power of 1-p makes of the slopes and losses of n rows from lo on. */
static void focus(const pass *p, room *r, size_t lo, size_t n) {
	for (size_t j = 0; j < n; j++) {
		r->each[j] = skips(p, lo + j) ? 0 : (float)(((double)r->top[j] - (double)r->at[j]) + (double)r->log[j]);
		r->wrong[j] = -r->each[j];
	}
	lockstep_kernel_exp(p->table, (lockstep_buffer[]){{r->like, n, 0}, {r->wrong, n, 0}}, 2);
	for (size_t j = 0; j < n; j++) {
		r->slope[j] = (float)unlikely(r, j, r->like[j]);
		r->wrong[j] = r->slope[j] > 0x1p-126f ? r->slope[j] : 0x1p-126f;
	}
	double unwanted[LOCKSTEP_LANES] = {0};
	lockstep_buffer list[] = {{r->slope, n, 0}, {r->each, n, 0}, {(float *)ones, n, 0}, {r->wrong, n, 0}, {r->like, n, 0}};
	lockstep_kernel_focal(p->table, list, 5, &(lockstep_focal_scalars){1, p->gamma, 1, 0}, unwanted);
}

/* The loss of the j-th row of a group, and its gradient's numbers. */
static double focal_row(const pass *p, room *r, size_t row, size_t j) {
	double scale, loss = weighted_loss(p, row, (double)r->each[j], &scale);
	if (!p->b->grad) return loss;
	double slope = scale * (double)r->slope[j], rest = (double)r->over[j];
	if (!exact(r, j)) rest = (1 + rest) * unlikely(r, j, r->like[j]);
	set_scales(p, r, j * p->cells, rest == 0 ? 0 : slope / rest, 0, 0);
	r->at[j] = (float)-slope;
	return loss;
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
	if (p->model) focus(p, r, lo, n);
	double total = 0;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			clear_row(p, lo + j), set_scales(p, r, j * p->cells, 0, 0, 0);
		else
			total += p->model ? focal_row(p, r, lo + j, j) : row_loss(p, r, lo + j, j);
	}
	if (p->b->grad) make_gradient(p, r, lo, n);
	return total;
}

/* A row of logits, and of the gradient, which is there. */
static const float *logits_of(const pass *p, size_t row) { return p->b->logits + row * p->b->classes; }
static float *grad_of(const pass *p, size_t row) { return p->b->grad + row * p->b->classes; }

static double likelihoods(const pass *p, size_t lo, size_t n) {
	double total = 0;
	for (size_t row = lo; row < lo + n; row++) {
		if (skips(p, row)) {
			clear_row(p, row);
			continue;
		}
		size_t y = (size_t)p->b->labels[row];
		double scale;
		total += weighted_loss(p, row, -(double)logits_of(p, row)[y], &scale);
		if (!p->b->grad) continue;
		memset(grad_of(p, row), 0, p->b->classes * sizeof(float));
		grad_of(p, row)[y] = (float)-scale;
	}
	return total;
}

/* Has labels cost nothing, and rows that are skipped. */
static void leave_labels(const pass *p, block b, size_t lo, size_t n, float *g) {
	size_t i, cell;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			memset(g + j * b.columns, 0, b.columns * sizeof *g);
		else if (place(p, b, lo + j, j, &i, &cell))
			g[i] = 0;
	}
}

/* Sets the factor of a row's slopes, to which it adds 0: a slope of 0 has a sign. */
static void share(const pass *p, room *r, size_t j, float factor) {
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) r->a[c] = factor, r->b[c] = -0.0f;
}

/* The loss of the j-th row of a group, and its gradient's numbers. */
static double margin_row(const pass *p, room *r, size_t row, size_t j) {
	double slopes = 0, loss = 0, scale;
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) slopes += (double)r->weight[c], loss -= (double)r->cost[c];
	loss /= (double)p->b->classes;
	if (p->squared) loss /= 2;
	loss = weighted_loss(p, row, loss, &scale);
	scale /= (double)p->b->classes;
	if (isnan(loss)) scale = loss;
	share(p, r, j, (float)scale);
	r->at[j] = (float)-(scale * slopes);
	return loss;
}

/* Sets the limit above which a class of each of n rows from lo on costs something. */
static void set_limits(const pass *p, room *r, size_t lo, size_t n) {
	for (size_t j = 0; j < n; j++) {
		float limit = 0;
		if (!skips(p, lo + j)) limit = (float)((double)logits_of(p, lo + j)[p->b->labels[lo + j]] - p->margin);
		for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) r->most[c] = limit;
	}
}

/* Stores the slopes of a block and adds up what it costs: Huber's are 1 or twice the distance
 * above a limit. */
static void add_margins(const pass *p, room *r, block b, size_t lo, size_t n) {
	_Alignas(64) float limits[BLOCK], unwanted[BLOCK];
	double lanes[LOCKSTEP_LANES] = {0};
	size_t at = lo * p->b->classes + b.at, len = elements(b);
	const float *x = p->b->logits + at;
	float *g = p->b->grad ? p->b->grad + at : r->unwanted;
	if (g == x) x = memcpy(r->unwanted, x, len * sizeof *x);
	for (size_t i = 0; i < len; i++) limits[i] = r->most[b.cell + i / b.columns];
	lockstep_huber_scalars c = {.scale = 1, .ceiling = 1, .up = 1};
	/* Twice what is below the limit is finite, which a slope of 0 makes 0 of. */
	if (p->squared) c.limit = FLT_MAX / 2, c.slope = 2, c.ceiling = FLT_MAX;
	lockstep_kernel_huber(p->table, (lockstep_buffer[]){{g, len, 0}, {unwanted, len, 0}, {(float *)x, len, 0}, {limits, len, 0}}, 4, &c, lanes);
	leave_labels(p, b, lo, n, g);
	lockstep_buffer list[] = {{r->weight + b.cell, b.cells, 0}, {r->cost + b.cell, b.cells, 0}, {(float *)x, len, 0}, {g, len, 0}, {r->most + b.cell, b.cells, 0}, {(float *)ones, b.columns, 0}};
	lockstep_kernel_row_targets(p->table, list, 6, &(lockstep_row_targets_scalars){1, 0});
}

static double margins(const pass *p, room *r, size_t lo, size_t n) {
	if (n == 1 && skips(p, lo)) return clear_row(p, lo), 0;
	set_limits(p, r, lo, n);
	block b = first_block(p, n);
	do {
		add_margins(p, r, b, lo, n);
	} while (next_block(p, &b));
	double total = 0;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			clear_row(p, lo + j), share(p, r, j, 0);
		else
			total += margin_row(p, r, lo + j, j);
	}
	if (p->b->grad) make_gradient(p, r, lo, n);
	return total;
}

/* Makes the largest element of cells with NaN, which row_max does not count, NaN. */
static void spoil(const pass *p, room *r, block b, const float *x) {
	double lanes[LOCKSTEP_LANES] = {0};
	lockstep_kernel_sum_abs(p->table, (lockstep_buffer[]){{(float *)x, elements(b), 0}}, 1, lanes);
	if (!isnan(lockstep_total(lanes))) return;
	for (size_t i = 0; i < elements(b); i++)
		if (isnan(x[i])) r->most[b.cell + i / b.columns] = x[i];
}

/* Finds the largest of each cell but for labels, in the gradient's buffer, which has the logits
 * until then, and -INFINITY in the places of labels. */
static void find_largest(const pass *p, room *r, block b, size_t lo, size_t n) {
	size_t at = lo * p->b->classes + b.at, len = elements(b), i, cell;
	float *e = p->b->grad ? p->b->grad + at : r->unwanted;
	if (e != p->b->logits + at) memcpy(e, p->b->logits + at, len * sizeof *e);
	for (size_t j = 0; j < n; j++)
		if (!skips(p, lo + j) && place(p, b, lo + j, j, &i, &cell)) r->at[j] = e[i], e[i] = -INFINITY;
	lockstep_buffer list[] = {{r->most + b.cell, b.cells, 0}, {e, len, 0}, {(float *)ones, b.columns, 0}};
	lockstep_kernel_row_max(p->table, list, 3);
	spoil(p, r, b, e);
}

/* The gradient of a row, which has the logits until now: the label's and that of the first with
 * the largest, if there is one. */
static void set_largest(const pass *p, size_t row, double loss, double scale, const float *largest) {
	float *g = grad_of(p, row);
	size_t classes = p->b->classes, first = 0;
	while (loss > 0 && largest && g[first] != *largest) first++;
	memset(g, 0, classes * sizeof *g);
	for (size_t c = 0; isnan(loss) && c < classes; c++) g[c] = (float)loss;
	if (!(loss > 0)) return;
	g[p->b->labels[row]] = (float)-scale;
	if (largest) g[first] = (float)scale;
}

/* The loss of the j-th row of a group, and its gradient. */
static double largest_row(const pass *p, const room *r, size_t row, size_t j) {
	float top = -FLT_MAX;
	for (size_t c = j * p->cells; c < (j + 1) * p->cells && !isnan(top); c++)
		if (!(r->most[c] <= top)) top = r->most[c];
	int categorical = p->model == LOCKSTEP_ROW_CATEGORICAL_HINGE;
	double other = (double)top, scale;
	if (categorical && top <= 0)
		other = 0;
	else if (top == -FLT_MAX) /* there is none */
		other = (double)-INFINITY;
	double loss = (p->margin - (double)r->at[j]) + other;
	loss = weighted_loss(p, row, loss <= 0 ? 0 : loss, &scale);
	if (p->b->grad) set_largest(p, row, loss, scale, top > (categorical ? 0 : -FLT_MAX) ? &top : NULL);
	return loss;
}

static double largest_margins(const pass *p, room *r, size_t lo, size_t n) {
	if (n == 1 && skips(p, lo)) return clear_row(p, lo), 0;
	block b = first_block(p, n);
	do {
		find_largest(p, r, b, lo, n);
	} while (next_block(p, &b));
	double total = 0;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			clear_row(p, lo + j);
		else
			total += largest_row(p, r, lo + j, j);
	}
	return total;
}

/* Stores the targets of a block of n rows from lo on, smoothed and times the weights of their classes. */
static void set_targets(const pass *p, block b, size_t lo, size_t n, float *target) {
	float keep = (float)p->keep, each = (float)p->each;
	const float *given = p->b->targets ? p->b->targets + lo * p->b->classes + b.at : NULL;
	for (size_t i = 0; i < elements(b); i++) target[i] = given ? given[i] * keep + each : each;
	size_t i, cell;
	for (size_t j = 0; j < n && !given; j++)
		if (place(p, b, lo + j, j, &i, &cell)) target[i] = keep + each;
	for (size_t c = 0; c < b.cells && p->o->class_weights; c++) {
		const float *w = p->o->class_weights + (b.at + c * b.columns) % p->b->classes;
		for (size_t k = 0; k < b.columns; k++) target[c * b.columns + k] *= w[k];
	}
}

/* Adds a cell of a block up once more without its largest element, if that is the largest of the row so
 * far. */
static void leave_top(const pass *p, room *r, block b, size_t c, const float *x, float *e) {
	size_t cell = b.cell + c, j = cell / p->cells, i = 0;
	float top = r->most[cell];
	if (!(r->sum[cell] < 2) || (r->rest[j] >= 0 && !(top > r->most[r->cell[j]]))) return;
	while (i < b.columns && x[i] != top) i++;
	if (i == b.columns) return;
	r->rest[j] = sum_without(p, e, b.columns, i), r->cell[j] = cell;
	r->class[j] = (b.at + c * b.columns) % p->b->classes + i;
}

/* Finds the largest element of n rows from lo on, its place, and how much the exponentials of the
 * others add to its own. */
static void find_tops(const pass *p, room *r, size_t lo, size_t n) {
	for (size_t j = 0; j < n; j++) r->rest[j] = -1, r->cell[j] = 0;
	block b = first_block(p, n);
	do {
		const float *x = p->b->logits + lo * p->b->classes + b.at;
		lockstep_buffer in = {(float *)x, elements(b), 0}, columns = {(float *)ones, b.columns, 0}, most = {r->most + b.cell, b.cells, 0};
		lockstep_kernel_row_max(p->table, (lockstep_buffer[]){most, in, columns}, 3);
		lockstep_kernel_row_exp(p->table, (lockstep_buffer[]){{r->unwanted, in.len, 0}, in, most, {r->sum + b.cell, b.cells, 0}, columns}, 5);
		for (size_t c = 0; c < b.cells; c++) leave_top(p, r, b, c, x + c * b.columns, r->unwanted + c * b.columns);
	} while (next_block(p, &b));
	for (size_t j = 0; j < n; j++) {
		double sum = join(p, r, j * p->cells, &r->top[j]);
		r->over[j] = (float)(exact(r, j) ? rest_of(p, r, j, j * p->cells) : sum - 1);
	}
	lockstep_kernel_log1p(p->table, (lockstep_buffer[]){{r->log, n, 0}, {r->over, n, 0}}, 2);
}

/* Makes of n logarithms of p what the classes cost, of their targets E, and p. Focal, which takes targets
 * for alpha, has (1-p)·E: 1/(1-p) may be beyond what float holds. */
static void focus_piece(const pass *p, float *each, float *target, float *like, size_t n) {
	_Alignas(64) float wrong[PIECE], slope[PIECE];
	lockstep_buffer log = {each, n, 0};
	lockstep_kernel_exp(p->table, (lockstep_buffer[]){{like, n, 0}, log}, 2);
	lockstep_kernel_expm1(p->table, (lockstep_buffer[]){{slope, n, 0}, log}, 2);
	for (size_t i = 0; i < n; i++) {
		each[i] = -each[i], slope[i] = -slope[i];
		wrong[i] = slope[i] > 0x1p-126f ? slope[i] : 0x1p-126f;
	}
	double unwanted[LOCKSTEP_LANES] = {0};
	lockstep_buffer list[] = {{slope, n, 0}, {each, n, 0}, {target, n, 0}, {wrong, n, 0}, {like, n, 0}};
	lockstep_kernel_focal(p->table, list, 5, &(lockstep_focal_scalars){1, p->gamma, 1, 0}, unwanted);
	for (size_t i = 0; i < n; i++) target[i] = slope[i] / wrong[i];
}

/* Stores what each class of a block of n rows from lo on costs, E in the room, and unless nobody wants
 * it p, in the place of logits if need be. */
static void focus_all(const pass *p, room *r, block b, size_t lo, size_t n, float *each, float *like) {
	_Alignas(64) float unwanted[PIECE];
	const float *x = p->b->logits + lo * p->b->classes + b.at;
	for (size_t i = 0; i < elements(b); i++) {
		size_t j = (b.cell + i / b.columns) / p->cells;
		each[i] = (x[i] - r->top[j]) - r->log[j];
	}
	set_targets(p, b, lo, n, r->unwanted);
	for (size_t i = 0; i < elements(b); i += PIECE) focus_piece(p, each + i, r->unwanted + i, like ? like + i : unwanted, least(PIECE, elements(b) - i));
}

/* Adds E of a block up but for a row's largest element, which is kept where it is most of the sum. */
static void add_slopes(const pass *p, room *r, block b, size_t n) {
	size_t i, cell;
	for (size_t j = 0; j < n; j++)
		if (exact(r, j) && place_of(p, b, r->class[j], j, &i, &cell)) r->at[j] = r->unwanted[i], r->unwanted[i] = 0;
	lockstep_buffer slopes = {r->unwanted, elements(b), 0};
	lockstep_kernel_dots(p->table, (lockstep_buffer[]){{r->weight + b.cell, b.cells, 0}, slopes, {(float *)ones, b.columns, 0}}, 3);
}

/* The loss of the j-th row of a group, and its gradient's numbers. That of the largest element is no
 * difference from 1 where it is nearly sure. */
static double spread_row(const pass *p, room *r, size_t row, size_t j) {
	double loss = 0, others = 0, own = 0, over = (double)r->over[j], scale;
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) loss += (double)r->cost[c];
	loss = weighted_loss(p, row, loss, &scale);
	if (!p->b->grad) return loss;
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) others += (double)r->weight[c];
	if (exact(r, j)) {
		own = (double)r->at[j];
		r->at[j] = (float)(scale * ((others - own * over) / (1 + over)));
	}
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) r->a[c] = (float)(scale * (others + own)), r->b[c] = (float)scale, r->d[c] = 0;
	return loss;
}

/* Makes the gradient of n rows from lo on, p·ΣE - E: both are at hand unless blocks came after. */
static void make_spread_gradient(const pass *p, room *r, size_t lo, size_t n, float *each) {
	block b = first_block(p, n);
	do {
		lockstep_buffer g = {p->b->grad + lo * p->b->classes + b.at, elements(b), 0}, slopes = {r->unwanted, g.len, 0};
		if (p->cells > 1) focus_all(p, r, b, lo, n, each, g.data);
		lockstep_buffer list[] = {g, slopes, {r->a + b.cell, b.cells, 0}, {r->b + b.cell, b.cells, 0}, {r->d + b.cell, b.cells, 0}, {(float *)ones, b.columns, 0}};
		lockstep_kernel_row_targets_scale(p->table, list, 6);
	} while (next_block(p, &b));
	for (size_t j = 0; j < n; j++)
		if (exact(r, j)) grad_of(p, lo + j)[r->class[j]] = r->at[j];
}

/* The focal loss of logits whose targets are of all classes: see Go's spreadFocal, which has E. */
static double spread_focal(const pass *p, room *r, size_t lo, size_t n) {
	_Alignas(64) float each[BLOCK];
	if (n == 1 && skips(p, lo)) return clear_row(p, lo), 0;
	find_tops(p, r, lo, n);
	block b = first_block(p, n);
	do {
		focus_all(p, r, b, lo, n, each, p->b->grad && p->cells == 1 ? grad_of(p, lo) : NULL);
		lockstep_kernel_dots(p->table, (lockstep_buffer[]){{r->cost + b.cell, b.cells, 0}, {each, elements(b), 0}, {(float *)ones, b.columns, 0}}, 3);
		if (p->b->grad) add_slopes(p, r, b, n);
	} while (next_block(p, &b));
	double total = 0;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			set_scales(p, r, j * p->cells, 0, 0, 0);
		else
			total += spread_row(p, r, lo + j, j);
	}
	if (p->b->grad) make_spread_gradient(p, r, lo, n, each);
	for (size_t j = 0; j < n; j++)
		if (skips(p, lo + j)) clear_row(p, lo + j); /* after what of it was NaN */
	return total;
}

/* Clips n probabilities, and stores t·(1-q)^gamma·log q of each and its derivative by q. Focal takes
 * log q for a cross-entropy, whose sign is turned, and t for alpha. */
static void clip_piece(const pass *p, float *q, float *slope, float *each, float *target, size_t n) {
	_Alignas(64) float wrong[PIECE], bend[PIECE];
	const float low = 1e-7f, high = (float)(1 - 1e-7);
	for (size_t i = 0; i < n; i++) {
		int clipped = q[i] < low || q[i] > high;
		q[i] = lockstep_nearest(q[i], low, high);
		wrong[i] = 1 - q[i];
		slope[i] = clipped ? 0 : 1 / q[i];
		bend[i] = clipped ? 0 : -1 / wrong[i];
	}
	lockstep_kernel_log(p->table, (lockstep_buffer[]){{each, n, 0}, {q, n, 0}}, 2);
	double unwanted[LOCKSTEP_LANES] = {0};
	lockstep_buffer list[] = {{slope, n, 0}, {each, n, 0}, {target, n, 0}, {wrong, n, 0}, {bend, n, 0}};
	lockstep_kernel_focal(p->table, list, 5, &(lockstep_focal_scalars){1, p->gamma, 1, 0}, unwanted);
}

/* Adds up what a block of n rows from lo on has of that, and for the derivatives by the rows' sums
 * those by q times q: they are 0 where it is clipped. */
static void clip_block(const pass *p, room *r, block b, size_t lo, size_t n) {
	_Alignas(64) float q[BLOCK], each[BLOCK], unwanted[PIECE];
	size_t at = lo * p->b->classes + b.at, len = elements(b);
	float *slope = p->b->grad ? p->b->grad + at : NULL;
	for (size_t i = 0; i < len; i++) q[i] = p->b->logits[at + i] / r->top[(b.cell + i / b.columns) / p->cells];
	set_targets(p, b, lo, n, r->unwanted);
	for (size_t i = 0; i < len; i += PIECE) clip_piece(p, q + i, slope ? slope + i : unwanted, each + i, r->unwanted + i, least(PIECE, len - i));
	lockstep_buffer columns = {(float *)ones, b.columns, 0}, most = {r->most + b.cell, b.cells, 0};
	lockstep_kernel_dots(p->table, (lockstep_buffer[]){{r->sum + b.cell, b.cells, 0}, {each, len, 0}, columns}, 3);
	if (!slope) return;
	memset(most.data, 0, b.cells * sizeof(float));
	lockstep_buffer products[] = {{r->weight + b.cell, b.cells, 0}, {r->cost + b.cell, b.cells, 0}, {q, len, 0}, {slope, len, 0}, most, columns};
	lockstep_kernel_row_targets(p->table, products, 6, &(lockstep_row_targets_scalars){1, 0});
}

/* The loss of the j-th row of a group, and its gradient's numbers. */
static double clipped_row(const pass *p, room *r, size_t row, size_t j) {
	double loss = 0, product = 0, scale;
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) loss -= (double)r->sum[c];
	loss = weighted_loss(p, row, loss, &scale);
	if (!p->b->grad) return loss;
	scale /= (double)r->top[j];
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) product -= (double)r->cost[c];
	for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) r->a[c] = (float)-scale, r->b[c] = (float)-(scale * product);
	return loss;
}

/* Finds the sum of each of n rows from lo on. */
static void sum_rows(const pass *p, room *r, size_t lo, size_t n) {
	block b = first_block(p, n);
	do {
		lockstep_buffer x = {(float *)p->b->logits + lo * p->b->classes + b.at, elements(b), 0};
		lockstep_kernel_dots(p->table, (lockstep_buffer[]){{r->sum + b.cell, b.cells, 0}, x, {(float *)ones, b.columns, 0}}, 3);
	} while (next_block(p, &b));
	for (size_t j = 0; j < n; j++) {
		double sum = 0;
		for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) sum += (double)r->sum[c];
		r->top[j] = (float)sum;
	}
}

/* The focal loss of probabilities. */
static double clipped_focal(const pass *p, room *r, size_t lo, size_t n) {
	if (n == 1 && skips(p, lo)) return clear_row(p, lo), 0;
	sum_rows(p, r, lo, n);
	block b = first_block(p, n);
	do {
		clip_block(p, r, b, lo, n);
	} while (next_block(p, &b));
	double total = 0;
	for (size_t j = 0; j < n; j++) {
		if (skips(p, lo + j))
			clear_row(p, lo + j), share(p, r, j, 0);
		else
			total += clipped_row(p, r, lo + j, j);
	}
	if (!p->b->grad) return total;
	b = first_block(p, n);
	do {
		lockstep_buffer g = {p->b->grad + lo * p->b->classes + b.at, elements(b), 0};
		lockstep_kernel_row_scale(p->table, (lockstep_buffer[]){g, {r->a + b.cell, b.cells, 0}, {r->b + b.cell, b.cells, 0}, {(float *)ones, b.columns, 0}}, 4);
	} while (next_block(p, &b));
	return total;
}

/* What n rows from lo on cost. */
static double losses(const pass *p, room *r, size_t lo, size_t n) {
	if (p->clipped) return clipped_focal(p, r, lo, n);
	if (of_all(p)) return spread_focal(p, r, lo, n);
	switch (p->model) {
	case LOCKSTEP_ROW_NLL: return likelihoods(p, lo, n);
	case LOCKSTEP_ROW_MULTI_MARGIN: return margins(p, r, lo, n);
	case LOCKSTEP_ROW_CRAMMER_SINGER:
	case LOCKSTEP_ROW_CATEGORICAL_HINGE: return largest_margins(p, r, lo, n);
	default: return group_loss(p, r, lo, n);
	}
}

static void run_unit(void *context, size_t unit) {
	pass *p = context;
	room r;
	double sum = 0;
	size_t end = least((unit + 1) * p->unit, p->b->rows);
	for (size_t lo = unit * p->unit; lo < end; lo += p->group) sum += losses(p, &r, lo, least(p->group, end - lo));
	p->sums[unit] = sum;
}

/* What a pass needs beside its table, its options and its rows, whose gradient has a factor. */
static void begin(pass *p, double scale) {
	size_t classes = p->b->classes;
	p->scale = scale, p->keep = 1 - p->o->smoothing, p->each = p->o->smoothing / (double)classes, p->weight_of = (double)classes;
	p->wide = classes > BLOCK ? PIECE : classes;
	p->cells = (classes + p->wide - 1) / p->wide;
	p->group = classes > BLOCK ? 1 : least(GROUP, BLOCK / classes);
	p->unit = most(most(1, UNIT / classes), (p->b->rows + PARTS - 1) / PARTS);
	if (p->o->class_weights) p->weight_of = 0;
	for (size_t c = 0; p->o->class_weights && c < classes; c++) p->weight_of += (double)p->o->class_weights[c];
}

double lockstep_row_losses(const lockstep_table *table, const lockstep_cross_entropy_options *o, const lockstep_logits *b, double scale) {
	pass p = {.table = table, .o = o, .b = b};
	room r;
	double sum = 0;
	begin(&p, scale);
	for (size_t lo = 0; lo < b->rows; lo += p.group) sum += group_loss(&p, &r, lo, least(p.group, b->rows - lo));
	return sum;
}

/* The sum of the losses. */
static double run(pass *p, lockstep_pool *pool) {
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
	if ((unsigned)o->reduction > LOCKSTEP_REDUCE_BATCH_MEAN)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "reduction is %d, want one from LOCKSTEP_REDUCE_MEAN to LOCKSTEP_REDUCE_BATCH_MEAN", (int)o->reduction);
	if (!(o->smoothing >= 0 && o->smoothing <= 1))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "smoothing is %g, want from 0 to 1", o->smoothing);
	if (!(o->z_loss >= 0 && o->z_loss <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "z_loss is %g, want a finite float of at least 0", o->z_loss);
	return lockstep_check_factors("class_weights", o->class_weights, classes, error);
}

static lockstep_status check_rows(const pass *p, lockstep_error *error) {
	const lockstep_cross_entropy_options *o = p->o;
	const lockstep_logits *b = p->b;
	if (b->rows > PTRDIFF_MAX / sizeof(float) / b->classes)
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "logits has %zu rows of %zu classes, want no more than memory", b->rows, b->classes);
	if (b->targets && p->model && p->model != LOCKSTEP_ROW_SOFTMAX_FOCAL)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "targets are given, want NULL: the loss is of labels");
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

/* Refuses labels, and sets what the sum of the losses is divided by: 0 for a mean over nothing. */
static lockstep_status divide(const lockstep_cross_entropy_options *o, const lockstep_logits *b, int counts_rows, double *divisor, lockstep_error *error) {
	double sum = b->labels ? 0 : (double)b->rows;
	for (size_t i = 0; b->labels && i < b->rows; i++) {
		int64_t y = b->labels[i];
		if (o->ignores && y == o->ignored) continue;
		if ((uint64_t)y >= b->classes)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "labels[%zu] is %lld, want a class, from 0 to %zu%s", i, (long long)y, b->classes - 1, o->ignores ? ", or the label that is ignored" : "");
		sum += counts_rows ? 1 : (double)o->class_weights[y];
	}
	*divisor = o->reduction == LOCKSTEP_REDUCE_MEAN ? sum : o->reduction == LOCKSTEP_REDUCE_BATCH_MEAN ? (double)b->rows : 1;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_divide_entropy(const lockstep_cross_entropy_options *o, const lockstep_logits *b, double *divisor, lockstep_error *error) {
	return divide(o, b, !o->class_weights, divisor, error);
}

/* The reduced value of what is checked, with the mode of arithmetic that is usual. */
static LOCKSTEP_NOT_INLINED double value_of(pass *p, double scale, double divisor, lockstep_pool *pool) {
	if (divisor == 0) {
		for (size_t i = 0; i < p->b->rows; i++) clear_row(p, i);
		return p->o->empty_is_zero ? 0 : (double)NAN;
	}
	begin(p, scale / divisor);
	return run(p, pool) / divisor;
}

static lockstep_status eval(pass *p, double scale, lockstep_pool *pool, double *value, lockstep_error *error) {
	double divisor = 1;
	lockstep_status status = lockstep_check_entropy(p->o, p->b->classes, error);
	if (!status) status = check_rows(p, error);
	if (!status) status = divide(p->o, p->b, !p->o->class_weights || p->model > LOCKSTEP_ROW_NLL, &divisor, error);
	if (!status) status = lockstep_choose(&p->table, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	double v = value_of(p, scale, divisor, pool);
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_loss_cross_entropy(const lockstep_table *table, const lockstep_cross_entropy_options *options, const lockstep_logits *rows,
	double scale, lockstep_pool *pool, double *value, lockstep_error *error) {
	static const lockstep_cross_entropy_options defaults;
	pass p = {.table = table, .o = options ? options : &defaults, .b = rows};
	return eval(&p, scale, pool, value, error);
}

static lockstep_status check_model(const lockstep_row_loss_options *o, lockstep_error *error) {
	int has_margin = o->model > LOCKSTEP_ROW_NLL && o->model < LOCKSTEP_ROW_SOFTMAX_FOCAL;
	if (o->model < LOCKSTEP_ROW_NLL || o->model > LOCKSTEP_ROW_SOFTMAX_FOCAL)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "model is %d, want one from LOCKSTEP_ROW_NLL to LOCKSTEP_ROW_SOFTMAX_FOCAL", (int)o->model);
	if (o->margin && !has_margin)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "margin is %g, want NULL: the loss has none", *o->margin);
	if (o->margin && !(fabs(*o->margin) <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "margin is %g, want a finite float", *o->margin);
	if (o->squared && o->model != LOCKSTEP_ROW_MULTI_MARGIN)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "squared is %d, want 0: it is for LOCKSTEP_ROW_MULTI_MARGIN", o->squared);
	if (o->gamma != 0 && o->model != LOCKSTEP_ROW_SOFTMAX_FOCAL)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "gamma is %g, want 0: it is for LOCKSTEP_ROW_SOFTMAX_FOCAL", o->gamma);
	if (!(o->gamma >= 0 && o->gamma <= 1000))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "gamma is %g, want a number from 0 to 1000", o->gamma);
	if (o->probabilities && o->model != LOCKSTEP_ROW_SOFTMAX_FOCAL)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "probabilities is %d, want 0: it is for LOCKSTEP_ROW_SOFTMAX_FOCAL", o->probabilities);
	if (o->smoothing != 0 && o->model != LOCKSTEP_ROW_SOFTMAX_FOCAL)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "smoothing is %g, want 0: it is for LOCKSTEP_ROW_SOFTMAX_FOCAL", o->smoothing);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_loss_of_rows(const lockstep_table *table, const lockstep_row_loss_options *options, const lockstep_logits *rows,
	double scale, lockstep_pool *pool, double *value, lockstep_error *error) {
	lockstep_status status = check_model(options, error);
	if (status) return status;
	lockstep_cross_entropy_options o = {.reduction = options->reduction, .class_weights = options->class_weights, .ignores = options->ignores, .ignored = options->ignored, .smoothing = options->smoothing, .empty_is_zero = options->empty_is_zero};
	pass p = {.table = table, .o = &o, .b = rows, .model = options->model, .squared = options->squared, .clipped = options->probabilities, .gamma = (float)options->gamma};
	p.margin = options->margin ? *options->margin : 1;
	return eval(&p, scale, pool, value, error);
}

/* The softmax of rows. */

/* Rows of x at work, of which y is made: in a pass x is the logits, and y the gradient. */
typedef struct softmax {
	pass p;
	void (*make)(const pass *p, room *r, size_t lo, size_t n);
} softmax;

static lockstep_buffer cells_of(float *x, block b) { return (lockstep_buffer){x + b.cell, b.cells, 0}; }
static lockstep_buffer ones_of(block b) { return (lockstep_buffer){(float *)ones, b.columns, 0}; }

/* Stores the exponentials of n rows from lo on, unless nobody wants them, and what is known of each
 * row. */
static void find_sums(const pass *p, room *r, size_t lo, size_t n, int wanted) {
	block b = first_block(p, n);
	do {
		size_t at = lo * p->b->classes + b.at, len = elements(b);
		const float *x = p->b->logits + at;
		float *e = wanted ? p->b->grad + at : r->unwanted;
		lockstep_kernel_row_max(p->table, (lockstep_buffer[]){cells_of(r->most, b), {(float *)x, len, 0}, ones_of(b)}, 3);
		if (e == x) x = memcpy(r->unwanted, x, len * sizeof *x); /* kernels in C have what they write apart */
		lockstep_kernel_row_exp(p->table, (lockstep_buffer[]){{e, len, 0}, {(float *)x, len, 0}, cells_of(r->most, b), cells_of(r->sum, b), ones_of(b)}, 5);
	} while (next_block(p, &b));
	for (size_t j = 0; j < n; j++) r->over[j] = (float)(join(p, r, j * p->cells, &r->top[j]) - 1);
	lockstep_kernel_log1p(p->table, (lockstep_buffer[]){{r->log, n, 0}, {r->over, n, 0}}, 2);
}

static void make_softmax(const pass *p, room *r, size_t lo, size_t n) {
	find_sums(p, r, lo, n, 1);
	for (size_t j = 0; j < n; j++) set_scales(p, r, j * p->cells, 1 / (1 + (double)r->over[j]), 0, 0);
	block b = first_block(p, n);
	do {
		lockstep_buffer y = {p->b->grad + lo * p->b->classes + b.at, elements(b), 0};
		lockstep_kernel_row_scale(p->table, (lockstep_buffer[]){y, cells_of(r->a, b), cells_of(r->b, b), ones_of(b)}, 4);
	} while (next_block(p, &b));
}

/* The distances from the largest element, less the logarithm of the sum. */
static void make_log_softmax(const pass *p, room *r, size_t lo, size_t n) {
	find_sums(p, r, lo, n, 0);
	for (size_t j = 0; j < n; j++)
		for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) r->a[c] = 1, r->b[c] = r->top[j], r->d[c] = r->log[j];
	block b = first_block(p, n);
	do {
		size_t at = lo * p->b->classes + b.at, len = elements(b);
		lockstep_buffer y = {p->b->grad + at, len, 0}, a = cells_of(r->a, b);
		if (y.data != p->b->logits + at) memcpy(y.data, p->b->logits + at, len * sizeof(float));
		lockstep_kernel_row_scale(p->table, (lockstep_buffer[]){y, a, cells_of(r->b, b), ones_of(b)}, 4);
		lockstep_kernel_row_scale(p->table, (lockstep_buffer[]){y, a, cells_of(r->d, b), ones_of(b)}, 4);
	} while (next_block(p, &b));
}

static void make_log_sums(const pass *p, room *r, size_t lo, size_t n) {
	find_sums(p, r, lo, n, 0);
	for (size_t j = 0; j < n; j++) p->b->each[lo + j] = (float)((double)r->top[j] + (double)r->log[j]);
}

/* The gradient by x of rows of log-softmax, which is that by these, less their probabilities times
 * the row's sum. */
static void make_log_softmax_grad(const pass *p, room *r, size_t lo, size_t n) {
	block b = first_block(p, n);
	do {
		lockstep_buffer g = {p->b->grad + lo * p->b->classes + b.at, elements(b), 0};
		lockstep_kernel_dots(p->table, (lockstep_buffer[]){cells_of(r->weight, b), g, ones_of(b)}, 3);
	} while (next_block(p, &b));
	for (size_t j = 0; j < n; j++) {
		double sum = 0;
		for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) sum += (double)r->weight[c];
		for (size_t c = j * p->cells; c < (j + 1) * p->cells; c++) r->a[c] = 1, r->b[c] = (float)sum, r->d[c] = 0, r->most[c] = 0;
	}
	b = first_block(p, n);
	do {
		size_t at = lo * p->b->classes + b.at, len = elements(b);
		lockstep_buffer g = {p->b->grad + at, len, 0}, e = {r->unwanted, len, 0}, y = {(float *)p->b->logits + at, len, 0};
		lockstep_kernel_row_exp(p->table, (lockstep_buffer[]){e, y, cells_of(r->most, b), cells_of(r->sum, b), ones_of(b)}, 5);
		lockstep_kernel_row_targets_scale(p->table, (lockstep_buffer[]){g, e, cells_of(r->a, b), cells_of(r->b, b), cells_of(r->d, b), ones_of(b)}, 6);
	} while (next_block(p, &b));
}

static void make_unit(void *context, size_t unit) {
	const softmax *s = context;
	room r;
	size_t end = least((unit + 1) * s->p.unit, s->p.b->rows);
	for (size_t lo = unit * s->p.unit; lo < end; lo += s->p.group) s->make(&s->p, &r, lo, least(s->p.group, end - lo));
}

static LOCKSTEP_NOT_INLINED void make_all(softmax *s, lockstep_pool *pool) {
	size_t rows = s->p.b->rows;
	begin(&s->p, 1);
	lockstep_share(pool, make_unit, s, (rows + s->p.unit - 1) / s->p.unit, rows * s->p.b->classes / ELEMENTS);
}

/* Makes what is checked but for the buffers, of which the first is written: in the place of the
 * other where that may be. */
static lockstep_status make(softmax *s, lockstep_named out, lockstep_named in, int in_place, lockstep_pool *pool, lockstep_error *error) {
	static const lockstep_cross_entropy_options plain;
	size_t rows = s->p.b->rows, columns = s->p.b->classes;
	if (!rows) return LOCKSTEP_OK;
	if (columns < 1 || columns > CLASSES)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "columns is %zu, want from 1 to %d", columns, CLASSES);
	if (rows > PTRDIFF_MAX / sizeof(float) / columns)
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "%s has %zu rows of %zu columns, want no more than memory", in.name, rows, columns);
	in.n = rows * columns;
	if (!out.n) out.n = in.n;
	lockstep_status status = lockstep_check_buffers((lockstep_named[]){out, in}, 2, !in_place || out.data != in.data, error);
	if (!status) status = lockstep_choose(&s->p.table, error);
	if (status) return status;
	s->p.o = &plain;
	lockstep_mode before = lockstep_enter_mode();
	make_all(s, pool);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_loss_softmax(const lockstep_table *table, const float *x, size_t rows, size_t columns, float *y, lockstep_pool *pool, lockstep_error *error) {
	const lockstep_logits b = {.logits = x, .rows = rows, .classes = columns, .grad = y};
	return make(&(softmax){.p = {.table = table, .b = &b}, .make = make_softmax}, (lockstep_named){"y", y, 0}, (lockstep_named){"x", x, 0}, 1, pool, error);
}

lockstep_status lockstep_loss_log_softmax(const lockstep_table *table, const float *x, size_t rows, size_t columns, float *y, lockstep_pool *pool, lockstep_error *error) {
	const lockstep_logits b = {.logits = x, .rows = rows, .classes = columns, .grad = y};
	return make(&(softmax){.p = {.table = table, .b = &b}, .make = make_log_softmax}, (lockstep_named){"y", y, 0}, (lockstep_named){"x", x, 0}, 1, pool, error);
}

lockstep_status lockstep_loss_log_sum_exp(const lockstep_table *table, const float *x, size_t rows, size_t columns, float *y, lockstep_pool *pool, lockstep_error *error) {
	const lockstep_logits b = {.logits = x, .rows = rows, .classes = columns, .each = y};
	return make(&(softmax){.p = {.table = table, .b = &b}, .make = make_log_sums}, (lockstep_named){"y", y, rows}, (lockstep_named){"x", x, 0}, 0, pool, error);
}

lockstep_status lockstep_loss_log_softmax_grad(const lockstep_table *table, const float *y, size_t rows, size_t columns, float *grad, lockstep_pool *pool, lockstep_error *error) {
	const lockstep_logits b = {.logits = y, .rows = rows, .classes = columns, .grad = grad};
	return make(&(softmax){.p = {.table = table, .b = &b}, .make = make_log_softmax_grad}, (lockstep_named){"grad", grad, 0}, (lockstep_named){"y", y, 0}, 0, pool, error);
}
