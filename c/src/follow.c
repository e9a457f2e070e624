/* Averages of the parameters, and slow ones: see Go's internal/engine/follow.go and update/average.go. */
#include "mode.h"
#include "optimizer.h"

#include <stdlib.h>
#include <string.h>

static const char *const beside_names[] = {"params_average", "params_slow"};

/* What a pass must leave of what is not looked at in every step. */
static const double least_kept = 0.5;

static int has_average(const lockstep_optimizer *o) { return o->following && o->following->average.every; }
static int has_slow(const lockstep_optimizer *o) { return o->following && o->following->lookahead.period; }

float *lockstep_beside(const lockstep_optimizer *o, size_t tensor, const char *name) {
	for (int which = 0; which < 2; which++)
		if (!strcmp(name, beside_names[which])) return o->records[tensor].beside[which];
	return NULL;
}

lockstep_status lockstep_check_own(const lockstep_optimizer *o, lockstep_error *error) {
	if (!o->swapped) return LOCKSTEP_OK;
	return lockstep_bad_argument(error, "the parameters", "swapped for their averages", "those of the last step: see lockstep_optimizer_swap_average");
}

/* Makes room for what follows, which is nothing yet. */
static lockstep_status open_following(lockstep_optimizer *o, lockstep_error *error) {
	if (o->following) return LOCKSTEP_OK;
	o->following = calloc(1, sizeof *o->following + lockstep_averager_size);
	return o->following ? LOCKSTEP_OK : lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for what follows the parameters");
}

/* Does away with it once it is nothing again. */
static void close_idle(lockstep_optimizer *o) {
	if (has_average(o) || has_slow(o)) return;
	free(o->following);
	o->following = NULL;
}

void lockstep_close_following(lockstep_optimizer *o) {
	for (int which = 0; o->following && which < 2; which++) lockstep_free_beside(o, which);
	free(o->following);
	o->following = NULL;
}

/* Forgets what there was to do in a step. */
static void rest(lockstep_following *f) {
	f->begins = f->looks = f->takes = f->copies = f->overwrites = f->synchronizes = f->flushes = f->slow_flushes = 0;
}

static lockstep_status check_averaging(const lockstep_averaging *a, lockstep_error *error) {
	if (a->every < 0) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "every is %lld, want at least 0", (long long)a->every);
	if (a->every == 0 && (a->after || a->decay != 0 || a->equal || a->bias_corrected || a->warm_up || a->from_start || a->overwrite))
		return lockstep_bad_argument(error, "every", "0", "at least 1, or zeros everywhere for no average");
	if (a->after < 0) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "after is %lld, want at least 0", (long long)a->after);
	if (a->overwrite < 0) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "overwrite is %lld, want at least 0", (long long)a->overwrite);
	if (!(a->decay >= 0 && a->decay <= 1)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "decay is %g, want from 0 to 1", a->decay);
	if (a->equal && (a->decay != 0 || a->bias_corrected || a->warm_up))
		return lockstep_bad_argument(error, "equal", "1", "0 with a decay, bias_corrected or warm_up");
	if (a->bias_corrected && !(a->decay < 1)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "decay is %g, want below 1 with bias_corrected", a->decay);
	if (a->bias_corrected && a->warm_up) return lockstep_bad_argument(error, "bias_corrected", "1", "0 with warm_up");
	return LOCKSTEP_OK;
}

static LOCKSTEP_NOT_INLINED void make_averager(lockstep_following *f) { lockstep_make_averager(&f->average, f->averager); }

lockstep_status lockstep_optimizer_set_average(lockstep_optimizer *o, const lockstep_averaging *a, lockstep_error *error) {
	const lockstep_averaging none = {.every = 0};
	if (!a) a = &none;
	lockstep_status status = check_averaging(a, error);
	if (!status) status = lockstep_check_not_begun(o, error);
	if (!status) status = lockstep_check_own(o, error);
	if (status || (!a->every && !has_average(o))) return status;
	status = open_following(o, error);
	if (!status && a->every && !has_average(o)) status = lockstep_make_beside(o, LOCKSTEP_AVERAGE, error);
	if (!status) {
		lockstep_following *f = o->following;
		rest(f);
		f->average = *a;
		lockstep_mode before = lockstep_enter_mode();
		make_averager(f);
		lockstep_leave_mode(before);
		if (!a->every) lockstep_free_beside(o, LOCKSTEP_AVERAGE), f->averages = 0;
	}
	if (o->following) close_idle(o);
	return status;
}

