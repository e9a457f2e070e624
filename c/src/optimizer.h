/* What the files of optimizers share. */
#ifndef LOCKSTEP_SRC_OPTIMIZER_H
#define LOCKSTEP_SRC_OPTIMIZER_H

#include "lockstep_matmul.h"
#include "lockstep_optimizer.h"
#include "rule.h"

/* Sizes, in elements: see Go's internal/tune, which has the reasons. UNIT_LEN decides the
 * bits of norms and of other sums. */
enum {
	SMALL_LEN = 4 << 10,
	UNIT_LEN = 16 << 10,
	PARALLEL_LEN = 256 << 10,
	BLOCK_LEN = 1024,
	UNIT_ROWS = 32,
	ROW_UNITS = 64,
	FACTOR_ROWS = 256,
	FACTOR_PIECE = 16 << 10,
	SHARD_LEN = 8 << 10,
	PACK_LEN = LOCKSTEP_STATE_BLOCK
};

/* Steps apart at which state that has faded becomes zeros: see Go's internal/engine. */
enum { FLUSH_EVERY = 16 };

enum { MAX_SCALARS = 32, NAME_LEN = 96 };

/* The scalars of a kernel. */
typedef struct lockstep_scalars {
	uint32_t words[MAX_SCALARS];
} lockstep_scalars;

/* What gradients are clipped to, beside the norm of all. */
typedef struct lockstep_clipping {
	double value; /* the largest magnitude of an element, infinite for none; 0 if nothing is clipped */
	double norm;  /* the largest norm of a tensor, 0 for none */
	double ratio, least; /* the largest norm of a row over that of its parameters, which counts as at
	                        least so large; 0 for none */
	int centers;         /* rows of a matrix are centered before */
	int noisy;           /* noise follows */
} lockstep_clipping;

/* What the stages before a kernel know of a row. */
typedef struct lockstep_row_state {
	lockstep_center_scalars mean;
	lockstep_clip_scalars clip;
} lockstep_row_state;

/* Memory that is zeros at first. */
typedef struct lockstep_room {
	void *memory;
	size_t size;
	int mapped;
} lockstep_room;

/* What follows the parameters, behind a rule's last pass: slow ones, which they then become, and
 * their average. A tensor that is left out of a step has it too. See Go's internal/engine. */
typedef struct lockstep_following {
	lockstep_averaging average;
	lockstep_lookahead lookahead;
	int64_t averages; /* taken, the parameters from the start included */
	int slow_has;     /* slow parameters have begun */
	lockstep_room rooms[2]; /* of averages and of slow parameters */

	/* In this step. */
	int begins, looks;            /* average, slow begin as the parameters before it */
	int takes, copies;            /* the average takes the parameters, and is they */
	int overwrites, synchronizes;
	double keeps, slow_keeps;
	int flushes, slow_flushes;

	double averager[]; /* see rule.h */
} lockstep_following;

/* What a fused kernel converts beside a gradient of bf16: nothing, a copy of the parameters that it leaves
 * in bf16, parameters in two halves, two slots of LOCKSTEP_STATE_BF16, or of a block two of
 * LOCKSTEP_STATE_FLOAT8; or those of a block beside a gradient of floats. */
typedef enum lockstep_form { FORM_ALONE, FORM_COPIED, FORM_HALVED, FORM_PACKED, FORM_CODES, FORM_CODES_OF_FLOATS, FORMS, FORM_NONE = FORMS } lockstep_form;

