/* The state of an optimizer: the caller's, or laid out for a step that goes through
 * parameters, gradients and slots side by side. */
#include "optimizer.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

/* In bytes, but for ROOM_LEN: see Go's internal/tune. */
enum {
	LINE = 64,
	PAGE = 4 << 10,
	HUGE_PAGE = 2 << 20,
	HUGE_LEAST = 40 * HUGE_PAGE,
	STAGGER = 17 * LINE, /* buffers at the same place of a page get in each other's way */
	ROOM_LEN = 256 << 10 /* the most elements of a tensor whose state lies beside that of others */
};

/* As many as a build has, and more. */
enum { MOST_TABLES = 8 };

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Whether two places are within some lines of each other within a page. */
static int is_near(size_t x, size_t y) {
	size_t d = (x - y) % PAGE;
	return d < 4 * LINE || d > PAGE - 4 * LINE;
}

/* The first place from one on that is some lines from others within a page, and from where
 * parameters and gradients lie if they begin with one. */
static size_t staggered(size_t at, const size_t *others, int count) {
	int near = is_near(at, 0) || is_near(at, STAGGER);
	for (int k = 0; k < count; k++) near |= is_near(at, others[k]);
	return near ? staggered(at + LINE, others, count) : at;
}

size_t lockstep_slot_len(const lockstep_slot *slot, size_t size, size_t columns) {
	size_t of = columns ? columns : size;
	switch (slot->extent) {
	case LOCKSTEP_OF_ROWS: return size / (of ? of : 1);
	case LOCKSTEP_OF_COLUMNS: return of;
	case LOCKSTEP_OF_TENSOR: return 1;
	case LOCKSTEP_OF_ROW_PAIRS:
	case LOCKSTEP_OF_COLUMN_PAIRS: return lockstep_slot_side(slot, size, columns) * lockstep_slot_side(slot, size, columns);
	default: return size;
	}
}

size_t lockstep_slot_side(const lockstep_slot *slot, size_t size, size_t columns) {
	size_t of = columns ? columns : size, n = 0;
	if (size && slot->extent == LOCKSTEP_OF_ROW_PAIRS) n = size / of;
	if (size && slot->extent == LOCKSTEP_OF_COLUMN_PAIRS) n = of;
	return n <= (size_t)slot->most ? n : 0;
}

static size_t slot_len(const lockstep_optimizer *o, size_t tensor, int slot) {
	const lockstep_place *place = &o->places[tensor];
	return lockstep_slot_len(&o->groups[place->group].plan.slots[slot], place->size, o->records[tensor].columns);
}

size_t lockstep_slot_bytes(const lockstep_optimizer *o, size_t tensor, int slot) {
	return lockstep_optimizer_state_room((lockstep_state_type)o->records[tensor].packing[slot], slot_len(o, tensor, slot));
}

/* Finds the places of a tensor's slots, from the first on, in a room that ends at end, and
 * returns the new end. Those of a matrix have lengths of their own. */
static size_t place_slots(const lockstep_optimizer *o, size_t end, size_t tensor, int first, size_t at[LOCKSTEP_MAX_SLOTS]) {
	const lockstep_place *place = &o->places[tensor];
	const lockstep_rule_group *g = &o->groups[place->group];
	int alone = !g->is_factored && (o->count == 1 || place->size > ROOM_LEN);
	size_t next = round_up(end, PAGE) + 2 * STAGGER;
	for (int j = first; j < g->plan.slot_count; j++) {
		size_t n = lockstep_slot_bytes(o, tensor, j);
		if (alone && n >= PAGE) {
			end = next;
			next += round_up(n, PAGE) + STAGGER;
		} else if (n >= PAGE) {
			end = staggered(end, at + first, j - first);
		}
		at[j] = end;
		end += round_up(n, LINE);
	}
	return end;
}

/* Lays out the state that is the optimizer's, from a base on if there is one. Returns its size. */
static size_t lay_out(lockstep_optimizer *o, char *base) {
	size_t end = 0;
	for (size_t k = 0; k < o->count; k++) {
		lockstep_place *place = &o->places[k];
		const lockstep_plan *plan = &o->groups[place->group].plan;
		int first = o->records[k].owned ? lockstep_kept_slots(plan) : 0; /* scratch is never the caller's */
		size_t at[LOCKSTEP_MAX_SLOTS] = {0};
		end = place_slots(o, end, k, first, at);
		for (int j = first; base && j < plan->slot_count; j++) place->state[j] = (float *)(base + at[j]);
	}
	return end;
}

