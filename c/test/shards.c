/* Gradients that are sums, and zeros that steps leave of gradients, beside what trajectories have of them. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
}

enum { N = 20000, M = 7, SHARDS = 9 };
static const lockstep_tensor tensors[] = {{.name = "weights", .size = N}, {.size = M}};
static float p[N + M], q[N + M], g[SHARDS][N + M], sum[N + M];

static lockstep_optimizer *make(const char *framework, const char *name) {
	options o = {0};
	CHECK(!lockstep_preset(framework, name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, 2, &made, &error));
	return made;
}

static void draw(int number) {
	source s = new_source("shards", number);
	for (size_t i = 0; i < N + M; i++) {
		p[i] = q[i] = ordinary(&s);
		for (size_t j = 0; j < SHARDS; j++) g[j][i] = ordinary(&s) * 0x1p-10f * (float)(1 << 2 * j);
	}
}

static const float *lists[SHARDS][2];
static const float *const *shards[SHARDS];

static void point(void) {
	for (size_t j = 0; j < SHARDS; j++) {
		lists[j][0] = g[j];
		lists[j][1] = g[j] + N;
		shards[j] = lists[j];
	}
}

/* Sums of any number of shards are those of floats, one after the other. */
static void check_sums(void) {
	lockstep_optimizer *a = make("torch", "AdamW"), *b = make("torch", "AdamW");
	float *ps[] = {p, p + N}, *qs[] = {q, q + N};
	const float *sums[] = {sum, sum + N};
	draw(0);
	for (size_t count = 1; count <= SHARDS; count++) {
		point();
		if (count > 3) lists[1][0] = lists[2][0] = NULL;
		if (count == 5) for (size_t j = 0; j < count; j++) lists[j][1] = NULL;
		for (size_t i = 0; i < N + M; i++) {
			size_t tensor = i >= N, terms = 0;
			for (size_t j = 0; j < count; j++) {
				if (!lists[j][tensor]) continue;
				sum[i] = terms++ ? sum[i] + g[j][i] : g[j][i];
			}
		}
		sums[1] = count == 5 ? NULL : sum + N;
		for (int k = 0; k < 2; k++) {
			must(lockstep_optimizer_set_max_norm(k ? b : a, count % 2 ? 1 : 0, &error));
			must(lockstep_optimizer_set_policy(k ? b : a, count % 3 ? LOCKSTEP_PROPAGATE : LOCKSTEP_SKIP, &error));
		}
		must(lockstep_optimizer_step_shards(a, ps, shards, count, NULL, &error));
		must(lockstep_optimizer_step(b, qs, sums, NULL, &error));
		CHECK(lockstep_optimizer_norm(a) == lockstep_optimizer_norm(b), "the norm of %zu shards is another", count);
		CHECK(!memcmp(p, q, sizeof p), "the step of %zu shards is another", count);
	}
	CHECK(lockstep_optimizer_steps(a, 0) == SHARDS && lockstep_optimizer_steps(a, 1) == SHARDS - 1, "counts");
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

static void check_refused(void) {
	lockstep_optimizer *o = make("torch", "AdamW");
	float *params[] = {p, p + N};
	draw(1);
	point();
	refused(lockstep_optimizer_step_shards(o, params, shards, 0, NULL, &error), "count is 0, want at least 1");
	refused(lockstep_optimizer_step_shards(o, params, NULL, 2, NULL, &error), "shards is NULL");
	refused(lockstep_optimizer_step_shards(o, NULL, shards, 2, NULL, &error), "params is NULL");
	shards[1] = NULL;
	refused(lockstep_optimizer_step_shards(o, params, shards, 2, NULL, &error), "shards[1] is NULL, want a pointer for each tensor");
	point();
	lists[2][0] = p + 5;
	refused(lockstep_optimizer_step_shards(o, params, shards, 3, NULL, &error), "shards[2]: grads of tensor 0 (weights) is 20000 elements at");
	CHECK(lockstep_optimizer_step_shards(o, params, shards, 3, NULL, NULL) == LOCKSTEP_BAD_ARGUMENT, "not refused without an error");
	lists[2][0] = NULL, lists[0][1] = lockstep_optimizer_state(o, 0, "m");
	refused(lockstep_optimizer_step_shards(o, params, shards, 3, NULL, &error), "shards[0]: grads of tensor 1 is 7 elements at");
	point();
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_step_shards(o, params, shards, 2, NULL, &error), "step is begun");
	refused(lockstep_optimizer_set_zero_grads(o, 1, &error), "step is begun");
	for (size_t k = 0; k < 2; k++) must(lockstep_optimizer_apply(o, k, 0, tensors[k].size, params[k], lists[0][k], &error));
	must(lockstep_optimizer_end(o, &error));
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(lockstep_optimizer_observe(o, 0, 0, 5, g[0], &error));
	refused(lockstep_optimizer_step_shards(o, params, shards, 2, NULL, &error), "the gradients is observed, want not observed with shards");
	lockstep_optimizer_forget_observed(o);
	must(lockstep_optimizer_step_shards(o, params, shards, 2, NULL, &error));
	CHECK(!o->shards && !o->shard_count && lockstep_optimizer_steps(o, 0) == 2, "what was refused has left something");
	lockstep_optimizer_free(o);
}

