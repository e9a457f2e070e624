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

/* The table in use, if it is to be that. */
lockstep_status lockstep_choose(const lockstep_table **table, lockstep_error *error);

#endif