/* A rule at work. */
typedef struct lockstep_rule_group {
	const lockstep_rule *rule;
	const lockstep_rule_code *code;
	void *options, *next, *prepared; /* next: room for options to be checked */
	lockstep_options common;
	int is_factored;     /* it is for the matrices of another group, with its rule's other plan */
	size_t factored;     /* the group that is for this one's, or 0 */
	char name[NAME_LEN]; /* in exported state */
	lockstep_plan plan;
	double lr;
	double fades; /* what a step leaves of the state that fades fastest */
	int keeps;    /* it has slots of a number for each tensor, and so each tensor scalars of its own */
	int plain;    /* its one kernel takes elements of all buffers in any parts, and has no sums */
	const lockstep_kernel *fused[FORMS]; /* that kernel with conversions in its loop, or NULL */

	lockstep_step_input input;
	double scale; /* of the gradients that input is for */
	lockstep_stages stages;
	lockstep_clipping clipping;
	lockstep_clip_scalars clip; /* which has all of the gradient's scale */
	lockstep_scalars scalars[LOCKSTEP_MAX_PASSES];

	size_t *shared; /* tensors that share calls */
	size_t shared_count;
} lockstep_rule_group;

/* What of a tensor every step looks at. */
typedef struct lockstep_place {
	size_t size;
	float *state[LOCKSTEP_MAX_SLOTS];
	const float *params, *grads; /* where they were in the last step */
	uint32_t group;
	uint32_t gap; /* where its gradient was among the blocks */
} lockstep_place;

/* What a unit of a matrix has for itself: three rows, of which the last two are a block at least. */
static inline size_t lockstep_row_length(size_t columns) { return columns > BLOCK_LEN ? columns : BLOCK_LEN; }
static inline size_t lockstep_row_room(size_t columns) { return columns + 2 * lockstep_row_length(columns); }

/* The rest of it. */
typedef struct lockstep_record {
	const char *name;
	int64_t missed;                /* steps of the optimizer */
	size_t units[2];               /* the first of its own units and the one behind the last */
	size_t columns;                /* of a matrix, or 0 */
	int vector;                    /* it is none, though it may have columns: one row */
	double *by_column;             /* sums of each unit; after the pass the first are the tensor's */
	float *row_room;               /* lockstep_row_room for each unit */
	const lockstep_scalars *own;   /* while it has others than its group */
	double sums[LOCKSTEP_MAX_SUMS];
	double factor; /* what clips its gradient in this step, if tensors are clipped */
	lockstep_clip_scalars clip;
	float trust; /* the factor of what agrees in this step, if it is cautious */
	float *beside[2]; /* the average of its parameters, and the slow ones, where they are kept */
	int owned;                     /* its state is the caller's */
	int listed;
	int begins; /* slots have yet to begin as the parameters */
	uint8_t packing[LOCKSTEP_MAX_SLOTS]; /* the lockstep_state_type of each slot */
	int packs;                           /* whether one is another than floats */
	lockstep_element element; /* of its gradient */
	uint16_t *copied;         /* the copy of its parameters, or NULL */
	const uint16_t *rest;     /* where the lower halves of its parameters were in the last step, or NULL */
	lockstep_element copy_element;
} lockstep_record;

/* Work for one thread: a range of a tensor, or some of a group's small tensors. */
typedef struct lockstep_unit {
	uint32_t group;
	size_t tensor; /* or SHARED */
	size_t lo, hi; /* elements of the tensor, or places among the group's shared */
} lockstep_unit;

#define SHARED SIZE_MAX

/* A buffer's place in memory, and whose it is: see lockstep_disjoint. */
typedef struct lockstep_interval {
	uintptr_t at, end;
	size_t of;
} lockstep_interval;

struct lockstep_optimizer {
	const lockstep_table *table;
	lockstep_rule_group *groups; /* the caller's, then those of their matrices */
	size_t group_count, rule_count; /* of all, and of the caller's */
	lockstep_place *places;
	lockstep_record *records;
	size_t count, total; /* tensors, elements of all */
	char *names;

	lockstep_unit *units;
	size_t unit_count;
	double (*partial)[LOCKSTEP_MAX_SUMS]; /* by unit */
	double (*many)[LOCKSTEP_MAX_SUMS];    /* room for the sums of tensors */
	int passes;                           /* of the rule that has most */
	lockstep_scalars *own;                /* by tensor */