lockstep_status lockstep_optimizer_set_lookahead(lockstep_optimizer *o, const lockstep_lookahead *l, lockstep_error *error) {
	const lockstep_lookahead none = {.period = 0};
	if (!l) l = &none;
	if (l->period < 0) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "period is %lld, want at least 0", (long long)l->period);
	if (!l->period && l->step != 0) return lockstep_bad_argument(error, "period", "0", "at least 1, or zeros everywhere for no lookahead");
	const double least = 0x1p-150; /* which float rounds to 0 */
	if (l->period && !(l->step > least && l->step <= 1)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "step is %g, want above 0 and at most 1", l->step);
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status || (!l->period && !has_slow(o))) return status;
	status = open_following(o, error);
	if (!status && l->period && !has_slow(o)) status = lockstep_make_beside(o, LOCKSTEP_SLOW, error);
	if (!status) {
		rest(o->following);
		o->following->lookahead = *l;
		if (!l->period) lockstep_free_beside(o, LOCKSTEP_SLOW), o->following->slow_has = 0;
	}
	if (o->following) close_idle(o);
	return status;
}

void lockstep_optimizer_progress(const lockstep_optimizer *o, lockstep_progress *p) {
	*p = (lockstep_progress){.steps = o->taken};
	if (o->following) p->averages = o->following->averages, p->slow = o->following->slow_has;
}

lockstep_status lockstep_optimizer_set_progress(lockstep_optimizer *o, const lockstep_progress *p, lockstep_error *error) {
	const int64_t most = INT64_C(1) << 62; /* which can be counted on */
	if (!p) return lockstep_bad_argument(error, "progress", "NULL", "what was counted");
	if (p->steps < 0 || p->steps > most) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "steps is %lld, want at least 0 and at most 2^62", (long long)p->steps);
	if (p->averages < 0 || p->averages > most) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "averages is %lld, want at least 0 and at most 2^62", (long long)p->averages);
	if (p->averages && !has_average(o)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "averages is %lld, want 0: the optimizer keeps no average", (long long)p->averages);
	if (p->slow && !has_slow(o)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "slow is %d, want 0: the optimizer keeps no slow parameters", p->slow);
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	o->taken = p->steps;
	o->swapped = 0;
	if (o->following) o->following->averages = p->averages, o->following->slow_has = p->slow != 0;
	return LOCKSTEP_OK;
}

/* Counts an average that is taken. */
static void take(lockstep_following *f) {
	f->copies = !f->averages;
	if (!f->copies) {
		f->keeps = lockstep_decay(f->averager, f->averages);
		f->flushes = f->averages % FLUSH_EVERY == 0 || f->keeps < least_kept;
	}
	f->averages++;
}

void lockstep_begin_following(lockstep_optimizer *o) {
	lockstep_following *f = o->following;
	const lockstep_averaging *a = &f->average;
	int64_t t = o->taken, period = f->lookahead.period;
	rest(f);
	if (period) {
		f->looks = !f->slow_has;
		f->slow_has = 1;
		f->synchronizes = t % period == 0;
		f->slow_keeps = 1 - f->lookahead.step;
		f->slow_flushes = t / period % FLUSH_EVERY == 0 || f->slow_keeps < least_kept;
	}
	if (!a->every || t <= a->after) return;
	if (a->from_start && !f->averages) f->begins = 1, f->averages = 1;
	f->takes = (t - a->after) % a->every == 0;
	if (f->takes) take(f);
	f->overwrites = a->overwrite && t % a->overwrite == 0 && f->averages;
}

void lockstep_begin_beside_range(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, const float *params) {
	const int begin[] = {o->following->begins, o->following->looks};
	for (int which = 0; which < 2 && count; which++)
		if (begin[which]) memcpy(o->records[tensor].beside[which] + first, params, count * sizeof *params);
}

