/*
 * Optimizers: rules with their options over one flat buffer or thousands of tensors.
 *
 *	lockstep_adam_options options;
 *	lockstep_preset("torch", "AdamW", &options, sizeof options, NULL);
 *	options.lr = 1e-3;
 *	lockstep_group group = {"Adam", &options, sizeof options};
 *	lockstep_tensor tensor = {.name = "weights", .size = n};
 *	lockstep_optimizer *o;
 *	lockstep_error error;
 *	if (lockstep_optimizer_new(&group, 1, &tensor, 1, &o, &error)) fprintf(stderr, "%s\n", error.message);
 *	for (...) lockstep_optimizer_step(o, &params, &grads, NULL, &error);
 *	lockstep_optimizer_free(o);
 *
 * An optimizer gives the bits of Go's package update, for any number of threads. It belongs to
 * one thread at a time, but for lockstep_optimizer_apply and lockstep_optimizer_observe; different
 * ones do not know of one another. Only lockstep_optimizer_new, lockstep_slots,
 * lockstep_matrix_slots, lockstep_pool_new, what sets an average, lookahead, types of state, zeros for
 * gradients, centralize or an adaptive clip, steps on more rows or shards than before and gradients observed
 * in more parts than before allocate. What is refused has changed nothing, and says why in the
 * error, of which the caller may give NULL.
 *
 * On x86 and AArch64 optimizers compute in the usual mode of arithmetic, whatever the calling
 * thread has set (FTZ, DAZ, another rounding), and leave it as it was.
 */
#ifndef LOCKSTEP_OPTIMIZER_H
#define LOCKSTEP_OPTIMIZER_H

#include "lockstep.h"
#include "lockstep_rules.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What kind an option is. */
typedef enum lockstep_option_kind {
	LOCKSTEP_DOUBLE,
	LOCKSTEP_FLAG,   /* int, 0 or 1 */
	LOCKSTEP_INTEGER /* int */
} lockstep_option_kind;

/* An option of a rule: a field of its struct in lockstep_rules.h. */
typedef struct lockstep_option {
	const char *name;
	lockstep_option_kind kind;
	size_t offset;
} lockstep_option;

/* A rule as data, for bindings. Its options begin with those of lockstep_options. */
typedef struct lockstep_rule {
	const char *name; /* of its type in Go's package update: "Adam" */
	size_t size;      /* of its struct */
	const lockstep_option *options;
	size_t option_count;
} lockstep_rule;

/* All rules, in the order of their names; how many goes to count. */
LOCKSTEP_API const lockstep_rule *lockstep_rules(size_t *count);

/*
 * Writes what a framework has by default for one of its optimizers ("torch", "AdamW"): the
 * learning rate is 0 where it has none by default. framework is torch, keras, optax, tensorflow
 * or textbook. options is the struct of the preset's rule, of so many bytes; it may be NULL to
 * ask for the rule alone, which goes to rule unless that is NULL.
 * Returns LOCKSTEP_BAD_ARGUMENT, and has written nothing, if there is no such preset, or if it
 * has options that are not among so many bytes.
 */
LOCKSTEP_API lockstep_status lockstep_preset(const char *framework, const char *name, void *options, size_t size, const lockstep_rule **rule);

/* A preset as data. Its options are of its rule's size. */
typedef struct lockstep_preset_entry {
	const char *framework, *name;
	const lockstep_rule *rule;
	const void *options;
} lockstep_preset_entry;

/* All presets, by framework and name. */
LOCKSTEP_API const lockstep_preset_entry *lockstep_presets(size_t *count);

/* A rule with its options, for some of the tensors. */
typedef struct lockstep_group {
	const char *rule;    /* of lockstep_rules */
	const void *options; /* its struct */
	size_t size;         /* of the struct: a caller built with an older header has fewer options,
	                        and the others are 0 */
} lockstep_group;

/*
 * How the elements of a state buffer are in memory. Arithmetic is of floats with any: a step makes floats
 * of a block of state, moves it as the rule says, and stores it anew, all while it is in the cache.
 *
 * LOCKSTEP_STATE_BF16 is the upper half of a float, of two neighbours one at random so that the mean is
 * right. To nearest, a mean that moves by less than 1 in 512 of itself would stay where it is. What lies
 * between the largest bf16 and infinity is the former.
 *
 * LOCKSTEP_STATE_FLOAT8 is 8 bits for each element, and a float for each LOCKSTEP_STATE_SCALE of them, the
 * largest magnitude s among these. An element has a fraction f of 3 bits and an exponent e of 4 beside its
 * sign, or of 5 if it is a square: it is (1 + f/8)·2^e - 1, of squares (1 + f/8)·2^e, in the unit in which
 * the largest of these is s. Of the two of these beside a number one is taken at random so that the mean is
 * right. A square is not 0 where another of its block is not. NaN and infinite elements have the least code
 * and count for no other's s.
 */