	int64_t step, taken; /* that tensors count from, and that were taken */
	int apart;   /* tensors have taken different numbers of steps */
	int missing; /* some are left out of this one */
	double grad_scale, max_norm, norm;
	double max_value, max_tensor_norm; /* 0 for none */
	double adaptive, adaptive_eps;     /* the clipping by units, 0 for none */
	int centralizes;
	lockstep_noise noise; /* its eta is 0 for none */
	lockstep_policy policy;
	int64_t skipped, non_finite;
	int zeroes; /* steps leave zeros of gradients */
	int typed;  /* some gradients are of 16 bits */
	int copies; /* there are copies of parameters */
	const float *const *const *shards; /* of this step's gradients, by shard and tensor */
	size_t shard_count;                /* 0 in a step without */
	const float **first;               /* room for the first shard of each tensor */

	lockstep_room room; /* what all state that is not the caller's lies in */
	lockstep_following *following; /* while there is an average or lookahead */
	float *together; /* the room of passes together */
	uint64_t pack_seed; /* of the rounding of state that is no floats */
	uint64_t rounding;  /* the seed of that of parameters */
	float hashes[PACK_LEN]; /* of the places of a block of it, as bits */

	lockstep_interval *states, *owned; /* what is written but parameters, and with them; in order */
	size_t state_count, owned_count;
	int owns_halves; /* owned has parameters in 16 bits */
	lockstep_interval *blocks; /* memory with what is owned, and nothing between that has room for a gradient */
	size_t block_count;

	lockstep_interval *grads; /* room for those of all gradients that become zeros */
	size_t grads_room;

	struct lockstep_rows *rows; /* room for steps on rows, once there was one */

	int begun;
	int evaluated; /* the parameters are what lockstep_optimizer_eval has made of them */
	int swapped;   /* the parameters are their averages */
	struct lockstep_ranges *ranges; /* what a step on the caller's threads was applied to */
	struct lockstep_observing *observing; /* what has arrived of the next step's gradients */
	double *sums_room; /* what by_column of all tensors is in, and row_room */
	float *rows_room;
};

/* error.c */
#if defined(_WIN32) && !defined(__clang__)
#define LOCKSTEP_PRINTF gnu_printf
#else
#define LOCKSTEP_PRINTF printf
#endif
lockstep_status lockstep_reject(lockstep_error *error, lockstep_status status, const char *format, ...)
	__attribute__((format(LOCKSTEP_PRINTF, 3, 4)));

/* The name of a tensor in brackets, if it has one, in a room of NAME_LEN. */
const char *lockstep_quoted(const lockstep_optimizer *o, size_t tensor, char *room);

/* Says which of several groups or others was refused. */
void lockstep_prefix(lockstep_error *error, const char *of, size_t k);

/* group.c */
lockstep_status lockstep_open_group(lockstep_rule_group *g, const lockstep_group *from, lockstep_error *error);
void lockstep_close_group(lockstep_rule_group *g);
lockstep_status lockstep_change_group(lockstep_rule_group *g, const void *options, size_t size, lockstep_error *error);

/* Checks options that a group is to have: they are in next then. */
lockstep_status lockstep_take_options(lockstep_rule_group *g, const void *options, size_t size, lockstep_error *error);

/* Whether a rule has another plan for a tensor. */
int lockstep_factors(const lockstep_rule_group *g, const void *options, size_t size, size_t columns);

/* The slots that are not scratch. */
int lockstep_kept_slots(const lockstep_plan *plan);
/* Whether a slot begins as the parameters, with the first step of a tensor. */
int lockstep_begins_as_params(const lockstep_plan *plan);

/* Makes what the scalars of step t are made from, and the stages that go with it. */
void lockstep_begin_group(lockstep_rule_group *g, int64_t t, double scale);

/* Whether steps are cautious in either way. */
static inline int lockstep_is_cautious(const lockstep_options *o) { return o->cautious_update || o->cautious_decay; }

/* Whether the group's state is looked at in a step. */
int lockstep_flushes(const lockstep_rule_group *g, int64_t t);

