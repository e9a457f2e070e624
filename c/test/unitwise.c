/* Clipping and centering by rows, and noise, beside what trajectories have of them. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
}

enum { ROWS = 50, COLUMNS = 700, N = ROWS * COLUMNS, M = 7 };
static const lockstep_tensor tensors[] = {{.name = "weights", .size = N, .columns = COLUMNS}, {.size = M}};
static float p[N + M], q[N + M], g[N + M];

static lockstep_optimizer *make(const char *name, double lr, size_t count) {
	options o = {0};
	CHECK(!lockstep_preset("torch", name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", lr);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, count, &made, &error));
	return made;
}

static void draw(int number) {
	source s = new_source("unitwise", number);
	for (size_t i = 0; i < N + M; i++) p[i] = q[i] = ordinary(&s), g[i] = ordinary(&s) + 1;
}

static void step(lockstep_optimizer *o) {
	float *params[] = {p, p + N};
	const float *grads[] = {g, g + N};
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
}

/* How far a row has moved, by its mean and its norm. */
static void look(size_t first, size_t n, double *mean, double *norm) {
	double sum = 0, squares = 0;
	for (size_t i = first; i < first + n; i++) {
		double d = (double)q[i] - (double)p[i];
		sum += d;
		squares += d * d;
	}
	*mean = sum / (double)n;
	*norm = sqrt(squares);
}

static double norm_of(const float *x, size_t n) {
	double squares = 0;
	for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
	return sqrt(squares);
}

/* A step of descent with a rate of 1 is the gradient as rows leave it. */
static void check_rows(void) {
	double mean, norm;
	lockstep_optimizer *o = make("SGD", 1, 2);
	draw(0);
	must(lockstep_optimizer_set_adaptive_clip(o, 0.01, 1e-3, &error));
	memset(q + 3 * COLUMNS, 0, COLUMNS * sizeof *q); /* which counts as 1e-3 */
	memcpy(p, q, sizeof p);
	step(o);
	for (size_t k = 0; k <= ROWS; k++) {
		size_t n = k < ROWS ? COLUMNS : M, first = k * COLUMNS;
		double most = 0.01 * fmax(norm_of(q + first, n), 1e-3);
		look(first, n, &mean, &norm);
		CHECK(fabs(norm / most - 1) < (k == 3 ? 1e-6 : 1e-3), "row %zu has moved by %g, want %g", k, norm, most);
	}
	must(lockstep_optimizer_set_adaptive_clip(o, 0, 0, &error));
	must(lockstep_optimizer_set_centralize(o, 1, &error));
	memcpy(p, q, sizeof p);
	step(o);
	for (size_t k = 0; k < ROWS; k++) {
		look(k * COLUMNS, COLUMNS, &mean, &norm);
		CHECK(fabs(mean) < 1e-6 && norm > 10, "row %zu has moved by %g on average", k, mean);
	}
	for (size_t i = N; i < N + M; i++) CHECK(p[i] == q[i] - g[i], "a vector is centered");
	must(lockstep_optimizer_set_centralize(o, 0, &error));
	memcpy(p, q, sizeof p);
	step(o);
	for (size_t i = 0; i < N; i++) CHECK(p[i] == q[i] - g[i], "rows are looked at yet");
	lockstep_optimizer_free(o);
}

static void check_noise(void) {
	const lockstep_noise n = {4, 0.5, 1}, other = {4, 0.5, 2};
	double mean, norm, second;
	lockstep_optimizer *o = make("SGD", 1, 2);
	static float first[N];
	draw(1);
	memset(g, 0, sizeof g);
	must(lockstep_optimizer_set_noise(o, &n, &error));
	step(o);
	look(0, N, &mean, &norm);
	CHECK(fabs(mean) < 0.05 && fabs(norm / sqrt(N) - 2) < 0.05, "noise of mean %g, and of deviation %g", mean, norm / sqrt(N));
	memcpy(first, p, sizeof first);
	memcpy(p, q, sizeof p);
	step(o);
	look(0, N, &mean, &second);
	CHECK(fabs(second / norm - sqrt(sqrt(0.5))) < 0.01 && memcmp(p, first, sizeof first), "the second step's noise is %g of the first's", second / norm);
	for (int k = 0; k < 2; k++) {
		memcpy(p, q, sizeof p);
		must(lockstep_optimizer_set_noise(o, k ? &other : &n, &error));
		for (size_t t = 0; t < 2; t++) must(lockstep_optimizer_set_steps(o, t, 0, &error));
		step(o);
		CHECK(!memcmp(p, first, sizeof first) == !k, "the noise of seed %d and the same step", k + 1);
	}
	must(lockstep_optimizer_set_noise(o, NULL, &error));
	memcpy(p, q, sizeof p);
	step(o);
	CHECK(!memcmp(p, q, sizeof p), "there is noise yet");
	lockstep_optimizer_free(o);
}

