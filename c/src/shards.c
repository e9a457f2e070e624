/* Gradients that are sums: see Go's internal/engine/shards.go. */
#include "optimizer.h"

#include <stdlib.h>

/* Adds up to four terms up, which follow the buffer of their sum. */
static void add(const lockstep_table *table, const lockstep_buffer *list, size_t terms) {
	static const lockstep_add2_scalars two = {1, 1};
	static const lockstep_add3_scalars three = {1, 1, 1};
	static const lockstep_add4_scalars four = {1, 1, 1, 1};
	if (terms == 2) lockstep_kernel_add2(table, list, 3, &two);
	if (terms == 3) lockstep_kernel_add3(table, list, 4, &three);
	if (terms == 4) lockstep_kernel_add4(table, list, 5, &four);
}

/* As many shards as a kernel has terms are read side by side: one stream alone is far from what
 * memory can give. */
static const float *sum(const lockstep_optimizer *o, size_t tensor, size_t lo, size_t n, float room[2][BLOCK_LEN]) {
	enum { TERMS = 4 };
	float widened[TERMS][BLOCK_LEN], *first = room[1]; /* which is free until there is a sum */
	lockstep_buffer list[1 + TERMS] = {{room[0], n, 0}};
	size_t terms = 0, at = 0;
	for (size_t j = 0; j < o->shard_count; j++) {
		const float *g = o->shards[j][tensor];
		if (!g) continue;
		const float *x = lockstep_widened(o, tensor, g, lo, n, first ? first : widened[terms]);
		first = NULL;
		list[++terms] = (lockstep_buffer){(float *)x, n, 0};
		if (terms < TERMS) continue;
		add(o->table, list, terms);
		list[1] = list[0];
		at = !at;
		list[0].data = room[at];
		terms = 1;
	}
	add(o->table, list, terms);
	return terms == 1 ? list[1].data : list[0].data;
}

const float *lockstep_gradient(const lockstep_optimizer *o, const float *grads, size_t tensor, size_t lo, size_t n, float room[2][BLOCK_LEN]) {
	return o->shard_count ? sum(o, tensor, lo, n, room) : lockstep_widened(o, tensor, grads, lo, n, room[0]);
}

size_t lockstep_shards_of(const lockstep_optimizer *o, size_t tensor) {
	size_t n = 0;
	for (size_t j = 0; j < o->shard_count; j++) n += o->shards[j][tensor] != NULL;
	return n;
}

lockstep_status lockstep_check_shards(lockstep_optimizer *o, lockstep_error *error) {
	lockstep_status status = o->zeroes ? lockstep_grads_apart(o, o->shards, o->shard_count, error) : LOCKSTEP_OK;
	for (size_t j = 0; j < o->shard_count && !status; j++)
		for (size_t k = 0; k < o->count && !status; k++) {
			if (!o->shards[j][k] || !o->places[k].size) continue;
			status = lockstep_apart_from_owned(o, k, o->shards[j][k], error);
			if (status) lockstep_prefix(error, "shards", j);
		}
	return status;
}

/* Finds the first shard of each tensor, in a room that there is then. */
static lockstep_status find_first(lockstep_optimizer *o, const float *const *const *shards, size_t count, lockstep_error *error) {
	if (!count) return lockstep_bad_argument(error, "count", "0", "at least 1");
	if (!shards) return lockstep_bad_argument(error, "shards", "NULL", "as many as count says");
	for (size_t j = 0; j < count; j++)
		if (o->count && !shards[j]) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "shards[%zu] is NULL, want a pointer for each tensor", j);
	if (o->max_norm && lockstep_is_observed(o))
		return lockstep_bad_argument(error, "the gradients", "observed", "not observed with shards, whose sums nobody has seen: see lockstep_optimizer_forget_observed");
	if (!o->first) o->first = malloc((o->count + 1) * sizeof *o->first);
	int whole = o->first && count <= SIZE_MAX / (o->count + 1) && (!o->zeroes || lockstep_has_room_for_grads(o, count * o->count));
	if (!whole) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for the places of %zu shards", count);
	for (size_t k = 0; k < o->count; k++) {
		o->first[k] = NULL;
		for (size_t j = 0; j < count && !o->first[k]; j++) o->first[k] = shards[j][k];
	}
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_step_shards(lockstep_optimizer *o, float *const *params, const float *const *const *shards, size_t count,
	lockstep_pool *pool, lockstep_error *error) {
	lockstep_status status = find_first(o, shards, count, error);
	if (status) return status;
	lockstep_job job = {.o = o, .params = params, .grads = o->first, .scale = 1};
	o->shards = shards;
	o->shard_count = count;
	status = lockstep_take_step(&job, pool, error);
	o->shards = NULL;
	o->shard_count = 0;
	return status;
}
