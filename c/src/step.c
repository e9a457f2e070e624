/* A step: what depends on it is computed, and its passes are carried out. */
#include "mode.h"
#include "optimizer.h"

#include <math.h>
#include <string.h>

static LOCKSTEP_NOT_INLINED double sum_squares(const float *x, size_t n) {
	double lanes[LOCKSTEP_LANES] = {0};
	lockstep_buffer b = {(float *)x, n, 0};
	const lockstep_table *table;
	if (lockstep_active(&table)) lockstep_find("portable", &table);
	lockstep_kernel_sum_squares(table, &b, 1, lanes);
	return lockstep_total(lanes);
}

double lockstep_sum_squares(const float *x, size_t n) {
	lockstep_mode before = lockstep_enter_mode();
	double sum = sum_squares(x, n);
	lockstep_leave_mode(before);
	return sum;
}

double lockstep_sum_pairs(double (*x)[LOCKSTEP_MAX_SUMS], size_t n, int sum) {
	if (n == 0) return 0;
	if (n == 1) return x[0][sum];
	return lockstep_sum_pairs(x, n / 2, sum) + lockstep_sum_pairs(x + n / 2, n - n / 2, sum);
}

/* Leaves the tensors without a gradient out of the step. */
static void leave_out(lockstep_optimizer *o, const float *const *grads) {
	for (size_t k = 0; k < o->count; k++)
		if (!grads[k] && o->places[k].size) o->records[k].missed++;
	o->apart = 1;
}

/* Has the optimizer count with its tensors if all have taken the same number of steps. */
static void come_together(lockstep_optimizer *o) {
	int64_t missed = o->records[0].missed;
	for (size_t k = 1; k < o->count; k++)
		if (o->records[k].missed != missed) return;
	for (size_t k = 0; k < o->count; k++) o->records[k].missed = 0;
	o->step -= missed;
	o->apart = 0;
}

/* Whether a tensor takes part in the step; without gradients all do. */
static int is_present(const lockstep_optimizer *o, const float *const *grads, size_t tensor) {
	return o->places[tensor].size && (!grads || grads[tensor]);
}

/* Whether a tensor takes part in a pass. What follows from sums over more than a tensor is
 * kept by those without a gradient too, so that all have the same. */
static int runs(const lockstep_optimizer *o, const float *const *grads, size_t tensor, int pass) {
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	if (pass >= plan->pass_count) return 0;
	if (lockstep_keeps(&plan->passes[pass]) && pass > 0 && plan->passes[pass - 1].sums > LOCKSTEP_OVER_TENSOR) return o->places[tensor].size > 0;
	return is_present(o, grads, tensor);
}

static void prepare_tensor(lockstep_optimizer *o, size_t tensor, int pass) {
	lockstep_record *r = &o->records[tensor];
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	lockstep_step_input in = g->input;
	in.t = o->step - r->missed;
	if (lockstep_follows_own(g, pass)) {
		for (int s = 0; s < LOCKSTEP_MAX_SUMS; s++) in.sums[s] = r->sums[s];
		in.elements = (int64_t)o->places[tensor].size;
	}
	in.columns = (int64_t)(r->columns ? r->columns : o->places[tensor].size);
	in.rows = in.columns ? (int64_t)o->places[tensor].size / in.columns : 0;
	for (int j = 0, kept = 0; j < g->plan.slot_count; j++)
		if (g->plan.slots[j].extent == LOCKSTEP_OF_TENSOR) in.per_tensor[kept++] = o->places[tensor].state[j][0];
	r->own = &o->own[tensor];
	g->plan.passes[pass].scalars(g->prepared, &in, &o->own[tensor]);
}

/* Whether a tensor takes the first pass of a step as the one before it does. */
static int is_alike(const lockstep_optimizer *o, size_t tensor, size_t before) {
	if (o->groups[o->places[tensor].group].keeps) return 0;
	return o->places[tensor].group == o->places[before].group && o->records[tensor].missed == o->records[before].missed;
}

/* Computes the scalars of tensors that have their own. */
static void prepare_own(lockstep_optimizer *o, int pass, const float *const *grads) {
	size_t before = SIZE_MAX; /* that has its own */
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_rule_group *g = &o->groups[o->places[k].group];
		if (!runs(o, grads, k, pass)) continue;
		if (lockstep_scalars_for(o, k, pass) == &g->scalars[pass]) continue;
		if (pass == 0 && before != SIZE_MAX && is_alike(o, k, before))
			o->records[k].own = o->records[before].own;
		else
			prepare_tensor(o, k, pass);
		before = k;
	}
}

/* Computes the scalars of a pass: once for all tensors of a rule that have taken the step
 * together, and for each of the others. */
