/* Optimizers: what is made of rules and tensors, and what may be set and asked. */
#include "mode.h"
#include "optimizer.h"
#include "thread.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements of all tensors, so that the bytes of their state can be counted. */
static const size_t most_elements = (size_t)1 << (sizeof(size_t) > 4 ? 43 : 26);

/* Zeros, or a note that there are none. */
static void *get(lockstep_status *status, size_t n, size_t size) {
	void *p = calloc(n ? n : 1, size);
	if (!p) *status = LOCKSTEP_NO_MEMORY;
	return p;
}

/* Opens the group of a rule's matrices. */
static lockstep_status open_factored(lockstep_optimizer *o, size_t group, const lockstep_group *from, lockstep_error *error) {
	size_t k = o->group_count++;
	o->groups[group].factored = k;
	o->groups[k].is_factored = 1;
	return lockstep_open_group(&o->groups[k], from, error);
}

static lockstep_status open_groups(lockstep_optimizer *o, const lockstep_group *groups, size_t count, lockstep_error *error) {
	lockstep_status status = LOCKSTEP_OK;
	o->groups = get(&status, 2 * count, sizeof *o->groups);
	for (size_t k = 0; k < count && !status; k++) {
		o->group_count = o->rule_count = k + 1;
		status = lockstep_open_group(&o->groups[k], &groups[k], error);
		if (status == LOCKSTEP_BAD_ARGUMENT && count > 1) lockstep_prefix(error, "groups", k);
	}
	for (size_t k = 0; k < count && !status; k++)
		if (o->groups[k].code->factors) status = open_factored(o, k, &groups[k], error);
	for (size_t k = 0; k < o->group_count && !status; k++)
		if (o->passes < o->groups[k].plan.pass_count) o->passes = o->groups[k].plan.pass_count;
	return status;
}

static lockstep_status check_tensors(lockstep_optimizer *o, const lockstep_tensor *tensors, size_t count, lockstep_error *error) {
	for (size_t k = 0; k < count; k++) {
		if (tensors[k].size > most_elements - o->total)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensors[%zu].size is %zu, want at most %zu elements of all tensors", k, tensors[k].size, most_elements);
		if (tensors[k].group >= o->rule_count)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensors[%zu].group is %zu, want the index of one of %zu groups", k, tensors[k].group, o->rule_count);
		if (!tensors[k].columns && tensors[k].size && o->groups[tensors[k].group].code->matrices)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensors[%zu].columns is 0, want those of a matrix: the %s rule has no step of vectors", k, o->groups[tensors[k].group].name);
		if (tensors[k].columns && tensors[k].size % tensors[k].columns)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensors[%zu].columns is %zu, want 0, or a divisor of the tensor's size, %zu", k, tensors[k].columns, tensors[k].size);
		o->total += tensors[k].size;
	}
	return LOCKSTEP_OK;
}

/* Room for what there is one of for each tensor. */
static lockstep_status get_tensors(lockstep_optimizer *o, const lockstep_tensor *tensors, size_t count) {
	lockstep_status status = LOCKSTEP_OK;
	const size_t own = 4, beside = 3; /* rooms: of state, which moves, and of what is beside it. Parameters, in halves maybe, and their copies */
	size_t length = 0;
	for (size_t k = 0; k < count; k++) length += tensors[k].name ? strlen(tensors[k].name) + 1 : 0;
	o->count = count;
	o->names = get(&status, length, 1);
	o->places = get(&status, count, sizeof *o->places);
	o->records = get(&status, count, sizeof *o->records);
	o->many = get(&status, count, sizeof *o->many);
	o->own = get(&status, count, sizeof *o->own);
	o->states = get(&status, count * (LOCKSTEP_MAX_SLOTS + 1) + own, sizeof *o->states);
	o->owned = get(&status, count * (LOCKSTEP_MAX_SLOTS + beside) + own, sizeof *o->owned);
	o->blocks = get(&status, count * (LOCKSTEP_MAX_SLOTS + beside) + own, sizeof *o->blocks);
	return status;
}

static void copy_tensors(lockstep_optimizer *o, const lockstep_tensor *tensors) {
	char *at = o->names;
	for (size_t k = 0; k < o->count; k++) {
		size_t group = tensors[k].group, size = tensors[k].size, columns = tensors[k].columns;
		const lockstep_rule_group *g = &o->groups[group];
		if (lockstep_factors(g, g->options, size, columns)) group = g->factored;
		o->places[k] = (lockstep_place){.size = size, .group = (uint32_t)group};
		o->records[k].columns = columns || !o->groups[group].plan.passes[0].row ? columns : size; /* a vector is one row */
		o->records[k].vector = !columns;
		if (!tensors[k].name) continue;
		o->records[k].name = strcpy(at, tensors[k].name);
		at += strlen(at) + 1;
	}
}

