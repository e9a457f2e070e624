/*
 * Lockstep: SIMD kernels for training over float32 buffers, optimizers and losses made of them, and
 * products of matrices (lockstep_optimizer.h, lockstep_loss.h and lockstep_matmul.h, which this header
 * includes). Every kernel gives the same bits on
 * every CPU: those of the functions of the same names in Go's package fallback. A NaN is a
 * NaN: its payload and sign are outside of the promise.
 *
 *	lockstep_buffer tensor[] = {{p, n}, {g, n}, {m, n}};
 *	lockstep_momentum_scalars c = {.scale = 1, .beta = 0.9f, .input = 1, .step = 0.1f};
 *	lockstep_status status = lockstep_kernel_momentum(NULL, tensor, 3, &c);
 *	if (status) fprintf(stderr, "%s\n", lockstep_message(status));
 *
 * What holds of all functions that call kernels:
 *
 *	Threads   Any function may be called from any number of threads, and in a child
 *	          after fork. Calls that write to a buffer must not overlap in time with others
 *	          that use it: ranges of a buffer are buffers, and give the same bits as the
 *	          whole, in reductions if they begin at multiples of LOCKSTEP_LANES and are
 *	          taken in order.
 *	Memory    Nothing is allocated, nothing is kept, nothing is written but to the buffers
 *	          and lanes of a call. The one thing that is remembered is the choice of a table.
 *	Errors    A call that is refused has written nothing.
 *	Floats    Kernels run in the caller's environment, which must round to nearest and keep
 *	          subnormal numbers, as C programs begin. Under another they stay as fast and as
 *	          safe, but their bits are others.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stddef.h>
#include <stdint.h>

#define LOCKSTEP_VERSION "0.1.0"

/* What is exported. Define LOCKSTEP_DLL to use the library as a DLL of Windows. */
#if defined(_WIN32) && defined(LOCKSTEP_BUILD_DLL)
#define LOCKSTEP_API __declspec(dllexport)
#elif defined(_WIN32) && defined(LOCKSTEP_DLL)
#define LOCKSTEP_API __declspec(dllimport)
#elif !defined(_WIN32) && defined(__GNUC__)
#define LOCKSTEP_API __attribute__((visibility("default")))
#else
#define LOCKSTEP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to. lockstep_message says it in words. */
typedef enum lockstep_status {
	LOCKSTEP_OK = 0,
	LOCKSTEP_UNKNOWN_TABLE, /* no table of this name in this build */
	LOCKSTEP_CANNOT_RUN,    /* the CPU, or the operating system, lacks what the table needs */
	LOCKSTEP_BAD_COUNT,     /* the buffers are not whole tensors of this kernel */
	LOCKSTEP_SHORT_BUFFER,  /* a buffer has fewer elements than the first of its tensor asks for */
	LOCKSTEP_LONG_BUFFER,   /* a buffer has more elements than memory has room for */
	LOCKSTEP_NULL,          /* a buffer of some elements, scalars or lanes are NULL */
	LOCKSTEP_BAD_ARGUMENT,  /* see the message of the lockstep_error */
	LOCKSTEP_NO_MEMORY,
	LOCKSTEP_NON_FINITE     /* gradients have NaN or infinities, and the policy refuses these */
} lockstep_status;

/* The message of a status: a constant, without a newline. */
LOCKSTEP_API const char *lockstep_message(lockstep_status status);

/* Why something was refused: which argument of which tensor or group, its value and what it
 * must be. It is written if something was refused, and then alone. */
typedef struct lockstep_error {
	lockstep_status status;
	char message[236];
} lockstep_error;

/* The library's version, which a program may hold against LOCKSTEP_VERSION. */
LOCKSTEP_API const char *lockstep_version(void);

/*
 * A table is the kernels of one instruction set: avx512, avx2, a variant of one, neon, or
 * portable, which is C for any CPU.
 *
 * Where a table is an argument, NULL stands for the one in use.
 */
typedef struct lockstep_table lockstep_table;

/* The name of a table's instruction set, or of the one in use, or NULL if none can be. */
LOCKSTEP_API const char *lockstep_isa(const lockstep_table *table);

/*
 * The table in use: the best that this CPU can run, or the one that the environment variable
 * LOCKSTEP_ISA names: on x86-64 avx512newton, avx512, avx2newton or avx2, on AArch64 neon,
 * and portable anywhere. A table that is unknown or cannot run is an error, here and in
 * every call of a kernel without a table, so that a forced table is never quietly another
 * one. The variable is read once.
 */
LOCKSTEP_API lockstep_status lockstep_active(const lockstep_table **table);

/* The table of a name, if it can run here. */
LOCKSTEP_API lockstep_status lockstep_find(const char *isa, const lockstep_table **table);

