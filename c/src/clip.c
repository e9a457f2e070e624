/* What happens to gradients that are too large: they are clipped, element by element or tensor
 * by tensor, and the step is left out if they are not finite. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "optimizer.h"

#include <float.h>
#include <math.h>

void lockstep_set_clipping(lockstep_optimizer *o) {
	lockstep_clipping c = {o->max_value, o->max_tensor_norm, o->adaptive, o->adaptive_eps, o->centralizes, o->noise.eta != 0};
	if (!c.value && (c.norm || c.ratio || c.noisy)) c.value = INFINITY; /* which only scales */
	for (size_t k = 0; k < o->group_count; k++) {
		o->groups[k].clipping = c;
		o->groups[k].input.t = 0; /* its scalars are others */
	}
}

lockstep_status lockstep_optimizer_set_max_value(lockstep_optimizer *o, double limit, lockstep_error *error) {
	const double least = 0x1p-150; /* which float rounds to 0 */
	if (limit != 0 && !(limit > least && (limit <= FLT_MAX || isinf(limit))))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "limit is %g, want a float above 0, or 0 for no clipping", limit);
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	o->max_value = isinf(limit) ? 0 : limit;
	lockstep_set_clipping(o);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_set_max_tensor_norm(lockstep_optimizer *o, double max_norm, lockstep_error *error) {
	if (!(max_norm >= 0))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "max_tensor_norm is %g, want a number above 0, or 0 for no clipping", max_norm);
	if (isinf(max_norm)) max_norm = 0;
	if (max_norm && o->max_norm)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "max_tensor_norm is %g, want 0 while max_norm clips to the norm of all tensors", max_norm);
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	o->max_tensor_norm = max_norm;
	lockstep_set_clipping(o);
	return LOCKSTEP_OK;
}

lockstep_clip_scalars lockstep_clip_by(const lockstep_rule_group *g, double scale) {
	if (g->common.maximize) scale = -scale;
	double part = lockstep_part_of(scale);
	return (lockstep_clip_scalars){.part = (float)part, .scale = (float)(scale / part), .limit = (float)g->clipping.value};
}

/* Squares the gradient of a tensor that shares its unit, apart from the others. */
static void square_apart(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]) {
	double own[LOCKSTEP_LANES] = {0};
	(void)lanes;
	lockstep_square(job, tensor, lo, hi, own);
	job->o->records[tensor].sums[0] = lockstep_total(own);
}

static void measure_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	lockstep_reduce(job, unit, job->o->units[unit].tensor == SHARED ? square_apart : lockstep_square);
}

void lockstep_clip_tensors(lockstep_job *job, lockstep_pool *pool) {
	lockstep_optimizer *o = job->o;
	lockstep_share(pool, measure_unit, job, o->unit_count, o->total);
	for (size_t k = 0; k < o->count; k++) {
		lockstep_record *r = &o->records[k];
		const lockstep_rule_group *g = &o->groups[o->places[k].group];
		if (!r->listed) r->sums[0] = lockstep_sum_pairs(o->partial + r->units[0], r->units[1] - r->units[0], 0);
		if (!job->grads[k] || !o->places[k].size) r->sums[0] = 0;
		double norm = sqrt(r->sums[0]) * fabs(o->grad_scale);
		r->factor = norm <= g->clipping.norm ? 1 : g->clipping.norm / norm;
		r->clip = lockstep_clip_by(g, o->grad_scale * r->factor);
	}
}

lockstep_status lockstep_optimizer_set_policy(lockstep_optimizer *o, lockstep_policy policy, lockstep_error *error) {
	if ((unsigned)policy > LOCKSTEP_REFUSE)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "policy is %d, want LOCKSTEP_PROPAGATE, LOCKSTEP_SKIP or LOCKSTEP_REFUSE", (int)policy);
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (!status) o->policy = policy;
	return status;
}

int64_t lockstep_optimizer_skipped(const lockstep_optimizer *o) { return o->skipped; }

int64_t lockstep_optimizer_non_finite(const lockstep_optimizer *o) { return o->non_finite; }

