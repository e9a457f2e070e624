/* Where buffers are: those that are written must overlap no others. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "optimizer.h"

#include <stdio.h>
#include <stdlib.h>

/* Whose an interval is: a part of a tensor, or the optimizer's own state. */
enum { ESTIMATES = LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS, UPPER_HALVES, LOWER_HALVES, COPIES_BF16, COPIES_F16, PARTS };

lockstep_interval lockstep_interval_of(size_t tensor, int part, const float *data, size_t n) {
	uintptr_t at = (uintptr_t)data;
	return (lockstep_interval){at, at + n * sizeof(float), tensor * PARTS + (size_t)part};
}

static int is_copy(lockstep_interval x) { return x.of != SIZE_MAX && x.of % PARTS >= COPIES_BF16; }

static int is_half(lockstep_interval x) { return x.of != SIZE_MAX && (x.of % PARTS == UPPER_HALVES || x.of % PARTS == LOWER_HALVES); }

static lockstep_interval halves_of(size_t tensor, int part, const uint16_t *data, size_t n) {
	uintptr_t at = (uintptr_t)data;
	return (lockstep_interval){at, at + n * sizeof *data, tensor * PARTS + (size_t)part};
}

static lockstep_interval copies_of(size_t tensor, const uint16_t *data, lockstep_element element, size_t n) {
	uintptr_t at = (uintptr_t)data;
	return (lockstep_interval){at, at + n * sizeof *data, tensor * PARTS + (element == LOCKSTEP_BF16 ? COPIES_BF16 : COPIES_F16)};
}

/* The place of n elements of a tensor's gradient. */
static lockstep_interval grads_of(const lockstep_optimizer *o, size_t tensor, const float *data, size_t n) {
	uintptr_t at = (uintptr_t)data;
	return (lockstep_interval){at, at + n * lockstep_element_size(o->records[tensor].element), tensor * PARTS + LOCKSTEP_GRADS};
}

static lockstep_element element_of(const lockstep_optimizer *o, lockstep_interval x) {
	if (is_half(x)) return LOCKSTEP_BF16; /* of which the lower ones have the size */
	if (is_copy(x)) return x.of % PARTS == COPIES_BF16 ? LOCKSTEP_BF16 : LOCKSTEP_F16;
	return x.of != SIZE_MAX && x.of % PARTS == LOCKSTEP_GRADS ? o->records[x.of / PARTS].element : LOCKSTEP_FLOAT32;
}

/* What an interval is called, in a room of 2·NAME_LEN. */
static const char *title(const lockstep_optimizer *o, lockstep_interval x, char *room) {
	static const char *const names[] = {"params", "grads"};
	size_t tensor = x.of / PARTS, part = x.of % PARTS;
	char name[NAME_LEN];
	if (tensor >= o->count) return "the optimizer's own state";
	const lockstep_slot *slots = o->groups[o->places[tensor].group].plan.slots;
	const char *what = part < LOCKSTEP_SLOT ? names[part] : part == ESTIMATES ? "estimates" : is_copy(x) ? "copies" : NULL;
	if (is_half(x)) what = part == UPPER_HALVES ? names[0] : "rests";
	if (!what) what = slots[part - LOCKSTEP_SLOT].name;
	snprintf(room, 2 * NAME_LEN, "%s of tensor %zu%s", what, tensor, lockstep_quoted(o, tensor, name));
	return room;
}

static lockstep_status overlap(const lockstep_optimizer *o, lockstep_interval x, lockstep_interval y, lockstep_error *error) {
	char one[2 * NAME_LEN], other[2 * NAME_LEN];
	lockstep_element element = element_of(o, x);
	const char *of = element == LOCKSTEP_FLOAT32 ? "" : " of ", *type = *of ? lockstep_element_name(element) : "";
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s is %zu elements%s%s at %#zx, want a buffer apart from %s at %#zx",
		title(o, x, one), (size_t)(x.end - x.at) / lockstep_element_size(element), of, type, (size_t)x.at, title(o, y, other), (size_t)y.at);
}

/* Has the largest of a heap from k on rise to k: libc's qsort may allocate. */
static void sink(lockstep_interval *list, size_t k, size_t count) {
	for (size_t child = 2 * k + 1; child < count; k = child, child = 2 * k + 1) {
		if (child + 1 < count && list[child + 1].at > list[child].at) child++;
		if (list[k].at >= list[child].at) return;
		lockstep_interval x = list[k];
		list[k] = list[child];
		list[child] = x;
	}
}

