/* Losses of predictions, and penalties: Go's package loss. */
#include "loss.h"
#include "mode.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
	BLOCK = 64 << 10, /* elements whose losses are added up in one go: another value changes bits */
	PART = 2 << 10,   /* of a block, where outputs are not wanted: see LossBlock in Go's internal/tune */
	ALONE = 2 * PART, /* where one is not, and nothing is between */
	BLOCKS = 1 << 10  /* that are shared at a time */
};

/* A part of the buffers of a call, with scratch that stays in the cache. */
typedef struct part {
	float *grad, *each, *grad_variance, *scratch[3];
	const float *pred, *target, *variance;
	size_t n, at; /* and the first of its elements in the call's */
} part;

/* A loss at work, and its scalars. */
typedef struct loss loss;
struct loss {
	const lockstep_table *table;
	const lockstep_predictions *p;
	void (*run)(const loss *l, const part *b, double *sum);
	const float *variance;
	float *grad_variance;
	float scale;
	int smooths; /* whether targets may be smoothed */
	int in_parts; /* whether it wants scratch */
	int rates, full, log_target;
	lockstep_hinge_scalars hinge;
	lockstep_huber_scalars huber;
	lockstep_bce_with_logits_scalars logits;
	const float *pos_weights; /* of so many classes */
	size_t classes;
	lockstep_poisson_nll_scalars poisson;
	lockstep_gaussian_nll_scalars gaussian;
	lockstep_focal_scalars focal;
};

/* A part of an argument as a kernel takes it, which only reads what is constant. */
static lockstep_buffer buffer_of(const float *data, size_t n) { return (lockstep_buffer){(float *)data, n, 0}; }

/* The buffers that most kernels take. */
#define FOUR(b) (lockstep_buffer[]){buffer_of((b)->grad, (b)->n), buffer_of((b)->each, (b)->n), buffer_of((b)->pred, (b)->n), buffer_of((b)->target, (b)->n)}, 4

static void run_mse(const loss *l, const part *b, double *sum) {
	lockstep_kernel_mse(l->table, FOUR(b), &(lockstep_mse_scalars){l->scale}, sum);
}

/* Makes the gradient NaN where the prediction is no probability. There the kernel divides by
 * its least divisor, which comes to a finite number that destroys the parameters. The losses
 * are NaN there, and so there is nothing to look for if their sum is not. */
static void spoil(const part *b, const double *sum) {
	if (!isnan(lockstep_total(sum))) return;
	for (size_t i = 0; i < b->n; i++)
		if (b->pred[i] < 0 || b->pred[i] > 1) b->grad[i] = NAN;
}

static void run_bce(const loss *l, const part *b, double *sum) {
	lockstep_bce_scalars c = {l->scale, l->logits.label_scale, l->logits.label_shift};
	lockstep_kernel_bce(l->table, FOUR(b), &c, sum);
	spoil(b, sum);
}

static void run_bce_clip(const loss *l, const part *b, double *sum) {
	lockstep_bce_clip_scalars c = {l->scale, l->logits.label_scale, l->logits.label_shift};
	lockstep_kernel_bce_clip(l->table, FOUR(b), &c, sum);
}

static void run_logits(const loss *l, const part *b, double *sum) {
	lockstep_bce_with_logits_scalars c = l->logits;
	c.scale = l->scale;
	lockstep_kernel_bce_with_logits(l->table, FOUR(b), &c, sum);
}

/* A weight for each class: with v = 1-y + weight·y, where y is the target, the loss is v times that
 * of the target weight·y/v. */
static void run_class_logits(const loss *l, const part *b, double *sum) {
	float *factors = b->scratch[0], *targets = b->scratch[1];
	for (size_t i = 0; i < b->n; i++) {
		float y = b->target[i] * l->logits.label_scale + l->logits.label_shift;
		float positive = l->pos_weights[(b->at + i) % l->classes] * y;
		factors[i] = (1 - y) + positive;
		targets[i] = factors[i] != 0 ? positive / factors[i] : y;
	}
	double unweighted[LOCKSTEP_LANES] = {0};
	lockstep_buffer list[] = {buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(b->pred, b->n), buffer_of(targets, b->n)};
	lockstep_kernel_bce_with_logits(l->table, list, 4, &(lockstep_bce_with_logits_scalars){l->scale, 1, 1, 0}, unweighted);
	lockstep_kernel_weigh(l->table, (lockstep_buffer[]){list[0], list[1], buffer_of(factors, b->n)}, 3, sum);
}

