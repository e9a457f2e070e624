/*
 * Products of matrices of float, with the same bits on every table and for any number of
 * threads.
 */
#ifndef LOCKSTEP_MATMUL_H
#define LOCKSTEP_MATMUL_H

#include "lockstep.h"
#include "lockstep_optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A matrix of rows × columns: its element i, j is data[i*row_stride + j*column_stride]. One that
 * is row-major without gaps has its columns as row_stride and 1 as column_stride; with both, and
 * rows and columns, exchanged it is the transposed one.
 */
typedef struct lockstep_matrix {
	float *data; /* which a product does not write to but where it is C */
	size_t rows, columns, row_stride, column_stride;
} lockstep_matrix;

/*
 * C ← alpha·A·B + beta·D. Each element is, with all operations rounded once and products that are
 * added not rounded at all (fused multiply-add),
 *
 *	c = alpha·s₀ + round(beta·d), then c ← alpha·s₁ + c, c ← alpha·s₂ + c, …
 *
 * where s₀ is the sum of the first 256 products, added in order to +0, and s₁ that of the next.
 * If beta is 0, d is not read and beta·d is +0. The rows of C and D are contiguous (their
 * column_stride is 1); A and B may be transposed. C may be D, and otherwise shares no elements
 * with A, B and D.
 */
typedef struct lockstep_product {
	lockstep_matrix c, d, a, b;
	float alpha, beta;
	int symmetric; /* A·B and D are, such as A·Aᵀ is: half of the work, and the other half is copied */
} lockstep_product;

/* How many floats of room a product takes on a table (NULL: the one in use) whose C has so many
 * rows and columns, each element of so many products: SIZE_MAX if memory has not so many. */
LOCKSTEP_API size_t lockstep_matmul_room(const lockstep_table *table, size_t rows, size_t columns, size_t products);

/*
 * Multiplies on a table, or the one in use, with room for as many floats as lockstep_matmul_room
 * says, in which A and B are packed: nothing is allocated. pool may be NULL; with one, products
 * that take as long as 256 × 256 matrices are shared among its threads.
 *
 * Sizes that do not fit one another or the room, rows of C or D that are not contiguous, and
 * matrices that share elements with C or the room are refused. On x86 and AArch64 it computes in
 * the usual mode of arithmetic, as optimizers do.
 */
LOCKSTEP_API lockstep_status lockstep_matmul(const lockstep_table *table, const lockstep_product *product,
	float *room, size_t room_len, lockstep_pool *pool, lockstep_error *error);

#ifdef __cplusplus
}
#endif

#endif
