/* Steps on parameters in two halves, beside those of trajectories. */
#include "test.h"

#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
	memset(&error, 0, sizeof error);
}

enum { N = 20000, M = 7, ALL = N + M };
static const lockstep_tensor tensors[] = {{.name = "weights", .size = N}, {.size = M}};
static float p[ALL], q[ALL], g[ALL];
static uint16_t upper[ALL], lower[ALL], moved_upper[ALL], moved_lower[ALL];

static lockstep_optimizer *make(const char *framework, const char *name) {
	options o = {0};
	CHECK(!lockstep_preset(framework, name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, 2, &made, &error));
	return made;
}

static lockstep_buffer halves(uint16_t *x) { return (lockstep_buffer){(float *)(void *)x, ALL, 0}; }

static void split(uint16_t *to, uint16_t *rest, float *from) {
	const lockstep_buffer list[] = {halves(to), halves(rest), {from, ALL, 0}};
	must(lockstep_kernel_split_bf16(NULL, list, 3));
}

static void join(float *to, uint16_t *from, uint16_t *rest) {
	const lockstep_buffer list[] = {{to, ALL, 0}, halves(from), halves(rest)};
	must(lockstep_kernel_join_bf16(NULL, list, 3));
}

static void draw(int number) {
	source s = new_source("split", number);
	for (size_t i = 0; i < ALL; i++) {
		p[i] = ordinary(&s);
		g[i] = ordinary(&s);
	}
}

/* Halves that move, and steps on floats between, are those of floats alone. */
static void check_turns(void) {
	lockstep_optimizer *a = make("torch", "AdamW"), *b = make("torch", "AdamW");
	float *ps[] = {p, p + N}, *qs[] = {q, q + N};
	uint16_t *h[] = {upper, upper + N}, *r[] = {lower, lower + N}, *moved_h[] = {moved_upper, moved_upper + N}, *moved_r[] = {moved_lower, moved_lower + N};
	const float *grads[] = {g, g + N};
	draw(0);
	memcpy(q, p, sizeof q);
	for (int step = 0; step < 9; step++) {
		must(lockstep_optimizer_step(b, qs, grads, NULL, &error));
		size_t allocated = allocations();
		if (step % 3 == 2) {
			must(lockstep_optimizer_step(a, ps, grads, NULL, &error));
		} else if (step % 3) {
			split(upper, lower, p);
			must(lockstep_optimizer_step_split(a, h, r, grads, NULL, &error));
			join(p, upper, lower);
		} else {
			split(moved_upper, moved_lower, p);
			must(lockstep_optimizer_step_split(a, moved_h, moved_r, grads, NULL, &error));
			join(p, moved_upper, moved_lower);
		}
		CHECK(allocations() == allocated, "a step has allocated");
		CHECK(!memcmp(p, q, sizeof p), "step %d is another", step);
	}
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

/* State that begins as the parameters does so of what they are joined to, once a tensor has a gradient. */
static void check_begins(void) {
	lockstep_optimizer *a = make("optax", "MADGRAD"), *b = make("optax", "MADGRAD");
	float *qs[] = {q, q + N};
	uint16_t *h[] = {upper, upper + N}, *r[] = {lower, lower + N};
	const float *grads[] = {g, g + N}, *one[] = {g, NULL};
	draw(1);
	memcpy(q, p, sizeof q);
	split(upper, lower, p);
	for (int step = 0; step < 4; step++) {
		must(lockstep_optimizer_step(b, qs, step < 2 ? one : grads, NULL, &error));
		must(lockstep_optimizer_step_split(a, h, r, step < 2 ? one : grads, NULL, &error));
		join(p, upper, lower);
		CHECK(!memcmp(p, q, sizeof p), "step %d is another", step);
	}
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

/* What is refused leaves all as it is. */
static void check_refused(void) {
	lockstep_optimizer *o = make("torch", "AdamW"), *lamb = make("optax", "Lamb");
	uint16_t *h[] = {upper, upper + N}, *r[] = {lower, lower + N}, *none[] = {upper, NULL}, *crossed[] = {upper + N - 1, lower + N};
	uint16_t *in_grads[] = {lower, (uint16_t *)(void *)(g + 1)}, *in_state[] = {lower, (uint16_t *)(void *)lockstep_optimizer_state(o, 0, "m")};
	const float *grads[] = {g, g + N};
	draw(2);
	split(upper, lower, p);
	refused(lockstep_optimizer_step_split(o, NULL, r, grads, NULL, &error), "params is NULL");
	refused(lockstep_optimizer_step_split(o, h, NULL, grads, NULL, &error), "rests is NULL");
	refused(lockstep_optimizer_step_split(o, h, r, NULL, NULL, &error), "grads is NULL");
	refused(lockstep_optimizer_step_split(o, none, r, grads, NULL, &error), "params[1] is NULL, want 7 halves");
	refused(lockstep_optimizer_step_split(o, h, none, grads, NULL, &error), "rests[1] is NULL, want 7 halves");
	refused(lockstep_optimizer_step_split(o, h, crossed, grads, NULL, &error), "elements of bf16 at ");
	refused(lockstep_optimizer_step_split(o, h, in_grads, grads, NULL, &error), "apart from rests of tensor 1 at ");
	refused(lockstep_optimizer_step_split(o, h, in_state, grads, NULL, &error), "the optimizer's own state");
	refused(lockstep_optimizer_step_split(lamb, h, r, grads, NULL, &error), "rule is lamb, want one of a single pass");
	must(lockstep_optimizer_set_centralize(o, 1, &error));
	refused(lockstep_optimizer_step_split(o, h, r, grads, NULL, &error), "an adaptive clip or centralize is set");
	must(lockstep_optimizer_set_centralize(o, 0, &error));
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_step_split(o, h, r, grads, NULL, &error), "step is begun");
	join(q, upper, lower);
	CHECK(!memcmp(p, q, sizeof p), "a step that was refused has written");
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(lamb);
}

void test_split(void) {
	check_turns();
	check_begins();
	check_refused();
}
