/* Trajectories of optimizers: gen/vectors/optimizers.go takes the same steps. */
#include "test.h"

#include <math.h>
#include <string.h>

/* The parameters of one tensor are so small that they fade, before it has gradients; the
 * gradients of another are at first so small that their squares are flushed. */
enum { TENSORS = 8, GROUPS = 2, STEPS = 50, SHARDS = 6, PERIOD = 997, FADING = 4, FAINT = 5, APPEARS = 20, HASHES = 7 };

static const size_t sizes[TENSORS] = {17161, 5, 64, 0, 1000, 4096, 4097, 33};

/* Of those that are matrices, where a line is of these: of "one_row" each has one row. */
static const size_t columns[TENSORS] = {131, 5, 16, 0, 1000, 64, 4097, 11};

static size_t group_of(size_t tensor) { return tensor % 3 == 2; }

typedef struct trajectory {
	source s;
	const way *w;
	lockstep_optimizer *o;
	options rules[GROUPS];
	float *params[TENSORS], *grads[TENSORS], *shards[SHARDS][TENSORS]; /* of which grads is one at a time */
	const float *given[TENSORS], *sharded[SHARDS][TENSORS];
	float *state[TENSORS][LOCKSTEP_MAX_SLOTS];
	float *const *owned[TENSORS];
	size_t slots[TENSORS], lengths[TENSORS][LOCKSTEP_MAX_SLOTS];
	const char *names[TENSORS][LOCKSTEP_MAX_SLOTS];
	double exponent;
	enum { WHOLE, MISSING, CLIPPED, OBSERVED, FOLLOWED, FOLLOWED_WHOLE, SHARDED, NOISY, NOISY_SHARDS, NOISY_WHOLE } kind;
	const size_t *columns; /* or NULL */

	/* Where gradients are of any types, and parameters have copies: room for them, and of what types they are. */
	int typed;
	uint16_t *halves[SHARDS][TENSORS], *copies[TENSORS];
	lockstep_element elements[TENSORS], copied[TENSORS];
	int copies_set;

	int packed; /* state is in fewer bits, of the slots that may be: see lockstep_optimizer_set_state_types */
	const char *packable[LOCKSTEP_MAX_SLOTS];
	size_t packable_count;
} trajectory;

static void must(lockstep_status status, const lockstep_error *error) { CHECK(!status, "refused: %s", error->message); }

static float draw(source *s, float factor, int sparse) {
	float x = ordinary(s);
	return !sparse || below(s, 4) > 0 ? x * factor : 0;
}

static void repeat(source *s, float *x, size_t n, float factor, int sparse) {
	for (size_t i = 0; i < n; i++) x[i] = i < PERIOD ? draw(s, factor, sparse) : x[i - PERIOD];
}

static lockstep_group group(const options *o) { return (lockstep_group){o->rule->name, o->bytes, o->rule->size}; }

static lockstep_optimizer *make(const trajectory *t, int owned) {
	lockstep_group groups[GROUPS] = {group(&t->rules[0]), group(&t->rules[1])};
	lockstep_tensor tensors[TENSORS];
	for (size_t k = 0; k < TENSORS; k++)
		tensors[k] = (lockstep_tensor){NULL, sizes[k], group_of(k), owned ? t->owned[k] : NULL, t->columns ? t->columns[k] : 0, NULL};
	lockstep_optimizer *o;
	lockstep_error error;
	lockstep_mode before = change_mode(t->w->mode);
	must(lockstep_optimizer_new(groups, GROUPS, tensors, TENSORS, &o, &error), &error);
	lockstep_set_mode(before);
	return o;
}

/* Shards beside the first. */
static float more[SHARDS][32 << 10];
static uint16_t more_halves[SHARDS][32 << 10];

