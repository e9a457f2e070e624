/* What the files of the library share and do not export. */
#ifndef LOCKSTEP_INTERNAL_H
#define LOCKSTEP_INTERNAL_H

#include "lockstep.h"
#include "platform.h"

/* A kernel without checks. */
typedef void lockstep_bare(const lockstep_buffer *list, int64_t buffers, const void *scalars, void *const *lanes);

/* The kernel of products of matrices, of so many rows and columns at once. Its list is the
 * columns of A and the rows of B, one after the other, as many as A's length says, then C and
 * D, whose lengths are the elements from one row to the next; its scalars are lockstep_matmul_scalars. */
typedef struct lockstep_tile {
	size_t rows, columns;
	lockstep_bare *multiply;
} lockstep_tile;

typedef struct lockstep_matmul_scalars {
	float alpha, beta;
} lockstep_matmul_scalars;

struct lockstep_table {
	const char *isa;
	lockstep_bare *const *kernels; /* in the order of lockstep_all */
	const lockstep_tile *tile;
};

extern const lockstep_kernel lockstep_all[];
extern const size_t lockstep_all_count;

extern lockstep_bare *const lockstep_portable_kernels[];
extern const lockstep_tile lockstep_portable_tile;
#if LOCKSTEP_X86_64
extern lockstep_bare *const lockstep_avx512newton_kernels[];
extern lockstep_bare *const lockstep_avx512_kernels[];
extern lockstep_bare *const lockstep_avx2newton_kernels[];
extern lockstep_bare *const lockstep_avx2_kernels[];
extern const lockstep_tile lockstep_avx512_tile, lockstep_avx2_tile;
#elif LOCKSTEP_AARCH64
extern lockstep_bare *const lockstep_neon_kernels[];
extern const lockstep_tile lockstep_neon_tile;
#endif

/* Whether the rows of a matrix are better handed to a kernel one by one: see RowsApart in
 * Go's internal/tune. */
int lockstep_rows_apart(size_t rows, size_t columns);

/* How many buffers of a list a kernel takes at once: all, or those of one tensor if they are
 * of several types. */
size_t lockstep_per_call(const lockstep_kernel *kernel, size_t buffers);

/* What tables ask of a CPU. */
typedef enum lockstep_feature {
	LOCKSTEP_AVX = 1 << 0,
	LOCKSTEP_AVX2 = 1 << 1,
	LOCKSTEP_FMA3 = 1 << 2,
	LOCKSTEP_BMI2 = 1 << 3,
	LOCKSTEP_AVX512F = 1 << 4,
	LOCKSTEP_AVX512VL = 1 << 5,
	LOCKSTEP_AVX512DQ = 1 << 6,
	LOCKSTEP_AVX512BW = 1 << 7,
	LOCKSTEP_F16C = 1 << 8
} lockstep_feature;

typedef struct lockstep_cpu {
	char name[49];
	unsigned features;
	int divides_fast; /* see lockstep_candidate_of */
} lockstep_cpu;

void lockstep_read_cpu(lockstep_cpu *cpu);

/* A table with the features that it asks for. */
typedef struct lockstep_candidate {
	lockstep_table table;
	unsigned needs;
} lockstep_candidate;

/* The k-th best table of this build for a CPU, or NULL beyond the last. */
const lockstep_candidate *lockstep_candidate_of(const lockstep_cpu *cpu, size_t k);

#endif
