/* Steps on the caller's threads, range by range. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
}

enum { N = 40000, M = 7 };
static float p[N + M], g[N + M], q[N + M];

static lockstep_optimizer *make(const char *name, const lockstep_tensor *tensors, size_t count) {
	options o = {0};
	CHECK(!lockstep_preset("optax", name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, count, &made, &error));
	return made;
}

static lockstep_status apply(lockstep_optimizer *o, size_t lo, size_t hi) { return lockstep_optimizer_apply(o, 0, lo, hi - lo, p + lo, g + lo, &error); }

static void check_misuse(void) {
	const lockstep_tensor tensors[] = {{.name = "weights", .size = N}, {.size = M}};
	float *params[] = {p, p + N};
	const float *grads[] = {g, g + N};
	lockstep_optimizer *o = make("AdamW", tensors, 2);
	refused(apply(o, 0, 5), "step is not begun");
	refused(lockstep_optimizer_end(o, &error), "step is not begun");
	refused(lockstep_optimizer_begin(o, NAN, &error), "sum_squares is ");
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_begin(o, -1, &error), "step is begun");
	refused(lockstep_optimizer_step(o, params, grads, NULL, &error), "step is begun");
	refused(lockstep_optimizer_set_steps(o, 0, 1, &error), "step is begun");
	refused(lockstep_optimizer_set_options(o, 0, NULL, 0, &error), "step is begun");
	refused(lockstep_optimizer_apply(o, 2, 0, 1, p, g, &error), "tensor is 2, want the index of one of 2");
	refused(apply(o, N + 1, N + 2), "first is 40001, want one of the 40000 elements of tensor 0");
	refused(apply(o, 5, N + 1), "count is 39996, want at most the 39995 elements of tensor 0 from 5 on");
	refused(lockstep_optimizer_apply(o, 0, 0, SIZE_MAX, p, g, &error), "count is ");
	refused(lockstep_optimizer_apply(o, 0, 0, 1, NULL, g, &error), "params is NULL");
	refused(lockstep_optimizer_apply(o, 0, 0, 1, p, NULL, &error), "grads is NULL");
	refused(lockstep_optimizer_apply(o, 0, 0, 2, p, p + 1, &error), "params of tensor 0 (weights) is 2 elements");
	refused(lockstep_optimizer_apply(o, 1, 0, 2, p, lockstep_optimizer_state(o, 0, "v"), &error), "want a buffer apart from the optimizer's own state");
	must(apply(o, 100, 200));
	must(apply(o, 300, 400));
	must(apply(o, 150, 150));
	refused(apply(o, 199, 201), "first is 199, want that of a range of tensor 0 apart from 100 to 200");
	refused(apply(o, 0, N), "apart from 100 to 200");
	refused(apply(o, 310, 320), "apart from 300 to 400");
	refused(lockstep_optimizer_end(o, &error), "tensor 0 (weights) is not applied from 0 on, want all of its 40000 elements");
	must(apply(o, 0, 100));
	refused(lockstep_optimizer_end(o, &error), "not applied from 200 on");
	must(apply(o, 200, 300));
	must(apply(o, 400, N));
	refused(lockstep_optimizer_end(o, &error), "tensor 1 is not applied from 0 on");
	must(lockstep_optimizer_apply(o, 1, 0, M, p + N, g + N, &error));
	must(lockstep_optimizer_end(o, &error));
	CHECK(lockstep_optimizer_steps(o, 0) == 1 && lockstep_optimizer_steps(o, 1) == 1, "counts");
	lockstep_optimizer_free(o);
}

/* Ranges that lie apart are noted in a room that was made with the optimizer. */
static void check_room(void) {
	const lockstep_tensor tensor = {.size = N};
	lockstep_optimizer *o = make("AdamW", &tensor, 1);
	must(lockstep_optimizer_begin(o, -1, &error));
	size_t apart = 0;
	while (!apply(o, 2 * apart, 2 * apart + 1)) apart++;
	CHECK(apart == N / (16 << 10) + 16 && strstr(error.message, "first is 36, want that of a range beside another: there are 18 of tensor 0"), "%zu ranges apart: %s", apart, error.message);
	must(apply(o, 2 * apart - 1, 2 * apart));
	for (size_t k = apart - 1; k > 0; k--) must(apply(o, 2 * k - 1, 2 * k));
	must(apply(o, 2 * apart, N));
	must(lockstep_optimizer_end(o, &error));
	lockstep_optimizer_free(o);
}

static void check_passes(void) {
	const lockstep_tensor tensor = {.size = N};
	lockstep_optimizer *o = make("Lamb", &tensor, 1);
	refused(lockstep_optimizer_begin(o, -1, &error), "rule is lamb, want one of a single pass");
	lockstep_optimizer_free(o);
}

/* Clipping by the caller's sum of squares is clipping by the optimizer's, of one unit. */
static void check_clipping(void) {
	enum { ONE = 10000 };
	const lockstep_tensor tensor = {.size = ONE};
	float *params[] = {q};
	const float *grads[] = {g};
	lockstep_optimizer *o = make("AdamW", &tensor, 1), *other = make("AdamW", &tensor, 1);
	memcpy(q, p, sizeof q);
	must(lockstep_optimizer_set_max_norm(o, 0.5, &error));
	must(lockstep_optimizer_set_max_norm(other, 0.5, &error));
	refused(lockstep_optimizer_begin(o, -1, &error), "sum_squares is -1, want a number of at least 0 to clip to max_norm");
	must(lockstep_optimizer_begin(o, lockstep_sum_squares(g, ONE), &error));
	must(apply(o, 0, ONE));
	must(lockstep_optimizer_end(o, &error));
	must(lockstep_optimizer_step(other, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_norm(o) == lockstep_optimizer_norm(other) && lockstep_optimizer_norm(o) > 0.5, "norms");
	CHECK(!memcmp(p, q, sizeof p), "the step is another");
	must(lockstep_optimizer_set_max_norm(o, 0, &error));
	must(lockstep_optimizer_begin(o, 3, &error));
	CHECK(lockstep_optimizer_norm(o) == 0, "a norm without a max_norm");
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(other);
}

void test_ranges(void) {
	source s = new_source("ranges", 0);
	for (size_t i = 0; i < N + M; i++) p[i] = ordinary(&s), g[i] = ordinary(&s);
	check_misuse();
	check_room();
	check_passes();
	check_clipping();
}