/* Places all buffers, and begins state of the caller's as the optimizer begins its own. */
static void place_all(trajectory *t, arena *a) {
	lockstep_group g = group(&t->rules[0]);
	lockstep_optimizer *o = make(t, 0);
	size_t slot = 0;
	for (size_t k = 0, first = 0; k < TENSORS; first += sizes[k++]) {
		t->params[k] = place_buffer(a, slot++, sizes[k], 0, t->w->place);
		t->grads[k] = t->shards[0][k] = place_buffer(a, slot++, sizes[k], 0, t->w->place);
		for (size_t j = 1; j < SHARDS; j++) t->shards[j][k] = more[j] + first;
		t->owned[k] = t->state[k];
		if (t->columns && t->columns[k])
			t->slots[k] = lockstep_matrix_slots(&g, sizes[k] / t->columns[k], t->columns[k], t->names[k], NULL, LOCKSTEP_MAX_SLOTS);
		else
			t->slots[k] = lockstep_slots(&g, t->names[k], LOCKSTEP_MAX_SLOTS);
		for (size_t j = 0; j < t->slots[k]; j++) {
			size_t n = t->lengths[k][j] = lockstep_optimizer_state_len(o, k, t->names[k][j]);
			t->state[k][j] = place_buffer(a, slot++, n, 0, t->w->place);
			memcpy(t->state[k][j], lockstep_optimizer_state(o, k, t->names[k][j]), n * sizeof(float));
		}
	}
	for (size_t k = 0, first = 0; k < TENSORS && t->typed; first += sizes[k++]) {
		t->halves[0][k] = place_halves(a, slot++, sizes[k], 0, t->w->place);
		t->copies[k] = place_halves(a, slot++, sizes[k], 0, t->w->place);
		for (size_t j = 1; j < SHARDS; j++) t->halves[j][k] = more_halves[j] + first;
	}
	lockstep_optimizer_free(o);
}

static int kind_of(const char *word) {
	if (!strncmp(word, "packed_", strlen("packed_"))) word += strlen("packed_");
	if (!strncmp(word, "typed_", strlen("typed_"))) word += strlen("typed_");
	static const struct {
		const char *begins;
		int kind;
	} kinds[] = {{"clipped", CLIPPED}, {"observed", OBSERVED}, {"followed_whole", FOLLOWED_WHOLE}, {"followed", FOLLOWED}, {"sharded", SHARDED},
		{"noisy_shards", NOISY_SHARDS}, {"noisy_whole", NOISY_WHOLE}, {"noisy", NOISY}, {"whole", WHOLE}, {"verified", WHOLE}};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
		if (!strncmp(word, kinds[k].begins, strlen(kinds[k].begins))) return kinds[k].kind;
	return MISSING;
}

static void begin(trajectory *t, arena *a, const line *l) {
	t->s = new_source(l->words[1], 0);
	t->columns = strstr(l->words[0], "matrices") || strstr(l->words[0], "noisy") ? columns : !strcmp(l->words[0], "one_row") ? sizes : NULL;
	t->kind = kind_of(l->words[0]);
	t->typed = strstr(l->words[0], "typed_") != NULL;
	t->packed = !strncmp(l->words[0], "packed_", strlen("packed_"));
	t->exponent = 1;
	t->rules[0] = t->rules[1] = read_options(l, 2 + HASHES);
	set_option(&t->rules[1], "lr", get_option(&t->rules[0], "lr") / 2);
	place_all(t, a);
	t->o = make(t, t->w->owned && !t->packed);
	lockstep_optimizer_set_table(t->o, t->w->table, NULL);
	for (size_t k = 0; k < TENSORS; k++) repeat(&t->s, t->params[k], sizes[k], 1, 0);
	for (size_t i = 0; i < sizes[FADING]; i++) t->params[FADING][i] *= 0x1p-96f;
	for (size_t k = 0; t->w->owned && !t->packed && k < TENSORS; k++)
		for (size_t j = 0; j < t->slots[k]; j++)
			if (t->o->groups[t->o->places[k].group].plan.slots[j].begins_as_params) memcpy(t->state[k][j], t->params[k], sizes[k] * sizeof(float));
}

static void pack_as(trajectory *t, uint64_t seed, lockstep_state_type even, lockstep_state_type odd) {
	lockstep_slot_type types[LOCKSTEP_MAX_SLOTS];
	lockstep_error error;
	for (size_t j = 0; j < t->packable_count; j++) types[j] = (lockstep_slot_type){t->packable[j], j % 2 ? odd : even};
	lockstep_mode before = change_mode(t->w->mode);
	must(lockstep_optimizer_set_state_types(t->o, types, t->packable_count, seed, &error), &error);
	lockstep_set_mode(before);
}

static void find_packable(trajectory *t) {
	for (size_t j = 0; j < t->slots[0]; j++) {
		lockstep_slot_type type = {t->names[0][j], LOCKSTEP_STATE_BF16};
		if (!lockstep_optimizer_set_state_types(t->o, &type, 1, 0, NULL)) t->packable[t->packable_count++] = t->names[0][j];
	}
	pack_as(t, 0, LOCKSTEP_STATE_FLOAT32, LOCKSTEP_STATE_FLOAT32);
}