typedef enum lockstep_state_type { LOCKSTEP_STATE_FLOAT32, LOCKSTEP_STATE_BF16, LOCKSTEP_STATE_FLOAT8 } lockstep_state_type;

/* Elements of a block of state, those of them that share a scale, and the largest tensor whose state stays
 * floats. */
enum { LOCKSTEP_STATE_BLOCK = 1024, LOCKSTEP_STATE_SCALE = 256, LOCKSTEP_STATE_SMALL = 4096 };

/* A tensor of parameters. */
typedef struct lockstep_tensor {
	const char *name;    /* in errors and for finding it; NULL for none */
	size_t size;         /* elements */
	size_t group;        /* index */
	float *const *state; /* a buffer for each slot, where the caller owns the state: of a vector in
	                        the order of lockstep_slots and with size elements each, or one where
	                        a rule has one number for a tensor or a row; of a matrix in the order and
	                        with the lengths of lockstep_matrix_slots, such as one for each row.
	                        What is in it counts, and must be finite and of squares not negative.
	                        NULL: the optimizer allocates it, and it begins as the rule says. */
	size_t columns;      /* the last dimension of a row-major matrix, of which size is a multiple;
	                        0 for a vector. It matters to rules whose state has a number for each
	                        row or column, such as RowwiseAdaGrad and Adafactor (see
	                        lockstep_matrix_slots), to rules that are for matrices alone, such as
	                        Muon, and to an adaptive clip and centralize, which look at rows. */
	const lockstep_state_type *types; /* of the caller's state: how each of its buffers is in memory, of as
	                        many bytes as lockstep_optimizer_state_room says, whose address is cast
	                        to a float's; NULL where all are floats. See
	                        lockstep_optimizer_set_state_types, which these are to be named to. */
} lockstep_tensor;

typedef struct lockstep_optimizer lockstep_optimizer;

/*
 * Makes an optimizer. What groups and tensors point to is copied, but for the tensors' state,
 * which must live as long.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_new(const lockstep_group *groups, size_t group_count,
	const lockstep_tensor *tensors, size_t tensor_count, lockstep_optimizer **o, lockstep_error *error);
LOCKSTEP_API void lockstep_optimizer_free(lockstep_optimizer *o);

/*
 * Takes a step over all tensors: params and grads have a pointer for each. A gradient that is
 * NULL leaves its tensor out of the step, as in PyTorch; the tensor's own count of steps stays.
 * The gradients are only read, unless lockstep_optimizer_set_zero_grads says otherwise, and may be
 * elsewhere in each step; those of two tensors may be the same. Parameters and state must not
 * overlap one another or gradients: what is where it was is not looked at again, and a gradient
 * that has moved is found in the gap where it was.
 * pool may be NULL: without one the step is taken on the calling thread, as are those of fewer
 * than 262144 elements.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_step(lockstep_optimizer *o, float *const *params, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error);

/*
 * lockstep_optimizer_step with gradients that are sums: shards[j][k] is what the j-th of count
 * threads, each with samples of its own, has for the k-th tensor. They are added within the step,
 * block by block, so that memory is crossed once, in the order of the shards and in float: the bits
 * are those of lockstep_optimizer_step with
 *
 *	((shards[0][k] + shards[1][k]) + shards[2][k]) + ...
 *
 * A scale of gradients makes a mean of the sum. A shard that is NULL is none of a tensor's, and a
 * tensor without any is left out of the step. Norms, policies and all else look at the sums, for
 * which a step with a norm or a policy reads the shards twice. lockstep_optimizer_observe has not
 * seen sums: what it has observed is an error. A first step, or one with more shards than before,
 * may allocate: LOCKSTEP_NO_MEMORY, if there is none, has changed nothing.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_step_shards(lockstep_optimizer *o, float *const *params,
	const float *const *const *shards, size_t count, lockstep_pool *pool, lockstep_error *error);

/*
 * Has steps leave zeros of the gradients that they have taken, for a backward pass that adds to
 * them: each block while it is in the cache. Gradients are then written, though their pointers are
 * to const, and those of two tensors must not overlap; at first they are only read. A step that
 * LOCKSTEP_SKIP leaves out makes zeros of them too, since what is not finite would spoil all that
 * is added to it; an error leaves them as they are, that of LOCKSTEP_REFUSE too. Parts that
 * lockstep_optimizer_apply is given are the caller's to keep apart. Steps on rows are refused.
 * Within a step it is an error, and LOCKSTEP_NO_MEMORY if there is no memory to look for overlaps.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_zero_grads(lockstep_optimizer *o, int on, lockstep_error *error);

/* A type of elements: those of 16 bits are a uint16_t each. */
typedef enum lockstep_element {
	LOCKSTEP_FLOAT32,
	LOCKSTEP_BF16, /* bfloat16: the upper half of a float */
	LOCKSTEP_F16   /* binary16 of IEEE 754 */
} lockstep_element;