/*
 * Lists the tables that can run here, best first, the portable one last: at most room of
 * them. Returns how many there are.
 */
LOCKSTEP_API size_t lockstep_available(const lockstep_table **tables, size_t room);

/*
 * Says in a few words what runs and why, and what each other table lacks, for reports of
 * bugs: at most room bytes, with the 0 at the end. Returns the length of all of it, as
 * snprintf does.
 */
LOCKSTEP_API size_t lockstep_info(char *text, size_t room);

/*
 * A buffer is a part of a list. It has the layout of a Go slice, so that a [][]float32
 * of Go is a list; kernels do not read unused.
 *
 * A list is the buffers of one tensor after those of another, in the order that the
 * kernel's documentation gives. A tensor has as many elements as the first of its buffers;
 * the others may be longer. Buffers need no alignment beyond that of an element. Those of a
 * call that are written must not overlap others. Elements of 16 bits, bf16 and f16, are a
 * uint16_t each, and their address is cast to a float's.
 *
 * A kernel for a matrix takes the buffers of one. Its first buffer with an element for each
 * row says how many rows there are, the first that has one for each column how many columns;
 * the matrix itself is row-major, without gaps.
 */
typedef struct lockstep_buffer {
	float *data; /* may be NULL if len is 0 */
	size_t len;  /* elements */
	size_t unused;
} lockstep_buffer;

/*
 * The lanes of a reduction: element i of a tensor is added to lane i mod 32, in the order of
 * the elements. A kernel adds to what is there: begin with zeros. lockstep_total is the sum of
 * lanes in their one order: j and j+16, then j and j+8, 4, 2, 1.
 */
#define LOCKSTEP_LANES 32
LOCKSTEP_API double lockstep_total(const double lanes[LOCKSTEP_LANES]);

/* How scalars give the decay rate beta of a running mean: 1 - beta, or -beta below a half. */
LOCKSTEP_API float lockstep_weight(double beta);

/* What a parameter of a kernel is. */
typedef enum lockstep_kind {
	LOCKSTEP_STREAM,       /* a buffer with an element for each of the tensor, or for each column */
	LOCKSTEP_MATRIX,       /* a buffer of rows × columns */
	LOCKSTEP_PER_ROW,      /* a buffer with an element for each row */
	LOCKSTEP_FLOAT,        /* a scalar: float */
	LOCKSTEP_MASK,         /* a scalar: uint32_t */
	LOCKSTEP_LANES_DOUBLE, /* double[LOCKSTEP_LANES] */
	LOCKSTEP_LANES_FLOAT,  /* float[LOCKSTEP_LANES] */
	LOCKSTEP_STREAM_BF16,  /* LOCKSTEP_STREAM of bfloat16: the upper halves of floats */
	LOCKSTEP_STREAM_F16,   /* LOCKSTEP_STREAM of binary16 */
	LOCKSTEP_MATRIX_BF16   /* LOCKSTEP_MATRIX of bfloat16 */
} lockstep_kind;

typedef struct lockstep_parameter {
	const char *name;
	lockstep_kind kind;
} lockstep_parameter;

/* A kernel as data, for bindings of other languages and for tests of all kernels. */
typedef struct lockstep_kernel {
	const char *name;
	const lockstep_parameter *buffers; /* in the order of a list */
	size_t buffer_count;
	const lockstep_parameter *scalars; /* 4 bytes each, in the order of the struct */
	size_t scalar_count;
	const lockstep_parameter *lanes; /* of its reductions */
	size_t lane_count;
} lockstep_kernel;

/* All kernels, in the order of their names; how many goes to count. */
LOCKSTEP_API const lockstep_kernel *lockstep_kernels(size_t *count);

/*
 * Runs any kernel: the functions of lockstep_kernels.h are this one with types. list has
 * so many buffers. scalars and lanes, one pointer a reduction, are NULL if the kernel has none.
 */
LOCKSTEP_API lockstep_status lockstep_run(const lockstep_table *table, const lockstep_kernel *kernel,
	const lockstep_buffer *list, size_t buffers, const void *scalars, void *const *lanes);

/*
 * A pool of threads for steps, gradients of linear models and products of matrices, of which
 * the caller's is one. The others begin with the first call that is large enough to be shared,
 * sleep when there is nothing to do, and begin anew in a child after fork. A pool serves one call
 * at a time; others that come meanwhile run on their callers alone.
 */
typedef struct lockstep_pool lockstep_pool;
LOCKSTEP_API lockstep_status lockstep_pool_new(size_t threads, lockstep_pool **pool);
LOCKSTEP_API void lockstep_pool_free(lockstep_pool *pool);

#ifdef __cplusplus
}
#endif

#include "lockstep_kernels.h"
#include "lockstep_optimizer.h"
#include "lockstep_loss.h"
#include "lockstep_matmul.h"

#endif
