/* Estimates that the caller makes of a Hessian's diagonal. */
#include "mode.h"
#include "optimizer.h"

static double part_of(const lockstep_optimizer *o, size_t tensor) { return o->groups[o->places[tensor].group].plan.hessian; }

static lockstep_status check_estimates(const lockstep_optimizer *o, const float *const *estimates, lockstep_error *error) {
	if (o->begun) return lockstep_bad_argument(error, "step", "begun", "one that is not");
	if (o->count && !estimates) return lockstep_bad_argument(error, "estimates", "NULL", "a pointer for each tensor");
	for (size_t k = 0; k < o->count; k++) {
		if (!estimates[k] || !o->places[k].size) continue;
		if (part_of(o, k) == 0) return lockstep_bad_argument(error, "estimates", "given", "NULL for tensors whose rule has no use for them");
		lockstep_status status = lockstep_estimates_apart(o, k, estimates[k], error);
		if (status) return status;
	}
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_update_hessian(lockstep_optimizer *o, const float *const *estimates, lockstep_error *error) {
	lockstep_status status = check_estimates(o, estimates, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	for (size_t k = 0; k < o->count; k++) {
		const lockstep_place *place = &o->places[k];
		if (!estimates[k] || !place->size) continue;
		const lockstep_buffer list[] = {{place->state[1], place->size, 0}, {(float *)estimates[k], place->size, 0}};
		const lockstep_average_scalars c = {.weight = (float)part_of(o, k)};
		lockstep_kernel_average(o->table, list, 2, &c);
	}
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}