static void run_hinge(const loss *l, const part *b, double *sum) {
	lockstep_hinge_scalars c = {l->scale, l->hinge.label_scale, l->hinge.label_shift};
	lockstep_kernel_hinge(l->table, FOUR(b), &c, sum);
}

static void run_squared_hinge(const loss *l, const part *b, double *sum) {
	lockstep_squared_hinge_scalars c = {l->scale, l->hinge.label_scale, l->hinge.label_shift};
	lockstep_kernel_squared_hinge(l->table, FOUR(b), &c, sum);
}

static void run_huber(const loss *l, const part *b, double *sum) {
	lockstep_huber_scalars c = l->huber;
	c.scale = l->scale;
	lockstep_kernel_huber(l->table, FOUR(b), &c, sum);
}

static void run_log_cosh(const loss *l, const part *b, double *sum) {
	lockstep_kernel_log_cosh(l->table, FOUR(b), &(lockstep_log_cosh_scalars){l->scale}, sum);
}

/* Stores the logarithms of x in y. */
static void take_log(const lockstep_table *table, float *y, const float *x, size_t n) {
	lockstep_kernel_log(table, (lockstep_buffer[]){buffer_of(y, n), buffer_of(x, n)}, 2);
}

static void take_exp(const lockstep_table *table, float *y, const float *x, size_t n) {
	lockstep_kernel_exp(table, (lockstep_buffer[]){buffer_of(y, n), buffer_of(x, n)}, 2);
}

/* Stores the logarithms of predictions, which are rates, and what is added to them. */
static void take_rates(const loss *l, const part *b) {
	lockstep_buffer list[] = {buffer_of(b->scratch[0], b->n), buffer_of(b->pred, b->n)};
	lockstep_kernel_center(l->table, list, 2, &(lockstep_center_scalars){-l->poisson.eps});
	take_log(l->table, b->scratch[1], b->scratch[0], b->n);
}

static void run_poisson_nll(const loss *l, const part *b, double *sum) {
	lockstep_poisson_nll_scalars c = l->poisson;
	c.scale = l->scale;
	const float *rate = b->pred, *log = b->scratch[1], *log_target = b->target;
	if (l->rates) {
		take_rates(l, b);
	} else {
		take_exp(l->table, b->scratch[0], b->pred, b->n);
		rate = b->scratch[0], log = b->pred;
	}
	if (l->full) {
		float *room = b->scratch[l->rates ? 0 : 1];
		take_log(l->table, room, b->target, b->n);
		log_target = room;
	}
	lockstep_buffer list[] = {buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(rate, b->n),
		buffer_of(b->target, b->n), buffer_of(log, b->n), buffer_of(log_target, b->n)};
	lockstep_kernel_poisson_nll(l->table, list, 6, &c, sum);
}

static void run_gaussian_nll(const loss *l, const part *b, double *sum) {
	lockstep_gaussian_nll_scalars c = l->gaussian;
	c.scale = l->scale;
	take_log(l->table, b->scratch[0], b->variance, b->n);
	lockstep_buffer list[] = {buffer_of(b->grad, b->n), buffer_of(b->grad_variance, b->n), buffer_of(b->each, b->n),
		buffer_of(b->pred, b->n), buffer_of(b->target, b->n), buffer_of(b->variance, b->n), buffer_of(b->scratch[0], b->n)};
	lockstep_kernel_gaussian_nll(l->table, list, 7, &c, sum);
}

static void run_kl_divergence(const loss *l, const part *b, double *sum) {
	const float *target = b->target, *log = b->scratch[0];
	if (l->log_target) {
		take_exp(l->table, b->scratch[0], b->target, b->n);
		target = log, log = b->target;
	} else {
		take_log(l->table, b->scratch[0], b->target, b->n);
	}
	lockstep_buffer list[] = {buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(b->pred, b->n),
		buffer_of(target, b->n), buffer_of(log, b->n)};
	lockstep_kernel_kl_divergence(l->table, list, 5, &(lockstep_kl_divergence_scalars){l->scale}, sum);
}