/* Zeros, on huge pages where the system has them on request. Returns where they begin, aligned, or
 * NULL if there is no memory. */
static char *get_room(lockstep_room *r, size_t size) {
	size_t boundary = size >= HUGE_LEAST ? HUGE_PAGE : PAGE;
	void *room = NULL;
	int mapped = 0;
	size += boundary;
#ifdef __linux__
	if (size >= 2 * HUGE_PAGE) {
		room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (room == MAP_FAILED) return NULL;
		madvise(room, size, MADV_HUGEPAGE);
		mapped = 1;
	}
#endif
	if (!mapped) room = calloc(size, 1);
	if (!room) return NULL;
	*r = (lockstep_room){room, size, mapped};
	return (char *)round_up((uintptr_t)room, boundary);
}

void lockstep_free_room(lockstep_room *r) {
#ifdef __linux__
	if (r->mapped) munmap(r->memory, r->size);
#endif
	if (!r->mapped) free(r->memory);
	*r = (lockstep_room){NULL, 0, 0};
}

void lockstep_free_state(lockstep_optimizer *o) { lockstep_free_room(&o->room); }

/* Writes the first values that are not 0. */
static void fill(lockstep_optimizer *o) {
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_place *place = &o->places[k];
		const lockstep_plan *plan = &o->groups[place->group].plan;
		for (int j = 0; !o->records[k].owned && j < plan->slot_count; j++)
			for (size_t i = 0; plan->slots[j].first != 0 && i < slot_len(o, k, j); i++) place->state[j][i] = (float)plan->slots[j].first;
		o->records[k].begins = !o->records[k].owned && lockstep_begins_as_params(plan);
	}
}

/* The room of passes together on any table, for the tensor that asks for most, or SIZE_MAX if
 * memory has not so much. */
static size_t together_room(const lockstep_optimizer *o) {
	const lockstep_table *tables[MOST_TABLES];
	size_t most = 0, n = lockstep_available(tables, MOST_TABLES);
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_plan *plan = &o->groups[o->places[k].group].plan;
		size_t size = o->places[k].size, columns = o->records[k].columns ? o->records[k].columns : size, side = 0;
		for (int j = 0; j < plan->slot_count; j++) {
			size_t n = lockstep_slot_side(&plan->slots[j], size, columns);
			if (n > side) side = n;
		}
		for (int pass = 0; pass < plan->pass_count; pass++)
			for (size_t t = 0; t < n && size && plan->passes[pass].room; t++) {
				size_t room = plan->passes[pass].room(tables[t], size / columns, columns, side);
				if (room > most) most = room;
			}
	}
	return most;
}

/* Forgets the places in a room. */
static void drop_states(lockstep_optimizer *o, const lockstep_room *room) {
	uintptr_t at = (uintptr_t)room->memory;
	size_t n = 0;
	for (size_t k = 0; k < o->state_count; k++)
		if (o->states[k].at < at || o->states[k].at - at >= room->size) o->states[n++] = o->states[k];
	o->state_count = n;
}

static lockstep_status get_state(lockstep_optimizer *o, lockstep_error *error) {
	size_t size = lay_out(o, NULL), together = together_room(o), from = round_up(size, PAGE);
	if (together > (PTRDIFF_MAX - from) / (2 * sizeof(float))) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for the products of a matrix");
	if (together) size = from + together * sizeof(float);
	if (!size) return LOCKSTEP_OK;
	char *base = get_room(&o->room, size);
	if (!base) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for %zu bytes of state", size);
	lay_out(o, base);
	o->together = (float *)(base + from);
	o->states[o->state_count++] = (lockstep_interval){(uintptr_t)base, (uintptr_t)base + size, SIZE_MAX};
	return LOCKSTEP_OK;
}

static lockstep_status allocate(lockstep_optimizer *o, lockstep_error *error) {
	lockstep_status status = get_state(o, error);
	if (!status) fill(o);
	return status;
}

lockstep_status lockstep_place_state_anew(lockstep_optimizer *o, lockstep_room *old, lockstep_error *error) {
	*old = o->room;
	o->room = (lockstep_room){NULL, 0, 0};
	lockstep_status status = get_state(o, error);
	if (status) {
		o->room = *old;
		return status;
	}
	drop_states(o, old);
	o->owned_count = 0; /* so that the next step finds all places */
	return lockstep_disjoint(o, o->states, o->state_count, error);
}

