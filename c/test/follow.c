/* Averages of the parameters and lookahead, beside what trajectories have of them. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
}

enum { N = 20000, M = 7 };
static const lockstep_tensor tensors[] = {{.name = "weights", .size = N}, {.size = M}};

static lockstep_optimizer *make(const char *framework, const char *name) {
	options o = {0};
	CHECK(!lockstep_preset(framework, name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, 2, &made, &error));
	return made;
}

static void draw(float *x, const char *name, int number) {
	source s = new_source(name, number);
	for (size_t i = 0; i < N + M; i++) x[i] = ordinary(&s);
}

static void step(lockstep_optimizer *o, float *p, int number) {
	static float g[N + M];
	float *params[] = {p, p + N};
	const float *grads[] = {g, g + N};
	draw(g, "follow", number);
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
}

static lockstep_progress progress_of(const lockstep_optimizer *o) {
	lockstep_progress p;
	lockstep_optimizer_progress(o, &p);
	return p;
}

static void check_refused(void) {
	static const struct {
		lockstep_averaging a;
		const char *want;
	} bad[] = {
		{{.every = -1}, "every is -1, want at least 0"}, {{.decay = 0.5}, "every is 0, want at least 1, or zeros"}, {{.overwrite = 1}, "every is 0"},
		{{.every = 1, .after = -1}, "after is -1, want"}, {{.every = 1, .overwrite = -2}, "overwrite is -2, want"}, {{.every = 1, .decay = 1.5}, "decay is 1.5, want from 0 to 1"},
		{{.every = 1, .decay = NAN}, "decay is "}, {{.every = 1, .equal = 1, .decay = 0.5}, "equal is 1, want 0 with a decay"}, {{.every = 1, .equal = 1, .warm_up = 1}, "equal is 1"},
		{{.every = 1, .decay = 1, .bias_corrected = 1}, "decay is 1, want below 1"}, {{.every = 1, .decay = 0.5, .bias_corrected = 1, .warm_up = 1}, "bias_corrected is 1, want 0"}};
	static const struct {
		lockstep_lookahead l;
		const char *want;
	} worse[] = {{{-1, 0.5}, "period is -1, want at least 0"}, {{0, 0.5}, "period is 0, want at least 1"}, {{5, 0}, "step is 0, want above 0"},
		{{5, 1.5}, "step is 1.5, want"}, {{5, NAN}, "step is "}, {{5, 0x1p-150}, "step is "}};
	lockstep_optimizer *o = make("torch", "AdamW");
	for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) refused(lockstep_optimizer_set_average(o, &bad[k].a, &error), bad[k].want);
	for (size_t k = 0; k < sizeof worse / sizeof *worse; k++) refused(lockstep_optimizer_set_lookahead(o, &worse[k].l, &error), worse[k].want);
	CHECK(!o->following && !lockstep_optimizer_state(o, 0, "params_average") && !lockstep_optimizer_state_len(o, 0, "params_slow"), "what was refused is kept");
	static const struct {
		lockstep_progress p;
		const char *want;
	} wrong[] = {{{-1, 0, 0}, "steps is -1, want"}, {{(INT64_C(1) << 62) + 1, 0, 0}, "at most 2^62"}, {{0, -1, 0}, "averages is -1, want at least 0"},
		{{0, 1, 0}, "averages is 1, want 0: the optimizer keeps no average"}, {{0, 0, 1}, "slow is 1, want 0: the optimizer keeps no slow parameters"}};
	for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) refused(lockstep_optimizer_set_progress(o, &wrong[k].p, &error), wrong[k].want);
	refused(lockstep_optimizer_set_progress(o, NULL, &error), "progress is NULL");
	must(lockstep_optimizer_set_average(o, NULL, &error));
	must(lockstep_optimizer_set_lookahead(o, NULL, &error));
	lockstep_optimizer_free(o);
}

/* What is not to be done between two exchanges, and within a step. */
static void check_swap(void) {
	static float p[N + M], before[N + M];
	float *params[] = {p, p + N};
	const float *grads[] = {before, before + N};
	const lockstep_averaging torch = LOCKSTEP_TORCH_EMA(0.5), late = {.every = 1, .after = 2, .decay = 0.5};
	const lockstep_lookahead l = {2, 0.5};
	lockstep_optimizer *o = make("torch", "AdamW");
	draw(p, "params", 0);
	refused(lockstep_optimizer_swap_average(o, params, NULL, &error), "the number of averages is 0");
	must(lockstep_optimizer_set_average(o, &late, &error));
	step(o, p, 0);
	refused(lockstep_optimizer_swap_average(o, params, NULL, &error), "the number of averages is 0, want at least 1");
	must(lockstep_optimizer_set_average(o, &torch, &error));
	step(o, p, 1);
	step(o, p, 2);
	CHECK(progress_of(o).averages == 2 && progress_of(o).steps == 3 && !progress_of(o).slow, "progress");
	refused(lockstep_optimizer_swap_average(o, NULL, NULL, &error), "params is NULL");
	float *average = lockstep_optimizer_state(o, 0, "params_average"), *clash[] = {average, p + N};
	CHECK(lockstep_optimizer_state_len(o, 1, "params_average") == M, "the length of an average");
	refused(lockstep_optimizer_swap_average(o, clash, NULL, &error), "want a buffer apart from ");
	refused(lockstep_optimizer_step(o, clash, grads, NULL, &error), "want a buffer apart from ");
	memcpy(before, p, sizeof p);
	float mean = average[5];
	must(lockstep_optimizer_swap_average(o, params, NULL, &error));
	CHECK(p[5] == mean && average[5] == before[5] && p[5] != before[5] && p[N] != before[N], "nothing was exchanged");
	const char *const swapped = "the parameters is swapped for their averages, want those of the last step";
	const int64_t none[1] = {0};
	refused(lockstep_optimizer_step(o, params, grads, NULL, &error), swapped);
	refused(lockstep_optimizer_begin(o, -1, &error), swapped);
	refused(lockstep_optimizer_eval(o, params, &error), swapped);
	refused(lockstep_optimizer_train(o, params, &error), swapped);
	refused(lockstep_optimizer_set_average(o, NULL, &error), swapped);
	must(lockstep_optimizer_swap_average(o, params, NULL, &error));
	CHECK(!memcmp(p, before, sizeof p), "exchanged twice the parameters are others");
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_set_average(o, NULL, &error), "step is begun");
	refused(lockstep_optimizer_set_lookahead(o, &l, &error), "step is begun");
	refused(lockstep_optimizer_swap_average(o, params, NULL, &error), "step is begun");
	lockstep_progress progress = progress_of(o);
	refused(lockstep_optimizer_set_progress(o, &progress, &error), "step is begun");
	lockstep_optimizer_free(o);

	options adagrad = {0};
	CHECK(!lockstep_preset("torch", "Adagrad", adagrad.bytes, sizeof adagrad.bytes, &adagrad.rule), "no Adagrad");
	lockstep_group group = {adagrad.rule->name, adagrad.bytes, adagrad.rule->size};
	must(lockstep_optimizer_new(&group, 1, tensors, 1, &o, &error));
	must(lockstep_optimizer_set_lookahead(o, &l, &error));
	refused(lockstep_optimizer_step_rows(o, p, 100, none, 1, before, NULL, &error), "centralize is set, want none of them with steps on rows");
	must(lockstep_optimizer_set_lookahead(o, NULL, &error));
	must(lockstep_optimizer_step_rows(o, p, 100, none, 1, before, NULL, &error));
	lockstep_optimizer_free(o);
}

