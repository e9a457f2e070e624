/* Orthonormal bases of square matrices: see Go's internal/eigen, which has the reasons. */
#ifndef LOCKSTEP_EIGEN_H
#define LOCKSTEP_EIGEN_H

#include "optimizer.h"

/* A matrix of n rows, one column after the other, and what becomes of it. */
typedef struct lockstep_bases {
	lockstep_pool *pool;
	size_t n;
	double *a, *tau;
	double *diagonal, *off;
	double *cosine, *sine;   /* of rotations */
	double *places, *values; /* of the columns in the order of their values */
} lockstep_bases;

/* How many doubles of room bases of so many rows take, and such bases in it. */
size_t lockstep_bases_room(size_t n);
lockstep_bases lockstep_bases_in(double *room, size_t n, lockstep_pool *pool);

/* Puts the values in descending order, equal ones and NaN in that of their columns. */
void lockstep_sort_values(const lockstep_bases *b);

/* Makes of the columns an orthonormal basis: the Q of QR. */
void lockstep_orthonormalize(const lockstep_bases *b);

/* Makes of a symmetric matrix its eigenvectors, with their values in order. */
void lockstep_eigenvectors(const lockstep_bases *b);

#endif