/*
 * Says of what type gradients are from now on, those of each tensor: as many as there are tensors, which
 * are copied, or NULL for floats, as at first. The address of a gradient of 16 bits is cast to a float's,
 * wherever an optimizer takes one: in steps, of all shards of a tensor, in ranges, to be observed and
 * measured, and of scaled losses. Estimates of a Hessian are floats, and steps on rows refuse others.
 *
 * Such gradients are only read, block by block as floats within the step, which crosses half the memory:
 * the bits are those of the same numbers as floats, and so are norms and what policies see. They are
 * scaled once they are floats. Parameters, state and all arithmetic are of floats. Where zeros are left of
 * gradients, it is of theirs.
 *
 * What was observed is forgotten, and nothing may be observed meanwhile. Within a step it is an error,
 * and so is another type. Nothing is allocated: types may change with every step.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_grad_elements(lockstep_optimizer *o, const lockstep_element *elements, lockstep_error *error);

/*
 * Has each step leave copies of the parameters in 16 bits, rounded to nearest even: the weights that a
 * model computes with, beside the floats that it is trained in. Each block is copied in the pass over
 * memory that moves it, once all else of the step is done to it. copies has a pointer for each tensor,
 * to as many elements as it has, which are written in place from now on, or NULL for no copy of a tensor;
 * elements their types, which is not looked at where there is none. The lists are copied. NULL for copies
 * is for none at all, as at first.
 *
 * A step writes the copies of tensors that it moves: one that is left out, because its gradient is NULL,
 * keeps its copy, as do all in a step that is skipped. lockstep_optimizer_apply writes the range that it
 * is given, a step on rows its rows. Copies must not overlap parameters, state, gradients or each other.
 * They are no state. Within a step it is an error.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_copies(lockstep_optimizer *o, uint16_t *const *copies, const lockstep_element *elements, lockstep_error *error);

/*
 * Makes the copies of all parameters: before the first step, and where parameters have changed otherwise,
 * by lockstep_optimizer_swap_average, eval and train, or a checkpoint. Within a step, and without copies,
 * it is an error.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_write_copies(lockstep_optimizer *o, float *const *params, lockstep_pool *pool, lockstep_error *error);

/*
 * lockstep_optimizer_step on parameters that are kept in two halves of 16 bits, as
 * lockstep_kernel_split_bf16 makes them: params has a pointer for each tensor to the bf16 with which a
 * model computes, the nearest one, and rests one to what that lacks of the bits of the float. A step joins
 * them, is that of the floats to the bit, and splits them, block by block in the cache: parameters and what
 * a model computes with take 4 bytes and not 6. lockstep_kernel_join_bf16 makes floats of them, for
 * checkpoints; what else takes parameters, such as lockstep_optimizer_swap_average,
 * lockstep_optimizer_write_copies and lockstep_optimizer_eval, takes them joined.
 *
 * Rules are those that lockstep_optimizer_begin takes. An adaptive clip and centralize, which look at rows,
 * are refused; all else is as in any step. The halves must not overlap anything, and may be elsewhere in
 * each step.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_step_split(lockstep_optimizer *o, uint16_t *const *params, uint16_t *const *rests,
	const float *const *grads, lockstep_pool *pool, lockstep_error *error);

/*
 * The same on parameters of bf16 alone, 2 bytes each. A step makes floats of a block, moves it as any, and
 * rounds it to one of the two bf16 beside it, at random so that the mean is right: to nearest, parameters
 * whose steps are less than 1 in 512 of themselves would stay where they are. At random they go as far on
 * average, each with an error of up to 1 in 128 of itself. What is between the largest bf16 and infinity is
 * the former.
 *
 * How elements are rounded follows from the seed of lockstep_optimizer_set_rounding, 0 at first, the number
 * of the tensor, the number of the tensor's step and that of the element, as that of state does: the same
 * bits for any ranges, threads and tables, and again for a step that is taken again from a checkpoint. State
 * of the same seed is rounded by other numbers. Where several processes have parts of the parameters, each
 * wants a seed of its own. Copies, averages and slow parameters are made of what is not rounded yet;
 * parameters that become slow ones or an average are rounded like any. Within a step it is an error to set
 * the seed.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_step_bf16(lockstep_optimizer *o, uint16_t *const *params, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_rounding(lockstep_optimizer *o, uint64_t seed, lockstep_error *error);

/*
 * A step on some rows alone of the only tensor, a row-major matrix of rows of so many columns,
 * such as an embedding table of which a batch uses few. indices are count rows, in any order,
 * and grads their gradients, one after the other: count * columns. No other row of params or
 * state is read or written. Rules of several passes look at whole tensors and are refused: LAMB,
 * LARS, NovoGrad, StableAdamW, Prodigy, DAdaptAdamW, Muon, SOAP and Adafactor, and any with
 * cautious_update; and so are a max_tensor_norm, a max_value and a policy that are set, and what is
 * about all rows: averages, lookahead, zeros for gradients, noise, an adaptive clip and centralize. A
 * rule that has a number of state for each row wants the tensor's columns to be these.
 *
 * Where a row appears more than once its gradients are added up first, in order of appearance;
 * every index is checked before anything is written. A row that is left out stays as it is, as
 * in torch.optim.SparseAdam: its means do not fade, and neither decay nor penalty applies to
 * it. What depends on the step's number goes by the steps of the tensor. A max_norm clips the
 * sums. The bits depend on neither the order of different rows nor the number of threads, and
 * are those of lockstep_optimizer_step where all rows are given.
 *
 * A list that is longer than those before allocates room for it: LOCKSTEP_NO_MEMORY, if there
 * is none, has changed nothing.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_step_rows(lockstep_optimizer *o, float *params, size_t columns,
	const int64_t *indices, size_t count, const float *grads, lockstep_pool *pool, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_step_rows32(lockstep_optimizer *o, float *params, size_t columns,
	const int32_t *indices, size_t count, const float *grads, lockstep_pool *pool, lockstep_error *error);

/*
 * A step on threads of the caller's: begin, then apply on ranges that cover each tensor once,
 * in any order, from any threads at the same time, then end. Together they give the bits of
 * lockstep_optimizer_step. Rules of several passes are refused, as by
 * lockstep_optimizer_step_rows, and so are a max_tensor_norm and a policy that are set. A range
 * that overlaps one before it is refused; end refuses a step that is not whole, which can be
 * completed yet. As long as a step goes on, so many ranges of a tensor may lie apart from one
 * another as it has elements by 16384, and 16 more.
 *
 * sum_squares is what max_norm clips by: the sum of squares of all gradients as they are given,
 * such as the sum of lockstep_sum_squares of each tensor. Without a max_norm it may be less
 * than 0, for none, and with one for what lockstep_optimizer_observe has seen.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_begin(lockstep_optimizer *o, double sum_squares, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_apply(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	float *params, const float *grads, lockstep_error *error); /* params and grads of the range */