static void sort(lockstep_interval *list, size_t count) {
	for (size_t k = count / 2; k > 0; k--) sink(list, k - 1, count);
	for (size_t n = count; n > 1; n--) {
		lockstep_interval x = list[0];
		list[0] = list[n - 1];
		list[n - 1] = x;
		sink(list, 0, n - 1);
	}
}

lockstep_status lockstep_disjoint(const lockstep_optimizer *o, lockstep_interval *list, size_t count, lockstep_error *error) {
	sort(list, count);
	for (size_t k = 1; k < count; k++)
		if (list[k].at < list[k - 1].end) return overlap(o, list[k - 1], list[k], error);
	return LOCKSTEP_OK;
}

/* Joins what is written to blocks between which there is room for a gradient: thousands of
 * buffers are few blocks, which are faster looked through. */
static void find_blocks(lockstep_optimizer *o) {
	size_t least = SIZE_MAX;
	for (size_t k = 0; k < o->count; k++) {
		size_t size = o->places[k].size * lockstep_element_size(o->records[k].element);
		if (size && size < least) least = size;
	}
	o->block_count = 0;
	for (size_t k = 0; k < o->owned_count; k++) {
		lockstep_interval *last = &o->blocks[o->block_count - 1];
		if (o->block_count && o->owned[k].at - last->end < least)
			last->end = o->owned[k].end;
		else
			o->blocks[o->block_count++] = o->owned[k];
	}
}

/* Notes where n places are, of parameters and state. */
static lockstep_status own_places(lockstep_optimizer *o, size_t n, lockstep_error *error) {
	o->owned_count = 0; /* until they are known to be apart */
	lockstep_status status = lockstep_disjoint(o, o->owned, n, error);
	if (status) return status;
	o->owned_count = n;
	find_blocks(o);
	for (size_t k = 0; k < o->count; k++) o->places[k].grads = NULL; /* which was apart from others */
	return LOCKSTEP_OK;
}

static lockstep_status own(lockstep_optimizer *o, float *const *params, lockstep_error *error) {
	size_t n = 0;
	for (; n < o->state_count; n++) o->owned[n] = o->states[n];
	for (size_t k = 0; k < o->count; k++)
		if (o->places[k].size) o->owned[n++] = lockstep_interval_of(k, LOCKSTEP_PARAMS, params[k], o->places[k].size);
	lockstep_status status = own_places(o, n, error);
	for (size_t k = 0; k < o->count && !status; k++) o->places[k].params = params[k];
	o->owns_halves = 0;
	return status;
}

static lockstep_status own_halves(lockstep_optimizer *o, uint16_t *const *params, uint16_t *const *rests, lockstep_error *error) {
	size_t n = 0;
	for (; n < o->state_count; n++) o->owned[n] = o->states[n];
	for (size_t k = 0; k < o->count; k++) {
		size_t size = o->places[k].size;
		if (!size) continue;
		o->owned[n++] = halves_of(k, UPPER_HALVES, params[k], size);
		if (rests) o->owned[n++] = halves_of(k, LOWER_HALVES, rests[k], size);
	}
	lockstep_status status = own_places(o, n, error);
	for (size_t k = 0; k < o->count && !status; k++) {
		o->places[k].params = (const float *)(const void *)params[k];
		o->records[k].rest = rests ? rests[k] : NULL;
	}
	o->owns_halves = 1;
	return status;
}