/* The quotient of the probabilities: the difference of their logarithms has none of its digits
 * where they are close. */
static void run_kl_of_probabilities(const loss *l, const part *b, double *sum) {
	const float low = 1e-7f;
	float *quotient = b->scratch[0], *probability = b->scratch[1];
	for (size_t i = 0; i < b->n; i++) {
		float x = b->pred[i], y = lockstep_nearest(b->target[i], low, 1), q = y / lockstep_nearest(x, low, 1);
		quotient[i] = q;
		probability[i] = y;
		b->grad[i] = (x < low || x > 1 ? 0 : -q) * l->scale;
	}
	take_log(l->table, b->each, quotient, b->n);
	lockstep_buffer list[] = {buffer_of(quotient, b->n), buffer_of(b->each, b->n), buffer_of(probability, b->n)};
	lockstep_kernel_weigh(l->table, list, 3, sum);
}

static void run_focal(const loss *l, const part *b, double *sum) {
	lockstep_focal_scalars c = l->focal;
	c.scale = l->scale;
	double unweighted[LOCKSTEP_LANES] = {0};
	const float *target = b->target;
	if (l->p->smoothing > 0) {
		for (size_t i = 0; i < b->n; i++) b->scratch[2][i] = target[i] * l->logits.label_scale + l->logits.label_shift;
		target = b->scratch[2];
	}
	lockstep_buffer cross[] = {buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(b->pred, b->n), buffer_of(target, b->n)};
	lockstep_kernel_bce_with_logits(l->table, cross, 4, &(lockstep_bce_with_logits_scalars){1, 1, 1, 0}, unweighted);
	lockstep_buffer parts[] = {buffer_of(b->scratch[0], b->n), buffer_of(b->scratch[1], b->n), cross[2], cross[3]};
	lockstep_kernel_focal_parts(l->table, parts, 4);
	lockstep_buffer list[] = {buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(b->target, b->n), parts[0], parts[1]};
	lockstep_kernel_focal(l->table, list, 5, &c, sum);
}

/* wrong is at least 2^-64, below which gamma/wrong would not be finite. */
static void run_focal_of_probabilities(const loss *l, const part *b, double *sum) {
	lockstep_focal_scalars c = l->focal;
	c.scale = l->scale;
	double unweighted[LOCKSTEP_LANES] = {0};
	lockstep_kernel_bce_clip(l->table, FOUR(b), &(lockstep_bce_clip_scalars){1, l->logits.label_scale, l->logits.label_shift}, unweighted);
	float *wrong = b->scratch[0], *bend = b->scratch[1];
	for (size_t i = 0; i < b->n; i++) {
		float p = b->pred[i], x = lockstep_nearest(p, 0, 1), y = b->target[i] * l->logits.label_scale + l->logits.label_shift;
		float v = y * (1 - x) + (1 - y) * x;
		if (v < 0x1p-64f) v = 0x1p-64f;
		wrong[i] = v;
		bend[i] = (p < 0 || p > 1 ? 0 : 1 - (y + y)) / v;
	}
	lockstep_buffer list[] = {buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(b->target, b->n), buffer_of(wrong, b->n), buffer_of(bend, b->n)};
	lockstep_kernel_focal(l->table, list, 5, &c, sum);
}

/* What checks have in common. */

static lockstep_status check_pair(const lockstep_named *out, const lockstep_named *x, lockstep_error *error) {
	uintptr_t a = (uintptr_t)out->data, b = (uintptr_t)x->data;
	if (a >= b + x->n * sizeof(float) || b >= a + out->n * sizeof(float)) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s is %zu elements at %p, want a buffer apart from %s",
		out->name, out->n, (const void *)out->data, x->name);
}

