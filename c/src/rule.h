/* A rule as data, as the engine of optimizer.c carries it out: what gen/optimizers makes, in
 * zrules.c, of each rule of Go's package update, function by function. */
#ifndef LOCKSTEP_RULE_H
#define LOCKSTEP_RULE_H

#include "internal.h"
#include "lockstep_optimizer.h"

enum { LOCKSTEP_MAX_SLOTS = 8, LOCKSTEP_MAX_PASSES = 4, LOCKSTEP_MAX_SUMS = 2, LOCKSTEP_MAX_KEPT = 4 };

/* The scalars that begin those of every step. */
typedef struct lockstep_common {
	float scale, l2, decay;
	uint32_t drop, first;
} lockstep_common;

/* What a slot has one number of. */
typedef enum lockstep_extent {
	LOCKSTEP_OF_ELEMENTS,
	LOCKSTEP_OF_ROWS, /* of a row-major matrix */
	LOCKSTEP_OF_COLUMNS,
	LOCKSTEP_OF_TENSOR,
	LOCKSTEP_OF_ROW_PAIRS,   /* a square matrix of as many rows and columns as the matrix has rows */
	LOCKSTEP_OF_COLUMN_PAIRS /* the same of columns */
} lockstep_extent;

/* A state buffer. */
typedef struct lockstep_slot {
	const char *name;
	double first;         /* what it holds before the first step */
	int begins_as_params; /* it does, which are not known before the tensor's first step */
	double fades;         /* what a step leaves of it where the gradient is 0, as a factor */
	int square;           /* it holds squares, of which the small ones by flushes become zeros */
	uint32_t flushes;
	lockstep_extent extent;
	int64_t most; /* rows or columns of which it has pairs: of more the slot is empty */
	int scratch; /* it is what passes of a step make for one another: nobody gives or keeps it */
} lockstep_slot;

/* What the scalars of a pass are made from. */
typedef struct lockstep_step_input {
	lockstep_common common;
	int64_t t; /* the tensor's step, from 1 */
	double lr;
	double prox_l1, prox_l2;        /* of a proximal step that the kernel takes */
	double sums[LOCKSTEP_MAX_SUMS]; /* of the pass before */
	int64_t elements;               /* so many parameters these are of */
	int64_t rows, columns;          /* of the tensor, where it has scalars of its own */
	float per_tensor[LOCKSTEP_MAX_KEPT]; /* the tensor's slots of this extent, in order */
} lockstep_step_input;

/* What the sums of a pass are of: with OVER_ALL, of the tensors of all groups with the rule. */
typedef enum lockstep_scope { LOCKSTEP_NO_SUMS, LOCKSTEP_BY_COLUMN, LOCKSTEP_OVER_TENSOR, LOCKSTEP_OVER_RULE, LOCKSTEP_OVER_ALL } lockstep_scope;

/* What a pass that keeps something gives the slots of a tensor that have one number, in order. */
typedef struct lockstep_kept {
	float first, second, third, fourth;
} lockstep_kept;

/* What a pass takes: LOCKSTEP_SLOT and above are the plan's slots. */
enum { LOCKSTEP_PARAMS, LOCKSTEP_GRADS, LOCKSTEP_SLOT };

/* Makes the scalars of a kernel from a prepared rule, in which it may keep what it computed. */
typedef void lockstep_scalars_of(void *prepared, const lockstep_step_input *in, void *scalars);

/* What a pass hands to its kernel. */
typedef enum lockstep_walk {
	LOCKSTEP_ELEMENTS, /* any range of a tensor, or many tensors */
	LOCKSTEP_ROWS,     /* whole rows */
	LOCKSTEP_WHOLE,    /* all state of a tensor, and neither parameters nor gradients */
	LOCKSTEP_TOGETHER  /* the same, and the pool, whose threads share the pass of one tensor after the other */
} lockstep_walk;

/* Whole rows of a tensor, or all of it: see Go's engine.Matrix. */
typedef struct lockstep_row_range {
	const lockstep_table *table;
	size_t rows, columns;
	float *params;
	const float *grads;
	float *state[LOCKSTEP_MAX_SLOTS]; /* by the plan's slots */
	int slot_count;
	double (*lanes)[LOCKSTEP_LANES]; /* of sums */
	double *column_sums;
	float *room; /* two rows: for sums by column, and for the gradient as stages leave it; or what a
	                pass together asks for */
	lockstep_pool *pool; /* in a pass together; it may be NULL */
} lockstep_row_range;

typedef void lockstep_matrix_pass(const lockstep_row_range *m, const void *scalars);

/* How many floats of room a pass together takes for a matrix, whose largest slot that is a square
 * matrix has so many rows on its side. */
typedef size_t lockstep_matrix_room(const lockstep_table *table, size_t rows, size_t columns, size_t side);

/* Makes the scalars of a row from those of all rows and from what its slot has become. */
typedef void lockstep_row_scalars(const void *shared, double slot, void *scalars);

typedef struct lockstep_pass {
	const lockstep_kernel *kernel; /* in a pass over matrices that whose scalars it has, or NULL */
	lockstep_scalars_of *scalars;
	lockstep_scope sums;
	int buffers[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS]; /* of kernel->buffer_count, in its order */
	lockstep_walk walk;
	lockstep_matrix_pass *matrix; /* of all walks but LOCKSTEP_ELEMENTS; NULL where a lockstep_kept is made and no more */
	lockstep_matrix_room *room;   /* of LOCKSTEP_TOGETHER */

	/* Of a pass that takes rows one by one, or NULL: the first slot, of rows, becomes keep of
	 * itself and add of the mean of the squares of the row's gradient, before the kernel has
	 * parameters, gradients and the slots of elements. */
	lockstep_row_scalars *row;
	double keep, add;

	/* Of such a pass whose rows take steps as long as they are, by their trust ratio: the kernel,
	 * Muon's, takes the gradient into the second slot, and decay of the parameters is in the
	 * direction. See Go's engine.TrustByRow. */
	int trusts;
	double decay;
} lockstep_pass;

