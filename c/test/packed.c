/* State in fewer bits, beside what trajectories have of it. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
	memset(&error, 0, sizeof error);
}

enum { N = 20000, M = 4096, ALL = N + M, SCALES = (N + LOCKSTEP_STATE_SCALE - 1) / LOCKSTEP_STATE_SCALE, BLOCKS = (N + LOCKSTEP_STATE_BLOCK - 1) / LOCKSTEP_STATE_BLOCK };
static const lockstep_tensor tensors[] = {{.name = "weights", .size = N}, {.size = M}};
static const lockstep_slot_type mixed[] = {{"v", LOCKSTEP_STATE_FLOAT8}, {"m", LOCKSTEP_STATE_BF16}};
static const lockstep_slot_type codes_alone[] = {{"m", LOCKSTEP_STATE_FLOAT8}, {"v", LOCKSTEP_STATE_FLOAT8}};
static float p[ALL], q[ALL], g[ALL];

static lockstep_optimizer *make_of(const char *framework, const char *name, const lockstep_tensor *list, size_t count) {
	options o = {0};
	CHECK(!lockstep_preset(framework, name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, list, count, &made, &error));
	return made;
}

static lockstep_optimizer *make(void) { return make_of("torch", "AdamW", tensors, 2); }

static void draw(int number) {
	source s = new_source("packed", number);
	for (size_t i = 0; i < ALL; i++) p[i] = q[i] = ordinary(&s);
}

static void draw_grads(int number) {
	source s = new_source("packed gradients", number);
	for (size_t i = 0; i < ALL; i++) g[i] = ordinary(&s) * 0.01f;
}

static void take_step(lockstep_optimizer *o, float *at) {
	float *params[] = {at, at + N};
	const float *grads[] = {g, g + N};
	size_t allocated = allocations();
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(allocations() == allocated, "a step has allocated");
}

/* What each type takes, and where there is none of it. */
static void check_sizes(void) {
	lockstep_optimizer *o = make();
	CHECK(lockstep_optimizer_state_bytes(o) == 8 * ALL, "%zu bytes of floats", lockstep_optimizer_state_bytes(o));
	must(lockstep_optimizer_set_state_types(o, mixed, 2, 1, &error));
	CHECK(lockstep_optimizer_state_bytes(o) == 8 * M + BLOCKS * (2048 + 1040), "%zu bytes", lockstep_optimizer_state_bytes(o));
	CHECK(lockstep_optimizer_state_type(o, 0, "m") == LOCKSTEP_STATE_BF16 && lockstep_optimizer_state_type(o, 0, "v") == LOCKSTEP_STATE_FLOAT8, "other types");
	CHECK(lockstep_optimizer_state_type(o, 1, "m") == LOCKSTEP_STATE_FLOAT32 && lockstep_optimizer_state_type(o, 2, "m") == LOCKSTEP_STATE_FLOAT32, "a small tensor is no floats");
	CHECK(!lockstep_optimizer_state(o, 0, "m") && lockstep_optimizer_state(o, 1, "m") && lockstep_optimizer_state_len(o, 0, "m") == N, "a buffer of another type");
	CHECK(lockstep_optimizer_state_room(LOCKSTEP_STATE_BF16, 1025) == 4096 && lockstep_optimizer_state_room(LOCKSTEP_STATE_FLOAT8, 1024) == 1040, "other rooms");
	CHECK(lockstep_optimizer_state_room(LOCKSTEP_STATE_FLOAT32, 3) == 12 && lockstep_optimizer_state_room(LOCKSTEP_STATE_FLOAT8, SIZE_MAX) == 0, "other rooms");
	must(lockstep_optimizer_set_state_types(o, NULL, 0, 0, &error));
	CHECK(lockstep_optimizer_state_bytes(o) == 8 * ALL && lockstep_optimizer_state(o, 0, "m"), "not floats again");
	lockstep_optimizer_free(o);
}

