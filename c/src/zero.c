/* Zeros for gradients: see Go's internal/engine/zero.go. */
#include "optimizer.h"

#include <string.h>

lockstep_status lockstep_optimizer_set_zero_grads(lockstep_optimizer *o, int on, lockstep_error *error) {
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	if (on && !lockstep_has_room_for_grads(o, o->count)) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for the places of %zu gradients", o->count);
	o->zeroes = on != 0;
	o->owned_count = 0; /* so that the next step looks at all gradients */
	return LOCKSTEP_OK;
}

void lockstep_zero(const lockstep_optimizer *o, float *grads, size_t tensor, size_t lo, size_t n) {
	size_t bytes = n * lockstep_element_size(o->records[tensor].element);
	if (!o->shard_count && n) memset((void *)lockstep_grads_at(o, tensor, grads, lo), 0, bytes);
	for (size_t j = 0; j < o->shard_count && n; j++)
		if (o->shards[j][tensor]) memset((void *)lockstep_grads_at(o, tensor, o->shards[j][tensor], lo), 0, bytes);
}

static void zero_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	const lockstep_optimizer *o = job->o;
	const lockstep_unit *u = &o->units[unit];
	if (u->tensor != SHARED && job->grads[u->tensor]) lockstep_zero(o, (float *)job->grads[u->tensor], u->tensor, u->lo, u->hi - u->lo);
	for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) {
		size_t k = o->groups[u->group].shared[at];
		if (job->grads[k]) lockstep_zero(o, (float *)job->grads[k], k, 0, o->places[k].size);
	}
}

void lockstep_zero_all(lockstep_job *job, lockstep_pool *pool) { lockstep_share(pool, zero_unit, job, job->o->unit_count, job->o->total); }
