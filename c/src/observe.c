/* Norms of gradients that arrive before their step: see Go's internal/engine/observe.go. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "mode.h"
#include "optimizer.h"
#include "thread.h"

#include <stdlib.h>
#include <string.h>

/* A part of a tensor's gradient that waits for the rest of its unit. */
typedef struct piece {
	size_t tensor, lo, hi;
	const float *grads; /* from lo on */
	struct piece *next;
} piece;

/* Room for pieces, which stay where they are: those of a unit are read while others come. */
typedef struct block {
	struct block *next;
	piece pieces[];
} block;

/* A unit is summed once all of it is there, in the order of the step's own sum, and so the sum is
 * the same in any order of arrival. */
typedef struct lockstep_observing {
	lockstep_lock lock;
	lockstep_condition done; /* no call takes a part any more */
	int begun;       /* parts have arrived since the last step */
	size_t running;  /* calls that take one */
	size_t *shares;  /* of each tensor that shares a unit with others: which one */
	size_t *missing; /* elements of each unit that have not arrived */
	piece **waiting; /* those of each unit, then those of each tensor that shares one, in order and apart */
	double (*partial)[LOCKSTEP_MAX_SUMS];
	piece *free;
	block *blocks;
	size_t room; /* pieces of all blocks */
} observing;

/* Elements of a tensor whose pieces are in one list: a unit, or all of a tensor that shares one. */
typedef struct region {
	size_t unit, list, lo, hi;
} region;

/* A part that arrives. */
typedef struct part {
	lockstep_optimizer *o;
	size_t tensor, lo, hi;
	const float *grads;
	size_t ready[2], count; /* units that it has made whole together with others */
} part;

static int add_room(observing *x, size_t n) {
	block *b = malloc(sizeof *b + n * sizeof *b->pieces);
	if (!b) return 0;
	b->next = x->blocks;
	x->blocks = b;
	x->room += n;
	for (size_t k = 0; k < n; k++) {
		b->pieces[k].next = x->free;
		x->free = &b->pieces[k];
	}
	return 1;
}

lockstep_status lockstep_open_observing(lockstep_optimizer *o) {
	observing *x = o->observing = calloc(1, sizeof *x);
	if (!x) return LOCKSTEP_NO_MEMORY;
	lockstep_make_lock(&x->lock);
	lockstep_make_condition(&x->done);
	x->shares = calloc(o->count + 1, sizeof *x->shares);
	x->missing = calloc(o->unit_count + 1, sizeof *x->missing);
	x->waiting = calloc(o->unit_count + o->count + 1, sizeof *x->waiting);
	x->partial = calloc(o->unit_count + 1, sizeof *x->partial);
	if (!x->shares || !x->missing || !x->waiting || !x->partial) return LOCKSTEP_NO_MEMORY;
	for (size_t k = 0; k < o->unit_count; k++) {
		const lockstep_unit *u = &o->units[k];
		for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) x->shares[o->groups[u->group].shared[at]] = k;
	}
	return add_room(x, 2 * o->unit_count + o->count + 2) ? LOCKSTEP_OK : LOCKSTEP_NO_MEMORY;
}

void lockstep_close_observing(lockstep_optimizer *o) {
	observing *x = o->observing;
	if (!x) return;
	for (block *b = x->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	void *all[] = {x->shares, x->missing, x->waiting, x->partial, x};
	for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
}

/* Counts what has to arrive. */
static void begin(const lockstep_optimizer *o) {
	observing *x = o->observing;
	x->begun = 1;
	for (size_t k = 0; k < o->unit_count; k++) {
		const lockstep_unit *u = &o->units[k];
		x->missing[k] = u->tensor == SHARED ? 0 : u->hi - u->lo;
		for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) x->missing[k] += o->places[o->groups[u->group].shared[at]].size;
	}
}

static region region_at(const lockstep_optimizer *o, size_t tensor, size_t at) {
	const lockstep_record *r = &o->records[tensor];
	if (r->listed) return (region){o->observing->shares[tensor], o->unit_count + tensor, 0, o->places[tensor].size};
	size_t k = r->units[0] + at / o->units[r->units[0]].hi;
	return (region){k, k, o->units[k].lo, o->units[k].hi};
}

/* What a part has of a region from an element on, and whether that is a unit, which need not wait. */
static size_t end_in(const part *p, region r) { return r.hi < p->hi ? r.hi : p->hi; }
static int is_unit(const part *p, region r) { return r.list == r.unit && p->lo <= r.lo && r.hi <= p->hi; }

/* Refuses a part that overlaps one before it. */
static lockstep_status check_apart(const part *p, lockstep_error *error) {
	const observing *x = p->o->observing;
	for (size_t lo = p->lo; lo < p->hi;) {
		region r = region_at(p->o, p->tensor, lo);
		const piece *q = x->waiting[r.list];
		while (q && q->hi <= lo) q = q->next;
		size_t from = q ? q->lo : SIZE_MAX, to = q ? q->hi : 0, hi = end_in(p, r);
		if (!x->missing[r.unit]) from = r.lo, to = r.hi;
		if (from < hi)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "first is %zu, want that of a range of tensor %zu apart from %zu to %zu, which has been observed",
				p->lo, p->tensor, from, to);
		lo = hi;
	}
	return LOCKSTEP_OK;
}