static void change_types(trajectory *t, int step) {
	switch (step) {
	case 1: pack_as(t, 5, LOCKSTEP_STATE_BF16, LOCKSTEP_STATE_FLOAT8); break;
	case 16: pack_as(t, (UINT64_C(1) << 63) + 9, LOCKSTEP_STATE_FLOAT8, LOCKSTEP_STATE_BF16); break;
	case 27: pack_as(t, 1, LOCKSTEP_STATE_FLOAT8, LOCKSTEP_STATE_FLOAT8); break;
	case 38: pack_as(t, 0, LOCKSTEP_STATE_FLOAT32, LOCKSTEP_STATE_FLOAT32); break;
	case 41: pack_as(t, 2, LOCKSTEP_STATE_BF16, LOCKSTEP_STATE_FLOAT32); break;
	}
}

static int is_sharded(const trajectory *t) { return t->kind == SHARDED || t->kind == NOISY_SHARDS; }

static int is_noisy(const trajectory *t) { return t->kind == NOISY || t->kind == NOISY_SHARDS || t->kind == NOISY_WHOLE; }

static int follows(const trajectory *t) { return t->kind == FOLLOWED || t->kind == FOLLOWED_WHOLE; }

static void set_scale(trajectory *t, double by) {
	lockstep_error error;
	must(lockstep_optimizer_set_grad_scale(t->o, by, &error), &error);
	t->exponent = by == 0.5 ? 1 : 1 / by;
}

static void set_maximize(trajectory *t, lockstep_error *error) {
	options changed = t->rules[0];
	set_option(&changed, "maximize", 1);
	lockstep_mode before = change_mode(t->w->mode);
	must(lockstep_optimizer_set_options(t->o, 0, changed.bytes, changed.rule->size, error), error);
	lockstep_set_mode(before);
}

static void change_clipping(trajectory *t, int step) {
	lockstep_error error;
	switch (step) {
	case 1: must(lockstep_optimizer_set_policy(t->o, LOCKSTEP_SKIP, &error), &error); break;
	case 3: must(lockstep_optimizer_set_max_value(t->o, 0.5, &error), &error); break;
	case 12: must(lockstep_optimizer_set_max_tensor_norm(t->o, 2, &error), &error); break;
	case 17: must(lockstep_optimizer_set_max_value(t->o, 0, &error), &error); break;
	case 28: must(lockstep_optimizer_set_max_value(t->o, 0.25, &error), &error); break;
	case 41:
		must(lockstep_optimizer_set_max_tensor_norm(t->o, 0, &error), &error);
		must(lockstep_optimizer_set_max_norm(t->o, 3, &error), &error);
		break;
	case 48: must(lockstep_optimizer_set_policy(t->o, LOCKSTEP_PROPAGATE, &error), &error);
	}
}

static void change_observing(trajectory *t, int step) {
	lockstep_error error;
	if (step == 1) must(lockstep_optimizer_set_policy(t->o, LOCKSTEP_SKIP, &error), &error);
	if (step == 1 || step == 42) must(lockstep_optimizer_set_max_norm(t->o, step == 1 ? 3 : 2, &error), &error);
}

static void set_average(trajectory *t, const lockstep_averaging *a) {
	lockstep_error error;
	lockstep_mode before = change_mode(t->w->mode);
	must(lockstep_optimizer_set_average(t->o, a, &error), &error);
	lockstep_set_mode(before);
}

static void set_lookahead(trajectory *t, int64_t period, double step) {
	lockstep_error error;
	const lockstep_lookahead l = {period, step};
	must(lockstep_optimizer_set_lookahead(t->o, &l, &error), &error);
}

static void change_following(trajectory *t, int step) {
	const lockstep_averaging torch = LOCKSTEP_TORCH_SWA(0), optax = LOCKSTEP_OPTAX_EMA(0.999);
	const lockstep_averaging late = {.every = 2, .after = 5, .decay = 0.9}, little = {.every = 1, .decay = 0.25};
	const lockstep_averaging all = {.every = 1, .after = 21, .decay = 0.99, .warm_up = 1, .from_start = 1, .overwrite = 7};
	lockstep_error error;
	switch (step) {
	case 1: set_lookahead(t, 3, 0.5); break;
	case 4: set_average(t, &late); break;
	case 13: set_average(t, &torch); break;
	case 17:
		set_average(t, &optax);
		set_lookahead(t, 2, 0.75);
		break;
	case 22:
		set_average(t, NULL);
		set_average(t, &all);
		break;
	case 30:
		must(lockstep_optimizer_swap_average(t->o, t->params, t->w->pool, &error), &error);
		must(lockstep_optimizer_swap_average(t->o, t->params, t->w->pool, &error), &error);
		break;
	case 42: set_average(t, &little); break;
	case 43: set_lookahead(t, 0, 0); break;
	}
}