lockstep_status lockstep_check_buffers(const lockstep_named *list, int count, int outs, lockstep_error *error) {
	for (int k = 0; k < count; k++) {
		if (list[k].n > PTRDIFF_MAX / sizeof(float))
			return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "%s has %zu elements, want no more than memory", list[k].name, list[k].n);
		if (list[k].n && !list[k].data)
			return lockstep_reject(error, LOCKSTEP_NULL, "%s is NULL, want a buffer of %zu elements", list[k].name, list[k].n);
	}
	lockstep_status status = LOCKSTEP_OK;
	for (int k = 0; k < outs; k++)
		for (int j = k + 1; j < count && !status; j++)
			if (list[k].n && list[j].n) status = check_pair(&list[k], &list[j], error);
	return status;
}

lockstep_status lockstep_check_labels(lockstep_labels labels, lockstep_error *error) {
	if ((unsigned)labels <= LOCKSTEP_ZERO_ONE) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "labels is %d, want LOCKSTEP_PLUS_MINUS or LOCKSTEP_ZERO_ONE", (int)labels);
}

lockstep_status lockstep_choose(const lockstep_table **table, lockstep_error *error) {
	lockstep_status status = *table ? LOCKSTEP_OK : lockstep_active(table);
	return status ? lockstep_reject(error, status, "%s", lockstep_message(status)) : LOCKSTEP_OK;
}

static lockstep_status check_coefficient(const char *argument, double x, lockstep_error *error) {
	if (x >= 0 && x <= FLT_MAX) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s is %g, want a finite float of at least 0", argument, x);
}

static lockstep_status check_part(const char *argument, double x, lockstep_error *error) {
	if (x >= 0 && x <= 1) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s is %g, want a number from 0 to 1", argument, x);
}

static lockstep_status check_scaling(const loss *l, lockstep_error *error) {
	const lockstep_predictions *p = l->p;
	int by_row = p->weight && p->weights != p->n;
	if (p->rows ? p->n % p->rows != 0 : p->n && (by_row || p->reduction == LOCKSTEP_REDUCE_BATCH_MEAN))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "rows is %zu, want a number that divides n = %zu", p->rows, p->n);
	if (by_row && p->weights != p->rows)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "weights is %zu, want n = %zu or rows = %zu", p->weights, p->n, p->rows);
	if (p->grad_scale && !(fabs(*p->grad_scale) <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "grad_scale is %g, want a finite float", *p->grad_scale);
	if (p->smoothing != 0 && !l->smooths)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "smoothing is %g, want 0: it is for binary cross-entropies and focal losses", p->smoothing);
	return check_part("smoothing", p->smoothing, error);
}

static lockstep_status check(const loss *l, lockstep_error *error) {
	const lockstep_predictions *p = l->p;
	if ((unsigned)p->reduction > LOCKSTEP_REDUCE_WEIGHTED_MEAN)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "reduction is %d, want one from LOCKSTEP_REDUCE_MEAN to LOCKSTEP_REDUCE_WEIGHTED_MEAN", (int)p->reduction);
	if (p->reduction == LOCKSTEP_REDUCE_NONE && !p->each && p->n)
		return lockstep_reject(error, LOCKSTEP_NULL, "each is NULL, want a buffer for the losses");
	lockstep_named list[] = {{"each", p->each, p->each ? p->n : 0}, {"grad", p->grad, p->grad ? p->n : 0},
		{"grad_variance", l->grad_variance, l->grad_variance ? p->n : 0}, {"pred", p->pred, p->n}, {"target", p->target, p->n},
		{"weight", p->weight, p->weight ? p->weights : 0}, {"variance", l->variance, p->n}};
	lockstep_status status = lockstep_check_buffers(list, l->run == run_gaussian_nll ? 7 : 6, 3, error);
	return status ? status : check_scaling(l, error);
}

/* Evaluation. */

static size_t least(size_t x, size_t y) { return x < y ? x : y; }

/* An output from an element on, or what is not wanted. */
static float *wanted(float *out, size_t lo, float *unwanted) { return out ? out + lo : unwanted; }

/* The weights of elements from lo on: a range of them, or those of rows in a block. */
static const float *weights_of(const lockstep_predictions *p, size_t lo, size_t n, float *block) {
	if (p->weights == p->n) return p->weight + lo;
	size_t columns = p->n / p->rows;
	for (size_t i = 0; i < n;) {
		size_t row = (lo + i) / columns, end = least(n, (row + 1) * columns - lo);
		for (; i < end; i++) block[i] = p->weight[row];
	}
	return block;
}