/* Another optimizer goes on from what this one has. */
static void check_progress(void) {
	static float p[N + M], q[N + M];
	static const char *const names[] = {"m", "v", "params_average", "params_slow"};
	const lockstep_averaging a = {.every = 2, .after = 1, .decay = 0.9, .bias_corrected = 1};
	const lockstep_lookahead l = {3, 0.5};
	lockstep_optimizer *o = make("torch", "AdamW"), *other = make("torch", "AdamW");
	draw(p, "params", 1);
	for (int k = 0; k < 2; k++) {
		must(lockstep_optimizer_set_average(k ? other : o, &a, &error));
		must(lockstep_optimizer_set_lookahead(k ? other : o, &l, &error));
	}
	for (int k = 0; k < 8; k++) step(o, p, k);
	memcpy(q, p, sizeof p);
	for (size_t k = 0; k < 2; k++) {
		for (size_t j = 0; j < 4; j++) memcpy(lockstep_optimizer_state(other, k, names[j]), lockstep_optimizer_state(o, k, names[j]), tensors[k].size * sizeof(float));
		must(lockstep_optimizer_set_steps(other, k, 8, &error));
	}
	CHECK(progress_of(other).steps == 8 && progress_of(other).averages == 0, "steps of tensors");
	lockstep_progress progress = progress_of(o);
	CHECK(progress.steps == 8 && progress.averages == 3 && progress.slow == 1, "progress is %lld %lld %d", (long long)progress.steps, (long long)progress.averages, progress.slow);
	must(lockstep_optimizer_set_progress(other, &progress, &error));
	for (int k = 8; k < 15; k++) step(o, p, k), step(other, q, k);
	CHECK(!memcmp(p, q, sizeof p), "the parameters go on otherwise");
	for (size_t j = 2; j < 4; j++)
		CHECK(!memcmp(lockstep_optimizer_state(o, 0, names[j]), lockstep_optimizer_state(other, 0, names[j]), N * sizeof(float)), "%s goes on otherwise", names[j]);
	must(lockstep_optimizer_set_average(o, NULL, &error));
	CHECK(!lockstep_optimizer_state(o, 0, "params_average") && lockstep_optimizer_state(o, 0, "params_slow") && !progress_of(o).averages, "an average that was given up");
	must(lockstep_optimizer_set_lookahead(o, NULL, &error));
	CHECK(!o->following && o->state_count == 1, "something is kept");
	step(o, p, 15);
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(other);
}

/* A step in which no tensor takes part counts for what follows, which has a part in it. */
static void check_missing(void) {
	static float p[N + M];
	float *params[] = {p, p + N};
	const float *none[] = {NULL, NULL};
	const lockstep_averaging a = {.every = 2, .decay = 0.5};
	lockstep_optimizer *o = make("torch", "AdamW");
	draw(p, "params", 2);
	must(lockstep_optimizer_set_average(o, &a, &error));
	for (int k = 0; k < 4; k++) must(lockstep_optimizer_step(o, params, none, NULL, &error));
	CHECK(progress_of(o).steps == 4 && progress_of(o).averages == 2 && lockstep_optimizer_steps(o, 0) == 0, "steps without gradients");
	CHECK(!memcmp(lockstep_optimizer_state(o, 0, "params_average"), p, N * sizeof(float)), "the average of what has not moved is another");
	lockstep_optimizer_free(o);
}

void test_follow(void) {
	check_refused();
	check_swap();
	check_progress();
	check_missing();
}
