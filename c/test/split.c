/* Steps on parameters in two halves, and in bf16 alone. */
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

/* The number of SplitMix64 behind one. */
static uint64_t next_of(uint64_t x) {
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Rounds parameters as steps on bf16 alone are said to, to floats. */
static void round_params(float *x, size_t n, uint64_t seed, uint64_t tensor, uint64_t step) {
	uint64_t key = next_of(next_of(next_of(next_of(seed) ^ tensor) ^ UINT64_C(1) << 32) ^ step);
	for (size_t i = 0; i < n; i++) {
		uint64_t of = next_of(key ^ i / 1024);
		uint32_t place = (uint32_t)(i % 1024), bits;
		place = (place ^ place >> 16) * 0x85ebca6b;
		place = (place ^ place >> 13) * 0xc2b2ae35;
		place ^= place >> 16;
		place = place * ((uint32_t)of | 1) + (uint32_t)(of >> 32);
		memcpy(&bits, &x[i], sizeof bits);
		bits = (bits + (place >> 16)) & 0xffff0000;
		memcpy(&x[i], &bits, sizeof bits);
	}
}

static void widen(float *to, uint16_t *from) {
	const lockstep_buffer list[] = {{to, ALL, 0}, halves(from)};
	must(lockstep_kernel_widen_bf16(NULL, list, 2));
}

/* Bf16 alone is what floats are that are rounded after each step: in one call, in ranges, and with averages
 * that a tensor becomes without a gradient. */
static void check_bf16(void) {
	lockstep_optimizer *a = make("torch", "AdamW"), *b = make("torch", "AdamW");
	float *qs[] = {q, q + N};
	uint16_t *h[] = {upper, upper + N};
	const float *grads[] = {g, g + N}, *one[] = {g, NULL};
	const lockstep_averaging average = {.every = 1, .decay = 0.5, .overwrite = 4};
	lockstep_pool *pool;
	must(lockstep_pool_new(2, &pool));
	must(lockstep_optimizer_set_rounding(a, 9, &error));
	must(lockstep_optimizer_set_average(a, &average, &error));
	must(lockstep_optimizer_set_average(b, &average, &error));
	draw(3);
	split(upper, lower, p);
	widen(q, upper);
	for (int step = 1, own = 0; step <= 18; step++) {
		const float *const *given = step % 5 == 4 ? one : grads;
		size_t allocated = allocations();
		must(lockstep_optimizer_step(b, qs, given, NULL, &error));
		own += given == grads;
		round_params(q, N, 9, 0, (uint64_t)step);
		round_params(q + N, M, 9, 1, (uint64_t)own);
		if (step % 3 == 0 && given == grads) {
			must(lockstep_optimizer_begin(a, -1, &error));
			for (size_t lo = 0, n; lo < N; lo += n) {
				n = N - lo < 777 ? N - lo : 777;
				must(lockstep_optimizer_apply_bf16(a, 0, lo, n, upper + lo, g + lo, &error));
			}
			must(lockstep_optimizer_apply_bf16(a, 1, 0, M, upper + N, g + N, &error));
			must(lockstep_optimizer_end(a, &error));
		} else {
			must(lockstep_optimizer_step_bf16(a, h, given, step % 2 ? pool : NULL, &error));
		}
		CHECK(allocations() == allocated, "a step has allocated");
		widen(p, upper);
		CHECK(!memcmp(p, q, sizeof p), "step %d is another", step);
	}
	lockstep_pool_free(pool);
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

/* The bits of Go's TestBF16Known. */
static void check_known(void) {
	static uint16_t x[N];
	lockstep_sgd_options sgd;
	lockstep_group group = {"SGD", &sgd, sizeof sgd};
	lockstep_tensor tensor = {.size = N};
	lockstep_optimizer *o;
	uint16_t *h[] = {x};
	const float *grads[] = {g};
	must(lockstep_preset("torch", "SGD", &sgd, sizeof sgd, NULL));
	sgd.lr = 0x1p-10;
	must(lockstep_optimizer_new(&group, 1, &tensor, 1, &o, &error));
	must(lockstep_optimizer_set_rounding(o, 5, &error));
	for (size_t i = 0; i < N; i++) x[i] = 0x3f80, g[i] = 1;
	for (int step = 0; step < 3; step++) must(lockstep_optimizer_step_bf16(o, h, grads, NULL, &error));
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < N; i++) {
		hash = (hash ^ (x[i] & 0xff)) * UINT64_C(0x100000001b3);
		hash = (hash ^ x[i] >> 8) * UINT64_C(0x100000001b3);
	}
	CHECK(hash == UINT64_C(0x1ee90100c6e0e558), "the hash is %llx", (unsigned long long)hash);
	lockstep_optimizer_free(o);
}

/* Ranges of halves are those of floats. */
static void check_ranges(void) {
	lockstep_optimizer *a = make("torch", "AdamW"), *b = make("torch", "AdamW");
	float *qs[] = {q, q + N};
	const float *grads[] = {g, g + N};
	draw(4);
	memcpy(q, p, sizeof q);
	split(upper, lower, p);
	for (int step = 0; step < 18; step++) {
		must(lockstep_optimizer_step(b, qs, grads, NULL, &error));
		must(lockstep_optimizer_begin(a, -1, &error));
		for (size_t lo = 0, n; lo < N; lo += n) {
			n = N - lo < 1500 + (size_t)step ? N - lo : 1500 + (size_t)step;
			must(lockstep_optimizer_apply_split(a, 0, lo, n, upper + lo, lower + lo, g + lo, &error));
		}
		must(lockstep_optimizer_apply_split(a, 1, 0, M, upper + N, lower + N, g + N, &error));
		must(lockstep_optimizer_end(a, &error));
		join(p, upper, lower);
		CHECK(!memcmp(p, q, sizeof p), "step %d is another", step);
	}
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

/* What ranges and bf16 alone are refused, which leaves all as it is. */
static void check_more_refused(void) {
	lockstep_optimizer *o = make("torch", "AdamW"), *lamb = make("optax", "Lamb");
	uint16_t *h[] = {upper, upper + N}, *none[] = {upper, NULL}, *crossed[] = {upper, upper + N - 1};
	const float *grads[] = {g, g + N};
	draw(5);
	split(upper, lower, p);
	refused(lockstep_optimizer_step_bf16(o, NULL, grads, NULL, &error), "params is NULL");
	refused(lockstep_optimizer_step_bf16(o, none, grads, NULL, &error), "params[1] is NULL, want 7 halves");
	refused(lockstep_optimizer_step_bf16(o, crossed, grads, NULL, &error), "elements of bf16 at ");
	refused(lockstep_optimizer_step_bf16(lamb, h, grads, NULL, &error), "rule is lamb, want one of a single pass");
	refused(lockstep_optimizer_apply_bf16(o, 0, 0, 1, upper, g, &error), "step is not begun");
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_set_rounding(o, 1, &error), "begun");
	refused(lockstep_optimizer_apply_split(o, 0, 0, N, upper, NULL, g, &error), "rests is NULL");
	refused(lockstep_optimizer_apply_split(o, 0, 0, N, NULL, lower, g, &error), "params is NULL");
	refused(lockstep_optimizer_apply_split(o, 0, 0, N, upper, upper + 1, g, &error), "apart from ");
	refused(lockstep_optimizer_apply_bf16(o, 0, 0, N, (uint16_t *)(void *)lockstep_optimizer_state(o, 0, "m"), g, &error), "the optimizer's own state");
	refused(lockstep_optimizer_apply_bf16(o, 0, 1, N, upper, g, &error), "count is 20000");
	must(lockstep_optimizer_apply_bf16(o, 0, 0, 5, upper, g, &error));
	refused(lockstep_optimizer_apply_bf16(o, 0, 4, 5, upper + 4, g + 4, &error), "apart from 0 to 5");
	join(q, upper, lower);
	CHECK(!memcmp(p + 5, q + 5, sizeof p - 5 * sizeof *p), "a step that was refused has written");
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(lamb);
}

void test_split(void) {
	check_turns();
	check_begins();
	check_refused();
	check_bf16();
	check_known();
	check_ranges();
	check_more_refused();
}