/* Notes a part in all of its regions, of which at most two have to wait for others. */
static void note(part *p) {
	observing *x = p->o->observing;
	for (size_t lo = p->lo; lo < p->hi;) {
		region r = region_at(p->o, p->tensor, lo);
		size_t hi = end_in(p, r);
		x->missing[r.unit] -= hi - lo;
		if (!is_unit(p, r)) {
			piece *new = x->free, **at = &x->waiting[r.list];
			x->free = new->next;
			while (*at && (*at)->lo < lo) at = &(*at)->next;
			*new = (piece){p->tensor, lo, hi, lockstep_grads_at(p->o, p->tensor, p->grads, lo - p->lo), *at};
			*at = new;
			if (!x->missing[r.unit]) p->ready[p->count++] = r.unit;
		}
		lo = hi;
	}
}

static lockstep_status enter(part *p, lockstep_error *error) {
	observing *x = p->o->observing;
	if (!p->o->max_norm) return lockstep_bad_argument(error, "max_norm", "0", "a number above 0 with lockstep_optimizer_observe, which is for clipping to it");
	if (!x->begun) begin(p->o);
	lockstep_status status = check_apart(p, error);
	if (status) return status;
	if ((!x->free || !x->free->next) && !add_room(x, x->room)) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for %zu parts of gradients", 2 * x->room);
	note(p);
	x->running++;
	return LOCKSTEP_OK;
}

static void square_floats(const lockstep_optimizer *o, const float *x, size_t n, double lanes[LOCKSTEP_LANES]) {
	lockstep_buffer b = {(float *)x, n, 0};
	lockstep_kernel_sum_squares(o->table, &b, 1, lanes);
}

/* The same of elements from one on of a part of a tensor's gradient. */
static void square(const lockstep_optimizer *o, size_t tensor, const float *grads, size_t at, size_t n, double lanes[LOCKSTEP_LANES]) {
	float room[BLOCK_LEN];
	for (size_t end = at + n, some; at < end; at += some) {
		some = lockstep_piece(o, end - at);
		square_floats(o, lockstep_widened(o, tensor, grads, at, some, room), some, lanes);
	}
}

/* Squares a list of pieces as if they were one, of which each may begin in any lane. */
static void square_pieces(const lockstep_optimizer *o, const piece *p, double lanes[LOCKSTEP_LANES]) {
	float room[LOCKSTEP_LANES], widened[BLOCK_LEN];
	size_t filled = 0;
	for (; p; p = p->next) {
		size_t at = 0, end = p->hi - p->lo;
		while (at < end) {
			size_t whole = filled ? 0 : (end - at) / LOCKSTEP_LANES * LOCKSTEP_LANES;
			square(o, p->tensor, p->grads, at, whole, lanes);
			at += whole;
			size_t some = end - at < LOCKSTEP_LANES - filled ? end - at : LOCKSTEP_LANES - filled;
			memcpy(room + filled, lockstep_widened(o, p->tensor, p->grads, at, some, widened), some * sizeof *room);
			at += some;
			filled += some;
			if (filled < LOCKSTEP_LANES) continue;
			square_floats(o, room, filled, lanes);
			filled = 0;
		}
	}
	square_floats(o, room, filled, lanes);
}

/* Calls f for each list of a unit's pieces. */
static void each_list(lockstep_optimizer *o, size_t unit, void f(lockstep_optimizer *o, piece **list, void *context), void *context) {
	const lockstep_unit *u = &o->units[unit];
	piece **waiting = o->observing->waiting;
	if (u->tensor != SHARED) f(o, &waiting[unit], context);
	for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) f(o, &waiting[o->unit_count + o->groups[u->group].shared[at]], context);
}

static void add_list(lockstep_optimizer *o, piece **list, void *lanes) { square_pieces(o, *list, lanes); }

/* Sums what has arrived of a unit up, tensor by tensor. */
static void sum_unit(lockstep_optimizer *o, size_t unit) {
	double lanes[LOCKSTEP_LANES] = {0};
	each_list(o, unit, add_list, lanes);
	o->observing->partial[unit][0] = lockstep_total(lanes);
}

/* Sums the units up that a part has made whole. */
static LOCKSTEP_NOT_INLINED void sum_units(const part *p) {
	for (size_t lo = p->lo; lo < p->hi;) {
		region r = region_at(p->o, p->tensor, lo);
		double lanes[LOCKSTEP_LANES] = {0};
		if (is_unit(p, r)) {
			square(p->o, p->tensor, p->grads, lo - p->lo, r.hi - r.lo, lanes);
			p->o->observing->partial[r.unit][0] = lockstep_total(lanes);
		}
		lo = end_in(p, r);
	}
	for (size_t k = 0; k < p->count; k++) sum_unit(p->o, p->ready[k]);
}