/* Whether a pass makes a lockstep_kept and no more. */
static inline int lockstep_keeps(const lockstep_pass *pass) { return pass->walk == LOCKSTEP_WHOLE && !pass->matrix; }

/* Scalars of a pass without a kernel: see Go's fallback. */
typedef struct lockstep_adafactor_factors_scalars {
	double weight, eps_square, eps_floor, squares;
} lockstep_adafactor_factors_scalars;

/* The same of Muon's products: see Go's package update. */
typedef struct lockstep_newton_schulz {
	double size, factor;
	float a, b, c;
	int64_t iterations;
	int dion;
	int schatten, spectral, aol;
	double eps, eps_floor;
	int adaptive, normalizes, exact_rms;
	double beta2, eps_row;
} lockstep_newton_schulz;

/* The same of SOAP's. */
typedef struct lockstep_bases_step {
	float weight1, beta2, root2, eps;
	uint32_t drop, small, flush;
	double shampoo_beta;
	int64_t t, frequency, most;
	int looks, often, normalizes;
} lockstep_bases_step;

/* soap.c */
lockstep_matrix_pass lockstep_soap_direction;
lockstep_matrix_room lockstep_soap_room;

/* muon.c */
lockstep_matrix_pass lockstep_orthogonalize;
lockstep_matrix_room lockstep_newton_schulz_room;

/* adafactor.c */
lockstep_matrix_pass lockstep_adafactor_squares, lockstep_adafactor_factors, lockstep_adafactor_length, lockstep_adafactor_move, lockstep_adafactor_momentum;

typedef struct lockstep_plan {
	lockstep_slot slots[LOCKSTEP_MAX_SLOTS];
	int slot_count;
	lockstep_pass passes[LOCKSTEP_MAX_PASSES];
	int pass_count;
	int fuses_proximal; /* its kernel applies L1 and L2 of a proximal step */
	double hessian;     /* by how much of it an estimate moves the second slot, which is the mean of
	                       such; 0 if it is not */
	double mean;        /* the factor of the first slot that parameters lack to their mean, if that is
	                       what is evaluated; 0 if not */
} lockstep_plan;

/* The kernels around a rule's own, for what it does not do itself. They work block by
 * block, so that memory is crossed once. */
typedef struct lockstep_stages {
	int prescales, regularizes, shrinks;
	lockstep_regularize_scalars prescale; /* a part of the gradient's scale */
	lockstep_regularize_scalars regularize;
	lockstep_shrink_scalars shrink;
	lockstep_fade_scalars fade;
	lockstep_flush_scalars small;
	int decays; /* parameters fade, too */
} lockstep_stages;

/* Makes the input of scalars, but for the step's number, and the stages, but for small, of
 * options with the learning rate of a step and the factor of its gradients. */
void lockstep_make_stages(lockstep_options options, double scale, int fuses_proximal, lockstep_step_input *in, lockstep_stages *stages);

/* The part of a scale that is applied first, 1 if all is one normal float. */
double lockstep_part_of(double scale);

/* What an average of parameters leaves of the one before it, as Go's package update has it: an
 * averager is made of what is set, once it is checked. Its size is a multiple of that of double. */
extern const size_t lockstep_averager_size;
void lockstep_make_averager(const lockstep_averaging *a, void *averager);
double lockstep_decay(void *averager, int64_t averages);

/* The standard deviation of noise in step t, as package update has it. */
double lockstep_std_of(const lockstep_noise *n, int64_t t);

/* The code of a rule. Options are the rule's struct of lockstep_rules.h, whole: of the size
 * that this build knows. */
typedef struct lockstep_rule_code {
	/* Bytes, aligned as malloc aligns, that plan fills and scalars use, apart from the
	 * options. They may be copied: a copy makes the same scalars. */
	size_t prepared;
	void (*plan)(const void *options, void *prepared, lockstep_plan *plan); /* of options that check lets through */

	/* What every rule has, as this one means it: LAMB always keeps subnormal numbers. */
	lockstep_options (*common)(const void *options);
	void (*state_name)(const void *options, char *name, size_t room); /* Name in Go */

	/* All that is refused, the rate of the options included; check_lr refuses a rate that is
	 * to be set. error may be NULL. */
	lockstep_status (*check)(const void *options, lockstep_error *error);
	lockstep_status (*check_lr)(const void *options, double lr, lockstep_error *error);

	/* Whether the rule has another plan for a matrix, and that plan, or NULL; both plans prepare
	 * the same. */
	int (*factors)(const void *options, int64_t rows, int64_t columns);
	void (*factored_plan)(const void *options, void *prepared, lockstep_plan *plan);
	int matrices; /* it has no plan for vectors */
} lockstep_rule_code;

/* In the order of lockstep_rules. */
extern const lockstep_rule lockstep_all_rules[];
extern const lockstep_rule_code lockstep_all_codes[];
extern const size_t lockstep_all_rules_count;

extern const lockstep_preset_entry lockstep_all_presets[];
extern const size_t lockstep_all_presets_count;

/* The rule of a name, or NULL; its code has the same place in lockstep_all_codes. */
const lockstep_rule *lockstep_rule_named(const char *name);

/* Writes the message of an error: what argument of what value, and what it must be. */
lockstep_status lockstep_bad_argument(lockstep_error *error, const char *argument, const char *value, const char *want);

#endif