/* state.c */
lockstep_status lockstep_make_state(lockstep_optimizer *o, const lockstep_tensor *tensors, lockstep_error *error);
void lockstep_free_state(lockstep_optimizer *o);

/* Makes a buffer for each tensor beside its state, the first or the second such, or does away with
 * all of them. */
lockstep_status lockstep_make_beside(lockstep_optimizer *o, int which, lockstep_error *error);
void lockstep_free_beside(lockstep_optimizer *o, int which);

/* How many numbers a slot has of a tensor, and how many rows if it is a square matrix, else 0. */
size_t lockstep_slot_len(const lockstep_slot *slot, size_t size, size_t columns);
size_t lockstep_slot_side(const lockstep_slot *slot, size_t size, size_t columns);

/* The bytes of a tensor's slot in memory. */
size_t lockstep_slot_bytes(const lockstep_optimizer *o, size_t tensor, int slot);

/* Finds state that is the optimizer's places in a new room, as its types are now: what was in the old one,
 * which goes to old, is to be copied. Without memory all stays. */
lockstep_status lockstep_place_state_anew(lockstep_optimizer *o, lockstep_room *old, lockstep_error *error);
void lockstep_free_room(lockstep_room *room);

/* Refuses state that no step can have left: NaN, infinities, and squares below 0. */
lockstep_status lockstep_check_slot(const lockstep_optimizer *o, size_t tensor, const lockstep_slot *slot, const float *x, size_t n, lockstep_error *error);

/* packed.c */

/* Takes the types of a tensor's state, which must be the caller's. */
lockstep_status lockstep_take_types(lockstep_optimizer *o, size_t tensor, int of_caller, const lockstep_state_type *types, lockstep_error *error);

/* Refuses such of them as no step can have left. */
lockstep_status lockstep_check_packed(const lockstep_optimizer *o, size_t tensor, int slot, const float *words, lockstep_error *error);

/* Whether any state is no floats. */
int lockstep_packs_state(const lockstep_optimizer *o);

/* Refuses what looks at rows while it is. */
lockstep_status lockstep_check_unpacked(const lockstep_optimizer *o, const char *what, lockstep_error *error);

/* Has the slots in a block's list that are no floats be these in a room, of n elements from one on, which
 * is where a block of state begins; and stores what has become of them. */
void lockstep_unpack(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, lockstep_buffer *slots, float room[][BLOCK_LEN]);
void lockstep_pack(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, float room[][BLOCK_LEN]);

/* A block whose two slots a pass packs itself. */
typedef struct lockstep_pair {
	const lockstep_optimizer *o;
	size_t tensor, block;
	float x[2][PACK_LEN]; /* what becomes of the slots */
	float scales[2][PACK_LEN / LOCKSTEP_STATE_SCALE]; /* their largest magnitudes */
} lockstep_pair;

/* Whether a rule's pass over so many elements of a tensor, which begin where a block of state does, packs both
 * slots itself. lockstep_step_pair is that pass over those in a list, by the kernel of a form, and
 * lockstep_pack_pair packs what has become of the slots; lockstep_measure_pair is for one who changes that. */
int lockstep_pairs_up(const lockstep_optimizer *o, size_t tensor, size_t n);
void lockstep_step_pair(lockstep_pair *pair, size_t first, lockstep_form form, const lockstep_buffer *block, const lockstep_scalars *scalars);
void lockstep_measure_pair(lockstep_pair *pair);
void lockstep_pack_pair(lockstep_pair *pair);

/* Sets the hashes of places, which blocks are rounded with. */
void lockstep_hash_places(lockstep_optimizer *o);

/* Has a list have two slots of bf16 in the places of the same as floats, and the hashes behind them, and
 * sets what is random about a block in the tensor's step. */
void lockstep_draw_halves(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, lockstep_buffer *slots, uint32_t *factor, uint32_t *add);

/* Makes bf16 of n parameters from one on, up or down at random. */
void lockstep_round(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, uint16_t *to, float *from);

/* A number in which each bit of x has changed half of the bits: the next one of SplitMix64
 * (Steele, Lea, Flood 2014). */