static void check_refused(void) {
	static const struct {
		lockstep_noise n;
		const char *want;
	} bad[] = {{{-1, 0, 0}, "eta is -1, want a finite float"}, {{NAN, 0, 0}, "eta is "}, {{1e39, 0, 0}, "eta is 1e+39"}, {{0, 0.5, 0}, "eta is 0, want a number above 0, or zeros"},
		{{0, 0, 1}, "eta is 0"}, {{1, -1, 0}, "gamma is -1, want from 0 to 8"}, {{1, 9, 0}, "gamma is 9"}, {{1, NAN, 0}, "gamma is "}};
	const lockstep_noise n = {1, 0.5, 1};
	const int64_t none[1] = {0};
	lockstep_optimizer *o = make("AdamW", 0.01, 2);
	for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) refused(lockstep_optimizer_set_noise(o, &bad[k].n, &error), bad[k].want);
	refused(lockstep_optimizer_set_adaptive_clip(o, -1, 0, &error), "clipping is -1, want a number above 0");
	refused(lockstep_optimizer_set_adaptive_clip(o, NAN, 0, &error), "clipping is ");
	refused(lockstep_optimizer_set_adaptive_clip(o, 1, -1, &error), "eps is -1, want a finite float of at least 0");
	refused(lockstep_optimizer_set_adaptive_clip(o, 1, INFINITY, &error), "eps is inf");
	CHECK(!o->adaptive && !o->groups[0].clipping.value, "what was refused is set");
	draw(2);
	must(lockstep_optimizer_set_centralize(o, 1, &error));
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_set_noise(o, &n, &error), "step is begun");
	refused(lockstep_optimizer_set_centralize(o, 0, &error), "step is begun");
	refused(lockstep_optimizer_set_adaptive_clip(o, 1, 0, &error), "step is begun");
	refused(lockstep_optimizer_apply(o, 0, 0, 100, p, g, &error), "first is 0 and count 100, want multiples of the 700 elements of a row");
	refused(lockstep_optimizer_apply(o, 0, 100, COLUMNS, p + 100, g + 100, &error), "first is 100 and count 700, want");
	must(lockstep_optimizer_apply(o, 0, COLUMNS, N - COLUMNS, p + COLUMNS, g + COLUMNS, &error));
	must(lockstep_optimizer_apply(o, 0, 0, COLUMNS, p, g, &error));
	must(lockstep_optimizer_apply(o, 1, 0, 3, p + N, g + N, &error));
	must(lockstep_optimizer_apply(o, 1, 3, M - 3, p + N + 3, g + N + 3, &error));
	must(lockstep_optimizer_end(o, &error));
	must(lockstep_optimizer_set_adaptive_clip(o, 0.1, 0, &error));
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_apply(o, 1, 0, 3, p + N, g + N, &error), "first is 0 and count 3, want multiples of the 7 elements");
	lockstep_optimizer_free(o);
	for (int k = 0; k < 3; k++) {
		o = make("Adagrad", 0.01, 1);
		if (k == 0) must(lockstep_optimizer_set_noise(o, &n, &error));
		if (k == 1) must(lockstep_optimizer_set_centralize(o, 1, &error));
		if (k == 2) must(lockstep_optimizer_set_adaptive_clip(o, 1, 0, &error));
		refused(lockstep_optimizer_step_rows(o, p, COLUMNS, none, 1, g, NULL, &error), "centralize is set, want none of them with steps on rows");
		lockstep_optimizer_free(o);
	}
}

/* Units are others once rows are looked at: norms are summed up in these, and what has arrived is
 * forgotten. */
static void check_units(void) {
	lockstep_optimizer *o = make("AdamW", 0.01, 2), *other = make("AdamW", 0.01, 2);
	float *params[] = {q, q + N};
	const float *grads[] = {g, g + N};
	draw(3);
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(lockstep_optimizer_set_max_norm(other, 1, &error));
	CHECK(o->unit_count == 4 && o->units[0].hi == 16 << 10, "%zu units", o->unit_count);
	must(lockstep_optimizer_observe(o, 0, 0, 10, g, &error));
	must(lockstep_optimizer_set_centralize(o, 1, &error));
	must(lockstep_optimizer_set_centralize(other, 1, &error));
	CHECK(o->unit_count == 4 && o->units[0].hi == 23 * COLUMNS, "%zu units, of which the first has %zu elements", o->unit_count, o->units[0].hi);
	for (int k = 0; k < 3; k++) {
		must(lockstep_optimizer_observe(o, 1, 0, M, g + N, &error));
		for (size_t lo = 0; lo < N; lo += 1000) must(lockstep_optimizer_observe(o, 0, lo, 1000, g + lo, &error));
		step(o);
		must(lockstep_optimizer_step(other, params, grads, NULL, &error));
		CHECK(lockstep_optimizer_norm(o) == lockstep_optimizer_norm(other) && !memcmp(p, q, sizeof p), "observed it is another step");
	}
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(other);
}

void test_unitwise(void) {
	check_rows();
	check_noise();
	check_refused();
	check_units();
}
