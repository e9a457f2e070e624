/* Losses of predictions, and penalties: Go's package loss. */
#include "loss.h"
#include "mode.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
	BLOCK = 64 << 10, /* elements whose losses are added up in one go: another value changes bits */
	PART = 2 << 10    /* of a block, where an output is not wanted: see LossBlock in Go's internal/tune */
};

/* A loss at work. */
typedef struct loss loss;
struct loss {
	const lockstep_table *table;
	const lockstep_predictions *p;
	lockstep_status (*run)(const loss *l, const lockstep_buffer *list, double *sum);
	float scale, positive;
	lockstep_hinge_scalars hinge;
};

static lockstep_status run_mse(const loss *l, const lockstep_buffer *list, double *sum) {
	return lockstep_kernel_mse(l->table, list, 4, &(lockstep_mse_scalars){l->scale}, sum);
}

/* Makes the gradient NaN where the prediction is no probability. There the kernel divides by
 * its least divisor, which comes to a finite number that destroys the parameters. The losses
 * are NaN there, and so there is nothing to look for if their sum is not. */
static void spoil(const lockstep_buffer *list, const double *sum) {
	if (!isnan(lockstep_total(sum))) return;
	for (size_t i = 0; i < list[0].len; i++)
		if (list[2].data[i] < 0 || list[2].data[i] > 1) list[0].data[i] = NAN;
}

static lockstep_status run_bce(const loss *l, const lockstep_buffer *list, double *sum) {
	lockstep_status status = lockstep_kernel_bce(l->table, list, 4, &(lockstep_bce_scalars){l->scale}, sum);
	if (!status) spoil(list, sum);
	return status;
}

static lockstep_status run_bce_clip(const loss *l, const lockstep_buffer *list, double *sum) {
	return lockstep_kernel_bce_clip(l->table, list, 4, &(lockstep_bce_clip_scalars){l->scale}, sum);
}

static lockstep_status run_logits(const loss *l, const lockstep_buffer *list, double *sum) {
	lockstep_bce_with_logits_scalars c = {l->scale, l->positive};
	return lockstep_kernel_bce_with_logits(l->table, list, 4, &c, sum);
}

static lockstep_status run_hinge(const loss *l, const lockstep_buffer *list, double *sum) {
	lockstep_hinge_scalars c = {l->scale, l->hinge.label_scale, l->hinge.label_shift};
	return lockstep_kernel_hinge(l->table, list, 4, &c, sum);
}

static lockstep_status run_squared_hinge(const loss *l, const lockstep_buffer *list, double *sum) {
	lockstep_squared_hinge_scalars c = {l->scale, l->hinge.label_scale, l->hinge.label_shift};
	return lockstep_kernel_squared_hinge(l->table, list, 4, &c, sum);
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

static lockstep_status check(const lockstep_predictions *p, lockstep_error *error) {
	if ((unsigned)p->reduction > LOCKSTEP_REDUCE_NONE)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "reduction is %d, want LOCKSTEP_REDUCE_MEAN, LOCKSTEP_REDUCE_SUM or LOCKSTEP_REDUCE_NONE", (int)p->reduction);
	if (p->reduction == LOCKSTEP_REDUCE_NONE && !p->each && p->n)
		return lockstep_reject(error, LOCKSTEP_NULL, "each is NULL, want a buffer for the losses");
	lockstep_named list[] = {{"each", p->each, p->each ? p->n : 0}, {"grad", p->grad, p->grad ? p->n : 0}, {"pred", p->pred, p->n}, {"target", p->target, p->n}};
	return lockstep_check_buffers(list, 4, 2, error);
}

/* Evaluation. */

static size_t least(size_t x, size_t y) { return x < y ? x : y; }

/* An output from an element on, or what is not wanted. */
static float *wanted(float *out, size_t lo, float *unwanted) { return out ? out + lo : unwanted; }

/* Adds the losses from lo to end to the lanes, a part at a time where an output is not wanted: these
 * go to memory that stays in the cache, and whose lines no store straddles. */
static void add_block(const loss *l, size_t lo, size_t end, double *sum) {
	_Alignas(64) float unwanted[2][PART];
	const lockstep_predictions *p = l->p;
	size_t step = p->grad && p->each ? BLOCK : PART;
	for (; lo < end; lo += step) {
		size_t n = least(step, end - lo);
		lockstep_buffer list[] = {{wanted(p->grad, lo, unwanted[0]), n, 0}, {wanted(p->each, lo, unwanted[1]), n, 0},
			{(float *)p->pred + lo, n, 0}, {(float *)p->target + lo, n, 0}}; /* which kernels only read */
		l->run(l, list, sum);
	}
}

/* The reduced value. */
static LOCKSTEP_NOT_INLINED double value_of(loss *l) {
	const lockstep_predictions *p = l->p;
	double factor = p->reduction == LOCKSTEP_REDUCE_MEAN ? 1 / (double)p->n : 1, total = 0;
	l->scale = (float)factor;
	for (size_t lo = 0; lo < p->n; lo += BLOCK) {
		double sum[LOCKSTEP_LANES] = {0};
		add_block(l, lo, least(lo + BLOCK, p->n), sum);
		total += lockstep_total(sum);
	}
	return total * factor;
}

static lockstep_status eval(loss *l, double *value, lockstep_error *error) {
	lockstep_status status = check(l->p, error);
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

lockstep_status lockstep_loss_bce(const lockstep_table *table, const lockstep_predictions *p, lockstep_clamp clamp, double *value, lockstep_error *error) {
	if ((unsigned)clamp > LOCKSTEP_CLAMP_PROBABILITY)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "clamp is %d, want LOCKSTEP_CLAMP_LOG or LOCKSTEP_CLAMP_PROBABILITY", (int)clamp);
	return eval(&(loss){.table = table, .p = p, .run = clamp ? run_bce_clip : run_bce}, value, error);
}

lockstep_status lockstep_loss_bce_with_logits(const lockstep_table *table, const lockstep_predictions *p, double pos_weight, double *value, lockstep_error *error) {
	lockstep_status status = check_coefficient("pos_weight", pos_weight, error);
	if (status) return status;
	return eval(&(loss){.table = table, .p = p, .run = run_logits, .positive = (float)pos_weight}, value, error);
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