static float values[N], wide[N];
static uint16_t halves[N];
static uint8_t codes[N];
static float scales[SCALES];

/* What floats become, and what the elements stand for. */
static void check_values(void) {
	lockstep_optimizer *o = make();
	float *m = lockstep_optimizer_state(o, 0, "m"), *v = lockstep_optimizer_state(o, 0, "v");
	draw(0);
	for (size_t i = 0; i < N; i++) m[i] = p[i], v[i] = p[i] * p[i];
	must(lockstep_optimizer_set_state_types(o, mixed, 2, 1, &error));
	must(lockstep_optimizer_read_floats(o, 0, "m", values, &error));
	must(lockstep_optimizer_read_halves(o, 0, "m", halves, &error));
	double sum = 0, variance = 0;
	for (size_t i = 0; i < N; i++) {
		uint32_t bits = (uint32_t)halves[i] << 16, before;
		int exponent;
		CHECK(!memcmp(&bits, &values[i], sizeof bits), "element %zu is %g, want its half", i, (double)values[i]);
		CHECK(fabsf(values[i] - p[i]) < fabsf(p[i]) / 127, "element %zu is %g, want nearly %g", i, (double)values[i], (double)p[i]);
		sum += (double)values[i] - (double)p[i];
		memcpy(&before, &p[i], sizeof before);
		frexp((double)p[i], &exponent);
		double part = (before & 0xffff) / 65536.0, step = ldexp(1, exponent - 8); /* of the way to the half above */
		variance += part * (1 - part) * step * step;
	}
	CHECK(fabs(sum) < 5 * sqrt(variance) && variance > 0, "the sum is %g off, want some %g", sum, sqrt(variance));
	must(lockstep_optimizer_read_floats(o, 0, "v", values, &error));
	must(lockstep_optimizer_read_codes(o, 0, "v", codes, scales, &error));
	for (size_t i = 0; i < N; i++) {
		uint32_t bits = (codes[i] + 768u) << 20;
		float part, want = p[i] * p[i];
		memcpy(&part, &bits, sizeof part);
		CHECK(values[i] == part * (scales[i / LOCKSTEP_STATE_SCALE] / 1.875f), "element %zu is %g, want that of its code", i, (double)values[i]);
		CHECK(fabsf(values[i] - want) <= want / 8 + scales[i / LOCKSTEP_STATE_SCALE] * 0x1p-31f && values[i] > 0, "element %zu is %g, want nearly %g", i, (double)values[i], (double)want);
	}
	must(lockstep_optimizer_read_floats(o, 1, "v", wide, &error));
	CHECK(wide[0] == 0, "a state of floats");
	lockstep_optimizer_free(o);
}

/* Copies all state, and what tells how it is rounded. */
static void copy(const lockstep_optimizer *from, lockstep_optimizer *to) {
	must(lockstep_optimizer_read_halves(from, 0, "m", halves, &error));
	must(lockstep_optimizer_write_halves(to, 0, "m", halves, &error));
	must(lockstep_optimizer_read_codes(from, 0, "v", codes, scales, &error));
	must(lockstep_optimizer_write_codes(to, 0, "v", codes, scales, &error));
	for (size_t k = 0; k < 2; k++) {
		memcpy(lockstep_optimizer_state(to, 1, k ? "m" : "v"), lockstep_optimizer_state(from, 1, k ? "m" : "v"), M * sizeof(float));
		must(lockstep_optimizer_set_steps(to, k, lockstep_optimizer_steps(from, k), &error));
	}
}