/* The largest scaled gradient that a rule can take. */
static double largest(const lockstep_rule_group *g) {
	for (int j = 0; j < g->plan.slot_count; j++)
		if (g->plan.slots[j].square) return 0x1p63;
	return FLT_MAX;
}

/* The largest gradient, before it is scaled, that a rule can take: beyond it the scaled one is
 * no float, or its square is none where the rule squares it. */
static float limit(const lockstep_rule_group *g, double scale) { return (float)fmin(largest(g) / fabs(scale), FLT_MAX); }

/* The same of a tensor's gradient, where it is clipped before it is looked at. */
static float limit_of(const lockstep_job *job, size_t tensor) {
	const lockstep_optimizer *o = job->o;
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	double factor = o->records[tensor].factor;
	if (g->clipping.ratio || (g->clipping.value && g->clipping.value <= largest(g))) return FLT_MAX;
	return limit(g, g->clipping.norm && factor > 0 ? job->scale * factor : job->scale);
}

static void count_beyond(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]) {
	lockstep_count_beyond_scalars c = {limit_of(job, tensor)};
	float room[2][BLOCK_LEN];
	for (size_t n; lo < hi; lo += n) {
		n = lockstep_piece(job->o, hi - lo);
		lockstep_buffer b = {(float *)lockstep_gradient(job->o, job->grads[tensor], tensor, lo, n, room), n, 0};
		lockstep_kernel_count_beyond(job->o->table, &b, 1, &c, lanes);
	}
}

static void count_unit(void *context, size_t unit) { lockstep_reduce(context, unit, count_beyond); }

/* The first tensor of a unit that has some. */
static size_t first_beyond(const lockstep_job *job, const lockstep_unit *u) {
	if (u->tensor != SHARED) return u->tensor;
	const size_t *shared = job->o->groups[u->group].shared;
	for (size_t at = u->lo; at < u->hi; at++) {
		double lanes[LOCKSTEP_LANES] = {0};
		size_t k = shared[at], n = job->o->places[k].size;
		if (job->grads[k] && n) count_beyond(job, k, 0, n, lanes);
		if (lockstep_total(lanes) > 0) return k;
	}
	return job->o->count;
}

/* Counts elements that are too large, and finds the first tensor that has some. */
static int64_t count_all(lockstep_job *job, lockstep_pool *pool, size_t *first) {
	const lockstep_optimizer *o = job->o;
	int64_t count = 0;
	lockstep_share(pool, count_unit, job, o->unit_count, o->total);
	*first = o->count;
	for (size_t k = 0; k < o->unit_count; k++) {
		if (!(o->partial[k][0] > 0)) continue;
		count += (int64_t)o->partial[k][0];
		size_t tensor = first_beyond(job, &o->units[k]);
		if (tensor < *first) *first = tensor;
	}
	return count;
}

/* Whether the norm says that there is nothing to count. */
static int is_within_limits(const lockstep_optimizer *o, double scale) {
	double factor = fabs(scale);
	for (size_t k = 0; k < o->group_count; k++)
		if (!(o->norm / fabs(o->grad_scale) * factor <= (double)limit(&o->groups[k], factor) * factor)) return 0;
	return 1;
}

lockstep_status lockstep_heed_policy(lockstep_job *job, double factor, lockstep_pool *pool, int *skips, lockstep_error *error) {
	lockstep_optimizer *o = job->o;
	char name[NAME_LEN];
	size_t first;
	o->non_finite = 0;
	job->scale = factor > 0 ? o->grad_scale * factor : o->grad_scale; /* not with that of a norm that is not finite */
	if (o->max_norm && is_within_limits(o, job->scale)) return LOCKSTEP_OK;
	o->non_finite = count_all(job, pool, &first);
	if (!o->non_finite) return LOCKSTEP_OK;
	*skips = 1;
	o->skipped++;
	if (o->policy == LOCKSTEP_SKIP) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_NON_FINITE, "gradients have %lld elements that are NaN or infinite, or will be once they are scaled or squared, the first in tensor %zu%s",
		(long long)o->non_finite, first, lockstep_quoted(o, first, name));
}