/* The same on parameters as lockstep_optimizer_step_split and lockstep_optimizer_step_bf16 have them. */
LOCKSTEP_API lockstep_status lockstep_optimizer_apply_split(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	uint16_t *params, uint16_t *rests, const float *grads, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_apply_bf16(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	uint16_t *params, const float *grads, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_end(lockstep_optimizer *o, lockstep_error *error);

/*
 * Takes a part of the gradients of the next step as it arrives: count elements of a tensor from
 * the first on. Once all have arrived, the step has the norm that max_norm clips to without
 * reading the gradients again, with the same bits in any order of arrival and for any parts. Any
 * threads may call it at the same time: a lock is held while a part is noted, and not while its
 * squares are added up.
 *
 * The gradients must stay what and where they are until the step, lockstep_optimizer_step or
 * lockstep_optimizer_begin, which is refused while one of them has not arrived: parts of all
 * tensors but of those whose gradient is NULL. A part that overlaps one before it is refused, as
 * is one without a norm to clip to. Steps on rows have no use for what was observed, and are
 * refused. After a step, or once one has begun, what was observed is forgotten and the next
 * gradients can arrive, also where the policy has skipped or refused the step; an error in the
 * arguments forgets nothing. A sum of squares that begin is given, a max_norm of 0 and
 * forget_observed let go of those that no step will have: they wait for parts that are being taken,
 * for which a step is refused.
 *
 * Where more parts than before wait for the rest of their 16384 elements, it allocates room for
 * them: LOCKSTEP_NO_MEMORY, if there is none, has changed nothing.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_observe(lockstep_optimizer *o, size_t tensor, size_t first, size_t count,
	const float *grads, lockstep_error *error); /* grads of the range */
LOCKSTEP_API void lockstep_optimizer_forget_observed(lockstep_optimizer *o);

/*
 * Parameters as they are evaluated and shipped: eval makes those of rules that take gradients
 * elsewhere, the Schedule-Free ones, the mean of where they have been, and train makes them
 * again what a step wants. Parameters of other rules stay. At first they are those of
 * training. Within a step, in the mode that is asked for, and of steps and options in that of
 * eval, it is an error. Each number is computed in double and rounded once: a parameter between
 * two powers of two comes back to the bit if its mean is not beyond the larger one, and else
 * within half of the mean's last bit. State belongs to the parameters of training.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_eval(lockstep_optimizer *o, float *const *params, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_train(lockstep_optimizer *o, float *const *params, lockstep_error *error);

/*
 * How a running average of the parameters is kept, beside them and in the same pass over memory:
 *
 *	a = a + (1 - d)·(p - a)
 *
 * where d is decay, unless one of the other fields has it be less. The first average is a copy of
 * the parameters. Begin with one of the macros below, and change what differs.
 */
typedef struct lockstep_averaging {
	int64_t every, after; /* steps between averages, 0 for none, and steps that come before: averages
	                         are taken after the steps after + every, after + 2·every, ... */
	double decay;         /* what an average leaves of the one before, from 0 to 1 */
	int equal;            /* all parameters have the same weight: d = n/(n+1) after n averages, as in
	                         stochastic weight averaging (Izmailov et al. 2018). decay must be 0 */
	int bias_corrected;   /* the average is what one that begins at 0 is once it is divided by
	                         1 - decay^n: d = decay·(1 - decay^n)/(1 - decay^(n+1)) */
	int warm_up;          /* d is at most (1+n)/(10+n), as in TensorFlow with num_updates */
	int from_start;       /* the average begins as the parameters before the first step behind after,
	                         which count as the first average */
	int64_t overwrite;    /* steps between those after which the parameters become the average, as
	                         Keras' ema_overwrite_frequency; 0 for never */
} lockstep_averaging;

/* torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn, whose decay is 0.999 there, and
 * with get_swa_multi_avg_fn after so many steps; use_ema of Keras' optimizers; optax.ema of the
 * parameters; tf.train.ExponentialMovingAverage, which is warm_up with num_updates. */
#define LOCKSTEP_TORCH_EMA(of) {.every = 1, .decay = (of)}
#define LOCKSTEP_TORCH_SWA(behind) {.every = 1, .after = (behind), .equal = 1}
#define LOCKSTEP_KERAS_EMA {.every = 1, .decay = 0.99}
#define LOCKSTEP_OPTAX_EMA(of) {.every = 1, .decay = (of), .bias_corrected = 1}
#define LOCKSTEP_TENSORFLOW_EMA(of) {.every = 1, .decay = (of), .from_start = 1}

/*
 * Has each step keep an average of the parameters, of all tensors and also of those without a
 * gradient. Steps that are skipped are no steps. An average that is kept already goes on, its
 * number too, with what has changed; NULL, or one of zeros, gives it up. Within a step and while
 * parameters are swapped it is an error, and LOCKSTEP_NO_MEMORY if there is no memory for one.
 *
 * lockstep_optimizer_state has the average of a tensor as "params_average", whose content counts
 * once lockstep_progress says that there are averages. Small numbers of an average become 0 where
 * the parameter is 0, unless keep_subnormals says otherwise. Steps on rows are refused with one.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_average(lockstep_optimizer *o, const lockstep_averaging *a, lockstep_error *error);

/*
 * Exchanges the parameters with their averages, for an evaluation, after which the same call
 * exchanges them again. Between the two steps are errors, and so are eval, train and set_average.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_swap_average(lockstep_optimizer *o, float *const *params, lockstep_pool *pool, lockstep_error *error);

/*
 * Slow parameters follow those that steps move, the fast ones, which every period steps begin anew
 * from there (Zhang, Lucas, Hinton, Ba 2019):
 *
 *	s = s + step·(p - s)
 *	p = s
 *
 * It is optax.lookahead with its sync_period and slow_step_size, and without reset_state: the
 * rule's own state goes on.
 */
typedef struct lockstep_lookahead {
	int64_t period; /* steps between synchronizations; 0 for none */
	double step;    /* above 0, at most 1 */
} lockstep_lookahead;

/*
 * Has slow parameters follow. They begin as the parameters before the first step, are those to
 * evaluate, which the fast ones are after a step whose number is a multiple of period, and are
 * "params_slow" of lockstep_optimizer_state. Every tensor is synchronized, also one without a
 * gradient; an average takes the parameters as they are then. What has begun goes on with other
 * numbers; NULL, or zeros, give it up. Errors are those of lockstep_optimizer_set_average.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_lookahead(lockstep_optimizer *o, const lockstep_lookahead *l, lockstep_error *error);

/*
 * What an optimizer counts beside the steps of each tensor: for checkpoints, together with what
 * lockstep_optimizer_state has as "params_average" and "params_slow".
 */
typedef struct lockstep_progress {
	int64_t steps;    /* that it has taken, which averages and lookahead go by; a tensor that was left
	                     out of some has fewer */
	int64_t averages; /* that there are, the parameters from the start included */
	int slow;         /* whether slow parameters have begun */
} lockstep_progress;
LOCKSTEP_API void lockstep_optimizer_progress(const lockstep_optimizer *o, lockstep_progress *p);

/* Sets it, to go on from a checkpoint, after the steps of all tensors, which leave steps at least
 * as large as theirs. What the optimizer does not keep must be 0. Parameters that were swapped are
 * taken for those of the last step. */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_progress(lockstep_optimizer *o, const lockstep_progress *p, lockstep_error *error);

/*
 * Moves the estimates that Sophia divides by towards new ones, h ← h + (1-beta2)·(estimate - h):
 * a pointer for each tensor, NULL for one that keeps its own, such as those of other rules. The
 * caller makes them, every ten steps or so, of gradients at the parameters of the time: by
 * Hutchinson's estimator, or as squares of gradients for labels that the model has drawn. No
 * scale of gradients touches them.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_update_hessian(lockstep_optimizer *o, const float *const *estimates, lockstep_error *error);

/*
 * The norm of gradients, scaled, as a step with a max_norm measures it: for those who clip in
 * another way, with a scale. Nothing is written but the norm. Once gradients were observed it is
 * that of what was observed, which a step that follows can take; it is refused as a step is.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_measure(lockstep_optimizer *o, const float *const *grads, lockstep_pool *pool,
	double *norm, lockstep_error *error);

/* The sum of squares of n numbers, in double and in one order. */
LOCKSTEP_API double lockstep_sum_squares(const float *x, size_t n);

/*
 * Settings, from the next step on. Rates: of one group. scale multiplies all gradients before
 * penalties are added (1 at first). max_norm clips all gradients, scaled, by their global norm;
 * 0 and infinity do not: they are read once more, unless they were observed, and are not written.
 * options of a group may change, its rate with them, but not its rule nor what changes its state.
 * table is that of the steps, which is the one in use when the optimizer is made; NULL sets that
 * again.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_lr(lockstep_optimizer *o, size_t group, double lr, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_options(lockstep_optimizer *o, size_t group, const void *options, size_t size, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_grad_scale(lockstep_optimizer *o, double scale, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_max_norm(lockstep_optimizer *o, double max_norm, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_table(lockstep_optimizer *o, const lockstep_table *table, lockstep_error *error);

/*
 * More clipping, from the next step on, of gradients as they are scaled and before penalties are
 * added, block by block within the step. 0 and infinity, at first, are for none. Neither may
 * change while a step is begun.
 *
 * max_tensor_norm clips the gradient of each tensor for itself: where its Euclidean norm is
 * above it, it is multiplied by max_tensor_norm/norm, as Keras' clipnorm does. The gradients are
 * read once before the step, and so none can be begun. Only one of it and max_norm can be set.
 *
 * max_value then clips each element to at most so large a magnitude, as clip_grad_value_ of
 * PyTorch, Keras' clipvalue and optax.clip do. NaN stays NaN.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_max_tensor_norm(lockstep_optimizer *o, double max_norm, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_max_value(lockstep_optimizer *o, double limit, lockstep_error *error);

/*
 * Clips the gradient of each unit, a row of a matrix (lockstep_tensor.columns) or a whole vector, by
 * how large its parameters are (Brock, De, Smith, Simonyan 2021): where the Euclidean norm of a row,
 * scaled and clipped to other norms, is not below
 *
 *	most = clipping·max(|w|, eps)
 *
 * it is multiplied by most/max(norm, 1e-6). It is optax.adaptive_grad_clip, with its eps of 1e-3, for
 * matrices whose rows are what leads to one output. Clipping by value follows. 0 and infinity for
 * clipping, at first, are for none; eps is a float of at least 0.
 *
 * A row is looked at while it is in the cache, so that memory is crossed no more often, unless the
 * row is longer than that; short rows, of less than a few hundred elements, make steps slower. A
 * range of lockstep_optimizer_apply must be of whole rows, and steps on rows are refused. What was
 * observed is forgotten. Within a step it is an error, and LOCKSTEP_NO_MEMORY if there is no memory
 * for other units of work.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_adaptive_clip(lockstep_optimizer *o, double clipping, double eps, lockstep_error *error);

/*
 * Takes the mean of each row off the gradient of a matrix, before all that follows but for norms of
 * whole tensors, which are of the gradients as they are given (Yong, Huang, Hua, Zhang 2020). Vectors
 * stay as they are. It is optax.centralize over rows. Means are double in a fixed order, rounded once;
 * else all of lockstep_optimizer_set_adaptive_clip holds.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_centralize(lockstep_optimizer *o, int on, lockstep_error *error);

/*
 * Normal noise that steps add to gradients, of a standard deviation that falls (Neelakantan et al.
 * 2015): in step t of a tensor, the first of which is 1,
 *
 *	g = g + sqrt(eta/t^gamma)·N(0, 1)
 *
 * It is added to gradients as their scale and clipping leave them, block by block within the step;
 * what clipping, policies and norms look at is without it. That of an element is a function of seed,
 * of the number of its tensor, of t and of its own number, by a counter-based generator: the same
 * bits for any ranges, threads and tables, and again for a step that is taken again. Where several
 * processes have parts of the parameters, each wants a seed of its own.
 */
typedef struct lockstep_noise {
	double eta;   /* the variance at first, a float; 0, with gamma and seed, for none */
	double gamma; /* the power by which it falls, from 0 to 8; 0.55 in the paper */
	uint64_t seed;
} lockstep_noise;

/* Sets the noise, or with NULL none, which is so at first. Steps on rows are refused with it. Within a
 * step it is an error. */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_noise(lockstep_optimizer *o, const lockstep_noise *n, lockstep_error *error);

/* What a step does when a gradient has a NaN or an infinity, scaled and clipped, or for a rule
 * that squares it a number whose square is infinite. */
typedef enum lockstep_policy {
	LOCKSTEP_PROPAGATE, /* lets them through to the parameters, at first: the others read the
	                       gradients once more before the step, unless a norm says enough */
	LOCKSTEP_SKIP,      /* leaves everything as it is, the counts of steps included */
	LOCKSTEP_REFUSE     /* is LOCKSTEP_SKIP that returns LOCKSTEP_NON_FINITE, with a message */
} lockstep_policy;

/* Sets the policy. A step that is begun sees no gradients, and heeds LOCKSTEP_PROPAGATE alone. */
LOCKSTEP_API lockstep_status lockstep_optimizer_set_policy(lockstep_optimizer *o, lockstep_policy policy, lockstep_error *error);
/* How many steps were skipped or refused, and how many NaN and infinities there were in the
 * gradients of the last step, if the policy is not LOCKSTEP_PROPAGATE. */
LOCKSTEP_API int64_t lockstep_optimizer_skipped(const lockstep_optimizer *o);
LOCKSTEP_API int64_t lockstep_optimizer_non_finite(const lockstep_optimizer *o);

/*
 * A loss scaler finds the factor of a loss whose gradients, computed in a narrow type, then
 * neither overflow nor vanish: as large as it can be, since it grows until a gradient is
 * infinite, and then falls. It is PyTorch's GradScaler, with its scale of float32.
 *
 *	lockstep_loss_scaler s = LOCKSTEP_TORCH_LOSS_SCALER;
 *	... gradients of the loss times s.scale ...
 *	lockstep_loss_scaler_step(&s, o, params, grads, NULL, &error);
 *	lockstep_loss_scaler_update(&s, &error);
 *
 * It is the caller's, and what it remembers, to be set and saved: scale is a float from 2^-126
 * on, growth a float above 1, backoff above 0 and below 1, interval at least 1.
 */
typedef struct lockstep_loss_scaler {
	double scale;
	double growth;        /* the scale's factor after so many updates in a row as interval says */
	double backoff;       /* and after a step that was skipped */
	int64_t interval;
	int64_t good;         /* updates in a row without a step that was skipped */
	int stepped, skipped; /* whether there was a step, or one that was skipped, since the last update */
} lockstep_loss_scaler;

/* The defaults of torch.amp.GradScaler and keras.optimizers.LossScaleOptimizer. */
#define LOCKSTEP_TORCH_LOSS_SCALER {65536, 2, 0.5, 2000, 0, 0, 0}
#define LOCKSTEP_KERAS_LOSS_SCALER {32768, 2, 0.5, 2000, 0, 0, 0}

/*
 * lockstep_optimizer_step with gradients of the scaled loss. They are unscaled by the step
 * itself, in double together with the optimizer's own scale, which is for the unscaled ones.
 * The policy must be LOCKSTEP_SKIP or LOCKSTEP_REFUSE; a step that is skipped lets the next
 * update lower the scale. Several optimizers may step before an update, as in PyTorch. A step
 * is skipped too where a finite gradient has a square that is none and the rule takes squares,
 * which PyTorch does not see.
 */
LOCKSTEP_API lockstep_status lockstep_loss_scaler_step(lockstep_loss_scaler *s, lockstep_optimizer *o, float *const *params, const float *const *grads,
	lockstep_pool *pool, lockstep_error *error);

/*
 * Makes the scale of the next loss, after the steps of all optimizers. Without a step before it
 * is refused, as is a scale that has fallen so far that something else must be wrong: the scale
 * is then left as it is. One that grows beyond the floats stays.
 */
LOCKSTEP_API lockstep_status lockstep_loss_scaler_update(lockstep_loss_scaler *s, lockstep_error *error);

LOCKSTEP_API double lockstep_optimizer_lr(const lockstep_optimizer *o, size_t group);
/* The norm of the last step's gradients, scaled, before clipping; 0 without a max_norm. */
LOCKSTEP_API double lockstep_optimizer_norm(const lockstep_optimizer *o);

/*
 * Steps: a tensor's own count, which is what corrects its bias. To set it, at most to 2^62, is
 * to go on from a checkpoint. After 0, state that begins as the parameters, such as Prodigy's p0,
 * begins anew in the next step, unless it is the caller's; all other stays.
 */
LOCKSTEP_API int64_t lockstep_optimizer_steps(const lockstep_optimizer *o, size_t tensor);
LOCKSTEP_API lockstep_status lockstep_optimizer_set_steps(lockstep_optimizer *o, size_t tensor, int64_t steps, lockstep_error *error);

/*
 * State by name. The slots of a group are known before an optimizer is made: at most room names
 * go to names, which are constants; the number of slots is returned, 0 for bad options.
 */
LOCKSTEP_API size_t lockstep_slots(const lockstep_group *group, const char **names, size_t room);
/* The same of a matrix, or with 0 columns of a vector of rows elements, and how many elements each
 * slot has; either list may be NULL. */
LOCKSTEP_API size_t lockstep_matrix_slots(const lockstep_group *group, size_t rows, size_t columns, const char **names, size_t *lengths, size_t room);
/* A state buffer of a tensor, not a copy; NULL if there is none. It has an element for each
 * parameter, or as many as lockstep_optimizer_state_len says where a rule has a number for each
 * row or column of a matrix, or one for a tensor. One that begins as the parameters does in the
 * tensor's first step, unless its steps have been set to more than 0. */
LOCKSTEP_API float *lockstep_optimizer_state(const lockstep_optimizer *o, size_t tensor, const char *slot);
LOCKSTEP_API size_t lockstep_optimizer_state_len(const lockstep_optimizer *o, size_t tensor, const char *slot);
/*
 * Has steps keep state in fewer bits: types has the types of count slots by their names, in all rules that
 * have one of the name, and the others are floats. A count of 0 is for floats alone, as at first. What is
 * in the buffers is converted, with memory for both: best before the first step.
 *
 *	const lockstep_slot_type types[] = {{"m", LOCKSTEP_STATE_FLOAT8}, {"v", LOCKSTEP_STATE_FLOAT8}};
 *	lockstep_optimizer_set_state_types(o, types, 2, seed, &error);
 *
 * It may be means and sums of gradients or of squares, of a rule that takes a step in one pass over
 * elements and makes no parameters of its state: Adam, Adamax ("m"), NAdam, RAdam, LaProp, AdaBelief, Yogi,
 * Adan, AdEMAMix, ADOPT, Momentum, Lion, Signum, AdaGrad, Adadelta, RMSprop without centered, and others
 * like them. Tensors of at most LOCKSTEP_STATE_SMALL elements stay floats.
 *
 * How elements are rounded follows from seed, the number of the tensor, the slot, the number of the
 * tensor's step and that of the element: the same bits for any ranges, threads and tables, and again for a
 * step that is taken again from a checkpoint. Where several processes have parts of the parameters, each
 * wants a seed of its own.
 *
 * State of the caller's stays as lockstep_tensor says: other types for it are an error. A range of
 * lockstep_optimizer_apply must begin at a multiple of LOCKSTEP_STATE_BLOCK and end at one, or with the
 * tensor. Steps on rows, an adaptive clip and centralize look at rows, and are an error with such state,
 * of which lockstep_optimizer_state has none. Within a step it is an error, and LOCKSTEP_NO_MEMORY leaves
 * all as it is.
 */
typedef struct lockstep_slot_type {
	const char *slot;
	lockstep_state_type type;
} lockstep_slot_type;
LOCKSTEP_API lockstep_status lockstep_optimizer_set_state_types(lockstep_optimizer *o, const lockstep_slot_type *types, size_t count, uint64_t seed, lockstep_error *error);

/* How a state buffer is kept; floats where there is none of the name. */
LOCKSTEP_API lockstep_state_type lockstep_optimizer_state_type(const lockstep_optimizer *o, size_t tensor, const char *slot);

/* The bytes of memory that all state takes, averages and slow parameters among it. */
LOCKSTEP_API size_t lockstep_optimizer_state_bytes(const lockstep_optimizer *o);

/*
 * The bytes of a buffer of n elements that is the caller's. It is aligned to 4 bytes at least, best to 64,
 * and all bytes 0 are all elements 0. How it is laid out is that of kernels: in blocks, of which the
 * functions below give the elements in order. 0 for more elements than memory has bytes.
 */
LOCKSTEP_API size_t lockstep_optimizer_state_room(lockstep_state_type type, size_t n);

/*
 * The elements of a buffer of bf16, as many as lockstep_optimizer_state_len says, copied from the optimizer
 * or to it. What no step can have left is refused: NaN, infinities, and squares below 0.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_read_halves(const lockstep_optimizer *o, size_t tensor, const char *slot, uint16_t *halves, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_write_halves(lockstep_optimizer *o, size_t tensor, const char *slot, const uint16_t *halves, lockstep_error *error);

/*
 * The same of a buffer of float8: a code for each element, and a scale for each block of
 * LOCKSTEP_STATE_SCALE, the last of which may be shorter. The highest bit of a code is the sign, but of
 * squares. What is left of a code c stands for the float with the bits (c + 896)·2^20, less 2^-15, times
 * scale/(1.875 - 2^-15); of squares for the one with the bits (c + 768)·2^20, times scale/1.875. Scales must be
 * finite and not below 0.
 */
LOCKSTEP_API lockstep_status lockstep_optimizer_read_codes(const lockstep_optimizer *o, size_t tensor, const char *slot, uint8_t *codes, float *scales, lockstep_error *error);
LOCKSTEP_API lockstep_status lockstep_optimizer_write_codes(lockstep_optimizer *o, size_t tensor, const char *slot, const uint8_t *codes, const float *scales, lockstep_error *error);

/* The elements of a buffer of any type as floats, copied. */
LOCKSTEP_API lockstep_status lockstep_optimizer_read_floats(const lockstep_optimizer *o, size_t tensor, const char *slot, float *floats, lockstep_error *error);

/* What an exported state calls the rule of a group, with all that changes the state: "rmsprop, centered". */
LOCKSTEP_API const char *lockstep_optimizer_rule(const lockstep_optimizer *o, size_t group);

#ifdef __cplusplus
}
#endif

#endif
