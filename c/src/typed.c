/* Gradients and copies of parameters in 16 bits: see Go's update/typed.go. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "mode.h"
#include "optimizer.h"

static int is_known(lockstep_element element) { return (unsigned)element <= LOCKSTEP_F16; }

const char *lockstep_element_name(lockstep_element element) {
	static const char *const names[] = {"float32", "bf16", "f16"};
	return is_known(element) ? names[element] : "an unknown type";
}

lockstep_status lockstep_optimizer_set_grad_elements(lockstep_optimizer *o, const lockstep_element *elements, lockstep_error *error) {
	char name[NAME_LEN];
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	for (size_t k = 0; elements && k < o->count; k++)
		if (!is_known(elements[k]))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "elements[%zu]%s is %d, want LOCKSTEP_FLOAT32, LOCKSTEP_BF16 or LOCKSTEP_F16", k, lockstep_quoted(o, k, name), (int)elements[k]);
	lockstep_optimizer_forget_observed(o);
	o->typed = 0;
	for (size_t k = 0; k < o->count; k++) {
		o->records[k].element = elements ? elements[k] : LOCKSTEP_FLOAT32;
		o->typed |= o->records[k].element != LOCKSTEP_FLOAT32;
	}
	o->owned_count = 0; /* so that the next step finds all places: gradients have other lengths */
	return LOCKSTEP_OK;
}

const float *lockstep_widened(const lockstep_optimizer *o, size_t tensor, const float *grads, size_t at, size_t n, float room[BLOCK_LEN]) {
	lockstep_element element = o->records[tensor].element;
	const float *x = lockstep_grads_at(o, tensor, grads, at);
	const lockstep_buffer list[] = {{room, n, 0}, {(float *)x, n, 0}};
	if (element == LOCKSTEP_FLOAT32) return x;
	if (element == LOCKSTEP_BF16)
		lockstep_kernel_widen_bf16(o->table, list, 2);
	else
		lockstep_kernel_widen_f16(o->table, list, 2);
	return room;
}

static lockstep_status check_copies(const lockstep_optimizer *o, uint16_t *const *copies, const lockstep_element *elements, lockstep_error *error) {
	char name[NAME_LEN];
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (!status && copies && o->count && !elements) return lockstep_bad_argument(error, "elements", "NULL", "the type of each copy");
	for (size_t k = 0; copies && !status && k < o->count; k++)
		if (copies[k] && elements[k] != LOCKSTEP_BF16 && elements[k] != LOCKSTEP_F16)
			status = lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "copies[%zu]%s is of %s, want of bf16 or f16", k, lockstep_quoted(o, k, name), lockstep_element_name(elements[k]));
	return status;
}

lockstep_status lockstep_optimizer_set_copies(lockstep_optimizer *o, uint16_t *const *copies, const lockstep_element *elements, lockstep_error *error) {
	lockstep_status status = check_copies(o, copies, elements, error);
	if (status) return status;
	if (copies) status = lockstep_place_copies(o, copies, elements, error);
	if (status) {
		lockstep_place_copies(o, NULL, NULL, NULL);
		return status;
	}
	o->copies = 0;
	for (size_t k = 0; k < o->count; k++) {
		lockstep_record *r = &o->records[k];
		r->copied = copies ? copies[k] : NULL;
		r->copy_element = r->copied ? elements[k] : LOCKSTEP_FLOAT32;
		o->copies |= r->copied != NULL;
	}
	return copies ? LOCKSTEP_OK : lockstep_place_copies(o, NULL, NULL, NULL);
}

void lockstep_copy_out(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, const float *params) {
	const lockstep_record *r = &o->records[tensor];
	if (!r->copied || !n) return;
	const lockstep_buffer list[] = {{(float *)(void *)(r->copied + first), n, 0}, {(float *)params, n, 0}};
	if (r->copy_element == LOCKSTEP_BF16)
		lockstep_kernel_narrow_bf16(o->table, list, 2);
	else
		lockstep_kernel_narrow_f16(o->table, list, 2);
}

static void copy_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	const lockstep_optimizer *o = job->o;
	const lockstep_unit *u = &o->units[unit];
	if (u->tensor != SHARED) lockstep_copy_out(o, u->tensor, u->lo, u->hi - u->lo, job->params[u->tensor] + u->lo);
	for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) {
		size_t k = o->groups[u->group].shared[at];
		lockstep_copy_out(o, k, 0, o->places[k].size, job->params[k]);
	}
}

lockstep_status lockstep_optimizer_write_copies(lockstep_optimizer *o, float *const *params, lockstep_pool *pool, lockstep_error *error) {
	lockstep_job job = {.o = o, .params = params};
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (status) return status;
	if (!o->copies) return lockstep_bad_argument(error, "copies", "none", "those of lockstep_optimizer_set_copies");
	if (!params) return lockstep_bad_argument(error, "params", "NULL", "a pointer for each tensor");
	status = lockstep_own_params(o, params, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	lockstep_share(pool, copy_unit, &job, o->unit_count, o->total);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}