/* Multiplies what a kernel has stored by weights. */
static void weigh(const loss *l, const part *b, const float *w, double *sum) {
	if (b->variance) { /* whose logarithms are done with */
		double unwanted[LOCKSTEP_LANES] = {0};
		lockstep_kernel_weigh(l->table, (lockstep_buffer[]){buffer_of(b->grad_variance, b->n), buffer_of(b->scratch[0], b->n), buffer_of(w, b->n)}, 3, unwanted);
	}
	lockstep_kernel_weigh(l->table, (lockstep_buffer[]){buffer_of(b->grad, b->n), buffer_of(b->each, b->n), buffer_of(w, b->n)}, 3, sum);
}

/* What the elements from lo to end cost, a part at a time where an output is not wanted or something
 * is between: these go to memory that stays in the cache, and whose lines no store straddles. The
 * third output that is unwanted is that of a loss with one scratch, and weights come when nobody wants
 * the third of these any more. */
static LOCKSTEP_NOT_INLINED double block_losses(const loss *l, size_t lo, size_t end) {
	_Alignas(64) float room[5 * PART]; /* its first ALONE are for one output that is unwanted */
	double sum[LOCKSTEP_LANES] = {0}, unweighted[LOCKSTEP_LANES] = {0};
	const lockstep_predictions *p = l->p;
	size_t step = l->in_parts || p->weight || !(p->grad || p->each) ? PART : p->grad && p->each ? BLOCK : ALONE;
	for (; lo < end; lo += step) {
		part b = {.n = least(step, end - lo), .at = lo, .pred = p->pred + lo, .target = p->target + lo, .scratch = {room + 2 * PART, room + 3 * PART, room + 4 * PART}};
		b.grad = wanted(p->grad, lo, room);
		b.each = wanted(p->each, lo, room + (step > PART ? 0 : PART));
		b.grad_variance = wanted(l->grad_variance, lo, room + 3 * PART);
		if (l->variance) b.variance = l->variance + lo;
		l->run(l, &b, p->weight ? unweighted : sum);
		if (p->weight) weigh(l, &b, weights_of(p, lo, b.n, room + 4 * PART), sum);
	}
	return lockstep_total(sum);
}

/* The sum of the weights from lo to end. */
static double block_weights(const loss *l, size_t lo, size_t end) {
	double sum[LOCKSTEP_LANES] = {0};
	lockstep_buffer block = buffer_of(l->p->weight + lo, end - lo);
	lockstep_kernel_sum(l->table, &block, 1, sum);
	return lockstep_total(sum);
}

/* Blocks of n elements that are added up. */
typedef struct blocks {
	const loss *l;
	double (*of)(const loss *l, size_t lo, size_t end);
	size_t n, first; /* the first block of those at work */
	double sums[BLOCKS];
} blocks;

static void add_block(void *context, size_t unit) {
	blocks *b = context;
	size_t lo = (b->first + unit) * BLOCK;
	b->sums[unit] = b->of(b->l, lo, least(lo + BLOCK, b->n));
}

/* The sum of what there is of each block, in order. */
static double total_of(const loss *l, double (*of)(const loss *l, size_t lo, size_t end), size_t n) {
	blocks b = {.l = l, .of = of, .n = n};
	double total = 0;
	for (size_t count = (n + BLOCK - 1) / BLOCK; b.first < count; b.first += BLOCKS) {
		size_t units = least(count - b.first, BLOCKS);
		lockstep_share(l->p->pool, add_block, &b, units, n);
		for (size_t k = 0; k < units; k++) total += b.sums[k];
	}
	return total;
}

/* What turns the sum of losses into the reduced one. */
static double factor_of(const loss *l) {
	const lockstep_predictions *p = l->p;
	if (p->reduction == LOCKSTEP_REDUCE_BATCH_MEAN) return 1 / (double)p->rows;
	if (p->reduction == LOCKSTEP_REDUCE_WEIGHTED_MEAN && p->weight && p->n)
		return 1 / (total_of(l, block_weights, p->weights) * (double)(p->n / p->weights));
	if (p->reduction == LOCKSTEP_REDUCE_MEAN || p->reduction == LOCKSTEP_REDUCE_WEIGHTED_MEAN) return 1 / (double)p->n;
	return 1;
}