static inline uint64_t lockstep_mixed(uint64_t x) {
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* overlap.c */

/* Finds the places of the buffers of a step, and which gradients are missing. */
lockstep_status lockstep_find_places(lockstep_optimizer *o, float *const *params, const float *const *grads, lockstep_error *error);

/* Parameters in 16 bits: in two halves, or bf16 alone, without lower ones. */
typedef struct lockstep_halves {
	uint16_t *upper, *lower;
} lockstep_halves;

/* The same of parameters in two halves, or of bf16 alone, without rests. */
lockstep_status lockstep_find_halves(lockstep_optimizer *o, uint16_t *const *params, uint16_t *const *rests, const float *const *grads, lockstep_error *error);

/* Takes note of where parameters are, all of them. */
lockstep_status lockstep_own_params(lockstep_optimizer *o, float *const *params, lockstep_error *error);

/* Has room for the places of so many gradients, and refuses such as overlap one another. */
int lockstep_has_room_for_grads(lockstep_optimizer *o, size_t count);
lockstep_status lockstep_grads_apart(lockstep_optimizer *o, const float *const *const *shards, size_t count, lockstep_error *error);

/* Refuses a gradient that overlaps what is written. */
lockstep_status lockstep_apart_from_owned(const lockstep_optimizer *o, size_t tensor, const float *grads, lockstep_error *error);

/* Finds the places of the parameters of the only tensor and of n gradients for some of its rows. */
lockstep_status lockstep_find_rows(lockstep_optimizer *o, float *params, const float *grads, size_t n, lockstep_error *error);

/* Sorts what is written, of which no two may overlap. */
lockstep_status lockstep_disjoint(const lockstep_optimizer *o, lockstep_interval *list, size_t count, lockstep_error *error);

/* Notes a buffer of a tensor: part is LOCKSTEP_PARAMS or LOCKSTEP_SLOT and above. */
lockstep_interval lockstep_interval_of(size_t tensor, int part, const float *data, size_t n);

/* Has the places of copies be those that are given, or with NULL those that there are. */
lockstep_status lockstep_place_copies(lockstep_optimizer *o, uint16_t *const *copies, const lockstep_element *elements, lockstep_error *error);

/* Refuses a range that overlaps any state, or whose gradients are parameters. */
lockstep_status lockstep_apart_from_state(const lockstep_optimizer *o, size_t tensor, size_t n, const float *params, const float *grads, lockstep_error *error);
lockstep_status lockstep_halves_apart(const lockstep_optimizer *o, size_t tensor, size_t n, lockstep_halves params, const float *grads, lockstep_error *error);
lockstep_status lockstep_estimates_apart(const lockstep_optimizer *o, size_t tensor, const float *estimates, lockstep_error *error);

/* clip.c */

/* Has the groups clip to what is set. */
void lockstep_set_clipping(lockstep_optimizer *o);

/* The stage that clips gradients of a group with a factor. */
lockstep_clip_scalars lockstep_clip_by(const lockstep_rule_group *g, double scale);

struct lockstep_job;

/* Finds what clips each tensor's gradient, if tensors are clipped by their norms. */
void lockstep_clip_tensors(struct lockstep_job *job, lockstep_pool *pool);

/* Applies the policy to gradients with a factor that clips them all; *skips says whether the
 * step is left out. */
lockstep_status lockstep_heed_policy(struct lockstep_job *job, double factor, lockstep_pool *pool, int *skips, lockstep_error *error);

/* optimizer.c */

/* Cuts the tensors into units anew, and forgets what was observed; they stay as they are if there is no memory. */
lockstep_status lockstep_cut_anew(lockstep_optimizer *o);

lockstep_status lockstep_check_not_begun(const lockstep_optimizer *o, lockstep_error *error);

/* A pass over all tensors. */
typedef struct lockstep_job {
	lockstep_optimizer *o;
	int pass;
	uint16_t *const *halves, *const *rests; /* in place of parameters, or NULL; rests of bf16 alone too */
	float *const *params;
	const float *const *grads;
	double scale; /* of the gradients, where they are looked at before the step */
} lockstep_job;

/* typed.c */

/* What messages call a type, and the bytes of an element. */
const char *lockstep_element_name(lockstep_element element);
static inline size_t lockstep_element_size(lockstep_element element) { return element == LOCKSTEP_FLOAT32 ? sizeof(float) : sizeof(uint16_t); }

/* Where an element is of what begins at grads, a tensor's gradient or a part of it. */
static inline const float *lockstep_grads_at(const lockstep_optimizer *o, size_t tensor, const float *grads, size_t at) {
	return (const float *)((const char *)grads + at * lockstep_element_size(o->records[tensor].element));
}

/* So many elements from one on of what begins at grads, in the room unless they are floats. */
const float *lockstep_widened(const lockstep_optimizer *o, size_t tensor, const float *grads, size_t at, size_t n, float room[BLOCK_LEN]);

/* Copies a range of a tensor's parameters, if it has a copy. */
void lockstep_copy_out(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, const float *params);

/* shards.c */

/* How many shards a tensor has. */
size_t lockstep_shards_of(const lockstep_optimizer *o, size_t tensor);

/* A range of a tensor's gradient, which is added up in the first room, or the second, if there are shards,
 * and in the first if it is of 16 bits. */
const float *lockstep_gradient(const lockstep_optimizer *o, const float *grads, size_t tensor, size_t lo, size_t n, float room[2][BLOCK_LEN]);
lockstep_status lockstep_check_shards(lockstep_optimizer *o, lockstep_error *error);

/* What of a gradient is looked at in one go: a block of sums. */
static inline size_t lockstep_piece(const lockstep_optimizer *o, size_t n) { return (o->shard_count || o->typed) && n > BLOCK_LEN ? BLOCK_LEN : n; }

/* unitwise.c */

/* The length of a tensor's rows where the stages before a kernel look at whole ones, or 0. */
size_t lockstep_row_looked_at(const lockstep_optimizer *o, size_t tensor);

/* The elements of whole rows that are about so many. */
static inline size_t lockstep_rows_of(size_t length, size_t row) { return row < length ? length / row * row : row; }

/* Measures a row of n elements from the first on, which begins at p and, if there are no shards, grads. */
void lockstep_measure_row(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, const float *p, const float *grads, lockstep_row_state *row);

/* noise.c */

/* The scalars of a tensor's noise in a step, but for those of a block. */
lockstep_noise_scalars lockstep_noise_of(const lockstep_optimizer *o, size_t tensor);

/* Adds noise to a block of the gradient, from an element of its tensor on. */
void lockstep_add_noise(const lockstep_table *table, const lockstep_noise_scalars *of, size_t first, float *x, size_t n);

/* zero.c */

/* Makes zeros of a range of a gradient, or of all its shards. */
void lockstep_zero(const lockstep_optimizer *o, float *grads, size_t tensor, size_t lo, size_t n);

/* The same of all gradients, without a step. */
void lockstep_zero_all(lockstep_job *job, lockstep_pool *pool);

/* unit.c */
void lockstep_split(lockstep_optimizer *o); /* units are counted, and written if there is room */

/* Whether a tensor's passes go by its rows. */
int lockstep_by_rows(const lockstep_optimizer *o, size_t tensor);
void lockstep_step_unit(void *job, size_t unit);

/* Runs a pass together on all of a tensor. */
void lockstep_step_together(const lockstep_job *job, size_t tensor, lockstep_pool *pool);
void lockstep_square_unit(void *job, size_t unit);

/* Counts the elements of a unit that agree, if its step is as cautious as that says. */
void lockstep_agree_unit(void *job, size_t unit);

/* Takes a step of a range whose parameters and gradient begin there, the latter NULL if there is none;
 * and of a unit whose parameters are in 16 bits. */
void lockstep_step_halves(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, lockstep_halves params, const float *grads);
void lockstep_split_unit(void *job, size_t unit);

/* Adds up a unit's gradients, each tensor's by add, which has the range that is the unit's. */
typedef void lockstep_add(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]);
void lockstep_square(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]);
void lockstep_reduce(const lockstep_job *job, size_t unit, lockstep_add *add);
void lockstep_step_range(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, float *params, const float *grads);