static void set_noise(trajectory *t, double eta, double gamma, uint64_t seed) {
	lockstep_error error;
	const lockstep_noise n = {eta, gamma, seed};
	must(lockstep_optimizer_set_noise(t->o, &n, &error), &error);
}

static void change_rows(trajectory *t, int step) {
	lockstep_error error;
	lockstep_optimizer *o = t->o;
	int whole = t->kind == NOISY_WHOLE;
	switch (step) {
	case 1: set_noise(t, 0.01, 0.55, 7); break;
	case 2:
		if (!whole) must(lockstep_optimizer_set_policy(o, LOCKSTEP_SKIP, &error), &error);
		break;
	case 4: must(lockstep_optimizer_set_adaptive_clip(o, 0.01, 1e-3, &error), &error); break;
	case 9: must(lockstep_optimizer_set_centralize(o, 1, &error), &error); break;
	case 14: must(lockstep_optimizer_set_noise(o, NULL, &error), &error); break;
	case 16:
		if (!whole) must(lockstep_optimizer_set_max_tensor_norm(o, 2, &error), &error);
		break;
	case 19: must(lockstep_optimizer_set_adaptive_clip(o, INFINITY, 0, &error), &error); break;
	case 21: set_lookahead(t, 2, 0.5); break;
	case 23:
		must(lockstep_optimizer_set_adaptive_clip(o, 0.5, 0.1, &error), &error);
		must(lockstep_optimizer_set_max_tensor_norm(o, 0, &error), &error);
		break;
	case 28: must(lockstep_optimizer_set_max_value(o, 0.25, &error), &error); break;
	case 33: must(lockstep_optimizer_set_centralize(o, 0, &error), &error); break;
	case 36: set_noise(t, 1e-4, 1, (UINT64_C(1) << 63) + 5); break;
	case 41:
		if (!whole) must(lockstep_optimizer_set_max_norm(o, 3, &error), &error);
		break;
	case 44:
		must(lockstep_optimizer_set_centralize(o, 1, &error), &error);
		must(lockstep_optimizer_set_max_value(o, 0, &error), &error);
		break;
	case 48: must(lockstep_optimizer_set_policy(o, LOCKSTEP_PROPAGATE, &error), &error);
	}
}

/* Has steps leave copies, which begin as zeros, of all tensors but one. */
static void copy_to(trajectory *t, size_t first) {
	enum { WITHOUT = 5 };
	uint16_t *list[TENSORS];
	lockstep_error error;
	for (size_t k = 0; k < TENSORS; k++) {
		t->copied[k] = k == WITHOUT ? LOCKSTEP_FLOAT32 : (k + first) % 2 == 0 ? LOCKSTEP_BF16 : LOCKSTEP_F16;
		list[k] = k == WITHOUT ? NULL : memset(t->copies[k], 0, sizes[k] * sizeof *t->copies[k]);
	}
	must(lockstep_optimizer_set_copies(t->o, list, t->copied, &error), &error);
	t->copies_set = 1;
}

static void change_copies(trajectory *t, int step) {
	lockstep_error error;
	switch (step) {
	case 2:
		copy_to(t, 0);
		must(lockstep_optimizer_write_copies(t->o, t->params, t->w->pool, &error), &error);
		break;
	case 19: copy_to(t, 1); break;
	case 33:
		must(lockstep_optimizer_set_copies(t->o, NULL, NULL, &error), &error);
		t->copies_set = 0;
		break;
	case 37: copy_to(t, 0); break;
	}
}