/* Lists the tensors that share calls with others. */
static lockstep_status list_small(lockstep_optimizer *o) {
	lockstep_status status = LOCKSTEP_OK;
	for (size_t k = 0; k < o->count; k++) {
		lockstep_rule_group *g = &o->groups[o->places[k].group];
		o->records[k].listed = o->count > 1 && o->places[k].size <= SMALL_LEN && g->plain && g->common.l1 == 0;
		g->shared_count += (size_t)o->records[k].listed;
	}
	for (size_t k = 0; k < o->group_count && !status; k++) {
		o->groups[k].shared = get(&status, o->groups[k].shared_count, sizeof(size_t));
		o->groups[k].shared_count = 0;
	}
	for (size_t k = 0; k < o->count && !status; k++) {
		lockstep_rule_group *g = &o->groups[o->places[k].group];
		if (o->records[k].listed) g->shared[g->shared_count++] = k;
	}
	return status;
}

/* Room for what passes by rows make of each unit. */
static lockstep_status get_row_room(lockstep_optimizer *o) {
	lockstep_status status = LOCKSTEP_OK;
	size_t sums = 0, rows = 0;
	for (int placed = 0; placed < 2 && !status; placed++) {
		for (size_t k = 0; k < o->count; k++) {
			lockstep_record *r = &o->records[k];
			size_t units = r->units[1] - r->units[0];
			if (!lockstep_by_rows(o, k) || o->groups[o->places[k].group].plan.passes[0].row) continue;
			if (placed) r->by_column = o->sums_room + sums, r->row_room = o->rows_room + rows;
			sums += units * r->columns;
			rows += units * lockstep_row_room(r->columns);
		}
		if (placed) break;
		o->sums_room = get(&status, sums, sizeof *o->sums_room);
		o->rows_room = get(&status, rows, sizeof *o->rows_room);
		sums = rows = 0;
	}
	return status;
}

static lockstep_status make_units(lockstep_optimizer *o) {
	lockstep_status status = list_small(o);
	if (status) return status;
	lockstep_split(o);
	o->units = get(&status, o->unit_count, sizeof *o->units);
	o->partial = get(&status, o->unit_count, sizeof *o->partial);
	if (!status) lockstep_split(o);
	return status ? status : get_row_room(o);
}

lockstep_status lockstep_cut_anew(lockstep_optimizer *o) {
	lockstep_status status = LOCKSTEP_OK;
	lockstep_unit *units = o->units;
	double (*partial)[LOCKSTEP_MAX_SUMS] = o->partial;
	struct lockstep_observing *observing = o->observing;
	lockstep_optimizer_forget_observed(o); /* which waits for parts that are being taken */
	o->units = NULL;
	lockstep_split(o); /* counts them */
	o->units = get(&status, o->unit_count, sizeof *o->units);
	o->partial = get(&status, o->unit_count, sizeof *o->partial);
	o->observing = NULL;
	if (!status) {
		lockstep_split(o);
		status = lockstep_open_observing(o);
	}
	if (!status) {
		struct lockstep_observing *opened = o->observing;
		o->observing = observing;
		lockstep_close_observing(o);
		o->observing = opened;
		free(units);
		free(partial);
		return status;
	}
	lockstep_close_observing(o);
	free(o->units);
	free(o->partial);
	o->units = units;
	o->partial = partial;
	o->observing = observing;
	return status;
}

static lockstep_status make(lockstep_optimizer *o, const lockstep_group *groups, size_t group_count,
	const lockstep_tensor *tensors, size_t count, lockstep_error *error) {
	o->grad_scale = 1;
	lockstep_status status = lockstep_optimizer_set_table(o, NULL, error);
	if (!status) status = open_groups(o, groups, group_count, error);
	if (!status) status = check_tensors(o, tensors, count, error);
	if (!status) status = get_tensors(o, tensors, count);
	if (status) return status;
	copy_tensors(o, tensors);
	status = lockstep_make_state(o, tensors, error);
	if (!status) status = make_units(o);
	if (!status) status = lockstep_open_ranges(o);
	return status ? status : lockstep_open_observing(o);
}