static void prepare(lockstep_optimizer *o, int pass, const float *const *grads) {
	int own = o->apart;
	for (size_t k = 0; k < o->group_count; k++) {
		lockstep_rule_group *g = &o->groups[k];
		if (pass >= g->plan.pass_count) continue;
		if (lockstep_scales_own(g, pass))
			own = 1;
		else
			g->plan.passes[pass].scalars(g->prepared, &g->input, &g->scalars[pass]);
	}
	if (own) prepare_own(o, pass, grads);
}

/* What the passes of a number are in all groups: a step has no loop over thousands of tensors
 * for what none has. */
typedef struct {
	int shares;   /* there are units to share */
	int together; /* on whole matrices, with all threads */
	int keeps;    /* tensors keep what it makes */
} passes;

static passes passes_of(const lockstep_optimizer *o, int pass) {
	passes some = {0};
	for (size_t k = 0; k < o->group_count; k++) {
		const lockstep_plan *plan = &o->groups[k].plan;
		if (pass >= plan->pass_count) continue;
		int together = plan->passes[pass].walk == LOCKSTEP_TOGETHER, keeps = lockstep_keeps(&plan->passes[pass]);
		some.together |= together;
		some.keeps |= keeps;
		some.shares |= !together && !keeps;
	}
	return some;
}

/* Has tensors keep what a pass makes for that. */
static void keep(lockstep_optimizer *o, int pass, const float *const *grads) {
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_plan *plan = &o->groups[o->places[k].group].plan;
		if (pass >= plan->pass_count || !lockstep_keeps(&plan->passes[pass]) || !runs(o, grads, k, pass)) continue;
		for (int j = 0, kept = 0; j < plan->slot_count; j++)
			if (plan->slots[j].extent == LOCKSTEP_OF_TENSOR) memcpy(o->places[k].state[j], &lockstep_scalars_for(o, k, pass)->words[kept++], sizeof(float));
	}
}

/* Runs passes together of this number, on one tensor after the other. */
static void run_together(const lockstep_job *job, lockstep_pool *pool) {
	const lockstep_optimizer *o = job->o;
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_plan *plan = &o->groups[o->places[k].group].plan;
		if (job->pass < plan->pass_count && plan->passes[job->pass].walk == LOCKSTEP_TOGETHER && is_present(o, job->grads, k)) lockstep_step_together(job, k, pool);
	}
}

/* Whether some state begins as the parameters. */
static int some_begin(const lockstep_optimizer *o) {
	for (size_t k = 0; k < o->group_count; k++)
		if (lockstep_begins_as_params(&o->groups[k].plan)) return 1;
	return 0;
}

/* Lets state begin as the parameters, of the tensors whose first step it is. */
void lockstep_begin_as_params(lockstep_optimizer *o, float *const *params, const float *const *grads) {
	if (!some_begin(o)) return;
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_plan *plan = &o->groups[o->places[k].group].plan;
		if (!o->records[k].begins || !is_present(o, grads, k)) continue;
		for (int j = 0; j < plan->slot_count; j++)
			if (plan->slots[j].begins_as_params) memcpy(o->places[k].state[j], params[k], o->places[k].size * sizeof(float));
		o->records[k].begins = 0;
	}
}

void lockstep_begin_step(lockstep_optimizer *o, double scale, const float *const *grads) {
	o->step++;
	o->taken++;
	if (o->missing) leave_out(o, grads);
	if (o->apart) come_together(o);
	for (size_t k = 0; k < o->group_count; k++) lockstep_begin_group(&o->groups[k], o->step, scale);
	if (o->following) lockstep_begin_following(o);
	prepare(o, 0, grads);
}

/* Whether a tensor takes part in a pass of a step that leaves sums. */
static int is_summed(const lockstep_optimizer *o, size_t tensor, int pass, const float *const *grads) {
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	return pass < plan->pass_count && plan->passes[pass].sums >= LOCKSTEP_OVER_TENSOR && is_present(o, grads, tensor);
}

/* Gives the next pass of a rule the sums over its tensors, or over those of all groups with it. */
static void add_over(lockstep_optimizer *o, size_t group, int pass, const float *const *grads) {
	lockstep_rule_group *g = &o->groups[group];
	lockstep_scope scope = g->plan.passes[pass].sums;
	size_t n = 0;
	g->input.elements = 0;
	for (size_t k = 0; k < o->count; k++) {
		size_t of = o->places[k].group;
		if (of != group && (scope == LOCKSTEP_OVER_RULE || o->groups[of].rule != g->rule)) continue;
		if (!is_summed(o, k, pass, grads) || o->groups[of].plan.passes[pass].sums != scope) continue;
		memcpy(o->many[n++], o->records[k].sums, sizeof *o->many);
		g->input.elements += (int64_t)o->places[k].size;
	}
	for (int s = 0; s < LOCKSTEP_MAX_SUMS; s++) g->input.sums[s] = lockstep_sum_pairs(o->many, n, s);
}