/* The reduced value. */
static LOCKSTEP_NOT_INLINED double value_of(loss *l) {
	const lockstep_predictions *p = l->p;
	double factor = factor_of(l), total;
	l->scale = isinf(factor) ? 0 : (float)(p->grad_scale ? factor * *p->grad_scale : factor);
	total = total_of(l, block_losses, p->n);
	return isinf(factor) ? (double)NAN : total * factor;
}

static lockstep_status eval(loss *l, double *value, lockstep_error *error) {
	lockstep_status status = check(l, error);
	if (!status) status = lockstep_choose(&l->table, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	double v = value_of(l);
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_loss_mse(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error) {
	return eval(&(loss){.table = table, .p = p, .run = run_mse}, value, error);
}

/* The scalars of labels that may be smoothed. */
static lockstep_bce_with_logits_scalars smoothed(const lockstep_predictions *p, double pos_weight) {
	return (lockstep_bce_with_logits_scalars){1, (float)pos_weight, (float)(1 - p->smoothing), (float)(p->smoothing / 2)};
}

lockstep_status lockstep_loss_bce(const lockstep_table *table, const lockstep_predictions *p, lockstep_clamp clamp, double *value, lockstep_error *error) {
	if ((unsigned)clamp > LOCKSTEP_CLAMP_PROBABILITY)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "clamp is %d, want LOCKSTEP_CLAMP_LOG or LOCKSTEP_CLAMP_PROBABILITY", (int)clamp);
	return eval(&(loss){.table = table, .p = p, .run = clamp ? run_bce_clip : run_bce, .smooths = 1, .logits = smoothed(p, 1)}, value, error);
}

lockstep_status lockstep_loss_bce_with_logits(const lockstep_table *table, const lockstep_predictions *p, double pos_weight, double *value, lockstep_error *error) {
	lockstep_status status = check_coefficient("pos_weight", pos_weight, error);
	if (status) return status;
	return eval(&(loss){.table = table, .p = p, .run = run_logits, .smooths = 1, .logits = smoothed(p, pos_weight)}, value, error);
}

lockstep_status lockstep_loss_bce_with_class_logits(const lockstep_table *table, const lockstep_predictions *p, const float *pos_weights, size_t classes, double *value, lockstep_error *error) {
	if (classes == 0 || p->n % classes != 0)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "classes is %zu, want a number that divides n = %zu", classes, p->n);
	lockstep_named list[] = {{"grad", p->grad, p->grad ? p->n : 0}, {"each", p->each, p->each ? p->n : 0}, {"pos_weights", pos_weights, classes}};
	lockstep_status status = lockstep_check_buffers(list, 3, 2, error);
	for (size_t i = 0; !status && i < classes; i++)
		if (!(pos_weights[i] >= 0 && pos_weights[i] <= FLT_MAX))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "pos_weights[%zu] is %g, want a finite number of at least 0", i, (double)pos_weights[i]);
	if (status) return status;
	return eval(&(loss){.table = table, .p = p, .run = run_class_logits, .in_parts = 1, .smooths = 1, .logits = smoothed(p, 1), .pos_weights = pos_weights, .classes = classes}, value, error);
}

lockstep_status lockstep_loss_soft_margin(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error) {
	return eval(&(loss){.table = table, .p = p, .run = run_logits, .logits = {1, 1, .5f, .5f}}, value, error);
}

static lockstep_status eval_huber(const lockstep_table *table, const lockstep_predictions *p, lockstep_huber_scalars c, double *value, lockstep_error *error) {
	return eval(&(loss){.table = table, .p = p, .run = run_huber, .huber = c}, value, error);
}

lockstep_status lockstep_loss_mae(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error) {
	return eval_huber(table, p, (lockstep_huber_scalars){.ceiling = 1, .up = 1, .down = 1}, value, error);
}