/* A row of a table with its gradient. */
typedef struct lockstep_row {
	size_t index;
	const float *grads;
} lockstep_row;

/* Takes a step of rows of the only tensor, whose rule lockstep_takes_rows. */
void lockstep_step_some(const lockstep_optimizer *o, const lockstep_row *rows, size_t count, size_t columns, float *params);

/* Whether a step can be taken on some rows alone: the rule has one pass, and sums of no more
 * than a row, and nothing is counted in whole tensors. */
int lockstep_takes_rows(const lockstep_rule_group *g);

/* Whether a pass follows sums that each tensor has for itself, and whether it has scalars of
 * each tensor: such as passes together, and what follows one. */
int lockstep_follows_own(const lockstep_rule_group *g, int pass);
int lockstep_scales_own(const lockstep_rule_group *g, int pass);

/* The scalars of a tensor in a pass. */
const lockstep_scalars *lockstep_scalars_for(const lockstep_optimizer *o, size_t tensor, int pass);

/* mean.c */

/* Refuses what is not to be done with parameters that are evaluated. */
lockstep_status lockstep_check_training(const lockstep_optimizer *o, lockstep_error *error);

/* follow.c */
enum { LOCKSTEP_AVERAGE, LOCKSTEP_SLOW }; /* of beside and rooms */
void lockstep_close_following(lockstep_optimizer *o);

