/* What losses and linear models share. */
#ifndef LOCKSTEP_SRC_LOSS_H
#define LOCKSTEP_SRC_LOSS_H

#include "lockstep_loss.h"
#include "optimizer.h"

/* How labels become ±1. */
lockstep_hinge_scalars lockstep_label_scalars(lockstep_labels labels);

/* A buffer of an argument, with its name there. */
typedef struct lockstep_named {
	const char *name;
	const float *data;
	size_t n;
} lockstep_named;

/* Refuses buffers without data or beyond memory, and those of the first outs that overlap
 * another. One that is NULL and optional has no elements. */
lockstep_status lockstep_check_buffers(const lockstep_named *list, int count, int outs, lockstep_error *error);

lockstep_status lockstep_check_labels(lockstep_labels labels, lockstep_error *error);

/* The number from low to high that is nearest to x, or NaN. */
static inline float lockstep_nearest(float x, float low, float high) {
	if (x < low) return low;
	return x > high ? high : x;
}

/* The table in use, if it is to be that. */
lockstep_status lockstep_choose(const lockstep_table **table, lockstep_error *error);

/* crossentropy.c */

lockstep_status lockstep_check_entropy(const lockstep_cross_entropy_options *o, size_t classes, lockstep_error *error);

/* Refuses numbers that are no factors, of which there may be none. */
lockstep_status lockstep_check_factors(const char *name, const float *x, size_t n, lockstep_error *error);

/* Refuses labels, and sets what the sum of the losses is divided by: 0 for a mean over nothing. */
lockstep_status lockstep_divide_entropy(const lockstep_cross_entropy_options *o, const lockstep_logits *b, double *divisor, lockstep_error *error);

/* The sum of the losses of rows that have been checked, on this thread in the usual mode, and their
 * gradient times a scale. */
double lockstep_row_losses(const lockstep_table *table, const lockstep_cross_entropy_options *o, const lockstep_logits *b, double scale);

#endif
