/* Gradients whose rows are clipped and centered: see Go's internal/engine/unitwise.go. */
#include "optimizer.h"

#include <float.h>
#include <math.h>

/* What a norm is taken for at least where it divides. */
static const double least_norm = 1e-6;

/* Has the groups look at rows as is set, in units that are of whole ones. */
static lockstep_status set_units(lockstep_optimizer *o, double ratio, double least, int centers, lockstep_error *error) {
	lockstep_status status = lockstep_check_not_begun(o, error);
	const double before[] = {o->adaptive, o->adaptive_eps};
	int centralized = o->centralizes;
	if (status) return status;
	o->adaptive = ratio;
	o->adaptive_eps = least;
	o->centralizes = centers;
	lockstep_set_clipping(o);
	status = lockstep_cut_anew(o);
	if (!status) return status;
	o->adaptive = before[0];
	o->adaptive_eps = before[1];
	o->centralizes = centralized;
	lockstep_set_clipping(o);
	lockstep_split(o);
	return lockstep_reject(error, status, "no memory for other units of work");
}

lockstep_status lockstep_optimizer_set_adaptive_clip(lockstep_optimizer *o, double clipping, double eps, lockstep_error *error) {
	if (!(clipping >= 0)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "clipping is %g, want a number above 0, or 0 for no clipping", clipping);
	if (!(eps >= 0 && eps <= FLT_MAX)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "eps is %g, want a finite float of at least 0", eps);
	lockstep_status status = clipping != 0 && !isinf(clipping) ? lockstep_check_unpacked(o, "an adaptive clip", error) : LOCKSTEP_OK;
	if (status) return status;
	return set_units(o, isinf(clipping) ? 0 : clipping, eps, o->centralizes, error);
}

lockstep_status lockstep_optimizer_set_centralize(lockstep_optimizer *o, int on, lockstep_error *error) {
	lockstep_status status = on ? lockstep_check_unpacked(o, "centralize", error) : LOCKSTEP_OK;
	return status ? status : set_units(o, o->adaptive, o->adaptive_eps, on != 0, error);
}

size_t lockstep_row_looked_at(const lockstep_optimizer *o, size_t tensor) {
	const lockstep_record *r = &o->records[tensor];
	size_t size = o->places[tensor].size, row = r->vector ? size : r->columns;
	return size && (o->adaptive || (o->centralizes && !r->vector)) ? row : 0;
}

/* Adds up a row of the gradient, less a mean. */
static double sum_row(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, const float *grads, const lockstep_center_scalars *mean, int squares) {
	float room[3][BLOCK_LEN];
	double lanes[LOCKSTEP_LANES] = {0};
	for (size_t at = 0; at < n; at += BLOCK_LEN) {
		size_t length = n - at < BLOCK_LEN ? n - at : BLOCK_LEN;
		const float *x = lockstep_gradient(o, grads, tensor, o->shard_count ? first + at : at, length, room);
		lockstep_buffer list[] = {{room[2], length, 0}, {(float *)x, length, 0}};
		if (mean->mean != 0) lockstep_kernel_center(o->table, list, 2, mean);
		const lockstep_buffer *b = mean->mean != 0 ? &list[0] : &list[1];
		if (squares)
			lockstep_kernel_sum_squares(o->table, b, 1, lanes);
		else
			lockstep_kernel_sum(o->table, b, 1, lanes);
	}
	return lockstep_total(lanes);
}

/* The scalars that clip a row of the gradient, of the sums of its squares and of those of its
 * parameters. */
static lockstep_clip_scalars clip_row(const lockstep_optimizer *o, size_t tensor, double squares, double of_params) {
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	const lockstep_clipping *c = &g->clipping;
	double scale = c->norm != 0 ? g->scale * o->records[tensor].factor : g->scale;
	double norm = sqrt(squares) * fabs(scale), size = sqrt(of_params);
	double most = c->ratio * (size < c->least ? c->least : size);
	if (!(norm < most)) scale *= most / (norm < least_norm ? least_norm : norm);
	return lockstep_clip_by(g, scale);
}

void lockstep_measure_row(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, const float *p, const float *grads, lockstep_row_state *row) {
	const lockstep_record *r = &o->records[tensor];
	row->mean.mean = 0;
	if (o->centralizes && !r->vector) row->mean.mean = (float)(sum_row(o, tensor, first, n, grads, &row->mean, 0) / (double)n);
	if (!o->adaptive) return;
	double squares = sum_row(o, tensor, first, n, grads, &row->mean, 1), lanes[LOCKSTEP_LANES] = {0};
	lockstep_buffer b = {(float *)p, n, 0};
	lockstep_kernel_sum_squares(o->table, &b, 1, lanes);
	row->clip = clip_row(o, tensor, squares, lockstep_total(lanes));
}