/* Adds the sums by column of all units to those of the first, if a pass leaves such. */
static void add_columns(const lockstep_optimizer *o, size_t tensor, int pass) {
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	const lockstep_record *r = &o->records[tensor];
	if (pass >= plan->pass_count || plan->passes[pass].sums != LOCKSTEP_BY_COLUMN) return;
	for (size_t unit = 1; unit < r->units[1] - r->units[0]; unit++)
		for (size_t j = 0; j < r->columns; j++) r->by_column[j] += r->by_column[unit * r->columns + j];
}

/* Adds up what a pass has measured of each tensor, unit by unit, and over tensors. */
static void add_up(lockstep_optimizer *o, int pass, const float *const *grads) {
	for (size_t k = 0; k < o->count; k++) {
		lockstep_record *r = &o->records[k];
		for (int s = 0; s < LOCKSTEP_MAX_SUMS && is_summed(o, k, pass, grads); s++)
			r->sums[s] = lockstep_sum_pairs(o->partial + r->units[0], r->units[1] - r->units[0], s);
		if (is_present(o, grads, k)) add_columns(o, k, pass);
	}
	for (size_t k = 0; k < o->group_count; k++) {
		const lockstep_plan *plan = &o->groups[k].plan;
		if (pass < plan->pass_count && plan->passes[pass].sums > LOCKSTEP_OVER_TENSOR) add_over(o, k, pass, grads);
	}
}

/* Finds what steps that agree with the gradient are multiplied by, tensor by tensor. */
static void count_agreeing(lockstep_job *job, lockstep_pool *pool) {
	const double least = 1e-3; /* what the part that agrees is taken for at least */
	lockstep_optimizer *o = job->o;
	int counts = 0;
	for (size_t k = 0; k < o->group_count; k++) counts |= o->groups[k].common.cautious_update;
	if (!counts) return;
	lockstep_share(pool, lockstep_agree_unit, job, o->unit_count, o->total);
	for (size_t k = 0; k < o->count; k++) {
		lockstep_record *r = &o->records[k];
		if (!o->groups[o->places[k].group].common.cautious_update || !is_present(o, job->grads, k)) continue;
		if (!r->listed) r->sums[0] = lockstep_sum_pairs(o->partial + r->units[0], r->units[1] - r->units[0], 0);
		r->trust = (float)(1 / fmax(r->sums[0] / (double)o->places[k].size, least));
	}
}

double lockstep_clip(lockstep_optimizer *o, double squares) {
	o->norm = sqrt(squares) * fabs(o->grad_scale);
	return o->norm <= o->max_norm ? 1 : o->max_norm / o->norm;
}

static double squares(lockstep_job *job, lockstep_pool *pool) {
	lockstep_share(pool, lockstep_square_unit, job, job->o->unit_count, job->o->total);
	return lockstep_sum_pairs(job->o->partial, job->o->unit_count, 0);
}

/* The factor that clips the gradients, which are read unless they were observed. */
static lockstep_status measure(lockstep_job *job, lockstep_pool *pool, double *factor, lockstep_error *error) {
	lockstep_optimizer *o = job->o;
	double sum = 0;
	if (o->max_norm && lockstep_is_observed(o)) {
		lockstep_status status = lockstep_take_observed(o, job->grads, &sum, error);
		if (status) return status;
	} else if (o->max_norm) {
		sum = squares(job, pool);
	}
	o->norm = 0;
	*factor = o->max_norm ? lockstep_clip(o, sum) : 1;
	return LOCKSTEP_OK;
}

static lockstep_status check_pointers(const lockstep_optimizer *o, const char *name, const void *pointers, lockstep_error *error) {
	return o->count && !pointers ? lockstep_bad_argument(error, name, "NULL", "a pointer for each tensor") : LOCKSTEP_OK;
}

lockstep_status lockstep_check_no_rows(const lockstep_optimizer *o, lockstep_error *error) {
	return o->adaptive || o->centralizes ? lockstep_bad_argument(error, "an adaptive clip or centralize", "set", "none with parameters in 16 bits: they look at rows") : LOCKSTEP_OK;
}

static lockstep_status check_step(const lockstep_optimizer *o, const void *params, const void *grads, lockstep_error *error) {
	if (o->begun) return lockstep_bad_argument(error, "step", "begun", "one that is not: its ranges are yours to apply");
	lockstep_status status = lockstep_check_training(o, error);
	if (!status) status = lockstep_check_own(o, error);
	if (!status) status = check_pointers(o, "params", params, error);
	return status ? status : check_pointers(o, "grads", grads, error);
}