/* Changes what can be changed between steps. */
static void change(trajectory *t, int step) {
	lockstep_error error;
	switch (step) {
	case 10: set_scale(t, 0.5); break;
	case 12:
		if (t->kind == MISSING) must(lockstep_optimizer_set_max_norm(t->o, 3, &error), &error);
		break;
	case 20: set_scale(t, 0x1p-110); break;
	case 25: set_scale(t, 0x1p110); break;
	case 30: set_scale(t, 1); break;
	case 35: set_maximize(t, &error); break;
	case 40: must(lockstep_optimizer_set_max_norm(t->o, 0, &error), &error); break;
	case 45:
		for (size_t k = 0; k < TENSORS; k++) must(lockstep_optimizer_set_steps(t->o, k, 1000, &error), &error);
	}
	if (t->kind == CLIPPED || t->kind == SHARDED) change_clipping(t, step);
	if (is_noisy(t)) change_rows(t, step);
	if (step == 8 && (is_noisy(t) || t->kind == SHARDED || follows(t) || t->typed)) must(lockstep_optimizer_set_zero_grads(t->o, 1, &error), &error);
	if (t->kind == OBSERVED) change_observing(t, step);
	if (follows(t)) change_following(t, step);
	if (t->typed) change_copies(t, step);
	if (t->packed) change_types(t, step);
	for (size_t g = 0; g < GROUPS; g++) {
		double lr = get_option(&t->rules[0], "lr") / (g ? 2 : 1) * (1 - (double)step / 64);
		must(lockstep_optimizer_set_lr(t->o, g, lr, &error), &error);
	}
}

/* Ordinary gradients and zeros, or such as fade, or vanish. */
static void make_gradients(trajectory *t, int step) {
	static const double factors[8] = {0, 0x1p-70, 0x1p-126, 1, 1, 1, 1, 1};
	for (size_t k = 0; k < TENSORS; k++) {
		double size = factors[below(&t->s, 8)];
		if (step < APPEARS) size *= k == FADING ? 0 : k == FAINT ? 0x1p-50 : 1;
		repeat(&t->s, t->grads[k], sizes[k], (float)(size * t->exponent), 1);
		t->given[k] = below(&t->s, 4) > 0 || t->kind == WHOLE || t->kind == FOLLOWED_WHOLE || t->kind == NOISY_WHOLE ? t->grads[k] : NULL;
	}
}

/* Whether steps are skipped. */
static int leaves_out(const trajectory *t) { return t->kind == CLIPPED || t->kind == OBSERVED || is_sharded(t) || t->kind == NOISY; }

/* Makes a gradient infinite, or a finite one so large that its square is not. */
static void spoil(trajectory *t, int step) {
	switch (step) {
	case 5: case 15: case 21: case 43: t->grads[0][9999] = INFINITY; break;
	case 2: case 6: case 16: case 18: case 29: case 44: t->grads[7][3] = (float)(0x1p66 * t->exponent); break;
	case 46: t->grads[4][500] = NAN;
	}
}

/* Applies the step to every other range of some hundred or thousand elements, from the last
 * tensor on. */
static void apply(trajectory *t, size_t first) {
	lockstep_error error;
	for (size_t k = TENSORS; k-- > 0;) {
		size_t length = 1 + (k * 1531 + 977) % 4000;
		if (t->columns && t->columns[k]) length = (1 + length / t->columns[k]) * t->columns[k];
		if (t->packed) length += LOCKSTEP_STATE_BLOCK - length % LOCKSTEP_STATE_BLOCK;
		for (size_t lo = first * length; lo < sizes[k]; lo += 2 * length) {
			size_t n = sizes[k] - lo < length ? sizes[k] - lo : length;
			must(lockstep_optimizer_apply(t->o, k, lo, n, t->params[k] + lo, lockstep_grads_at(t->o, k, t->given[k], lo), &error), &error);
		}
	}
}

/* Observes the gradients as parts cut anywhere, in any order and on the threads of the pool, in
 * the host's mode. Go cuts them otherwise. */
static void observe(trajectory *t, int step) {
	source s = new_source("observed", step);
	lockstep_mode before = change_mode(t->w->mode);
	observe_parts(t->o, t->given, &s, t->w->pool);
	lockstep_set_mode(before);
}

/* How many shards a step has. */
static size_t shards_of(int step) { return 1 + (size_t)step % SHARDS; }

/* Draws the other shards of a step, after the first. */
static void make_shards(trajectory *t, int step) {
	for (size_t j = 0; j < shards_of(step); j++) {
		memcpy(t->grads, t->shards[j], sizeof t->grads);
		if (j > 0) make_gradients(t, step);
		if (j > 0) spoil(t, step);
		memcpy(t->sharded[j], t->given, sizeof t->given);
	}
	memcpy(t->grads, t->shards[0], sizeof t->grads);
}