/* The first of some intervals that ends behind an address. */
static size_t first_behind(const lockstep_interval *list, size_t count, uintptr_t at) {
	size_t low = 0;
	while (low < count) {
		size_t middle = low + (count - low) / 2;
		if (list[middle].end <= at)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

/* Whether an interval lies between the blocks before a gap and behind it. */
static int fits(const lockstep_optimizer *o, size_t gap, lockstep_interval x) {
	return gap <= o->block_count && (gap == 0 || o->blocks[gap - 1].end <= x.at) && (gap == o->block_count || x.end <= o->blocks[gap].at);
}

/* Checks a gradient that is elsewhere than in the last step, which is the rule in
 * frameworks: mostly it lies where it did, among the blocks, or beside the one that was looked
 * at before it. */
static lockstep_status move(lockstep_optimizer *o, size_t tensor, const float *grads, size_t beside, lockstep_error *error) {
	lockstep_place *place = &o->places[tensor];
	lockstep_interval x = grads_of(o, tensor, grads, place->size);
	size_t gap = place->gap;
	if (!fits(o, gap, x)) gap = beside;
	if (!fits(o, gap, x)) gap = first_behind(o->blocks, o->block_count, x.at);
	if (!fits(o, gap, x)) return overlap(o, x, o->owned[first_behind(o->owned, o->owned_count, x.at)], error);
	place->gap = (uint32_t)gap;
	place->grads = grads;
	return LOCKSTEP_OK;
}

static lockstep_status move_all(lockstep_optimizer *o, const float *const *grads, lockstep_error *error) {
	lockstep_status status = LOCKSTEP_OK;
	size_t beside = 0;
	for (size_t k = 0; k < o->count && !status; k++) {
		if (!grads[k] || !o->places[k].size || grads[k] == o->places[k].grads) continue;
		status = move(o, k, grads[k], beside, error);
		beside = o->places[k].gap;
	}
	return status;
}

static lockstep_status no_params(const lockstep_optimizer *o, size_t tensor, lockstep_error *error) {
	char name[NAME_LEN];
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "params[%zu]%s is NULL, want %zu parameters", tensor, lockstep_quoted(o, tensor, name), o->places[tensor].size);
}

lockstep_status lockstep_own_params(lockstep_optimizer *o, float *const *params, lockstep_error *error) {
	for (size_t k = 0; k < o->count; k++)
		if (o->places[k].size && !params[k]) return no_params(o, k, error);
	return own(o, params, error);
}

int lockstep_has_room_for_grads(lockstep_optimizer *o, size_t count) {
	if (count <= o->grads_room) return 1;
	void *room = count <= SIZE_MAX / sizeof *o->grads ? realloc(o->grads, count * sizeof *o->grads) : NULL;
	if (!room) return 0;
	o->grads = room;
	o->grads_room = count;
	return 1;
}

lockstep_status lockstep_grads_apart(lockstep_optimizer *o, const float *const *const *shards, size_t count, lockstep_error *error) {
	size_t n = 0;
	for (size_t j = 0; j < count; j++)
		for (size_t k = 0; k < o->count; k++)
			if (shards[j][k] && o->places[k].size) o->grads[n++] = grads_of(o, k, shards[j][k], o->places[k].size);
	return lockstep_disjoint(o, o->grads, n, error);
}

lockstep_status lockstep_apart_from_owned(const lockstep_optimizer *o, size_t tensor, const float *grads, lockstep_error *error) {
	lockstep_interval x = grads_of(o, tensor, grads, o->places[tensor].size);
	size_t behind = first_behind(o->owned, o->owned_count, x.at);
	return behind < o->owned_count && o->owned[behind].at < x.end ? overlap(o, x, o->owned[behind], error) : LOCKSTEP_OK;
}

/* Finds gradients a place where any, or parameters, may have moved. */
static lockstep_status find_grads(lockstep_optimizer *o, const float *const *grads, int moved, lockstep_status status, lockstep_error *error) {
	if (o->shard_count || !moved) return status; /* lockstep_check_shards looks at shards */
	if (!status) status = move_all(o, grads, error);
	if (!status && o->zeroes) {
		status = lockstep_grads_apart(o, &grads, 1, error);
		if (status) o->owned_count = 0; /* what is known is that of an earlier step */
	}
	return status;
}

lockstep_status lockstep_find_places(lockstep_optimizer *o, float *const *params, const float *const *grads, lockstep_error *error) {
	int params_moved = !o->owned_count || o->owns_halves, grads_moved = 0;
	o->missing = 0;
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_place *place = &o->places[k];
		if (!place->size) continue;
		if (!params[k]) return no_params(o, k, error);
		params_moved |= params[k] != place->params;
		grads_moved |= grads[k] != place->grads;
		o->missing |= !grads[k];
	}
	lockstep_status status = params_moved ? own(o, params, error) : LOCKSTEP_OK;
	return find_grads(o, grads, params_moved || grads_moved, status, error);
}