lockstep_status lockstep_loss_huber(const lockstep_table *table, const lockstep_predictions *p, double delta, double *value, lockstep_error *error) {
	float limit = (float)delta;
	if (!(limit > 0 && limit <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "delta is %g, want a finite float above 0", delta);
	return eval_huber(table, p, (lockstep_huber_scalars){1, limit, 1, limit, 1, 1}, value, error);
}

lockstep_status lockstep_loss_smooth_l1(const lockstep_table *table, const lockstep_predictions *p, double beta, double *value, lockstep_error *error) {
	if (!(beta == 0 || (beta >= FLT_MIN && beta <= FLT_MAX)))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "beta is %g, want 0 or a finite float of at least 2^-126", beta);
	float slope = beta > 0 ? (float)(1 / beta) : 0;
	return eval_huber(table, p, (lockstep_huber_scalars){1, (float)beta, slope, 1, 1, 1}, value, error);
}

lockstep_status lockstep_loss_quantile(const lockstep_table *table, const lockstep_predictions *p, double level, double *value, lockstep_error *error) {
	if (!(level > 0 && level < 1))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "level is %g, want a number between 0 and 1", level);
	return eval_huber(table, p, (lockstep_huber_scalars){.ceiling = 1, .up = (float)(1 - level), .down = (float)level}, value, error);
}

lockstep_status lockstep_loss_log_cosh(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error) {
	return eval(&(loss){.table = table, .p = p, .run = run_log_cosh}, value, error);
}

lockstep_status lockstep_loss_poisson_nll(const lockstep_table *table, const lockstep_predictions *p, int rates, double eps, int full, double *value, lockstep_error *error) {
	lockstep_status status = check_coefficient("eps", eps, error);
	if (status) return status;
	lockstep_poisson_nll_scalars c = {1, rates ? (float)eps : 0, rates ? 1 : 0, full ? 1 : INFINITY};
	return eval(&(loss){.table = table, .p = p, .run = run_poisson_nll, .in_parts = 1, .rates = rates, .full = full, .poisson = c}, value, error);
}

