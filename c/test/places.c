/* Buffers that overlap, and gradients that are elsewhere in each step. */
#include "test.h"

#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }

static lockstep_optimizer *make(const char *name, const lockstep_tensor *tensors, size_t count) {
	options o = {0};
	CHECK(!lockstep_preset("torch", name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, count, &made, &error));
	return made;
}

enum { FEW = 6, ROOM = 60, MANY = 2000, LONG = 8 };

/* A part of some room. */
typedef struct part {
	size_t at, n;
} part;

static part random_part(source *s, size_t n) { return (part){below(s, ROOM - (uint32_t)n), n}; }
static int overlaps(part x, part y) { return x.n && y.n && x.at < y.at + y.n && y.at < x.at + x.n; }

/* Whether what is written overlaps nothing. */
static int is_apart(const part *params, const part *state, const part *grads, const int *missing) {
	for (int k = 0; k < FEW; k++)
		for (int j = 0; j < FEW; j++) {
			if (k != j && (overlaps(params[k], params[j]) || overlaps(state[k], state[j]))) return 0;
			if (overlaps(params[k], state[j])) return 0;
			if (!missing[j] && (overlaps(params[k], grads[j]) || overlaps(state[k], grads[j]))) return 0;
		}
	return 1;
}

/* Steps with buffers at random places of a room, compared with a look at all pairs. */
static int check_random(source *s) {
	static float room[ROOM];
	part params[FEW], state[FEW], grads[FEW];
	int missing[FEW], none[FEW], accepted = 0;
	float *p[FEW], *m[FEW], *const *states[FEW];
	const float *g[FEW];
	lockstep_tensor tensors[FEW];
	for (int k = 0; k < FEW; k++) {
		size_t n = below(s, 4);
		state[k] = random_part(s, n);
		params[k] = random_part(s, n);
		none[k] = 1;
		m[k] = room + state[k].at;
		states[k] = &m[k];
		tensors[k] = (lockstep_tensor){.size = n, .state = (float *const *)states[k]};
	}
	options o = {0};
	must(lockstep_preset("torch", "Momentum", o.bytes, sizeof o.bytes, &o.rule));
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	part nowhere[FEW] = {{0, 0}};
	int refused = lockstep_optimizer_new(&group, 1, tensors, FEW, &made, &error) != LOCKSTEP_OK;
	CHECK(refused == !is_apart(nowhere, state, nowhere, none), "state that overlaps: %s", error.message);
	for (int time = 0; time < 20 && !refused; time++) {
		for (int k = 0; k < FEW; k++) {
			if (below(s, 4) == 0) params[k] = random_part(s, params[k].n);
			grads[k] = random_part(s, params[k].n);
			missing[k] = below(s, 3) == 0;
			p[k] = room + params[k].at;
			g[k] = missing[k] ? NULL : room + grads[k].at;
		}
		int want = is_apart(params, state, grads, missing);
		CHECK(want == !lockstep_optimizer_step(made, p, g, NULL, &error), "buffers that %s: %s", want ? "lie apart" : "overlap", error.message);
		accepted += want;
	}
	lockstep_optimizer_free(made);
	return accepted;
}

/* Thousands of tensors, with gradients that move among the parameters' memory. */
static void check_many(void) {
	static float room[MANY * 4 * LONG];
	static lockstep_tensor tensors[MANY];
	static float *p[MANY];
	static const float *g[MANY];
	for (size_t k = 0; k < MANY; k++) tensors[k].size = LONG, p[k] = room + k * 4 * LONG;
	lockstep_optimizer *o = make("AdamW", tensors, MANY);
	for (size_t step = 0; step < 5; step++) {
		for (size_t k = 0; k < MANY; k++) g[k] = p[(k * (2 * step + 1) + step) % MANY] + (1 + (step + k) % 3) * LONG;
		must(lockstep_optimizer_step(o, p, g, NULL, &error));
	}
	g[MANY / 2] = p[17] + LONG - 1;
	CHECK(lockstep_optimizer_step(o, p, g, NULL, &error) == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, "grads of tensor 1000 is 8 elements at") && strstr(error.message, "apart from params of tensor 17 at"), "%s", error.message);
	CHECK(lockstep_optimizer_steps(o, 0) == 5, "a refused step was counted");
	g[MANY / 2] = g[0];
	must(lockstep_optimizer_step(o, p, g, NULL, &error));
	lockstep_optimizer_free(o);
}

void test_places(void) {
	source s = new_source("places", 0);
	int accepted = 0, all = 3000;
	for (int k = 0; k < all; k++) accepted += check_random(&s);
	CHECK(accepted > all / 10, "only %d steps were to be accepted", accepted);
	check_many();
}