void narrow_to(lockstep_element element, uint16_t *to, const float *x, size_t n) {
	const lockstep_table *table;
	const lockstep_buffer list[] = {{(float *)(void *)to, n, 0}, {(float *)x, n, 0}};
	CHECK(!lockstep_find("portable", &table), "no table");
	CHECK(!(element == LOCKSTEP_BF16 ? lockstep_kernel_narrow_bf16 : lockstep_kernel_narrow_f16)(table, list, 2), "not narrowed");
}

/* Sets the types of gradients in a step: f16 where all are in its range. */
static void set_elements(trajectory *t, int step) {
	lockstep_error error;
	for (size_t k = 0; k < TENSORS; k++) {
		size_t kind = (k + (size_t)step) % 3;
		t->elements[k] = kind == 2 ? LOCKSTEP_FLOAT32 : kind == 1 && t->exponent == 1 ? LOCKSTEP_F16 : LOCKSTEP_BF16;
	}
	must(lockstep_optimizer_set_grad_elements(t->o, t->elements, &error), &error);
}

/* Has a list of gradients be those of a shard in these types. */
static void narrow(trajectory *t, const float *list[TENSORS], size_t shard) {
	for (size_t k = 0; k < TENSORS; k++) {
		if (!list[k] || t->elements[k] == LOCKSTEP_FLOAT32) continue;
		narrow_to(t->elements[k], t->halves[shard][k], list[k], sizes[k]);
		list[k] = (const float *)(const void *)t->halves[shard][k];
	}
}

/* Takes a step on halves of the parameters. */
static void take_split_step(trajectory *t) {
	static uint16_t upper[32 << 10], lower[32 << 10];
	uint16_t *uppers[TENSORS], *lowers[TENSORS];
	lockstep_error error;
	for (size_t k = 0, first = 0; k < TENSORS; first += sizes[k++]) {
		uppers[k] = upper + first, lowers[k] = lower + first;
		const lockstep_buffer list[] = {{(float *)(void *)uppers[k], sizes[k], 0}, {(float *)(void *)lowers[k], sizes[k], 0}, {t->params[k], sizes[k], 0}};
		CHECK(!lockstep_kernel_split_bf16(t->w->table, list, 3), "not split");
	}
	must(lockstep_optimizer_step_split(t->o, uppers, lowers, t->given, t->w->pool, &error), &error);
	for (size_t k = 0; k < TENSORS; k++) {
		const lockstep_buffer list[] = {{t->params[k], sizes[k], 0}, {(float *)(void *)uppers[k], sizes[k], 0}, {(float *)(void *)lowers[k], sizes[k], 0}};
		CHECK(!lockstep_kernel_join_bf16(t->w->table, list, 3), "not joined");
	}
}

static void take_step(trajectory *t, int step) {
	lockstep_error error;
	if (t->w->ranges == 2) {
		take_split_step(t);
	} else if (t->w->ranges) {
		must(lockstep_optimizer_begin(t->o, -1, &error), &error);
		apply(t, 1);
		apply(t, 0);
		must(lockstep_optimizer_end(t->o, &error), &error);
	} else if (is_sharded(t)) {
		const float *const *list[SHARDS];
		for (size_t j = 0; j < SHARDS; j++) list[j] = t->sharded[j];
		must(lockstep_optimizer_step_shards(t->o, t->params, list, shards_of(step), t->w->pool, &error), &error);
	} else {
		must(lockstep_optimizer_step(t->o, t->params, t->given, t->w->pool, &error), &error);
	}
}

/* Gradients that were taken are zeros, if that is what steps leave of them. */
static void check_zeros(const trajectory *t, size_t shards) {
	for (size_t j = 0; j < shards && t->o->zeroes; j++)
		for (size_t k = 0; k < TENSORS; k++) {
			const float *g = is_sharded(t) ? t->sharded[j][k] : t->given[k];
			size_t bytes = sizes[k] * lockstep_element_size(t->o->records[k].element);
			for (size_t i = 0; g && i < bytes; i++) CHECK(((const char *)g)[i] == 0, "byte %zu of the gradient of tensor %zu is not 0", i, k);
		}
}