void lockstep_begin_beside(const lockstep_optimizer *o, float *const *params) {
	if (!o->following->begins && !o->following->looks) return;
	for (size_t k = 0; k < o->count; k++) lockstep_begin_beside_range(o, k, 0, o->places[k].size, params[k]);
}

/* Moves a block from parameters on, where little is kept: the same from the other end, so that
 * neither is lost beside the other. */
static void approach_block(const lockstep_table *table, float *x, const float *p, size_t n, float weight) {
	float room[BLOCK_LEN];
	const lockstep_add2_scalars difference = {1, -1};
	const lockstep_accumulate_scalars back = {weight};
	lockstep_buffer between[] = {{room, n, 0}, {(float *)p, n, 0}, {x, n, 0}}, list[] = {{x, n, 0}, {room, n, 0}};
	lockstep_kernel_add2(table, between, 3, &difference);
	memcpy(x, p, n * sizeof *x);
	lockstep_kernel_accumulate(table, list, 2, &back);
}

/* Moves x towards parameters, and keeps a part of it. Where they are 0 it ends as zeros. */
static void approach(const lockstep_table *table, float *x, const float *p, size_t n, double keeps, int flushes) {
	const lockstep_fade_scalars near_zero = {.scale = 1, .drop = LOCKSTEP_DROP_SUBNORMAL, .small = LOCKSTEP_DROP_SMALL};
	const lockstep_average_scalars average = {lockstep_weight(keeps)};
	lockstep_buffer list[] = {{x, n, 0}, {(float *)p, n, 0}};
	if (average.weight > 0)
		lockstep_kernel_average(table, list, 2, &average);
	else
		for (size_t at = 0; at < n; at += BLOCK_LEN) approach_block(table, x + at, p + at, n - at < BLOCK_LEN ? n - at : BLOCK_LEN, average.weight);
	if (flushes) lockstep_kernel_fade(table, list, 2, &near_zero);
}

void lockstep_follow(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, float *params) {
	const lockstep_following *f = o->following;
	float *const *beside = o->records[tensor].beside;
	int flushes = !o->groups[o->places[tensor].group].common.keep_subnormals;
	if (!count) return;
	if (f->synchronizes) {
		approach(o->table, beside[LOCKSTEP_SLOW] + first, params, count, f->slow_keeps, f->slow_flushes && flushes);
		memcpy(params, beside[LOCKSTEP_SLOW] + first, count * sizeof *params);
	}
	if (f->takes && f->copies)
		memcpy(beside[LOCKSTEP_AVERAGE] + first, params, count * sizeof *params);
	else if (f->takes)
		approach(o->table, beside[LOCKSTEP_AVERAGE] + first, params, count, f->keeps, f->flushes && flushes);
	if (f->overwrites) memcpy(params, beside[LOCKSTEP_AVERAGE] + first, count * sizeof *params);
}

static void swap(float *x, float *y, size_t n) {
	for (size_t i = 0; i < n; i++) {
		float before = x[i];
		x[i] = y[i];
		y[i] = before;
	}
}

static void swap_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	const lockstep_optimizer *o = job->o;
	const lockstep_unit *u = &o->units[unit];
	if (u->tensor != SHARED) swap(job->params[u->tensor] + u->lo, o->records[u->tensor].beside[LOCKSTEP_AVERAGE] + u->lo, u->hi - u->lo);
	for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) {
		size_t k = o->groups[u->group].shared[at];
		swap(job->params[k], o->records[k].beside[LOCKSTEP_AVERAGE], o->places[k].size);
	}
}

lockstep_status lockstep_optimizer_swap_average(lockstep_optimizer *o, float *const *params, lockstep_pool *pool, lockstep_error *error) {
	lockstep_job job = {.o = o, .params = params};
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	if (!has_average(o) || !o->following->averages) return lockstep_bad_argument(error, "the number of averages", "0", "at least 1: see lockstep_optimizer_set_average");
	if (o->count && !params) return lockstep_bad_argument(error, "params", "NULL", "a pointer for each tensor");
	status = lockstep_own_params(o, params, error);
	if (status) return status;
	lockstep_share(pool, swap_unit, &job, o->unit_count, o->total);
	o->swapped = !o->swapped;
	return LOCKSTEP_OK;
}