/* Steps from a checkpoint on, and those in ranges and of the caller's state, are those of one run. */
static void check_ways(void) {
	static char m[BLOCKS * 2048], v[BLOCKS * 1040];
	static float rest[2][M];
	static float r[ALL];
	lockstep_state_type types[] = {LOCKSTEP_STATE_BF16, LOCKSTEP_STATE_FLOAT8};
	float *state[] = {(float *)(void *)m, (float *)(void *)v}, *other[] = {rest[0], rest[1]};
	const lockstep_tensor owned[] = {{.size = N, .state = state, .types = types}, {.size = M, .state = other}};
	lockstep_optimizer *a = make(), *b = make(), *c = make_of("torch", "AdamW", owned, 2);
	must(lockstep_optimizer_set_state_types(a, mixed, 2, 77, &error));
	must(lockstep_optimizer_set_state_types(b, mixed, 2, 77, &error));
	refused(lockstep_optimizer_set_state_types(c, codes_alone, 2, 77, &error), "the state m of tensor 0 is to be float8, want bf16: it is the caller's");
	must(lockstep_optimizer_set_state_types(c, mixed, 2, 77, &error));
	draw(1);
	memcpy(r, p, sizeof r);
	for (int step = 0; step < 40; step++) {
		draw_grads(step);
		take_step(a, p);
		take_step(c, r);
		if (step < 20) continue;
		if (step == 20) {
			memcpy(q, p, sizeof q);
			copy(a, b);
			continue;
		}
		must(lockstep_optimizer_begin(b, -1, &error));
		refused(lockstep_optimizer_apply(b, 0, 100, 1024, q + 100, g + 100, &error), "first is 100 and count 1024, want multiples of 1024");
		refused(lockstep_optimizer_apply(b, 0, 1024, 100, q + 1024, g + 1024, &error), "or what is up to the tensor's end at 20000");
		must(lockstep_optimizer_apply(b, 0, 1024, N - 1024, q + 1024, g + 1024, &error));
		must(lockstep_optimizer_apply(b, 0, 0, 1024, q, g, &error));
		must(lockstep_optimizer_apply(b, 1, 0, M, q + N, g + N, &error));
		refused(lockstep_optimizer_set_state_types(b, NULL, 0, 0, &error), "step is begun");
		refused(lockstep_optimizer_write_halves(b, 0, "m", halves, &error), "step is begun");
		refused(lockstep_optimizer_write_codes(b, 0, "v", codes, scales, &error), "step is begun");
		must(lockstep_optimizer_end(b, &error));
		CHECK(!memcmp(p, q, sizeof p), "step %d from a checkpoint is another", step);
	}
	CHECK(!memcmp(p, r, sizeof p), "steps with the caller's state are others");
	lockstep_optimizer *d = make_of("torch", "AdamW", owned, 2);
	must(lockstep_optimizer_read_codes(a, 0, "v", codes, scales, &error));
	static uint8_t taken[N];
	must(lockstep_optimizer_read_codes(d, 0, "v", taken, scales, &error));
	CHECK(!memcmp(codes, taken, sizeof codes), "the caller's state is another");
	float bad = -1;
	memcpy(v + BLOCKS * 1024, &bad, sizeof bad);
	options o = {0};
	lockstep_preset("torch", "AdamW", o.bytes, sizeof o.bytes, &o.rule);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *none;
	refused(lockstep_optimizer_new(&group, 1, owned, 2, &none, &error), "scale 0 of the state v of tensor 0 is -1, want a finite number of at least 0");
	types[1] = (lockstep_state_type)3;
	refused(lockstep_optimizer_new(&group, 1, owned, 2, &none, &error), "tensors[0].types[1] is 3, want LOCKSTEP_STATE_FLOAT32");
	types[1] = LOCKSTEP_STATE_FLOAT32;
	const lockstep_tensor small[] = {{.size = M, .state = other, .types = types}}, without[] = {{.size = N, .types = types}};
	refused(lockstep_optimizer_new(&group, 1, small, 1, &none, &error), "the state m of tensor 0 is of bf16, want of float32 for at most 4096 elements");
	refused(lockstep_optimizer_new(&group, 1, without, 1, &none, &error), "tensors[0].types is given, want NULL without the caller's state");
	lockstep_optimizer *all[] = {a, b, c, d};
	for (size_t k = 0; k < 4; k++) lockstep_optimizer_free(all[k]);
}

