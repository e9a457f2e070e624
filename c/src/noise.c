/* Noise of gradients: see Go's internal/engine/noise.go. */
#include "optimizer.h"

#include <float.h>
#include <string.h>

lockstep_status lockstep_optimizer_set_noise(lockstep_optimizer *o, const lockstep_noise *n, lockstep_error *error) {
	const lockstep_noise none = {.eta = 0};
	if (!n) n = &none;
	if (n->eta == 0 && (n->gamma != 0 || n->seed)) return lockstep_bad_argument(error, "eta", "0", "a number above 0, or zeros everywhere for none");
	if (!(n->eta >= 0 && n->eta <= FLT_MAX)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "eta is %g, want a finite float of at least 0", n->eta);
	if (!(n->gamma >= 0 && n->gamma <= 8)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "gamma is %g, want from 0 to 8", n->gamma);
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	o->noise = *n;
	lockstep_set_clipping(o);
	return LOCKSTEP_OK;
}

lockstep_noise_scalars lockstep_noise_of(const lockstep_optimizer *o, size_t tensor) {
	int64_t steps = o->step - o->records[tensor].missed;
	uint64_t key = lockstep_mixed(lockstep_mixed(lockstep_mixed(o->noise.seed) ^ (uint64_t)tensor) ^ (uint64_t)steps);
	double std = lockstep_std_of(&o->noise, steps);
	if (o->groups[o->places[tensor].group].common.maximize) std = -std; /* as the gradient is */
	return (lockstep_noise_scalars){.std = (float)std, .key1 = (uint32_t)key, .key2 = (uint32_t)(key >> 32)};
}

void lockstep_add_noise(const lockstep_table *table, const lockstep_noise_scalars *of, size_t first, float *x, size_t n) {
	float numbers[BLOCK_LEN]; /* of elements, as bits */
	lockstep_noise_scalars c = *of;
	uint64_t at = first, end = at + n;
	for (uint32_t i = 0; i < BLOCK_LEN && i < n; i++) memcpy(&numbers[i], &i, sizeof i);
	for (size_t length; at < end; at += length, x += length) {
		uint64_t rest = (UINT64_C(1) << 32) - (at & UINT32_MAX); /* of which the upper half is one */
		length = end - at < BLOCK_LEN ? (size_t)(end - at) : BLOCK_LEN;
		if (rest < length) length = (size_t)rest;
		c.base = (uint32_t)at;
		c.high = (uint32_t)(at >> 32);
		lockstep_buffer list[] = {{x, length, 0}, {numbers, length, 0}};
		lockstep_kernel_noise(table, list, 2, &c);
	}
}