static void release(lockstep_optimizer *o, piece **list, void *context) {
	(void)context;
	for (piece *p = *list, *next; p; p = next) {
		next = p->next;
		p->next = o->observing->free;
		o->observing->free = p;
	}
	*list = NULL;
}

static void leave(const part *p) {
	observing *x = p->o->observing;
	lockstep_take_lock(&x->lock);
	for (size_t k = 0; k < p->count; k++) each_list(p->o, p->ready[k], release, NULL);
	if (!--x->running) lockstep_wake_all(&x->done);
	lockstep_give_lock(&x->lock);
}

lockstep_status lockstep_optimizer_observe(lockstep_optimizer *o, size_t tensor, size_t first, size_t count, const float *grads, lockstep_error *error) {
	lockstep_status status = lockstep_check_range(o, tensor, first, count, error);
	if (status) return status;
	if (count && !grads) return lockstep_bad_argument(error, "grads", "NULL", "those of the range");
	part p = {.o = o, .tensor = tensor, .lo = first, .hi = first + count, .grads = grads};
	lockstep_take_lock(&o->observing->lock);
	status = enter(&p, error);
	lockstep_give_lock(&o->observing->lock);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	sum_units(&p);
	lockstep_leave_mode(before);
	leave(&p);
	return LOCKSTEP_OK;
}

/* Lets go of what has arrived, once nothing is read of it. */
static void forget(lockstep_optimizer *o) {
	observing *x = o->observing;
	while (x->running) lockstep_wait_for(&x->done, &x->lock);
	for (size_t k = 0; k < o->unit_count && x->begun; k++) each_list(o, k, release, NULL);
	x->begun = 0;
}

void lockstep_optimizer_forget_observed(lockstep_optimizer *o) {
	lockstep_take_lock(&o->observing->lock);
	forget(o);
	lockstep_give_lock(&o->observing->lock);
}

void lockstep_clip_to(lockstep_optimizer *o, double max_norm) {
	lockstep_take_lock(&o->observing->lock);
	o->max_norm = max_norm;
	if (!max_norm) forget(o);
	lockstep_give_lock(&o->observing->lock);
}

int lockstep_is_observed(const lockstep_optimizer *o) {
	lockstep_take_lock(&o->observing->lock);
	int begun = o->observing->begun;
	lockstep_give_lock(&o->observing->lock);
	return begun;
}

/* The first element of a tensor's gradient that has not arrived, or has; its size if there is none. */
static size_t first_of(const lockstep_optimizer *o, size_t tensor, int arrived) {
	const observing *x = o->observing;
	size_t at = 0, size = o->places[tensor].size;
	while (at < size) {
		region r = region_at(o, tensor, at);
		const piece *p = x->waiting[r.list];
		int whole = !x->missing[r.unit];
		if (arrived && (whole || p)) return whole ? r.lo : p->lo;
		for (; p && p->lo == at && !arrived; p = p->next) at = p->hi;
		if (at < r.hi && !whole && !arrived) return at;
		at = r.hi;
	}
	return size;
}

/* Refuses gradients that have not arrived, and those that are to be left out and have. */
static lockstep_status check_whole(const lockstep_optimizer *o, const float *const *grads, lockstep_error *error) {
	char name[NAME_LEN];
	for (size_t k = 0; k < o->count; k++) {
		int absent = grads && !grads[k];
		size_t at = first_of(o, k, absent), size = o->places[k].size;
		if (at < size && absent)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensor %zu%s is observed from %zu on, want it not observed, since its gradient is NULL", k, lockstep_quoted(o, k, name), at);
		if (at < size)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensor %zu%s is not observed from %zu on, want all of its %zu elements", k, lockstep_quoted(o, k, name), at, size);
	}
	return LOCKSTEP_OK;
}

static lockstep_status add_observed(lockstep_optimizer *o, const float *const *grads, double *squares, lockstep_error *error) {
	observing *x = o->observing;
	if (x->running) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the gradients are being observed, want them observed before the step");
	lockstep_status status = check_whole(o, grads, error);
	if (status) return status;
	for (size_t k = 0; k < o->unit_count; k++)
		if (x->missing[k]) sum_unit(o, k); /* of tensors without a gradient */
	*squares = lockstep_sum_pairs(x->partial, o->unit_count, 0);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_look_at_observed(lockstep_optimizer *o, const float *const *grads, double *squares, lockstep_error *error) {
	lockstep_take_lock(&o->observing->lock);
	lockstep_status status = add_observed(o, grads, squares, error);
	lockstep_give_lock(&o->observing->lock);
	return status;
}

lockstep_status lockstep_take_observed(lockstep_optimizer *o, const float *const *grads, double *squares, lockstep_error *error) {
	lockstep_take_lock(&o->observing->lock);
	lockstep_status status = add_observed(o, grads, squares, error);
	if (!status) forget(o);
	lockstep_give_lock(&o->observing->lock);
	return status;
}