/* Takes a step in the host's mode, which stays as it is. */
static void take_step_as_host(trajectory *t, int step) {
	lockstep_mode before = change_mode(t->w->mode), host = lockstep_get_mode();
	size_t allocated = allocations();
	take_step(t, step);
	CHECK(allocations() == allocated || (is_sharded(t) && step < 8 + SHARDS), "a step has allocated"); /* for more shards than before */
	CHECK(((lockstep_get_mode() ^ host) & LOCKSTEP_MODE_MASK) == 0, "a step has changed the mode");
	lockstep_set_mode(before);
}

/* Gradients are as good as any estimates. */
static void estimate(trajectory *t) {
	lockstep_error error;
	lockstep_mode before = change_mode(t->w->mode);
	must(lockstep_optimizer_update_hessian(t->o, t->given, &error), &error);
	lockstep_set_mode(before);
}

/* A slot in its type, which is read and written anew. */
static uint64_t hash_slot(uint64_t h, const trajectory *t, size_t tensor, size_t slot) {
	static uint16_t halves[17161];
	static uint8_t codes[17161];
	static float scales[17161 / LOCKSTEP_STATE_SCALE + 1];
	const char *name = t->names[tensor][slot];
	size_t n = t->lengths[tensor][slot], blocks = (n + LOCKSTEP_STATE_SCALE - 1) / LOCKSTEP_STATE_SCALE;
	lockstep_error error;
	switch (lockstep_optimizer_state_type(t->o, tensor, name)) {
	case LOCKSTEP_STATE_FLOAT32: return hash_floats(h, lockstep_optimizer_state(t->o, tensor, name), n);
	case LOCKSTEP_STATE_BF16:
		must(lockstep_optimizer_read_halves(t->o, tensor, name, halves, &error), &error);
		must(lockstep_optimizer_write_halves(t->o, tensor, name, halves, &error), &error);
		for (size_t i = 0; i < n; i++) h = hash_word(h, halves[i]);
		return h;
	default:
		must(lockstep_optimizer_read_codes(t->o, tensor, name, codes, scales, &error), &error);
		must(lockstep_optimizer_write_codes(t->o, tensor, name, codes, scales, &error), &error);
		for (size_t i = 0; i < n; i++) h = hash_word(h, codes[i]);
		return hash_floats(h, scales, blocks);
	}
}

static uint32_t hash(const trajectory *t) {
	uint64_t h = HASH_START;
	double norm = lockstep_optimizer_norm(t->o);
	lockstep_progress progress;
	lockstep_optimizer_progress(t->o, &progress);
	for (size_t k = 0; k < TENSORS; k++) {
		h = hash_floats(h, t->params[k], sizes[k]);
		for (size_t j = 0; j < t->slots[k]; j++) h = hash_slot(h, t, k, j);
		if (progress.averages) h = hash_floats(h, lockstep_optimizer_state(t->o, k, "params_average"), sizes[k]);
		if (progress.slow) h = hash_floats(h, lockstep_optimizer_state(t->o, k, "params_slow"), sizes[k]);
		for (size_t i = 0; t->copies_set && t->copied[k] != LOCKSTEP_FLOAT32 && i < sizes[k]; i++) h = hash_word(h, t->copies[k][i]);
	}
	h = hash_doubles(h, &norm, 1);
	double left_out[] = {(double)lockstep_optimizer_skipped(t->o), (double)lockstep_optimizer_non_finite(t->o)};
	return hash_sum(leaves_out(t) ? hash_doubles(h, left_out, 2) : h);
}

void follow_line(arena *a, const line *l, const way *w) {
	static trajectory t;
	memset(&t, 0, sizeof t);
	t.w = w;
	begin(&t, a, l);
	if (t.packed) find_packable(&t);
	int whole = w->ranges && (!t.o->groups[0].plain || t.o->groups[0].common.cautious_update); /* of several passes, or counted */
	for (int step = 1, k = 2; step <= STEPS && !whole; step++) {
		change(&t, step);
		make_gradients(&t, step);
		if (leaves_out(&t)) spoil(&t, step);
		if (t.o->groups[0].plan.hessian != 0 && step % 4 == 0 && !leaves_out(&t)) estimate(&t);
		if (is_sharded(&t)) make_shards(&t, step);
		if (t.typed) set_elements(&t, step);
		for (size_t j = 0; t.typed && is_sharded(&t) && j < shards_of(step); j++) narrow(&t, t.sharded[j], j);
		if (t.typed && !is_sharded(&t)) narrow(&t, t.given, 0);
		if (t.kind == OBSERVED && t.o->max_norm) observe(&t, step);
		take_step_as_host(&t, step);
		check_zeros(&t, is_sharded(&t) ? shards_of(step) : 1);
		if (step % 8 && step != STEPS) continue;
		uint32_t got = hash(&t), want = (uint32_t)strtoul(l->words[k++], NULL, 16);
		CHECK(got == want, "%s %s of %s at step %d: other bits than Go's", l->words[0], l->words[1], lockstep_isa(w->table), step);
	}
	lockstep_optimizer_free(t.o);
}