lockstep_status lockstep_find_halves(lockstep_optimizer *o, uint16_t *const *params, uint16_t *const *rests, const float *const *grads, lockstep_error *error) {
	int params_moved = !o->owned_count || !o->owns_halves, grads_moved = 0;
	char name[NAME_LEN];
	o->missing = 0;
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_place *place = &o->places[k];
		if (!place->size) continue;
		if (!params[k] || (rests && !rests[k]))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s[%zu]%s is NULL, want %zu halves of parameters", params[k] ? "rests" : "params", k, lockstep_quoted(o, k, name), place->size);
		params_moved |= (const void *)params[k] != (const void *)place->params || (rests ? rests[k] : NULL) != o->records[k].rest;
		grads_moved |= grads[k] != place->grads;
		o->missing |= !grads[k];
	}
	lockstep_status status = params_moved ? own_halves(o, params, rests, error) : LOCKSTEP_OK;
	return find_grads(o, grads, params_moved || grads_moved, status, error);
}

/* Takes the places of copies away. */
static void drop_copies(lockstep_optimizer *o) {
	size_t n = 0;
	for (size_t k = 0; k < o->state_count; k++)
		if (!is_copy(o->states[k])) o->states[n++] = o->states[k];
	o->state_count = n;
}

lockstep_status lockstep_place_copies(lockstep_optimizer *o, uint16_t *const *copies, const lockstep_element *elements, lockstep_error *error) {
	drop_copies(o);
	for (size_t k = 0; k < o->count; k++) {
		uint16_t *at = copies ? copies[k] : o->records[k].copied;
		lockstep_element element = copies ? elements[k] : o->records[k].copy_element;
		if (at && o->places[k].size) o->states[o->state_count++] = copies_of(k, at, element, o->places[k].size);
	}
	o->owned_count = 0; /* so that the next step finds all places */
	return lockstep_disjoint(o, o->states, o->state_count, error);
}

static lockstep_status state_apart(const lockstep_optimizer *o, lockstep_interval x, lockstep_error *error) {
	size_t behind = first_behind(o->states, o->state_count, x.at);
	if (behind < o->state_count && o->states[behind].at < x.end) return overlap(o, x, o->states[behind], error);
	return LOCKSTEP_OK;
}

/* Refuses such of a range's buffers as overlap each other or state. */
static lockstep_status all_apart(const lockstep_optimizer *o, const lockstep_interval *list, size_t count, lockstep_error *error) {
	lockstep_status status = LOCKSTEP_OK;
	for (size_t i = 0; i < count && !status; i++) {
		for (size_t j = i + 1; j < count; j++)
			if (list[i].at < list[j].end && list[j].at < list[i].end) return overlap(o, list[i], list[j], error);
		status = state_apart(o, list[i], error);
	}
	return status;
}

lockstep_status lockstep_apart_from_state(const lockstep_optimizer *o, size_t tensor, size_t n, const float *params, const float *grads, lockstep_error *error) {
	const lockstep_interval both[] = {lockstep_interval_of(tensor, LOCKSTEP_PARAMS, params, n), grads_of(o, tensor, grads, n)};
	return all_apart(o, both, 2, error);
}

lockstep_status lockstep_halves_apart(const lockstep_optimizer *o, size_t tensor, size_t n, lockstep_halves params, const float *grads, lockstep_error *error) {
	const lockstep_interval all[] = {halves_of(tensor, UPPER_HALVES, params.upper, n), grads_of(o, tensor, grads, n), halves_of(tensor, LOWER_HALVES, params.lower, n)};
	return all_apart(o, all, params.lower ? 3 : 2, error);
}

lockstep_status lockstep_estimates_apart(const lockstep_optimizer *o, size_t tensor, const float *estimates, lockstep_error *error) {
	return state_apart(o, lockstep_interval_of(tensor, ESTIMATES, estimates, o->places[tensor].size), error);
}

lockstep_status lockstep_find_rows(lockstep_optimizer *o, float *params, const float *grads, size_t n, lockstep_error *error) {
	lockstep_place *place = &o->places[0];
	o->missing = 0;
	if (!o->owned_count || o->owns_halves || params != place->params) {
		lockstep_status status = own(o, &params, error);
		if (status) return status;
	}
	place->grads = NULL; /* of which there are others */
	lockstep_interval x = lockstep_interval_of(0, LOCKSTEP_GRADS, grads, n);
	size_t behind = first_behind(o->owned, o->owned_count, x.at);
	if (n && behind < o->owned_count && o->owned[behind].at < x.end) return overlap(o, x, o->owned[behind], error);
	return LOCKSTEP_OK;
}
