/* Steps on threads of the caller's, range by range. */
#include "mode.h"
#include "optimizer.h"
#include "thread.h"

#include <stdlib.h>
#include <string.h>

typedef struct span {
	size_t lo, hi;
} span;

/* The ranges of a tensor that the step was applied to, in order and apart. */
typedef struct applied {
	span *spans;
	size_t count, room;
} applied;

typedef struct lockstep_ranges {
	lockstep_lock lock;
	span *all;
	applied of[];
} lockstep_ranges;

/* How many ranges of a tensor may lie apart. */
static size_t room_for(const lockstep_place *place) { return place->size / UNIT_LEN + 16; }

lockstep_status lockstep_open_ranges(lockstep_optimizer *o) {
	size_t room = 0;
	for (size_t k = 0; k < o->count; k++) room += room_for(&o->places[k]);
	o->ranges = malloc(sizeof *o->ranges + o->count * sizeof(applied));
	if (!o->ranges) return LOCKSTEP_NO_MEMORY;
	lockstep_make_lock(&o->ranges->lock);
	span *at = o->ranges->all = malloc((room + 1) * sizeof(span));
	for (size_t k = 0; at && k < o->count; k++) {
		o->ranges->of[k] = (applied){at, 0, room_for(&o->places[k])};
		at += o->ranges->of[k].room;
	}
	return at ? LOCKSTEP_OK : LOCKSTEP_NO_MEMORY;
}

void lockstep_close_ranges(lockstep_optimizer *o) {
	if (o->ranges) free(o->ranges->all);
	free(o->ranges);
}

lockstep_status lockstep_check_plain(const lockstep_optimizer *o, lockstep_error *error) {
	for (size_t k = 0; k < o->group_count; k++)
		if (!o->groups[k].plain || o->groups[k].common.cautious_update)
			return lockstep_bad_argument(error, "rule", o->groups[k].name, "one of a single pass over elements, without sums or cautious_update: take lockstep_optimizer_step");
	return LOCKSTEP_OK;
}

static lockstep_status check_begin(const lockstep_optimizer *o, double squares, lockstep_error *error) {
	if (o->begun) return lockstep_bad_argument(error, "step", "begun", "one that lockstep_optimizer_end has ended, before another begins");
	lockstep_status status = lockstep_check_own(o, error);
	if (status) return status;
	if (!(squares >= 0) && ((o->max_norm && !lockstep_is_observed(o)) || squares != squares))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "sum_squares is %g, want a number of at least 0%s", squares, o->max_norm ? " to clip to max_norm, or gradients that were observed" : "");
	if (o->max_tensor_norm) return lockstep_bad_argument(error, "max_tensor_norm", "set", "0 in a step that sees no gradients when it begins");
	if (o->policy != LOCKSTEP_PROPAGATE) return lockstep_bad_argument(error, "policy", "to skip or refuse", "LOCKSTEP_PROPAGATE in a step that sees no gradients when it begins");
	status = lockstep_check_plain(o, error);
	return status ? status : lockstep_check_training(o, error);
}

static LOCKSTEP_NOT_INLINED void begin(lockstep_optimizer *o, double squares) {
	o->norm = 0;
	o->missing = 0;
	double factor = o->max_norm ? lockstep_clip(o, squares) : 1;
	lockstep_begin_step(o, o->grad_scale * factor, NULL);
	for (size_t k = 0; k < o->count; k++) o->ranges->of[k].count = 0;
	o->begun = 1;
}

lockstep_status lockstep_optimizer_begin(lockstep_optimizer *o, double sum_squares, lockstep_error *error) {
	lockstep_mode before = lockstep_enter_mode();
	lockstep_status status = check_begin(o, sum_squares, error);
	if (!status && o->max_norm && sum_squares < 0)
		status = lockstep_take_observed(o, NULL, &sum_squares, error);
	else if (!status)
		lockstep_optimizer_forget_observed(o);
	if (!status) begin(o, sum_squares);
	lockstep_leave_mode(before);
	return status;
}

/* Replaces the ranges from one place to another by one. */
static void replace(applied *a, size_t from, size_t to, span by) {
	memmove(&a->spans[from + 1], &a->spans[to], (a->count - to) * sizeof by);
	a->spans[from] = by;
	a->count = a->count + 1 + from - to;
}

/* Notes a range, joined to those beside it. */
static lockstep_status take_range(applied *a, size_t tensor, span s, lockstep_error *error) {
	size_t at = a->count; /* of the first that ends behind the range's beginning */
	while (at > 0 && a->spans[at - 1].hi > s.lo) at--;
	if (at < a->count && a->spans[at].lo < s.hi)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "first is %zu, want that of a range of tensor %zu apart from %zu to %zu, which this step was applied to",
			s.lo, tensor, a->spans[at].lo, a->spans[at].hi);
	size_t from = at > 0 && a->spans[at - 1].hi == s.lo ? at - 1 : at;
	size_t to = at < a->count && a->spans[at].lo == s.hi ? at + 1 : at;
	if (from == to && a->count == a->room)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "first is %zu, want that of a range beside another: there are %zu of tensor %zu that lie apart", s.lo, a->room, tensor);
	if (from < at) s.lo = a->spans[from].lo;
	if (to > at) s.hi = a->spans[at].hi;
	replace(a, from, to, s);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_check_range(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, lockstep_error *error) {
	if (tensor >= o->count) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensor is %zu, want the index of one of %zu", tensor, o->count);
	size_t size = o->places[tensor].size;
	if (first > size) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "first is %zu, want one of the %zu elements of tensor %zu", first, size, tensor);
	if (count > size - first)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "count is %zu, want at most the %zu elements of tensor %zu from %zu on", count, size - first, tensor, first);
	return LOCKSTEP_OK;
}