/* A seed decides how state is rounded. */
static void check_seeds(void) {
	lockstep_optimizer *o[2] = {make(), make()};
	draw(2);
	for (size_t k = 0; k < 2; k++) {
		must(lockstep_optimizer_set_state_types(o[k], codes_alone, 2, k, &error));
		for (int step = 0; step < 3; step++) {
			draw_grads(step);
			take_step(o[k], k ? q : p);
		}
	}
	CHECK(memcmp(p, q, N * sizeof *p) && !memcmp(p + N, q + N, M * sizeof *p), "seeds change nothing, or more than they should");
	for (size_t k = 0; k < 2; k++) lockstep_optimizer_free(o[k]);
}

/* Gradients of which some leave state that is flushed: of a block's first quarter v, of its last m. */
static void draw_small(int step) {
	draw_grads(step);
	for (size_t i = 0; i < N; i++) {
		size_t part = i % LOCKSTEP_STATE_BLOCK / LOCKSTEP_STATE_SCALE;
		if (part == 0) g[i] = 1e-15f;
		if (part == 3) g[i] = step < 4 ? 1e-32f : 0;
	}
}

/* Blocks that a kernel packs are those that are packed one slot after the other, along floats and bf16. */
static void check_pairs(void) {
	static const lockstep_element bf16[] = {LOCKSTEP_BF16, LOCKSTEP_BF16};
	static uint16_t h[ALL];
	static uint8_t others[N];
	static float other_scales[SCALES];
	lockstep_optimizer *o[2] = {make(), make()};
	for (size_t k = 0; k < 2; k++) must(lockstep_optimizer_set_state_types(o[k], codes_alone, 2, 5, &error));
	CHECK(o[0]->groups[0].fused[FORM_CODES] && o[0]->groups[0].fused[FORM_CODES_OF_FLOATS], "no kernel for pairs");
	memset(o[1]->groups[0].fused, 0, sizeof o[1]->groups[0].fused);
	draw(4);
	for (int step = 1; step <= 33; step++) {
		int typed = step % 2 || step == 16;
		draw_small(step);
		for (size_t i = 0; i < ALL; i++) {
			uint32_t bits;
			memcpy(&bits, &g[i], sizeof bits);
			h[i] = (uint16_t)(bits >> 16);
		}
		for (size_t k = 0; k < 2; k++) {
			float *params[] = {k ? q : p, (k ? q : p) + N};
			const float *grads[] = {typed ? (float *)(void *)h : g, typed ? (float *)(void *)(h + N) : g + N};
			must(lockstep_optimizer_set_grad_elements(o[k], typed ? bf16 : NULL, &error));
			must(lockstep_optimizer_step(o[k], params, grads, NULL, &error));
		}
		CHECK(!memcmp(p, q, sizeof p), "step %d of pairs is another", step);
		for (size_t k = 0; k < 2; k++) {
			const char *slot = k ? "v" : "m";
			must(lockstep_optimizer_read_codes(o[0], 0, slot, codes, scales, &error));
			must(lockstep_optimizer_read_codes(o[1], 0, slot, others, other_scales, &error));
			CHECK(!memcmp(codes, others, N) && !memcmp(scales, other_scales, sizeof scales), "step %d: the codes of %s are others", step, slot);
			if (step % 16 == 0) CHECK(scales[k ? 0 : 3] == 0, "step %d: small state of %s is left", step, slot);
		}
	}
	for (size_t k = 0; k < 2; k++) lockstep_optimizer_free(o[k]);
}

