/* Losses and linear models give the bits of Go's package loss, on every table, and refuse what
 * they must. */
#include "lockstep_loss.h"
#include "test.h"

#include <math.h>
#include <string.h>

enum { UNSCALED = 8, SOFTMAX_LINEAR = UNSCALED + 13, OF_ROWS = SOFTMAX_LINEAR + 2, OF_PROBABILITIES = OF_ROWS + 3, LOSSES = OF_PROBABILITIES + 4, SHORT_LOSSES = 60, LOSS_CASES = SHORT_LOSSES + 6 };
static const char *const loss_names[LOSSES] = {"loss_mse", "loss_bce", "loss_bce_with_logits", "loss_hinge", "loss_squared_hinge", "penalty", "linear", "cross_entropy",
	"loss_mse_scaled", "loss_mae", "loss_huber", "loss_smooth_l1", "loss_quantile", "loss_log_cosh", "loss_soft_margin", "loss_poisson_nll",
	"loss_gaussian_nll", "loss_kl_divergence", "loss_focal", "loss_bce_smoothed", "loss_bce_with_logits_smoothed", "softmax_linear", "loss_bce_with_class_logits", "loss_of_rows", "loss_cosine_embedding", "loss_softmax",
	"loss_kl_divergence_of_probabilities", "loss_focal_of_probabilities", "loss_of_rows_of_probabilities", "loss_of_rows_of_targets"};
static uint32_t expected[LOSSES][LOSS_CASES];

