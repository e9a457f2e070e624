/* Parameters of rules that are evaluated at a mean of where they train. */
#include "mode.h"
#include "optimizer.h"

lockstep_status lockstep_check_training(const lockstep_optimizer *o, lockstep_error *error) {
	if (!o->evaluated) return LOCKSTEP_OK;
	return lockstep_bad_argument(error, "the mode of the parameters", "eval", "that of lockstep_optimizer_train, which makes them what a step wants");
}

static lockstep_status check_turn(lockstep_optimizer *o, int evaluated, float *const *params, lockstep_error *error) {
	if (o->begun) return lockstep_bad_argument(error, "step", "begun", "one that is not");
	lockstep_status status = lockstep_check_own(o, error);
	if (status) return status;
	if (o->evaluated == evaluated)
		return lockstep_bad_argument(error, "the mode of the parameters", evaluated ? "eval" : "train", evaluated ? "that of train" : "that of eval");
	if (o->count && !params) return lockstep_bad_argument(error, "params", "NULL", "a pointer for each tensor");
	return lockstep_own_params(o, params, error);
}

static void move(float *p, const float *x, size_t n, double by) {
	for (size_t i = 0; i < n; i++) p[i] = (float)((double)p[i] + (double)x[i] * by);
}

static LOCKSTEP_NOT_INLINED void move_all(const lockstep_optimizer *o, int evaluated, float *const *params) {
	for (size_t k = 0; k < o->count; k++) {
		double mean = o->groups[o->places[k].group].plan.mean;
		if (mean != 0) move(params[k], o->places[k].state[0], o->places[k].size, evaluated ? mean : -mean);
	}
}

static lockstep_status turn(lockstep_optimizer *o, int evaluated, float *const *params, lockstep_error *error) {
	lockstep_status status = check_turn(o, evaluated, params, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	move_all(o, evaluated, params);
	lockstep_leave_mode(before);
	o->evaluated = evaluated;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_eval(lockstep_optimizer *o, float *const *params, lockstep_error *error) { return turn(o, 1, params, error); }

lockstep_status lockstep_optimizer_train(lockstep_optimizer *o, float *const *params, lockstep_error *error) { return turn(o, 0, params, error); }