/* What is refused leaves all as it is. */
static void check_refused(void) {
	lockstep_optimizer *o = make(), *rms = make_of("keras", "RMSprop", tensors, 1), *lamb = make_of("optax", "Lamb", tensors, 1);
	const lockstep_slot_type unknown[] = {{"m", (lockstep_state_type)9}}, none[] = {{NULL, LOCKSTEP_STATE_BF16}}, other[] = {{"u", LOCKSTEP_STATE_BF16}};
	const lockstep_slot_type twice[] = {{"m", LOCKSTEP_STATE_BF16}, {"m", LOCKSTEP_STATE_BF16}}, moment[] = {{"m", LOCKSTEP_STATE_BF16}};
	refused(lockstep_optimizer_set_state_types(o, NULL, 1, 0, &error), "types is NULL");
	refused(lockstep_optimizer_set_state_types(o, unknown, 1, 0, &error), "types[0].type is 9, want LOCKSTEP_STATE_FLOAT32");
	refused(lockstep_optimizer_set_state_types(o, none, 1, 0, &error), "types[0].slot is NULL");
	refused(lockstep_optimizer_set_state_types(o, other, 1, 0, &error), "types[0].slot is u, want the name of a slot");
	refused(lockstep_optimizer_set_state_types(o, twice, 2, 0, &error), "types[1].slot is m, which types[0] has");
	refused(lockstep_optimizer_set_state_types(lamb, moment, 1, 0, &error), "types[0] is bf16 for m, want float32 for this slot of the lamb rule");
	must(lockstep_optimizer_set_centralize(o, 1, &error));
	refused(lockstep_optimizer_set_state_types(o, mixed, 2, 0, &error), "types is not float32, want float32 with an adaptive clip or centralize");
	must(lockstep_optimizer_set_centralize(o, 0, &error));
	must(lockstep_optimizer_set_state_types(o, mixed, 2, 0, &error));
	refused(lockstep_optimizer_set_centralize(o, 1, &error), "want that with centralize");
	refused(lockstep_optimizer_set_adaptive_clip(o, 1, 1e-3, &error), "want that with an adaptive clip");
	must(lockstep_optimizer_set_adaptive_clip(o, 0, 0, &error));
	refused(lockstep_optimizer_read_codes(o, 0, "m", codes, scales, &error), "the state m of tensor 0 (weights) is of bf16, want of float8");
	refused(lockstep_optimizer_read_halves(o, 1, "m", halves, &error), "the state m of tensor 1 is of float32, want of bf16");
	refused(lockstep_optimizer_read_halves(o, 2, "m", halves, &error), "tensor is 2");
	refused(lockstep_optimizer_read_halves(o, 0, "x", halves, &error), "slot is x");
	refused(lockstep_optimizer_read_halves(o, 0, "m", NULL, &error), "halves is NULL");
	refused(lockstep_optimizer_read_codes(o, 0, "v", codes, NULL, &error), "scales is NULL");
	refused(lockstep_optimizer_read_floats(o, 0, "v", NULL, &error), "floats is NULL");
	memset(halves, 0, sizeof halves);
	memset(codes, 0, sizeof codes);
	memset(scales, 0, sizeof scales);
	halves[7] = 0x7f80;
	scales[3] = -1;
	refused(lockstep_optimizer_write_halves(o, 0, "m", halves, &error), "element 7 of the state m of tensor 0 (weights) is inf, want a finite number");
	refused(lockstep_optimizer_write_codes(o, 0, "v", codes, scales, &error), "scale 3 of the state v of tensor 0 (weights) is -1");
	int32_t row = 0;
	lockstep_optimizer *table = make_of("torch", "Adagrad", tensors, 1);
	const lockstep_slot_type sum[] = {{"accumulator", LOCKSTEP_STATE_FLOAT8}};
	must(lockstep_optimizer_set_state_types(table, sum, 1, 0, &error));
	refused(lockstep_optimizer_step_rows32(table, p, 10, &row, 1, g, NULL, &error), "want that with steps on rows");
	CHECK(lockstep_optimizer_state_type(o, 0, "m") == LOCKSTEP_STATE_BF16, "a type that was refused is set");
	lockstep_optimizer *all[] = {o, rms, lamb, table};
	for (size_t k = 0; k < 4; k++) lockstep_optimizer_free(all[k]);
}

void test_packed(void) {
	check_sizes();
	check_values();
	check_ways();
	check_seeds();
	check_pairs();
	check_refused();
}