/* Takes a step that was begun on parameters in 16 bits. */
static void run_split(lockstep_job *job, lockstep_pool *pool) {
	lockstep_optimizer *o = job->o;
	lockstep_share(pool, lockstep_split_unit, job, o->unit_count, o->total);
	for (size_t k = 0; k < o->count; k++) o->records[k].begins &= !job->grads[k];
}

static LOCKSTEP_NOT_INLINED lockstep_status step(lockstep_job *job, lockstep_pool *pool, lockstep_error *error) {
	lockstep_optimizer *o = job->o;
	lockstep_status status = check_step(o, job->halves ? (const void *)job->halves : job->params, job->grads, error);
	if (!status && job->halves)
		status = lockstep_find_halves(o, job->halves, job->rests, job->grads, error);
	else if (!status)
		status = lockstep_find_places(o, job->params, job->grads, error);
	if (!status && o->shard_count) status = lockstep_check_shards(o, error);
	double factor;
	if (!status) status = measure(job, pool, &factor, error);
	if (status) return status;
	int skips = 0;
	if (o->max_tensor_norm) lockstep_clip_tensors(job, pool);
	if (o->policy != LOCKSTEP_PROPAGATE) status = lockstep_heed_policy(job, factor, pool, &skips, error);
	if (skips && !status && o->zeroes) lockstep_zero_all(job, pool);
	if (status || skips) return status;
	lockstep_begin_step(o, o->grad_scale * factor, job->grads);
	if (job->halves) {
		run_split(job, pool);
		return LOCKSTEP_OK;
	}
	lockstep_begin_as_params(o, job->params, job->grads);
	if (o->following) lockstep_begin_beside(o, job->params);
	count_agreeing(job, pool);
	for (job->pass = 0; job->pass < o->passes; job->pass++) {
		if (job->pass > 0) {
			add_up(o, job->pass - 1, job->grads);
			prepare(o, job->pass, job->grads);
		}
		passes some = passes_of(o, job->pass);
		if (some.together) run_together(job, pool);
		if (some.keeps) keep(o, job->pass, job->grads);
		if (some.shares) lockstep_share(pool, lockstep_step_unit, job, o->unit_count, o->total);
	}
	return LOCKSTEP_OK;
}

lockstep_status lockstep_take_step(lockstep_job *job, lockstep_pool *pool, lockstep_error *error) {
	lockstep_mode before = lockstep_enter_mode();
	lockstep_status status = step(job, pool, error);
	lockstep_leave_mode(before);
	return status;
}

lockstep_status lockstep_optimizer_step(lockstep_optimizer *o, float *const *params, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error) {
	lockstep_job job = {.o = o, .params = params, .grads = grads, .scale = 1};
	return lockstep_take_step(&job, pool, error);
}

static lockstep_status step_halves(lockstep_job *job, lockstep_pool *pool, lockstep_error *error) {
	lockstep_status status = check_pointers(job->o, "params", job->halves, error);
	if (!status) status = lockstep_check_plain(job->o, error);
	if (!status) status = lockstep_check_no_rows(job->o, error);
	return status ? status : lockstep_take_step(job, pool, error);
}

lockstep_status lockstep_optimizer_step_split(lockstep_optimizer *o, uint16_t *const *params, uint16_t *const *rests, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error) {
	lockstep_job job = {.o = o, .halves = params, .rests = rests, .grads = grads, .scale = 1};
	lockstep_status status = check_pointers(o, "rests", rests, error);
	return status ? status : step_halves(&job, pool, error);
}

lockstep_status lockstep_optimizer_step_bf16(lockstep_optimizer *o, uint16_t *const *params, const float *const *grads, lockstep_pool *pool, lockstep_error *error) {
	lockstep_job job = {.o = o, .halves = params, .grads = grads, .scale = 1};
	return step_halves(&job, pool, error);
}

lockstep_status lockstep_optimizer_set_rounding(lockstep_optimizer *o, uint64_t seed, lockstep_error *error) {
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (!status) o->rounding = seed;
	return status;
}

static LOCKSTEP_NOT_INLINED lockstep_status norm(lockstep_job *job, lockstep_pool *pool, double *norm, lockstep_error *error) {
	lockstep_status status = check_pointers(job->o, "grads", job->grads, error);
	double sum = 0;
	if (!status && lockstep_is_observed(job->o))
		status = lockstep_look_at_observed(job->o, job->grads, &sum, error);
	else if (!status)
		sum = squares(job, pool);
	if (!status) *norm = sqrt(sum) * fabs(job->o->grad_scale);
	return status;
}

lockstep_status lockstep_optimizer_measure(lockstep_optimizer *o, const float *const *grads, lockstep_pool *pool, double *result, lockstep_error *error) {
	lockstep_job job = {.o = o, .grads = grads, .scale = 1};
	lockstep_mode before = lockstep_enter_mode();
	lockstep_status status = norm(&job, pool, result, error);
	lockstep_leave_mode(before);
	return status;
}