static lockstep_status check_part(const lockstep_optimizer *o, size_t tensor, span s, const void *params, const float *grads, lockstep_error *error) {
	if (!o->begun) return lockstep_bad_argument(error, "step", "not begun", "one that lockstep_optimizer_begin began");
	lockstep_status status = lockstep_check_range(o, tensor, s.lo, s.hi - s.lo, error);
	if (status) return status;
	size_t row = lockstep_row_looked_at(o, tensor);
	if (row && (s.lo % row || s.hi % row))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "first is %zu and count %zu, want multiples of the %zu elements of a row, with an adaptive clip or centralize", s.lo, s.hi - s.lo, row);
	size_t end = o->places[tensor].size;
	if (o->records[tensor].packs && (s.lo % PACK_LEN || (s.hi % PACK_LEN && s.hi != end)))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "first is %zu and count %zu, want multiples of %d, or what is up to the tensor's end at %zu, of state that is no floats",
			s.lo, s.hi - s.lo, PACK_LEN, end);
	if (s.hi > s.lo && !params) return lockstep_bad_argument(error, "params", "NULL", "those of the range");
	if (s.hi > s.lo && !grads) return lockstep_bad_argument(error, "grads", "NULL", "those of the range");
	return LOCKSTEP_OK;
}

/* Notes that a range is at work. */
static lockstep_status take(lockstep_optimizer *o, size_t tensor, span s, lockstep_error *error) {
	lockstep_take_lock(&o->ranges->lock);
	lockstep_status status = take_range(&o->ranges->of[tensor], tensor, s, error);
	lockstep_give_lock(&o->ranges->lock);
	return status;
}

LOCKSTEP_NOT_INLINED void lockstep_begin_range_as_params(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, const float *params) {
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	for (int j = 0; j < plan->slot_count; j++)
		if (plan->slots[j].begins_as_params) memcpy(o->places[tensor].state[j] + first, params, count * sizeof(float));
}

lockstep_status lockstep_optimizer_apply(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	float *params, const float *grads, lockstep_error *error) {
	span s = {first, first + count};
	lockstep_status status = check_part(o, tensor, s, params, grads, error);
	if (!status) status = lockstep_apart_from_state(o, tensor, count, params, grads, error);
	if (status || !count) return status;
	status = take(o, tensor, s, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	if (o->records[tensor].begins) lockstep_begin_range_as_params(o, tensor, first, count, params);
	if (o->following) lockstep_begin_beside_range(o, tensor, first, count, params);
	lockstep_step_range(o, tensor, first, count, params, grads);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}

static lockstep_status apply_halves(lockstep_optimizer *o, size_t tensor, size_t first, size_t count, lockstep_halves params, const float *grads, lockstep_error *error) {
	span s = {first, first + count};
	lockstep_status status = check_part(o, tensor, s, params.upper, grads, error);
	if (!status) status = lockstep_check_no_rows(o, error);
	if (!status) status = lockstep_halves_apart(o, tensor, count, params, grads, error);
	if (status || !count) return status;
	status = take(o, tensor, s, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	lockstep_step_halves(o, tensor, first, count, params, grads);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_apply_split(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	uint16_t *params, uint16_t *rests, const float *grads, lockstep_error *error) {
	if (count && !rests) return lockstep_bad_argument(error, "rests", "NULL", "those of the range");
	return apply_halves(o, tensor, first, count, (lockstep_halves){params, rests}, grads, error);
}

lockstep_status lockstep_optimizer_apply_bf16(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	uint16_t *params, const float *grads, lockstep_error *error) {
	return apply_halves(o, tensor, first, count, (lockstep_halves){params, NULL}, grads, error);
}

lockstep_status lockstep_optimizer_end(lockstep_optimizer *o, lockstep_error *error) {
	char name[NAME_LEN];
	if (!o->begun) return lockstep_bad_argument(error, "step", "not begun", "one that lockstep_optimizer_begin began");
	for (size_t k = 0; k < o->count; k++) {
		const applied *a = &o->ranges->of[k];
		size_t size = o->places[k].size, at = a->count && !a->spans[0].lo ? a->spans[0].hi : 0;
		if (at < size)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensor %zu%s is not applied from %zu on, want all of its %zu elements", k, lockstep_quoted(o, k, name), at, size);
	}
	for (size_t k = 0; k < o->count; k++) o->records[k].begins = 0;
	o->begun = 0;
	return LOCKSTEP_OK;
}