static arena *memory;
static way now;

static void follow(const line *l) { follow_line(memory, l, &now); }

/* Emulation is slow: what rests on the same C for all rules is done by each tenth of them. */
static void follow_some(const line *l) {
	static size_t number;
	if (!getenv("LOCKSTEP_EMULATED") || number++ % 10 == 0) follow(l);
}

static void do_nothing(void *context, size_t unit) {
	(void)context;
	(void)unit;
}

lockstep_pool *busy_pool(size_t threads, lockstep_mode mode) {
	lockstep_pool *pool;
	CHECK(!lockstep_pool_new(threads, &pool), "no pool");
	lockstep_share_from(pool, 0);
	lockstep_mode before = change_mode(mode);
	lockstep_share(pool, do_nothing, NULL, threads, 0);
	lockstep_set_mode(before);
	return pool;
}

/* The engine is the same on all tables: of one, steps are taken in all ways, and of others, and where
 * they are slow, in that which tells the most, with the most threads. */
static void follow_on(const lockstep_table *table, int in_all_ways, lockstep_pool *two, lockstep_pool *seven) {
	const way ways[] = {{.table = table}, {table, two, 0, 1, 0, 0}, {table, seven, 0, 1, 1, 0}};
	printf("  %s\n", table->isa);
	for (size_t k = in_all_ways ? 0 : 2; k < sizeof ways / sizeof *ways; k++) {
		now = ways[k];
		each_line("whole", follow);
		each_line("missing", follow_some);
		each_line("matrices", follow);
		each_line("clipped_matrices", follow_some);
		each_line("one_row", follow_some);
		each_line("clipped", follow_some);
		each_line("observed", follow_some);
		each_line("observed_matrices", follow_some);
		each_line("followed", follow_some);
		each_line("followed_whole", follow_some);
		each_line("followed_matrices", follow_some);
		each_line("sharded", follow_some);
		each_line("sharded_matrices", follow_some);
		each_line("noisy", follow_some);
		each_line("noisy_shards", follow_some);
		each_line("noisy_whole", follow_some);
		each_line("typed_clipped", follow_some);
		each_line("typed_clipped_matrices", follow_some);
		each_line("typed_observed", follow_some);
		each_line("typed_followed", follow_some);
		each_line("typed_followed_whole", follow_some);
		each_line("typed_sharded", follow_some);
		each_line("typed_noisy", follow_some);
		each_line("typed_noisy_shards", follow_some);
		each_line("typed_noisy_whole", follow_some);
		each_line("packed_missing", follow_some);
		each_line("packed_clipped", follow_some);
		each_line("packed_followed_whole", follow_some);
		each_line("packed_typed_sharded", follow_some);
		each_line("packed_typed_followed", follow_some);
	}
	for (int owned = 0; owned < 2; owned++) {
		now = (way){table, NULL, 1, owned, 1, 0};
		each_line("whole", follow_some);
		each_line("followed_whole", follow_some);
		each_line("noisy_whole", follow_some);
		each_line("typed_followed_whole", follow_some);
		each_line("typed_noisy_whole", follow_some);
	}
	now = (way){table, NULL, 1, 0, 1, 0};
	each_line("packed_followed_whole", follow_some);
	now = (way){table, seven, 2, 1, 1, 0};
	each_line("missing", follow_some);
	each_line("followed", follow_some);
	each_line("clipped", follow_some);
	each_line("typed_clipped", follow_some);
	each_line("packed_typed_followed", follow_some);
}

void test_trajectories(void) {
	const lockstep_table *list[TABLES];
	lockstep_pool *two = busy_pool(2, 0), *seven = busy_pool(7, 0);
	memory = new_arena();
	for (size_t n = tables(list), k = 0; k < n; k++) follow_on(list[k], k == 0 && !getenv("LOCKSTEP_EMULATED"), two, seven);
	free_arena(memory);
	lockstep_pool_free(two);
	lockstep_pool_free(seven);
}