lockstep_status lockstep_loss_gaussian_nll(const lockstep_table *table, const lockstep_predictions *p, const float *variance, float *grad_variance, double eps, int full, double *value, lockstep_error *error) {
	float lowest = (float)eps, log_least;
	if (!(lowest > 0 && lowest <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "eps is %g, want a finite float above 0", eps);
	lockstep_status status = lockstep_choose(&table, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	take_log(table, &log_least, &lowest, 1);
	lockstep_leave_mode(before);
	lockstep_gaussian_nll_scalars c = {1, lowest, log_least, full ? 0x1.d67f1cp-1f : 0};
	return eval(&(loss){.table = table, .p = p, .run = run_gaussian_nll, .in_parts = 1, .variance = variance, .grad_variance = grad_variance, .gaussian = c}, value, error);
}

lockstep_status lockstep_loss_kl_divergence(const lockstep_table *table, const lockstep_predictions *p, int log_target, double *value, lockstep_error *error) {
	return eval(&(loss){.table = table, .p = p, .run = run_kl_divergence, .in_parts = 1, .log_target = log_target}, value, error);
}

lockstep_status lockstep_loss_kl_divergence_of_probabilities(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error) {
	return eval(&(loss){.table = table, .p = p, .run = run_kl_of_probabilities, .in_parts = 1}, value, error);
}

/* A focal loss, whose alpha goes by smoothed targets: what is linear in these is so in the targets. */
static lockstep_status eval_focal(loss l, double gamma, const double *alpha, double *value, lockstep_error *error) {
	if (!(gamma >= 0 && gamma <= 1000))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "gamma is %g, want a number from 0 to 1000", gamma);
	lockstep_status status = alpha ? check_part("alpha", *alpha, error) : LOCKSTEP_OK;
	if (status) return status;
	double yes = alpha ? *alpha : 1, no = alpha ? 1 - *alpha : 1, half = l.p->smoothing / 2;
	l.in_parts = 1;
	l.focal = (lockstep_focal_scalars){1, (float)gamma, (float)(yes * (1 - half) + no * half), (float)(yes * half + no * (1 - half))};
	return eval(&l, value, error);
}

lockstep_status lockstep_loss_focal(const lockstep_table *table, const lockstep_predictions *p, double gamma, const double *alpha, double *value, lockstep_error *error) {
	return eval_focal((loss){.table = table, .p = p, .run = run_focal, .smooths = 1, .logits = smoothed(p, 1)}, gamma, alpha, value, error);
}

lockstep_status lockstep_loss_focal_of_probabilities(const lockstep_table *table, const lockstep_predictions *p, double gamma, const double *alpha, double *value, lockstep_error *error) {
	return eval_focal((loss){.table = table, .p = p, .run = run_focal_of_probabilities, .smooths = 1, .logits = smoothed(p, 1)}, gamma, alpha, value, error);
}

/* A hinge loss, squared or not. */
static lockstep_status eval_hinge(loss l, lockstep_labels labels, double *value, lockstep_error *error) {
	lockstep_status status = lockstep_check_labels(labels, error);
	if (status) return status;
	l.hinge = lockstep_label_scalars(labels);
	return eval(&l, value, error);
}

lockstep_hinge_scalars lockstep_label_scalars(lockstep_labels labels) {
	if (labels == LOCKSTEP_ZERO_ONE) return (lockstep_hinge_scalars){1, 2, -1};
	return (lockstep_hinge_scalars){1, 1, 0};
}

lockstep_status lockstep_loss_hinge(const lockstep_table *table, const lockstep_predictions *p, lockstep_labels labels, double *value, lockstep_error *error) {
	return eval_hinge((loss){.table = table, .p = p, .run = run_hinge}, labels, value, error);
}

lockstep_status lockstep_loss_squared_hinge(const lockstep_table *table, const lockstep_predictions *p, lockstep_labels labels, double *value, lockstep_error *error) {
	return eval_hinge((loss){.table = table, .p = p, .run = run_squared_hinge}, labels, value, error);
}

/* Penalties. */

/* Adds magnitudes and squares of a block to lanes, and the gradient to grad. */
static void add_penalty(const lockstep_table *table, const lockstep_penalty_scalars *c, const lockstep_buffer *block, float *grad, double lanes[2][LOCKSTEP_LANES]) {
	if (grad) {
		lockstep_buffer list[] = {{grad, block->len, 0}, *block};
		lockstep_kernel_penalty(table, list, 2, c, lanes[0], lanes[1]);
		return;
	}
	lockstep_kernel_sum_abs(table, block, 1, lanes[0]);
	lockstep_kernel_sum_squares(table, block, 1, lanes[1]);
}

static lockstep_status check_penalty(double l1, double l2, const float *w, size_t n, const float *grad, lockstep_error *error) {
	lockstep_status status = check_coefficient("l1", l1, error);
	if (!status) status = check_coefficient("l2", l2, error);
	lockstep_named list[] = {{"grad", grad, grad ? n : 0}, {"w", w, n}};
	return status ? status : lockstep_check_buffers(list, 2, 1, error);
}

/* The elastic net of n parameters. */
static LOCKSTEP_NOT_INLINED double penalty_of(const lockstep_table *table, double l1, double l2, const float *w, size_t n, float *grad) {
	lockstep_penalty_scalars c = {.l2 = (float)l2, .l1 = (float)l1};
	double absolute = 0, squares = 0;
	for (size_t lo = 0; lo < n; lo += BLOCK) {
		double lanes[2][LOCKSTEP_LANES] = {{0}};
		lockstep_buffer block = {(float *)w + lo, least(BLOCK, n - lo), 0}; /* which kernels only read */
		add_penalty(table, &c, &block, grad ? grad + lo : NULL, lanes);
		absolute += lockstep_total(lanes[0]);
		squares += lockstep_total(lanes[1]);
	}
	return l1 * absolute + l2 / 2 * squares;
}

lockstep_status lockstep_penalty(const lockstep_table *table, double l1, double l2, const float *w, size_t n, float *grad, double *value, lockstep_error *error) {
	lockstep_status status = check_penalty(l1, l2, w, n, grad, error);
	if (!status) status = lockstep_choose(&table, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	double v = penalty_of(table, l1, l2, w, n, grad);
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}