/* What errors and exported state call a buffer beside the state, or NULL; the buffer by its name. */
float *lockstep_beside(const lockstep_optimizer *o, size_t tensor, const char *name);

/* Refuses steps, and what goes with them, while parameters and averages are swapped. */
lockstep_status lockstep_check_own(const lockstep_optimizer *o, lockstep_error *error);

/* Finds what there is to do in the step that was counted. */
void lockstep_begin_following(lockstep_optimizer *o);

/* Begins what begins as the parameters of all tensors, or of a range of one. */
void lockstep_begin_beside(const lockstep_optimizer *o, float *const *params);
void lockstep_begin_beside_range(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, const float *params);

/* Whether there is something to do with parameters that have been moved. */
static inline int lockstep_follows(const lockstep_optimizer *o) {
	return o->following && (o->following->takes || o->following->overwrites || o->following->synchronizes);
}

/* Has what follows a range of a tensor's parameters do so. */
void lockstep_follow(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, float *params);

/* range.c */

/* Refuses rules whose steps are not of ranges, one apart from the other. */
lockstep_status lockstep_check_plain(const lockstep_optimizer *o, lockstep_error *error);

/* step.c: refuses what looks at rows, which steps on parameters in 16 bits do not. */
lockstep_status lockstep_check_no_rows(const lockstep_optimizer *o, lockstep_error *error);

/* Lets state begin as the parameters of a range. */
void lockstep_begin_range_as_params(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, const float *params);
lockstep_status lockstep_open_ranges(lockstep_optimizer *o);
void lockstep_close_ranges(lockstep_optimizer *o);

/* Refuses a range that is not one of a tensor's elements. */
lockstep_status lockstep_check_range(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, lockstep_error *error);

/* observe.c */
lockstep_status lockstep_open_observing(lockstep_optimizer *o);
void lockstep_close_observing(lockstep_optimizer *o);

/* Sets max_norm, 0 for none. */
void lockstep_clip_to(lockstep_optimizer *o, double max_norm);

/* Whether gradients have arrived since the last step. */
int lockstep_is_observed(const lockstep_optimizer *o);

/* Has the sum of squares of gradients that have arrived, and forgets them, or only looks. They must be
 * whole, but for those of tensors without a gradient if grads are given. */