static int is_zero(const float *x, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (bits_of(x[i])) return 0;
	return 1;
}

/* What steps, skipped and refused ones leave of gradients, and which may not be. */
static void check_zeros(void) {
	lockstep_optimizer *o = make("torch", "AdamW");
	float *params[] = {p, p + N};
	const float *grads[] = {g[0], g[0] + N}, *same[] = {g[1], g[1] + 5}, *one[] = {g[1], NULL};
	draw(2);
	point();
	must(lockstep_optimizer_step(o, params, same, NULL, &error));
	must(lockstep_optimizer_set_zero_grads(o, 1, &error));
	refused(lockstep_optimizer_step(o, params, same, NULL, &error), "want a buffer apart from grads of tensor 1 at");
	must(lockstep_optimizer_step(o, params, one, NULL, &error));
	CHECK(is_zero(g[1], N) && !is_zero(g[1] + N, M), "a gradient that was missing, or one that was not");
	lists[0][1] = g[2];
	lists[1][1] = NULL;
	refused(lockstep_optimizer_step_shards(o, params, shards, 3, NULL, &error), "grads of tensor ");
	point();
	must(lockstep_optimizer_step_shards(o, params, shards + 1, 3, NULL, &error));
	CHECK(is_zero(g[1], 3 * (N + M)) && !is_zero(g[0], N) && !is_zero(g[4], N), "shards");
	must(lockstep_optimizer_set_policy(o, LOCKSTEP_REFUSE, &error));
	g[0][N + 3] = NAN;
	CHECK(lockstep_optimizer_step(o, params, grads, NULL, &error) == LOCKSTEP_NON_FINITE && !is_zero(g[0], N) && !is_zero(g[0] + N, M), "a step that was refused");
	must(lockstep_optimizer_set_policy(o, LOCKSTEP_SKIP, &error));
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(is_zero(g[0], N + M) && lockstep_optimizer_skipped(o) == 2, "a step that was skipped");
	must(lockstep_optimizer_set_policy(o, LOCKSTEP_PROPAGATE, &error));
	for (size_t i = 0; i < N + M; i++) g[0][i] = 1;
	must(lockstep_optimizer_begin(o, -1, &error));
	must(lockstep_optimizer_apply(o, 0, 1000, N - 1000, p + 1000, g[0] + 1000, &error));
	CHECK(is_zero(g[0] + 1000, N - 1000) && g[0][999] == 1 && g[0][N] == 1, "a range");
	must(lockstep_optimizer_apply(o, 0, 0, 1000, p, g[0], &error));
	must(lockstep_optimizer_apply(o, 1, 0, M, p + N, g[0] + N, &error));
	must(lockstep_optimizer_end(o, &error));
	CHECK(is_zero(g[0], N + M), "ranges");
	must(lockstep_optimizer_set_zero_grads(o, 0, &error));
	for (size_t i = 0; i < N + M; i++) g[0][i] = 1;
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(g[0][0] == 1 && g[0][N] == 1, "gradients are zeros again");
	lockstep_optimizer_free(o);

	options adagrad = {0};
	const int64_t none[1] = {0};
	CHECK(!lockstep_preset("torch", "Adagrad", adagrad.bytes, sizeof adagrad.bytes, &adagrad.rule), "no Adagrad");
	lockstep_group group = {adagrad.rule->name, adagrad.bytes, adagrad.rule->size};
	must(lockstep_optimizer_new(&group, 1, tensors, 1, &o, &error));
	must(lockstep_optimizer_set_zero_grads(o, 1, &error));
	refused(lockstep_optimizer_step_rows(o, p, 100, none, 1, g[0], NULL, &error), "centralize is set, want none of them with steps on rows");
	lockstep_optimizer_free(o);
}

void test_shards(void) {
	check_sums();
	check_refused();
	check_zeros();
}
