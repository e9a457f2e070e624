/* The scale of a loss. */
#include "mode.h"
#include "optimizer.h"

#include <float.h>
#include <math.h>

static lockstep_status check_scale(double scale, lockstep_error *error) {
	if (scale >= FLT_MIN && scale <= FLT_MAX) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "scale is %g, want one from %g to %g", scale, (double)FLT_MIN, (double)FLT_MAX);
}

static lockstep_status check(const lockstep_loss_scaler *s, lockstep_error *error) {
	if (!(s->growth > 1 && s->growth <= FLT_MAX)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "growth is %g, want a finite float above 1", s->growth);
	if (!(s->backoff > 0 && s->backoff < 1)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "backoff is %g, want a number above 0 and below 1", s->backoff);
	if (s->interval < 1) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "interval is %lld, want at least 1", (long long)s->interval);
	if (s->good < 0) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "good is %lld, want at least 0", (long long)s->good);
	return check_scale(s->scale, error);
}

static LOCKSTEP_NOT_INLINED lockstep_status step(lockstep_loss_scaler *s, lockstep_optimizer *o, float *const *params, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error) {
	double own = o->grad_scale;
	int64_t skipped = o->skipped;
	lockstep_status status = lockstep_optimizer_set_grad_scale(o, own / (double)(float)s->scale, error);
	if (status) return status;
	status = lockstep_optimizer_step(o, params, grads, pool, error);
	o->grad_scale = own;
	s->stepped |= !status || o->skipped != skipped;
	s->skipped |= o->skipped != skipped;
	return status;
}

lockstep_status lockstep_loss_scaler_step(lockstep_loss_scaler *s, lockstep_optimizer *o, float *const *params, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error) {
	lockstep_mode before = lockstep_enter_mode();
	lockstep_status status = check(s, error);
	if (!status && o->policy == LOCKSTEP_PROPAGATE)
		status = lockstep_bad_argument(error, "policy", "LOCKSTEP_PROPAGATE", "LOCKSTEP_SKIP or LOCKSTEP_REFUSE with a loss scaler");
	if (!status) status = step(s, o, params, grads, pool, error);
	lockstep_leave_mode(before);
	return status;
}

/* The next scale. */
static double next(const lockstep_loss_scaler *s, int64_t good) {
	double scale = (double)(float)s->scale;
	if (s->skipped) return (double)(float)(scale * s->backoff);
	if (good < s->interval) return scale;
	double grown = (double)(float)(scale * s->growth);
	return grown <= FLT_MAX ? grown : scale;
}

static LOCKSTEP_NOT_INLINED lockstep_status update(lockstep_loss_scaler *s, lockstep_error *error) {
	int64_t good = s->skipped ? 0 : s->good + 1;
	double scale = next(s, good);
	s->stepped = s->skipped = 0;
	lockstep_status status = check_scale(scale, error);
	if (status) return status;
	s->scale = scale;
	s->good = good < s->interval ? good : 0;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_loss_scaler_update(lockstep_loss_scaler *s, lockstep_error *error) {
	lockstep_mode before = lockstep_enter_mode();
	lockstep_status status = check(s, error);
	if (!status && !s->stepped) status = lockstep_bad_argument(error, "step", "none since the last update", "at least one");
	if (!status) status = update(s, error);
	lockstep_leave_mode(before);
	return status;
}