static float from_bits(uint32_t bits) {
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static float draw_unit(source *s) { return fabsf(ordinary(s)) / 4; }

static size_t draw_size(source *s) { return s->number < SHORT_LOSSES ? 3 * (size_t)s->number : 60000 + below(s, 80000); }

/* Room for n elements, at its end memory that a sanitizer guards. */
static float *room(size_t n) {
	float *x = calloc(n + 1, sizeof *x);
	CHECK(x, "no memory");
	return x;
}

static float *draw_values(source *s, size_t n) {
	float *x = room(n);
	for (size_t i = 0; i < n; i++) x[i] = from_bits(value(s));
	return x;
}

static uint64_t hash_value(double value) { return hash_doubles(HASH_START, &value, 1); }

/* The options that losses have. */
typedef struct loss_options {
	int option;
	double weight;
} loss_options;

static lockstep_status eval_plain(int kind, const lockstep_table *table, const lockstep_predictions *p, loss_options o, double *value, lockstep_error *error) {
	switch (kind) {
	case 0: return lockstep_loss_mse(table, p, value, error);
	case 1: return lockstep_loss_bce(table, p, (lockstep_clamp)o.option, value, error);
	case 2: return lockstep_loss_bce_with_logits(table, p, o.weight, value, error);
	case 3: return lockstep_loss_hinge(table, p, (lockstep_labels)o.option, value, error);
	}
	return lockstep_loss_squared_hinge(table, p, (lockstep_labels)o.option, value, error);
}

/* A normal distribution whose variances are the targets: with the second option their gradient is
 * added to the other one. */
static lockstep_status eval_normal(const lockstep_table *table, const lockstep_predictions *p, loss_options o, double *value, lockstep_error *error) {
	float *by = o.option & 2 ? room(p->n) : NULL;
	lockstep_status status = lockstep_loss_gaussian_nll(table, p, p->target, by, o.weight + 0x1p-10, o.option & 1, value, error);
	for (size_t i = 0; by && p->grad && i < p->n; i++) p->grad[i] += by[i];
	free(by);
	return status;
}

static lockstep_status eval_smoothed(int kind, const lockstep_table *table, const lockstep_predictions *p, loss_options o, double *value, lockstep_error *error) {
	lockstep_predictions smoothed = *p;
	smoothed.smoothing = o.weight;
	if (kind == UNSCALED + 11) return lockstep_loss_bce(table, &smoothed, (lockstep_clamp)(o.option & 1), value, error);
	return lockstep_loss_bce_with_logits(table, &smoothed, 1, value, error);
}

static lockstep_status eval_scaled(int kind, const lockstep_table *table, const lockstep_predictions *p, loss_options o, double *value, lockstep_error *error) {
	switch (kind - UNSCALED) {
	case 0: return lockstep_loss_mse(table, p, value, error);
	case 1: return lockstep_loss_mae(table, p, value, error);
	case 2: return lockstep_loss_huber(table, p, o.weight + 0x1p-10, value, error);
	case 3: return lockstep_loss_smooth_l1(table, p, o.weight * o.option, value, error);
	case 4: return lockstep_loss_quantile(table, p, o.weight / 2 + .25, value, error);
	case 5: return lockstep_loss_log_cosh(table, p, value, error);
	case 6: return lockstep_loss_soft_margin(table, p, value, error);
	case 7: return lockstep_loss_poisson_nll(table, p, o.option & 1, o.weight, o.option & 2, value, error);
	case 8: return eval_normal(table, p, o, value, error);
	case 9: return lockstep_loss_kl_divergence(table, p, o.option & 1, value, error);
	}
	if (kind == OF_PROBABILITIES) return lockstep_loss_kl_divergence_of_probabilities(table, p, value, error);
	if (kind == UNSCALED + 10 || kind == OF_PROBABILITIES + 1) {
		lockstep_predictions smoothed = *p;
		smoothed.smoothing = o.option & 2 ? o.weight : 0;
		const double *alpha = o.option & 1 ? &o.weight : NULL;
		if (kind == UNSCALED + 10) return lockstep_loss_focal(table, &smoothed, 4 * o.weight, alpha, value, error);
		return lockstep_loss_focal_of_probabilities(table, &smoothed, 4 * o.weight, alpha, value, error);
	}
	if (kind == OF_ROWS - 1) {
		lockstep_predictions smoothed = *p;
		smoothed.smoothing = (double)o.option / 4;
		return lockstep_loss_bce_with_class_logits(table, &smoothed, (float[]){(float)o.weight, 0, 3}, 3, value, error);
	}
	return eval_smoothed(kind, table, p, o, value, error);
}

static lockstep_status eval(int kind, const lockstep_table *table, const lockstep_predictions *p, loss_options o, double *value, lockstep_error *error) {
	return kind < UNSCALED ? eval_plain(kind, table, p, o, value, error) : eval_scaled(kind, table, p, o, value, error);
}

/* Pools that share all calls. */
enum { POOLS = 2 };
static lockstep_pool *pools[POOLS];

/* What comes of predictions on the threads of a pool, or on this one. */
static uint64_t hash_predictions(int kind, const lockstep_table *table, lockstep_predictions p, loss_options o, lockstep_pool *pool) {
	double value;
	lockstep_error error;
	p.pool = pool;
	if (p.grad) p.grad = room(p.n);
	if (p.each) p.each = room(p.n);
	CHECK(!eval(kind, table, &p, o, &value, &error), "%s: %s", loss_names[kind], error.message);
	uint64_t h = hash_value(value);
	if (p.grad) h = hash_floats(h, p.grad, p.n);
	if (p.each) h = hash_floats(h, p.each, p.n);
	free(p.grad), free(p.each);
	return h;
}

static uint64_t hash_on_all(int kind, const lockstep_table *table, const lockstep_predictions *p, loss_options o) {
	uint64_t h = hash_predictions(kind, table, *p, o, NULL);
	for (int k = 0; k < POOLS; k++)
		CHECK(hash_predictions(kind, table, *p, o, pools[k]) == h, "%s of %zu elements: other bits on more threads", loss_names[kind], p->n);
	return h;
}

/* Draws predictions and targets, half of the time probabilities. */
static void draw_predictions(source *s, lockstep_predictions *p) {
	int probable = below(s, 2) > 0;
	float *pred = draw_values(s, p->n), *target = draw_values(s, p->n);
	for (size_t i = 0; probable && i < p->n; i++) {
		pred[i] = draw_unit(s);
		target[i] = draw_unit(s);
	}
	p->pred = pred;
	p->target = target;
}

static uint64_t run_loss(int kind, const lockstep_table *table, source *s) {
	lockstep_predictions p = {.n = draw_size(s)};
	p.reduction = (lockstep_reduction)below(s, 3);
	loss_options o = {.option = (int)below(s, 2)};
	o.weight = draw_unit(s);
	float wanted;
	if (below(s, 4) > 0) p.grad = &wanted;
	if (below(s, 2) > 0 || p.reduction == LOCKSTEP_REDUCE_NONE) p.each = &wanted;
	draw_predictions(s, &p);
	uint64_t h = hash_on_all(kind, table, &p, o);
	free((void *)p.pred), free((void *)p.target);
	return h;
}

static float *draw_weights(source *s, size_t n) {
	float *w = room(n);
	for (size_t i = 0; i < n; i++)
		if (below(s, 8) > 0) w[i] = draw_unit(s);
	return w;
}

static uint64_t run_scaled(int kind, const lockstep_table *table, source *s) {
	size_t rows = draw_size(s) / 3;
	lockstep_predictions p = {.n = 3 * rows, .rows = rows};
	p.reduction = (lockstep_reduction)below(s, 5);
	loss_options o = {.option = (int)below(s, 4)};
	o.weight = draw_unit(s);
	p.weights = (size_t[]){0, p.n, rows}[below(s, 3)];
	double scale = o.weight - .5;
	if (below(s, 2) > 0) p.grad_scale = &scale;
	float wanted;
	if (below(s, 4) > 0) p.grad = &wanted;
	if (below(s, 2) > 0 || p.reduction == LOCKSTEP_REDUCE_NONE) p.each = &wanted;
	draw_predictions(s, &p);
	if (p.weights) p.weight = draw_weights(s, p.weights);
	uint64_t h = hash_on_all(kind, table, &p, o);
	free((void *)p.pred), free((void *)p.target), free((void *)p.weight);
	return h;
}

static uint64_t run_penalty(const lockstep_table *table, source *s) {
	size_t n = draw_size(s);
	float *w = draw_values(s, n), *grad = NULL;
	double l1 = draw_unit(s), l2 = draw_unit(s), value;
	if (below(s, 2) > 0) grad = draw_values(s, n);
	lockstep_error error;
	CHECK(!lockstep_penalty(table, l1, l2, w, n, grad, &value, &error), "penalty: %s", error.message);
	uint64_t h = hash_value(value);
	if (grad) h = hash_floats(h, grad, n);
	free(w), free(grad);
	return h;
}

static float draw_label(source *s, lockstep_model model, lockstep_labels labels) {
	if (model == LOCKSTEP_LINEAR_LOGISTIC) return draw_unit(s);
	if (model == LOCKSTEP_LINEAR_POISSON) return 8 * draw_unit(s);
	if (model == LOCKSTEP_LINEAR_HINGE || model == LOCKSTEP_LINEAR_SQUARED_HINGE) return below(s, 2) > 0 ? 1 : (float)labels - 1;
	return from_bits(value(s));
}

/* A linear model with its data. */
typedef struct problem {
	size_t columns, rows, length;
	float *x, *w, *y, *grad, *z;
	lockstep_linear *l;
} problem;

static problem draw_problem(source *s) {
	static const uint32_t sizes[][2] = {{64, 40000}, {40, 3000}, {40, 60}, {600, 300}, {20000, 12}};
	const uint32_t *size = sizes[below(s, 5)];
	problem p = {.columns = below(s, size[0])};
	p.rows = below(s, size[1]);
	lockstep_model model = (lockstep_model)below(s, 9);
	lockstep_labels labels = (lockstep_labels)below(s, 2);
	int intercept = below(s, 2) > 0;
	double option = draw_unit(s);
	p.length = p.columns + (size_t)intercept;
	p.x = draw_values(s, p.rows * p.columns);
	p.w = draw_values(s, p.length);
	p.y = room(p.rows);
	for (size_t i = 0; i < p.rows; i++) p.y[i] = draw_label(s, model, labels);
	p.grad = room(p.length);
	p.z = room(p.rows);
	CHECK(!lockstep_linear_new(model, p.columns, intercept, labels, &p.l, NULL), "no model");
	if (model == LOCKSTEP_LINEAR_HUBER) CHECK(!lockstep_linear_set_delta(p.l, option + 0x1p-10, NULL), "no delta");
	if (model == LOCKSTEP_LINEAR_QUANTILE) CHECK(!lockstep_linear_set_level(p.l, option / 2 + .25, NULL), "no level");
	return p;
}

static void free_problem(problem *p) {
	free(p->x), free(p->w), free(p->y), free(p->grad), free(p->z);
	lockstep_linear_free(p->l);
}

/* Checks that a gradient is the same on the threads of a pool, and with the room that it leaves. */
static void check_shared(const problem *p, const lockstep_table *table, lockstep_pool *pool, double want) {
	float *grad = room(p->length);
	double value = 0;
	lockstep_error e;
	CHECK(!lockstep_linear_gradient_shared(p->l, table, p->x, p->y, p->rows, p->w, grad, pool, &value, &e), "shared: %s", e.message);
	CHECK(hash_floats(hash_value(value), grad, p->length) == hash_floats(hash_value(want), p->grad, p->length), "%zu rows of %zu columns: other bits on more threads", p->rows, p->columns);
	free(grad);
}

static uint64_t run_linear(const lockstep_table *table, source *s) {
	problem p = draw_problem(s);
	double value;
	lockstep_error e;
	CHECK(!lockstep_linear_gradient(p.l, table, p.x, p.y, p.rows, p.w, p.grad, &value, &e), "linear: %s", e.message);
	CHECK(!lockstep_linear_predict(p.l, table, p.x, p.rows, p.w, p.z, &e), "linear: %s", e.message);
	for (int k = 0; k < POOLS; k++) check_shared(&p, table, pools[k], value);
	uint64_t h = hash_floats(hash_floats(hash_value(value), p.grad, p.length), p.z, p.rows);
	free_problem(&p);
	return h;
}

/* n numbers from 0 to 1 once in so many times, else NULL. */
static float *draw_some(source *s, uint32_t often, size_t n) {
	if (below(s, often) > 0) return NULL;
	float *x = room(n);
	for (size_t i = 0; i < n; i++) x[i] = draw_unit(s);
	return x;
}

/* Rows with their options. */
typedef struct rows_case {
	lockstep_cross_entropy_options o;
	lockstep_row_loss_options of; /* labels, if it has a model */
	lockstep_logits b;
	double scale, margin;
	int place; /* of the gradient: nowhere, apart, or that of the logits */
	int each;
} rows_case;

static int64_t *draw_labels(source *s, size_t rows, uint32_t classes) {
	int64_t *labels = calloc(rows + 1, sizeof *labels);
	CHECK(labels, "no memory");
	for (size_t i = 0; i < rows; i++) labels[i] = below(s, classes);
	return labels;
}

static lockstep_cross_entropy_options draw_entropy(source *s, uint32_t classes) {
	lockstep_cross_entropy_options o = {0};
	o.reduction = (lockstep_reduction)below(s, 4);
	o.class_weights = draw_some(s, 2, classes);
	if (below(s, 2) > 0) o.ignores = 1, o.ignored = below(s, classes);
	if (below(s, 2) > 0) o.smoothing = draw_unit(s);
	if (below(s, 3) == 0) o.z_loss = draw_unit(s);
	o.empty_is_zero = (int)below(s, 2);
	return o;
}

/* Draws logits, and the place of the gradient. */
static void draw_logits(source *s, rows_case *c) {
	int wild = below(s, 3) == 0;
	size_t n = c->b.rows * c->b.classes;
	float *logits = room(n);
	for (size_t i = 0; i < n; i++) {
		logits[i] = 16 * draw_unit(s);
		if (wild) logits[i] = from_bits(value(s));
	}
	c->b.logits = logits;
	c->place = (int)below(s, 3);
}

static rows_case draw_rows(source *s) {
	static const uint32_t sizes[][2] = {{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 3}};
	const uint32_t *size = sizes[below(s, 5)];
	uint32_t classes = 1 + below(s, size[0]);
	rows_case c = {.b.classes = classes};
	c.b.rows = below(s, size[1]);
	c.o = draw_entropy(s, classes);
	c.b.weights = draw_some(s, 3, c.b.rows);
	c.b.targets = draw_some(s, 3, c.b.rows * classes);
	c.scale = draw_unit(s);
	if (!c.b.targets) c.b.labels = draw_labels(s, c.b.rows, classes);
	draw_logits(s, &c);
	c.each = below(s, 2) > 0 || c.o.reduction == LOCKSTEP_REDUCE_NONE;
	return c;
}

/* Rows of a loss of labels. */
static rows_case draw_label_rows(source *s) {
	static const uint32_t sizes[][2] = {{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 3}};
	const uint32_t *size = sizes[below(s, 5)];
	uint32_t classes = 1 + below(s, size[0]);
	rows_case c = {.b.classes = classes};
	lockstep_row_loss_options *o = &c.of;
	c.b.rows = below(s, size[1]);
	o->model = (lockstep_row_model)(1 + below(s, 5));
	o->reduction = (lockstep_reduction)below(s, 4);
	o->class_weights = draw_some(s, 2, classes);
	if (below(s, 2) > 0) o->ignores = 1, o->ignored = below(s, classes);
	o->empty_is_zero = (int)below(s, 2);
	int has_margin = below(s, 2) > 0;
	double x = draw_unit(s);
	if (o->model == LOCKSTEP_ROW_SOFTMAX_FOCAL)
		o->gamma = 4 * x;
	else if (o->model != LOCKSTEP_ROW_NLL && has_margin)
		c.margin = x - .25;
	else
		c.margin = (double)NAN; /* none */
	o->squared = o->model == LOCKSTEP_ROW_MULTI_MARGIN && below(s, 2) > 0;
	c.b.weights = draw_some(s, 3, c.b.rows);
	c.scale = draw_unit(s);
	c.b.labels = draw_labels(s, c.b.rows, classes);
	draw_logits(s, &c);
	c.each = below(s, 2) > 0 || o->reduction == LOCKSTEP_REDUCE_NONE;
	return c;
}

/* Rows of probabilities or of logits, of the focal loss. */
static rows_case draw_focal_rows(source *s, int probabilities) {
	static const uint32_t sizes[][2] = {{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 3}};
	const uint32_t *size = sizes[below(s, 5)];
	uint32_t classes = 1 + below(s, size[0]);
	rows_case c = {.b.classes = classes};
	c.b.rows = below(s, size[1]);
	lockstep_cross_entropy_options e = draw_entropy(s, classes);
	c.of = (lockstep_row_loss_options){.model = LOCKSTEP_ROW_SOFTMAX_FOCAL, .probabilities = probabilities, .gamma = 4 * (double)draw_unit(s), .reduction = e.reduction,
		.class_weights = e.class_weights, .ignores = e.ignores, .ignored = e.ignored, .empty_is_zero = e.empty_is_zero, .smoothing = e.smoothing};
	c.b.weights = draw_some(s, 3, c.b.rows);
	c.b.targets = draw_some(s, 3, c.b.rows * classes);
	c.scale = draw_unit(s);
	if (!c.b.targets) c.b.labels = draw_labels(s, c.b.rows, classes);
	draw_logits(s, &c);
	float *logits = (float *)c.b.logits;
	for (size_t i = 0; i < c.b.rows * classes && !probabilities; i += 700) logits[i] += 64 * draw_unit(s); /* far above the others of a piece */
	c.each = below(s, 2) > 0 || c.of.reduction == LOCKSTEP_REDUCE_NONE;
	return c;
}

/* Evaluates the loss that a case has. */
static lockstep_status eval_rows(const rows_case *c, const lockstep_table *table, const lockstep_logits *b, lockstep_pool *pool, double *value, lockstep_error *error) {
	if (!c->of.model) return lockstep_loss_cross_entropy(table, &c->o, b, c->scale, pool, value, error);
	lockstep_row_loss_options o = c->of;
	if (o.model != LOCKSTEP_ROW_SOFTMAX_FOCAL && !isnan(c->margin)) o.margin = &c->margin;
	return lockstep_loss_of_rows(table, &o, b, c->scale, pool, value, error);
}

/* What comes out on the threads of a pool, or on this one. */
static uint64_t hash_rows(const rows_case *c, const lockstep_table *table, lockstep_pool *pool) {
	lockstep_logits b = c->b;
	size_t n = b.rows * b.classes;
	float *logits = room(n);
	memcpy(logits, b.logits, n * sizeof *logits);
	b.logits = logits;
	if (c->place) b.grad = c->place == 2 ? logits : room(n);
	if (c->each) b.each = room(b.rows);
	double value;
	lockstep_error e;
	CHECK(!eval_rows(c, table, &b, pool, &value, &e), "rows: %s", e.message);
	uint64_t h = hash_value(value);
	if (b.grad) h = hash_floats(h, b.grad, n);
	if (b.each) h = hash_floats(h, b.each, b.rows);
	if (c->place == 1) free(b.grad);
	free(logits), free(b.each);
	return h;
}

static uint64_t run_rows(const lockstep_table *table, rows_case c) {
	uint64_t h = hash_rows(&c, table, NULL);
	for (int k = 0; k < POOLS; k++)
		CHECK(hash_rows(&c, table, pools[k]) == h, "%zu rows of %zu classes: other bits on more threads", c.b.rows, c.b.classes);
	free((void *)c.o.class_weights), free((void *)c.of.class_weights), free((void *)c.b.weights), free((void *)c.b.targets), free((void *)c.b.labels), free((void *)c.b.logits);
	return h;
}

static float *draw_numbers(source *s, size_t n, int wild) {
	float *x = room(n);
	for (size_t i = 0; i < n; i++) {
		x[i] = 2 * draw_unit(s) - 1;
		if (wild) x[i] = from_bits(value(s));
	}
	return x;
}

static uint64_t run_pairs(const lockstep_table *table, source *s) {
	static const uint32_t sizes[][2] = {{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 24}};
	const uint32_t *size = sizes[below(s, 5)];
	lockstep_pairs b = {.columns = 1 + below(s, size[0])};
	b.rows = below(s, size[1]);
	b.reduction = (lockstep_reduction)below(s, 4);
	double margin = (double)draw_unit(s) - .5, eps = draw_unit(s), scale, v;
	size_t n = b.rows * b.columns;
	b.weights = draw_some(s, 3, b.rows);
	scale = draw_unit(s);
	float *labels = below(s, 2) > 0 ? room(b.rows) : NULL;
	for (size_t i = 0; labels && i < b.rows; i++) labels[i] = 1 - 2 * (float)below(s, 2);
	b.labels = labels;
	int wild = below(s, 3) == 0;
	b.x = draw_numbers(s, n, wild), b.y = draw_numbers(s, n, wild);
	if (below(s, 2) > 0) b.grad_x = room(n);
	if (below(s, 2) > 0) b.grad_y = room(n);
	if (below(s, 2) > 0 || b.reduction == LOCKSTEP_REDUCE_NONE) b.each = room(b.rows);
	lockstep_error e;
	uint64_t first = 0;
	for (int k = -1; k < POOLS; k++) {
		b.pool = k < 0 ? NULL : pools[k];
		CHECK(!lockstep_loss_cosine_embedding(table, &b, margin, eps, scale, &v, &e), "pairs: %s", e.message);
		uint64_t h = hash_value(v);
		if (b.grad_x) h = hash_floats(h, b.grad_x, n);
		if (b.grad_y) h = hash_floats(h, b.grad_y, n);
		if (b.each) h = hash_floats(h, b.each, b.rows);
		if (k < 0) first = h;
		CHECK(h == first, "%zu pairs of %zu columns: other bits on more threads", b.rows, b.columns);
	}
	free((void *)b.x), free((void *)b.y), free(labels), free((void *)b.weights), free(b.grad_x), free(b.grad_y), free(b.each);
	return first;
}

/* Probabilities of rows, their logarithms in place and apart, what comes back through them, and the
 * logarithms of sums. */
static uint64_t hash_probabilities(const lockstep_table *table, const float *x, const float *g, size_t rows, size_t columns, lockstep_pool *pool) {
	size_t n = rows * columns;
	float *y = room(n), *grad = room(n), *sums = room(rows);
	lockstep_error e;
	CHECK(!lockstep_loss_softmax(table, x, rows, columns, y, pool, &e), "softmax: %s", e.message);
	uint64_t h = hash_floats(HASH_START, y, n);
	memcpy(y, x, n * sizeof *y), memcpy(grad, g, n * sizeof *grad);
	CHECK(!lockstep_loss_log_softmax(table, y, rows, columns, y, pool, &e), "log-softmax: %s", e.message);
	CHECK(!lockstep_loss_log_softmax_grad(table, y, rows, columns, grad, pool, &e), "its gradient: %s", e.message);
	CHECK(!lockstep_loss_log_sum_exp(table, x, rows, columns, sums, pool, &e), "logarithms of sums: %s", e.message);
	h = hash_floats(hash_floats(hash_floats(h, y, n), grad, n), sums, rows);
	CHECK(!lockstep_loss_softmax(table, x, rows, columns, grad, pool, &e) && !lockstep_loss_log_softmax(table, x, rows, columns, y, pool, &e), "%s", e.message);
	uint64_t apart = hash_floats(hash_floats(HASH_START, grad, n), y, n);
	memcpy(grad, x, n * sizeof *grad), memcpy(y, x, n * sizeof *y);
	CHECK(!lockstep_loss_softmax(table, grad, rows, columns, grad, pool, &e) && !lockstep_loss_log_softmax(table, y, rows, columns, y, pool, &e), "%s", e.message);
	CHECK(hash_floats(hash_floats(HASH_START, grad, n), y, n) == apart, "%zu rows of %zu columns: other bits in place", rows, columns);
	free(y), free(grad), free(sums);
	return h;
}

static uint64_t run_probabilities(const lockstep_table *table, source *s) {
	static const uint32_t sizes[][2] = {{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 24}};
	const uint32_t *size = sizes[below(s, 5)];
	size_t columns = 1 + below(s, size[0]), rows = below(s, size[1]);
	int wild = below(s, 3) == 0;
	float *x = draw_numbers(s, rows * columns, wild), *g = draw_numbers(s, rows * columns, 0);
	uint64_t h = hash_probabilities(table, x, g, rows, columns, NULL);
	for (int k = 0; k < POOLS; k++)
		CHECK(hash_probabilities(table, x, g, rows, columns, pools[k]) == h, "%zu rows of %zu columns: other bits on more threads", rows, columns);
	free(x), free(g);
	return h;
}

/* Softmax regression with its options: which of its gradients are wanted. */
typedef struct softmax_case {
	lockstep_cross_entropy_options o;
	lockstep_softmax_linear p;
	double scale;
	int wanted[4]; /* by w, b and x, and each */
} softmax_case;

static float *draw_floats(source *s, int wild, size_t n) {
	if (wild) return draw_values(s, n);
	float *x = room(n);
	for (size_t i = 0; i < n; i++) x[i] = draw_unit(s);
	return x;
}

static softmax_case draw_softmax(source *s) {
	static const uint32_t sizes[][3] = {{40, 12, 700}, {300, 70, 100}, {20, 900, 30}, {4, 4, 9000}, {2, 6000, 6}, {900, 3, 1500}};
	const uint32_t *size = sizes[below(s, 6)];
	softmax_case c = {.p.features = below(s, size[0])};
	uint32_t classes = 1 + below(s, size[1]);
	c.p.classes = classes;
	c.p.rows = below(s, size[2]);
	c.o = draw_entropy(s, classes);
	c.p.weights = draw_some(s, 3, c.p.rows);
	c.p.targets = draw_some(s, 3, c.p.rows * classes);
	c.scale = draw_unit(s);
	if (!c.p.targets) c.p.labels = draw_labels(s, c.p.rows, classes);
	int wild = below(s, 3) == 0;
	c.p.x = draw_floats(s, wild, c.p.rows * c.p.features);
	c.p.w = draw_floats(s, wild, classes * c.p.features);
	if (below(s, 2) > 0) c.p.b = draw_floats(s, wild, classes);
	for (int k = 0; k < 3; k++) c.wanted[k] = below(s, 4) > 0;
	c.wanted[3] = below(s, 2) > 0 || c.o.reduction == LOCKSTEP_REDUCE_NONE;
	return c;
}

/* What comes out on the threads of a pool, or on this one. */
static uint64_t hash_softmax(const softmax_case *c, const lockstep_table *table, lockstep_pool *pool) {
	lockstep_softmax_linear p = c->p;
	const size_t sizes[] = {p.classes * p.features, p.classes, p.rows * p.features, p.rows};
	float **const outs[] = {&p.grad_w, &p.grad_b, &p.grad_x, &p.each};
	for (int k = 0; k < 4; k++)
		if (c->wanted[k]) *outs[k] = room(sizes[k]);
	size_t n = lockstep_loss_softmax_linear_room(table, &p);
	float *all = room(n);
	double value;
	lockstep_error e;
	CHECK(!lockstep_loss_softmax_linear(table, &c->o, &p, c->scale, all, n, pool, &value, &e), "softmax regression: %s", e.message);
	uint64_t h = hash_value(value);
	for (int k = 0; k < 4; k++) {
		if (*outs[k]) h = hash_floats(h, *outs[k], sizes[k]);
		free(*outs[k]);
	}
	free(all);
	return h;
}

static uint64_t run_softmax(const lockstep_table *table, source *s) {
	softmax_case c = draw_softmax(s);
	uint64_t h = hash_softmax(&c, table, NULL);
	for (int k = 0; k < POOLS; k++)
		CHECK(hash_softmax(&c, table, pools[k]) == h, "%zu rows, %zu features, %zu classes: other bits on more threads", c.p.rows, c.p.features, c.p.classes);
	free((void *)c.o.class_weights), free((void *)c.p.weights), free((void *)c.p.targets), free((void *)c.p.labels);
	free((void *)c.p.x), free((void *)c.p.w), free((void *)c.p.b);
	return h;
}

static uint32_t run(int kind, const lockstep_table *table, int number) {
	source s = new_source(loss_names[kind], number);
	if (kind == 5) return hash_sum(run_penalty(table, &s));
	if (kind == 6) return hash_sum(run_linear(table, &s));
	if (kind == 7) return hash_sum(run_rows(table, draw_rows(&s)));
	if (kind == OF_ROWS + 1) return hash_sum(run_pairs(table, &s));
	if (kind == OF_ROWS + 2) return hash_sum(run_probabilities(table, &s));
	if (kind == SOFTMAX_LINEAR) return hash_sum(run_softmax(table, &s));
	if (kind == OF_ROWS) return hash_sum(run_rows(table, draw_label_rows(&s)));
	if (kind >= OF_PROBABILITIES + 2) return hash_sum(run_rows(table, draw_focal_rows(&s, kind == OF_PROBABILITIES + 2)));
	if (kind >= UNSCALED) return hash_sum(run_scaled(kind, table, &s));
	return hash_sum(run_loss(kind, table, &s));
}

static void compare(const lockstep_table *table) {
	for (int kind = 0; kind < LOSSES; kind++)
		for (int number = 0; number < LOSS_CASES; number++)
			CHECK(run(kind, table, number) == expected[kind][number], "%s of %s, case %d: other bits than Go's", loss_names[kind], lockstep_isa(table), number);
	printf("  %s: %d losses, %d cases\n", lockstep_isa(table), LOSSES, LOSS_CASES);
}

static void read_line(FILE *f, const char *want, uint32_t *hashes) {
	char name[64] = "";
	CHECK(fscanf(f, "%63s", name) == 1 && !strcmp(name, want), "vectors of '%s', want %s", name, want);
	for (int c = 0; c < LOSS_CASES; c++) CHECK(fscanf(f, "%8x", &hashes[c]) == 1, "%s has %d cases", name, c);
}

static void read_losses(void) {
	char path[400], more[64];
	snprintf(path, sizeof path, "%s/losses.txt", folder);
	FILE *f = fopen(path, "r");
	CHECK(f, "cannot open %s", path);
	while (fgetc(f) != '\n');
	for (int kind = 0; kind < LOSSES; kind++) read_line(f, loss_names[kind], expected[kind]);
	CHECK(fscanf(f, "%63s", more) != 1, "%s has vectors of %s, which is unknown here", path, more);
	fclose(f);
}

/* That something was refused, with a status and a message that begins so. */
static void refused(lockstep_status got, const lockstep_error *error, lockstep_status want, const char *message) {
	CHECK(got == want && error->status == want, "status %d, want %d: %s", (int)got, (int)want, message);
	CHECK(!strncmp(error->message, message, strlen(message)), "'%s', want '%s'", error->message, message);
}

static void refuse_losses(void) {
	float x[8] = {0}, grad[4] = {5};
	double v = 5;
	lockstep_error e;
	const lockstep_predictions good = {.pred = x, .target = x + 4, .n = 4, .grad = grad};
	lockstep_predictions p = good;
	refused(lockstep_loss_bce(NULL, &p, (lockstep_clamp)2, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "clamp is 2, want");
	refused(lockstep_loss_hinge(NULL, &p, (lockstep_labels)-1, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "labels is -1, want");
	refused(lockstep_loss_bce_with_logits(NULL, &p, -1, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "pos_weight is -1, want");
	refused(lockstep_loss_bce_with_logits(NULL, &p, (double)NAN, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "pos_weight is ");
	p.reduction = LOCKSTEP_REDUCE_NONE;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_NULL, "each is NULL");
	p.reduction = (lockstep_reduction)5;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "reduction is 5");
	p = good, p.target = NULL;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_NULL, "target is NULL");
	p = good, p.grad = x + 1;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad is 4 elements at ");
	p = good, p.each = grad + 3;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "each is 4 elements at ");
	p = good, p.n = SIZE_MAX;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_LONG_BUFFER, "grad has ");
	refused(lockstep_penalty(NULL, -1, 0, x, 4, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "l1 is -1");
	refused(lockstep_penalty(NULL, 0, INFINITY, x, 4, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "l2 is inf");
	refused(lockstep_penalty(NULL, 0, 0, x, 4, x + 3, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad is 4 elements at ");
	CHECK(v == 5 && grad[0] == 5, "what was refused has written");
	p = good, p.target = x, p.grad = x + 4;
	CHECK(!lockstep_loss_mse(NULL, &p, NULL, NULL), "buffers that touch were refused");
	CHECK(lockstep_penalty(NULL, -1, 0, x, 4, NULL, NULL, NULL) == LOCKSTEP_BAD_ARGUMENT, "without an error to write to");
}

static void refuse_options(void) {
	float x[8] = {0}, grad[4] = {5}, weight[4] = {0};
	double v = 5, bad = INFINITY;
	lockstep_error e;
	const lockstep_predictions good = {.pred = x, .target = x + 4, .n = 4, .grad = grad};
	refused(lockstep_loss_huber(NULL, &good, 0, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "delta is 0, want");
	refused(lockstep_loss_huber(NULL, &good, (double)NAN, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "delta is ");
	refused(lockstep_loss_smooth_l1(NULL, &good, 1e-40, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "beta is 1e-40, want");
	refused(lockstep_loss_quantile(NULL, &good, 1, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "level is 1, want");
	refused(lockstep_loss_poisson_nll(NULL, &good, 1, -1, 0, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "eps is -1, want");
	refused(lockstep_loss_gaussian_nll(NULL, &good, x, NULL, 0, 0, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "eps is 0, want");
	refused(lockstep_loss_gaussian_nll(NULL, &good, NULL, NULL, 1, 0, &v, &e), &e, LOCKSTEP_NULL, "variance is NULL");
	refused(lockstep_loss_gaussian_nll(NULL, &good, weight, weight + 3, 1, 0, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad_variance is 4 elements at ");
	refused(lockstep_loss_bce_with_class_logits(NULL, &good, x, 3, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "classes is 3, want");
	refused(lockstep_loss_bce_with_class_logits(NULL, &good, grad, 4, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad is 4 elements at ");
	refused(lockstep_loss_bce_with_class_logits(NULL, &good, (float[]){1, -1}, 2, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "pos_weights[1] is -1, want");
	refused(lockstep_loss_focal(NULL, &good, -1, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "gamma is -1, want");
	refused(lockstep_loss_focal(NULL, &good, 1, &bad, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "alpha is inf, want");
	refused(lockstep_loss_focal_of_probabilities(NULL, &good, -1, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "gamma is -1, want");
	lockstep_predictions p = good;
	p.smoothing = 2;
	refused(lockstep_loss_focal_of_probabilities(NULL, &p, 1, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "smoothing is 2, want a number");
	refused(lockstep_loss_focal(NULL, &p, 1, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "smoothing is 2, want a number");
	refused(lockstep_loss_bce(NULL, &p, LOCKSTEP_CLAMP_LOG, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "smoothing is 2, want a number");
	p.smoothing = .5;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "smoothing is 0.5, want 0");
	p = good, p.grad_scale = &bad;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad_scale is inf, want");
	p = good, p.reduction = LOCKSTEP_REDUCE_BATCH_MEAN;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "rows is 0, want");
	p.rows = 3;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "rows is 3, want");
	p.rows = 2, p.weight = weight, p.weights = 3;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "weights is 3, want");
	p.weights = 4, p.grad = weight + 1;
	refused(lockstep_loss_mse(NULL, &p, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad is 4 elements at ");
	p.weight = NULL, p.weights = 4, p.grad = grad;
	CHECK(v == 5 && grad[0] == 5 && !lockstep_loss_mse(NULL, &p, &v, &e), "what was refused has written, or weights without an address count");
}

static void refuse_probabilities(void) {
	float x[12] = {0}, y[6] = {5};
	lockstep_error e;
	refused(lockstep_loss_softmax(NULL, x, 2, 0, y, NULL, &e), &e, LOCKSTEP_BAD_ARGUMENT, "columns is 0, want");
	refused(lockstep_loss_log_softmax(NULL, x, 2, (1 << 20) + 1, y, NULL, &e), &e, LOCKSTEP_BAD_ARGUMENT, "columns is 1048577, want");
	refused(lockstep_loss_log_softmax(NULL, x, SIZE_MAX / 4, 3, y, NULL, &e), &e, LOCKSTEP_LONG_BUFFER, "x has ");
	refused(lockstep_loss_softmax(NULL, NULL, 2, 3, y, NULL, &e), &e, LOCKSTEP_NULL, "x is NULL");
	refused(lockstep_loss_softmax(NULL, x, 2, 3, NULL, NULL, &e), &e, LOCKSTEP_NULL, "y is NULL");
	refused(lockstep_loss_softmax(NULL, x, 2, 3, x + 1, NULL, &e), &e, LOCKSTEP_BAD_ARGUMENT, "y is 6 elements at ");
	refused(lockstep_loss_log_sum_exp(NULL, y, 2, 3, y, NULL, &e), &e, LOCKSTEP_BAD_ARGUMENT, "y is 2 elements at ");
	refused(lockstep_loss_log_softmax_grad(NULL, y, 2, 3, y, NULL, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad is 6 elements at ");
	CHECK(y[0] == 5 && !lockstep_loss_softmax(NULL, NULL, 0, 0, NULL, NULL, &e), "what was refused has written, or no rows are refused");
}

static void refuse_rows(void) {
	const int64_t labels[] = {0, 2}, bad[] = {-100, 3};
	float x[6] = {0}, grad[6] = {5}, each[2] = {5}, negative[3] = {1, -1, 1};
	double v = 5;
	lockstep_error e;
	const lockstep_logits good = {.logits = x, .rows = 2, .classes = 3, .labels = labels, .grad = grad, .each = each};
	const lockstep_cross_entropy_options plain = {.ignores = 1, .ignored = -100};
	lockstep_logits b = good;
	lockstep_cross_entropy_options o = plain;
#define REFUSED(status, message) refused(lockstep_loss_cross_entropy(NULL, &o, &b, 1, NULL, &v, &e), &e, status, message)
	b.labels = bad;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "labels[1] is 3, want a class, from 0 to 2, or the label that is ignored");
	o.ignores = 0;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "labels[0] is -100, want a class");
	b = good, b.targets = x;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "targets are given");
	b = good, b.labels = NULL;
	REFUSED(LOCKSTEP_NULL, "labels is NULL");
	b = good, b.logits = NULL;
	REFUSED(LOCKSTEP_NULL, "logits is NULL");
	b = good, b.classes = 0;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "classes is 0");
	b.classes = (1 << 20) + 1;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "classes is 1048577");
	b = good, b.rows = SIZE_MAX / 4;
	REFUSED(LOCKSTEP_LONG_BUFFER, "logits has ");
	b = good, b.grad = x + 1;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "grad is 6 elements at ");
	b = good, b.each = grad + 1;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "each is 2 elements at ");
	b = good, b.each = x, b.grad = x;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "each is 2 elements at ");
	b = good, b.labels = NULL, b.targets = grad;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "grad is 6 elements at ");
	b = good, b.weights = negative;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "weights[1] is -1");
	b = good, b.each = NULL, o.reduction = LOCKSTEP_REDUCE_NONE;
	REFUSED(LOCKSTEP_NULL, "each is NULL");
	b = good, o = plain, o.reduction = LOCKSTEP_REDUCE_WEIGHTED_MEAN;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "reduction is 4");
	o = plain, o.class_weights = negative;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "class_weights[1] is -1");
	o = plain, o.smoothing = 2;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "smoothing is 2");
	o = plain, o.z_loss = (double)NAN;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "z_loss is ");
#undef REFUSED
	CHECK(v == 5 && grad[0] == 5 && each[0] == 5, "what was refused has written");
	CHECK(!lockstep_loss_cross_entropy(NULL, NULL, &good, 1, NULL, NULL, NULL) && each[0] != 5, "defaults were refused");
}

static void refuse_row_losses(void) {
	const int64_t labels[] = {0, 3};
	float x[6] = {0}, grad[6] = {5};
	double v = 5, margin = INFINITY, one = 1;
	lockstep_error e;
	lockstep_logits b = {.logits = x, .rows = 2, .classes = 3, .labels = labels, .grad = grad};
#define REFUSED(message, ...) refused(lockstep_loss_of_rows(NULL, &(lockstep_row_loss_options){__VA_ARGS__}, &b, 1, NULL, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, message)
	REFUSED("model is 0, want", .model = 0);
	REFUSED("model is 6, want", .model = (lockstep_row_model)6);
	REFUSED("margin is inf, want", .model = LOCKSTEP_ROW_CRAMMER_SINGER, .margin = &margin);
	REFUSED("margin is 1, want NULL", .model = LOCKSTEP_ROW_NLL, .margin = &one);
	REFUSED("squared is 1, want 0", .model = LOCKSTEP_ROW_CRAMMER_SINGER, .squared = 1);
	REFUSED("gamma is 2, want 0", .model = LOCKSTEP_ROW_NLL, .gamma = 2);
	REFUSED("gamma is -1, want a number", .model = LOCKSTEP_ROW_SOFTMAX_FOCAL, .gamma = -1);
	REFUSED("probabilities is 1, want 0", .model = LOCKSTEP_ROW_NLL, .probabilities = 1);
	REFUSED("smoothing is 0.5, want 0: it is for LOCKSTEP_ROW_SOFTMAX_FOCAL", .model = LOCKSTEP_ROW_MULTI_MARGIN, .smoothing = .5);
	REFUSED("smoothing is 2, want from 0 to 1", .model = LOCKSTEP_ROW_SOFTMAX_FOCAL, .smoothing = 2);
	REFUSED("labels[1] is 3, want a class", .model = LOCKSTEP_ROW_NLL);
	b.targets = x;
	REFUSED("targets are given, want NULL", .model = LOCKSTEP_ROW_NLL);
	REFUSED("targets are given, want NULL beside labels", .model = LOCKSTEP_ROW_SOFTMAX_FOCAL);
#undef REFUSED
	CHECK(v == 5 && grad[0] == 5, "what was refused has written");
}

static void refuse_pairs(void) {
	float x[12] = {0}, grad[6] = {5}, bad[2] = {1, 2};
	double v = 5;
	lockstep_error e;
	const lockstep_pairs good = {.x = x, .y = x + 6, .rows = 2, .columns = 3, .grad_x = grad};
	lockstep_pairs b = good;
#define REFUSED(status, message) refused(lockstep_loss_cosine_embedding(NULL, &b, 0, 0, 1, &v, &e), &e, status, message)
	refused(lockstep_loss_cosine_embedding(NULL, &b, 2, 0, 1, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "margin is 2, want");
	refused(lockstep_loss_cosine_embedding(NULL, &b, 0, -1, 1, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "eps is -1, want");
	b.y = NULL;
	REFUSED(LOCKSTEP_NULL, "y is NULL");
	b = good, b.labels = bad;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "labels[1] is 2, want 1 or -1");
	b = good, bad[0] = -1, b.weights = bad;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "weights[0] is -1");
	b = good, b.grad_y = grad;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "grad_x is 6 elements at ");
	b = good, b.columns = (1 << 20) + 1;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "columns is 1048577");
	b = good, b.reduction = LOCKSTEP_REDUCE_NONE;
	REFUSED(LOCKSTEP_NULL, "each is NULL");
	b.reduction = LOCKSTEP_REDUCE_WEIGHTED_MEAN;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "reduction is 4");
#undef REFUSED
	CHECK(v == 5 && grad[0] == 5, "what was refused has written");
}

static void refuse_models(void) {
	lockstep_linear *l;
	lockstep_error e;
	refused(lockstep_linear_new((lockstep_model)9, 2, 0, LOCKSTEP_PLUS_MINUS, &l, &e), &e, LOCKSTEP_BAD_ARGUMENT, "model is 9");
	refused(lockstep_linear_new(LOCKSTEP_LINEAR_HINGE, 2, 0, (lockstep_labels)2, &l, &e), &e, LOCKSTEP_BAD_ARGUMENT, "labels is 2");
	refused(lockstep_linear_new(LOCKSTEP_LINEAR_HINGE, SIZE_MAX, 0, LOCKSTEP_PLUS_MINUS, &l, &e), &e, LOCKSTEP_BAD_ARGUMENT, "columns is ");
	CHECK(!lockstep_linear_new(LOCKSTEP_LINEAR_HUBER, 2, 0, LOCKSTEP_PLUS_MINUS, &l, &e), "%s", e.message);
	refused(lockstep_linear_set_level(l, .5, &e), &e, LOCKSTEP_BAD_ARGUMENT, "model is 5, want LOCKSTEP_LINEAR_QUANTILE");
	refused(lockstep_linear_set_delta(l, 0, &e), &e, LOCKSTEP_BAD_ARGUMENT, "delta is 0");
	lockstep_linear_free(l);
	CHECK(!lockstep_linear_new(LOCKSTEP_LINEAR_QUANTILE, 2, 0, LOCKSTEP_PLUS_MINUS, &l, &e), "%s", e.message);
	refused(lockstep_linear_set_delta(l, 1, &e), &e, LOCKSTEP_BAD_ARGUMENT, "model is 7, want LOCKSTEP_LINEAR_HUBER");
	refused(lockstep_linear_set_level(l, (double)NAN, &e), &e, LOCKSTEP_BAD_ARGUMENT, "level is ");
	lockstep_linear_free(l);
}

/* Without a delta or a level they are 1 and ½: the absolute error is twice the median's loss. */
static void compare_defaults(void) {
	float x[] = {1, 2, 3}, y[] = {0, 5, 2.5f}, w[] = {1}, grad[4];
	double v[4];
	lockstep_linear *l;
	for (int k = 0; k < 4; k++) {
		CHECK(!lockstep_linear_new((lockstep_model)(LOCKSTEP_LINEAR_HUBER + k / 2 * (1 + k % 2)), 1, 0, LOCKSTEP_PLUS_MINUS, &l, NULL), "no model");
		if (k == 1) CHECK(!lockstep_linear_set_delta(l, 1, NULL), "no delta");
		CHECK(!lockstep_linear_gradient(l, NULL, x, y, 3, w, &grad[k], &v[k], NULL), "no gradient");
		lockstep_linear_free(l);
	}
	CHECK(v[0] == v[1] && grad[0] == grad[1], "delta is %g", v[0]);
	CHECK(v[2] == 2 * v[3] && grad[2] == 2 * grad[3], "the absolute error is %g, that of the median %g", v[2], v[3]);
}

static void refuse_softmax(void) {
	const int64_t labels[] = {0, 2}, bad[] = {0, 3};
	float x[4] = {0}, w[6] = {0}, grad[6] = {5}, negative[2] = {1, -1}, *all, each[2];
	double v = 5;
	lockstep_error e;
	const lockstep_softmax_linear good = {.x = x, .w = w, .rows = 2, .features = 2, .classes = 3, .labels = labels, .grad_w = grad};
	lockstep_softmax_linear p = good;
	size_t least = lockstep_loss_softmax_linear_room(NULL, &p);
	p.grad_x = grad;
	size_t n = lockstep_loss_softmax_linear_room(NULL, &p);
	CHECK(n > least, "no room for the gradient by x");
	all = room(n), p = good;
	lockstep_cross_entropy_options o = {0};
#define REFUSED(status, message) refused(lockstep_loss_softmax_linear(NULL, &o, &p, 1, all, n, NULL, &v, &e), &e, status, message)
	p.labels = bad;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "labels[1] is 3, want a class, from 0 to 2");
	p = good, p.targets = w;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "targets are given");
	p = good, p.labels = NULL;
	REFUSED(LOCKSTEP_NULL, "labels is NULL");
	p = good, p.x = NULL;
	REFUSED(LOCKSTEP_NULL, "x is NULL");
	p = good, p.classes = 0;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "classes is 0");
	CHECK(lockstep_loss_softmax_linear_room(NULL, &p) == SIZE_MAX, "room for no classes");
	p = good, p.features = SIZE_MAX / 8;
	REFUSED(LOCKSTEP_LONG_BUFFER, "w has ");
	p = good, p.rows = SIZE_MAX / 8;
	REFUSED(LOCKSTEP_LONG_BUFFER, "x has ");
	p = good, p.grad_x = grad + 2;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "grad_w is 6 elements at ");
	p = good, p.grad_b = w;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "grad_b is 3 elements at ");
	p = good, p.b = all;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "room is ");
	p = good, p.weights = negative;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "weights[1] is -1");
	p = good, o.reduction = LOCKSTEP_REDUCE_NONE;
	REFUSED(LOCKSTEP_NULL, "each is NULL");
	o.reduction = LOCKSTEP_REDUCE_MEAN, o.smoothing = 2;
	REFUSED(LOCKSTEP_BAD_ARGUMENT, "smoothing is 2");
	o.smoothing = 0, n = least - 1;
	REFUSED(LOCKSTEP_SHORT_BUFFER, "room_len is ");
	n = least;