static LOCKSTEP_NOT_INLINED lockstep_status make_usual(lockstep_optimizer *o, const lockstep_group *groups, size_t group_count,
	const lockstep_tensor *tensors, size_t count, lockstep_error *error) {
	lockstep_error why = {LOCKSTEP_OK, ""};
	lockstep_status status = make(o, groups, group_count, tensors, count, &why);
	if (status && !why.status) lockstep_reject(&why, status, "no memory for an optimizer of %zu tensors", count);
	if (status && error) *error = why;
	return status;
}

lockstep_status lockstep_optimizer_new(const lockstep_group *groups, size_t group_count,
	const lockstep_tensor *tensors, size_t tensor_count, lockstep_optimizer **o, lockstep_error *error) {
	*o = NULL;
	if (group_count && !groups) return lockstep_bad_argument(error, "groups", "NULL", "as many as group_count says");
	if (tensor_count && !tensors) return lockstep_bad_argument(error, "tensors", "NULL", "as many as tensor_count says");
	lockstep_optimizer *made = calloc(1, sizeof *made);
	if (!made) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for an optimizer");
	lockstep_mode before = lockstep_enter_mode();
	lockstep_hash_places(made);
	lockstep_status status = make_usual(made, groups, group_count, tensors, tensor_count, error);
	lockstep_leave_mode(before);
	if (status)
		lockstep_optimizer_free(made);
	else
		*o = made;
	return status;
}

void lockstep_optimizer_free(lockstep_optimizer *o) {
	if (!o) return;
	for (size_t k = 0; k < o->group_count; k++) lockstep_close_group(&o->groups[k]);
	lockstep_close_following(o);
	lockstep_free_state(o);
	lockstep_close_ranges(o);
	lockstep_close_observing(o);
	lockstep_free_rows(o);
	void *all[] = {o->groups, o->names, o->places, o->records, o->many, o->own, o->states, o->owned, o->blocks, o->units, o->partial, o->sums_room, o->rows_room, o->first, o->grads, o};
	for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
}

static lockstep_status check_group(const lockstep_optimizer *o, size_t group, lockstep_error *error) {
	if (group < o->rule_count) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "group is %zu, want the index of one of %zu", group, o->rule_count);
}

lockstep_status lockstep_check_not_begun(const lockstep_optimizer *o, lockstep_error *error) {
	return o->begun ? lockstep_bad_argument(error, "step", "begun", "one that is not") : LOCKSTEP_OK;
}

static LOCKSTEP_NOT_INLINED lockstep_status check_lr(const lockstep_rule_group *g, double lr, lockstep_error *error) {
	return g->code->check_lr(g->options, lr, error);
}

lockstep_status lockstep_optimizer_set_lr(lockstep_optimizer *o, size_t group, double lr, lockstep_error *error) {
	lockstep_status status = check_group(o, group, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	status = check_lr(&o->groups[group], lr, error);
	lockstep_leave_mode(before);
	if (status) return status;
	o->groups[group].lr = lr;
	if (o->groups[group].factored) o->groups[o->groups[group].factored].lr = lr;
	return LOCKSTEP_OK;
}

/* Refuses options of a group, which are checked and in next, whose state of a tensor has other
 * lengths than there are. */
static lockstep_status check_lengths(const lockstep_optimizer *o, size_t group, lockstep_error *error) {
	const lockstep_rule_group *g = &o->groups[group], *factored = &o->groups[g->factored];
	void *prepared = malloc(g->code->prepared + 1);
	if (!prepared) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for a rule");
	lockstep_plan plan = {0};
	g->code->factored_plan(g->next, prepared, &plan);
	free(prepared);
	for (size_t k = 0; k < o->count; k++)
		for (int j = 0; o->places[k].group == g->factored && j < lockstep_kept_slots(&plan); j++)
			if (lockstep_slot_len(&plan.slots[j], o->places[k].size, o->records[k].columns) !=
				lockstep_slot_len(&factored->plan.slots[j], o->places[k].size, o->records[k].columns))
				return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "options is those of a rule whose state of tensor %zu is of other lengths, want those of one whose is as long as it was", k);
	return LOCKSTEP_OK;
}

/* Changes the options of a group, and of that of its matrices. */
static LOCKSTEP_NOT_INLINED lockstep_status change_groups(lockstep_optimizer *o, size_t group, const void *options, size_t size, lockstep_error *error) {
	lockstep_rule_group *g = &o->groups[group];
	lockstep_status status = g->factored ? lockstep_take_options(g, options, size, error) : LOCKSTEP_OK;
	for (size_t k = 0; k < o->count && g->factored && !status; k++) {
		size_t of = o->places[k].group;
		if ((of == group || of == g->factored) && lockstep_factors(g, g->next, o->places[k].size, o->records[k].columns) != (of == g->factored))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "options is those of a rule that has another state of tensor %zu, want those of one that factors the same tensors", k);
	}
	if (!status && g->factored) status = check_lengths(o, group, error);
	if (!status) status = lockstep_change_group(g, options, size, error);
	return status || !g->factored ? status : lockstep_change_group(&o->groups[g->factored], options, size, error);
}