lockstep_status lockstep_check_slot(const lockstep_optimizer *o, size_t tensor, const lockstep_slot *slot, const float *x, size_t n, lockstep_error *error) {
	float least = slot->square ? 0 : -FLT_MAX;
	char name[NAME_LEN];
	for (size_t i = 0; i < n; i++)
		if (!(x[i] >= least && x[i] <= FLT_MAX))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "element %zu of the state %s of tensor %zu%s is %g, want a finite number%s",
				i, slot->name, tensor, lockstep_quoted(o, tensor, name), (double)x[i], slot->square ? " of at least 0" : "");
	return LOCKSTEP_OK;
}

/* Takes over a tensor's buffers that are the caller's. */
static lockstep_status take_over(lockstep_optimizer *o, size_t tensor, float *const *state, lockstep_error *error) {
	lockstep_place *place = &o->places[tensor];
	const lockstep_plan *plan = &o->groups[place->group].plan;
	char name[NAME_LEN];
	for (int j = 0; j < lockstep_kept_slots(plan); j++) {
		const lockstep_slot *slot = &plan->slots[j];
		size_t n = slot_len(o, tensor, j);
		if (n == 0) continue;
		if (!state[j])
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the state %s of tensor %zu%s is NULL, want a buffer of %zu elements",
				slot->name, tensor, lockstep_quoted(o, tensor, name), n);
		int packed = o->records[tensor].packing[j] != LOCKSTEP_STATE_FLOAT32;
		lockstep_status status = packed ? lockstep_check_packed(o, tensor, j, state[j], error) : lockstep_check_slot(o, tensor, slot, state[j], n, error);
		if (status) return status;
		place->state[j] = state[j];
		o->states[o->state_count++] = lockstep_interval_of(tensor, LOCKSTEP_SLOT + j, state[j], lockstep_slot_bytes(o, tensor, j) / sizeof(float));
	}
	o->records[tensor].owned = 1;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_make_state(lockstep_optimizer *o, const lockstep_tensor *tensors, lockstep_error *error) {
	lockstep_status status = LOCKSTEP_OK;
	for (size_t k = 0; k < o->count && !status; k++)
		if (tensors[k].types) status = lockstep_take_types(o, k, tensors[k].state != NULL, tensors[k].types, error);
	for (size_t k = 0; k < o->count && !status; k++)
		if (tensors[k].state) status = take_over(o, k, tensors[k].state, error);
	if (!status) status = allocate(o, error);
	return status ? status : lockstep_disjoint(o, o->states, o->state_count, error);
}

/* Lays out a buffer for each tensor, beside its state and so many buffers before it, from a base on
 * if there is one. Returns the size of all. */
static size_t lay_out_beside(lockstep_optimizer *o, int which, char *base) {
	size_t end = 0;
	for (size_t k = 0; k < o->count; k++) {
		size_t size = o->places[k].size * sizeof(float);
		size_t before = LOCKSTEP_SLOT + (size_t)o->groups[o->places[k].group].plan.slot_count + (size_t)which;
		if (size >= PAGE && (o->count == 1 || o->places[k].size > ROOM_LEN))
			end = round_up(end, PAGE) + before % (PAGE / STAGGER) * STAGGER;
		else if (size >= PAGE)
			end = staggered(end, NULL, 0);
		if (base) o->records[k].beside[which] = (float *)(base + end);
		end += round_up(size, LINE);
	}
	return end;
}

lockstep_status lockstep_make_beside(lockstep_optimizer *o, int which, lockstep_error *error) {
	size_t size = lay_out_beside(o, which, NULL);
	lockstep_room *room = &o->following->rooms[which];
	char *base = get_room(room, size);
	if (!base) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for %zu bytes beside the state", size);
	lay_out_beside(o, which, base);
	if (size) o->states[o->state_count++] = (lockstep_interval){(uintptr_t)base, (uintptr_t)base + size, SIZE_MAX};
	o->owned_count = 0; /* so that the next step finds all places */
	return lockstep_disjoint(o, o->states, o->state_count, error);
}

void lockstep_free_beside(lockstep_optimizer *o, int which) {
	lockstep_room *room = &o->following->rooms[which];
	drop_states(o, room);
	for (size_t k = 0; k < o->count; k++) o->records[k].beside[which] = NULL;
	lockstep_free_room(room);
	o->owned_count = 0;
}