#undef REFUSED
	CHECK(v == 5 && grad[0] == 5, "what was refused has written");
	p = good, p.each = each;
	CHECK(!lockstep_loss_softmax_linear(NULL, NULL, &p, 1, all, n, NULL, NULL, NULL) && grad[0] != 5, "defaults were refused");
	free(all);
}

static void refuse_gradients(lockstep_model model, lockstep_labels labels, float bad, const char *message) {
	lockstep_linear *l;
	lockstep_error e;
	float x[4] = {1, 2, 3, 4}, y[2] = {1, bad}, w[2] = {0}, grad[2] = {5};
	double v = 5;
	CHECK(!lockstep_linear_new(model, 2, 0, labels, &l, &e), "%s", e.message);
	refused(lockstep_linear_gradient(l, NULL, x, y, 2, w, grad, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, message);
	refused(lockstep_linear_gradient(l, NULL, x, y, 1, w, w + 1, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, "grad is 2 elements");
	refused(lockstep_linear_gradient(l, NULL, x, NULL, 1, w, grad, &v, &e), &e, LOCKSTEP_NULL, "y is NULL");
	refused(lockstep_linear_gradient(l, NULL, x, y, SIZE_MAX / 4, w, grad, &v, &e), &e, LOCKSTEP_LONG_BUFFER, "x has ");
	refused(lockstep_linear_predict(l, NULL, x, 2, w, x + 3, &e), &e, LOCKSTEP_BAD_ARGUMENT, "z is 2 elements");
	lockstep_pool *pool = busy_pool(2, 0);
	refused(lockstep_linear_gradient_shared(l, NULL, x, y, 2, w, grad, pool, &v, &e), &e, LOCKSTEP_BAD_ARGUMENT, message);
	lockstep_pool_free(pool);
	CHECK(v == 5 && grad[0] == 5, "what was refused has written");
	lockstep_linear_free(l);
}

/* A matrix whose rows are better taken one by one has the products of its rows. */
static void compare_rows_apart(void) {
	enum { ROWS = 1 << 15, COLUMNS = 128 };
	lockstep_linear *l;
	float *x = room(ROWS * COLUMNS), w[COLUMNS], *z = room(ROWS), one;
	for (size_t i = 0; i < ROWS * COLUMNS; i++) x[i] = (float)(i % 1013) / 512 - 1;
	for (size_t j = 0; j < COLUMNS; j++) w[j] = (float)j / 64 - 1;
	CHECK(!lockstep_linear_new(LOCKSTEP_LINEAR_SQUARED, COLUMNS, 0, LOCKSTEP_PLUS_MINUS, &l, NULL), "no model");
	CHECK(!lockstep_linear_predict(l, NULL, x, ROWS, w, z, NULL), "no prediction");
	for (size_t i = 0; i < ROWS; i++) {
		lockstep_buffer row[] = {{&one, 1, 0}, {x + i * COLUMNS, COLUMNS, 0}, {w, COLUMNS, 0}};
		CHECK(!lockstep_kernel_dots(NULL, row, 3) && one == z[i], "row %zu is %g, want %g", i, (double)z[i], (double)one);
	}
	free(x), free(z);
	lockstep_linear_free(l);
}

void test_losses(void) {
	read_losses();
	const lockstep_table *list[TABLES];
	pools[0] = busy_pool(2, 0), pools[1] = busy_pool(7, 0);
	for (size_t n = tables(list); n > 0; n--) compare(list[n - 1]);
	for (int k = 0; k < POOLS; k++) lockstep_pool_free(pools[k]);
	compare_rows_apart();
	refuse_losses();
	refuse_options();
	refuse_rows();
	refuse_probabilities();
	refuse_row_losses();
	refuse_pairs();
	refuse_models();
	compare_defaults();
	refuse_softmax();
	refuse_gradients(LOCKSTEP_LINEAR_LOGISTIC, LOCKSTEP_PLUS_MINUS, 1.5f, "y[1] is 1.5, want a probability");
	refuse_gradients(LOCKSTEP_LINEAR_LOGISTIC, LOCKSTEP_PLUS_MINUS, NAN, "y[1] is ");
	refuse_gradients(LOCKSTEP_LINEAR_HINGE, LOCKSTEP_PLUS_MINUS, 0, "y[1] is 0, want 1 or -1");
	refuse_gradients(LOCKSTEP_LINEAR_SQUARED_HINGE, LOCKSTEP_ZERO_ONE, -1, "y[1] is -1, want 1 or 0");
	refuse_gradients(LOCKSTEP_LINEAR_POISSON, LOCKSTEP_PLUS_MINUS, -1, "y[1] is -1, want a count");
	refuse_gradients(LOCKSTEP_LINEAR_POISSON, LOCKSTEP_PLUS_MINUS, INFINITY, "y[1] is inf, want a count");
}