lockstep_status lockstep_optimizer_set_options(lockstep_optimizer *o, size_t group, const void *options, size_t size, lockstep_error *error) {
	lockstep_status status = check_group(o, group, error);
	if (!status) status = lockstep_check_not_begun(o, error);
	if (!status) status = lockstep_check_training(o, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	status = change_groups(o, group, options, size, error);
	lockstep_leave_mode(before);
	return status;
}

lockstep_status lockstep_optimizer_set_grad_scale(lockstep_optimizer *o, double scale, lockstep_error *error) {
	const double least = 0x1p-150; /* which float rounds to 0 */
	if (!(scale > least && scale <= FLT_MAX))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "scale is %g, want a finite float above 0", scale);
	o->grad_scale = scale;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_set_max_norm(lockstep_optimizer *o, double max_norm, lockstep_error *error) {
	if (!(max_norm >= 0))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "max_norm is %g, want a number above 0, or 0 for no clipping", max_norm);
	if (o->max_tensor_norm && max_norm && !isinf(max_norm))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "max_norm is %g, want 0 while max_tensor_norm clips each tensor to its own", max_norm);
	lockstep_clip_to(o, isinf(max_norm) ? 0 : max_norm);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_set_table(lockstep_optimizer *o, const lockstep_table *table, lockstep_error *error) {
	lockstep_status status = table ? LOCKSTEP_OK : lockstep_active(&table);
	if (status) return lockstep_reject(error, status, "%s", lockstep_message(status));
	o->table = table;
	return LOCKSTEP_OK;
}

double lockstep_optimizer_lr(const lockstep_optimizer *o, size_t group) { return group < o->rule_count ? o->groups[group].lr : 0; }

double lockstep_optimizer_norm(const lockstep_optimizer *o) { return o->norm; }

int64_t lockstep_optimizer_steps(const lockstep_optimizer *o, size_t tensor) {
	return tensor < o->count ? o->step - o->records[tensor].missed : 0;
}

static lockstep_status check_tensor(const lockstep_optimizer *o, size_t tensor, lockstep_error *error) {
	if (tensor < o->count) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensor is %zu, want the index of one of %zu", tensor, o->count);
}

lockstep_status lockstep_optimizer_set_steps(lockstep_optimizer *o, size_t tensor, int64_t steps, lockstep_error *error) {
	const int64_t most = INT64_C(1) << 62; /* which can be counted on */
	lockstep_status status = check_tensor(o, tensor, error);
	if (!status) status = lockstep_check_not_begun(o, error);
	if (status) return status;
	if (steps < 0 || steps > most)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "steps is %lld, want at least 0 and at most 2^62", (long long)steps);
	o->records[tensor].missed = o->step - steps;
	if (o->taken < steps) o->taken = steps;
	o->records[tensor].begins = steps == 0 && !o->records[tensor].owned && lockstep_begins_as_params(&o->groups[o->places[tensor].group].plan);
	o->apart = 1;
	return LOCKSTEP_OK;
}

float *lockstep_optimizer_state(const lockstep_optimizer *o, size_t tensor, const char *slot) {
	if (tensor >= o->count || !slot) return NULL;
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	for (int j = 0; j < lockstep_kept_slots(plan); j++)
		if (!strcmp(plan->slots[j].name, slot)) return o->records[tensor].packing[j] == LOCKSTEP_STATE_FLOAT32 ? o->places[tensor].state[j] : NULL;
	return lockstep_beside(o, tensor, slot);
}

size_t lockstep_optimizer_state_len(const lockstep_optimizer *o, size_t tensor, const char *slot) {
	if (tensor >= o->count || !slot) return 0;
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	for (int j = 0; j < lockstep_kept_slots(plan); j++)
		if (!strcmp(plan->slots[j].name, slot)) return lockstep_slot_len(&plan->slots[j], o->places[tensor].size, o->records[tensor].columns);
	return lockstep_beside(o, tensor, slot) ? o->places[tensor].size : 0;
}

const char *lockstep_optimizer_rule(const lockstep_optimizer *o, size_t group) {
	return group < o->rule_count ? o->groups[group].name : NULL;
}