lockstep_status lockstep_look_at_observed(lockstep_optimizer *o, const float *const *grads, double *squares, lockstep_error *error);
lockstep_status lockstep_take_observed(lockstep_optimizer *o, const float *const *grads, double *squares, lockstep_error *error);

/* rows.c */
void lockstep_free_rows(lockstep_optimizer *o);

/* step.c */

/* A step of what a job has, in the usual mode. */
lockstep_status lockstep_take_step(lockstep_job *job, lockstep_pool *pool, lockstep_error *error);

/* Adds neighbours, then neighbours of those: the order depends on the number alone. */
double lockstep_sum_pairs(double (*x)[LOCKSTEP_MAX_SUMS], size_t n, int sum);

/* Begins a step: counts it and computes what depends on it. Without gradients all tensors
 * take part. */
void lockstep_begin_step(lockstep_optimizer *o, double scale, const float *const *grads);

/* Lets state begin as the parameters, of the tensors whose first step it is. */
void lockstep_begin_as_params(lockstep_optimizer *o, float *const *params, const float *const *grads);

/* The factor that clips gradients with so large a sum of squares. */
double lockstep_clip(lockstep_optimizer *o, double squares);

/* matmul.c */

/* The rows of a matrix, cut into panels of so many columns: those of the first 256 rows, then those
 * of the next. A panel has row after row, and zeros where the matrix ends. */
typedef struct lockstep_panels {
	lockstep_matrix from;
	size_t width;
	float *room;
} lockstep_panels;

/* A product at work: first all units are packed, then all tiles multiplied, each by any thread. */
typedef struct lockstep_multiplication {
	const lockstep_table *table;
	const lockstep_tile *tile;
	lockstep_product p;
	lockstep_panels a, b; /* of A transposed, and of B */
} lockstep_multiplication;

/* lockstep_matmul_room of a table. */
size_t lockstep_product_room(const lockstep_table *table, size_t rows, size_t columns, size_t products);

void lockstep_begin_product(lockstep_multiplication *m, const lockstep_table *table, const lockstep_product *p, float *room);
size_t lockstep_packs(const lockstep_multiplication *m);
void lockstep_pack_unit(void *multiplication, size_t unit);
size_t lockstep_tiles(const lockstep_multiplication *m);
void lockstep_multiply_unit(void *multiplication, size_t unit);

/* Packs what the products from lo to hi of each element take: in place of units, ranges that are
 * all products together. */
void lockstep_pack_products(const lockstep_multiplication *m, size_t lo, size_t hi);

/* Multiplies on this thread by what another product has packed: by its B if its C has no rows, and
 * by its A if it has no columns. It takes the room of the other side alone. */
void lockstep_multiply_packed(const lockstep_multiplication *packed, const lockstep_product *p, float *room);

/* lockstep_matmul of what has been checked, in the usual mode. */
void lockstep_multiply(const lockstep_table *table, const lockstep_product *p, float *room, lockstep_pool *pool);

/* muon.c */

/* Makes to from, each element times a factor, rounded once; both may be one. */
void lockstep_scale(lockstep_pool *pool, float *to, const float *from, size_t n, double factor);

/* Makes of each row of two matrices, whose rows are contiguous, the sum of its products. */
void lockstep_dots(lockstep_pool *pool, float *numbers, lockstep_matrix x, lockstep_matrix y);

/* The sum of a list, one after the other. */
double lockstep_total_of(const float *list, size_t n);

/* pool.c */
typedef void lockstep_work(void *context, size_t unit);

/* Does all units of a size, on the threads of a pool, which may be NULL. */
void lockstep_share(lockstep_pool *pool, lockstep_work *work, void *context, size_t units, size_t size);

/* Whether so many units of a size are worth the threads of a pool. */
int lockstep_shares(const lockstep_pool *pool, size_t units, size_t size);

/* Has a pool share steps of so many elements, at first PARALLEL_LEN. */
void lockstep_share_from(lockstep_pool *pool, size_t least);

#endif
