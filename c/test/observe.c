/* Norms of gradients that arrive in parts: the bits of steps that read them. */
#include "test.h"
#include "thread.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
}

/* A part of a tensor's gradient. */
typedef struct part {
	size_t tensor, lo, hi;
} part;

/* Parts, in the order of arrival. */
typedef struct parts {
	lockstep_optimizer *o;
	const float *const *grads;
	char *room; /* of all elements: some parts lie elsewhere than the rest of their gradient */
	size_t count;
	part *list;
} parts;

/* Cuts the gradients that are there anywhere, and shuffles the parts. */
static parts cut(lockstep_optimizer *o, const float *const *grads, source *s) {
	parts p = {o, grads, malloc((o->total + 1) * sizeof(float)), 0, malloc((o->total + 1) * sizeof(part))};
	for (size_t k = 0; k < o->count; k++) {
		size_t n = o->places[k].size;
		for (size_t lo = 0, hi; lo < n && grads[k]; lo = hi) {
			const uint32_t lengths[] = {3, 100, 5000, 40000, (uint32_t)n};
			hi = lo + 1 + below(s, lengths[below(s, 5)]);
			if (n > 1000 && hi - lo < 40) hi = lo + 40;
			if (hi > n) hi = n;
			p.list[p.count++] = (part){k, lo, hi};
		}
	}
	for (size_t k = p.count; k > 1; k--) {
		size_t j = below(s, (uint32_t)k);
		part x = p.list[j];
		p.list[j] = p.list[k - 1];
		p.list[k - 1] = x;
	}
	return p;
}

static void close_parts(parts *p) {
	free(p->list);
	free(p->room);
}

static size_t start_of(const lockstep_optimizer *o, size_t tensor) {
	size_t at = 0;
	while (tensor > 0) at += o->places[--tensor].size;
	return at;
}

static void observe_part(void *context, size_t unit) {
	const parts *p = context;
	part x = p->list[unit];
	const float *g = lockstep_grads_at(p->o, x.tensor, p->grads[x.tensor], x.lo);
	if (unit % 3 == 0) {
		size_t size = lockstep_element_size(p->o->records[x.tensor].element);
		char *copy = p->room + start_of(p->o, x.tensor) * sizeof *g + x.lo * size;
		g = memcpy(copy, g, (x.hi - x.lo) * size);
	}
	lockstep_error e;
	CHECK(!lockstep_optimizer_observe(p->o, x.tensor, x.lo, x.hi - x.lo, g, &e), "refused: %s", e.message);
}

void observe_parts(lockstep_optimizer *o, const float *const *grads, source *s, lockstep_pool *pool) {
	static parts p; /* until the next step has been taken */
	close_parts(&p);
	p = cut(o, grads, s);
	lockstep_share(pool, observe_part, &p, p.count, o->total);
}

enum { UNIT = 16 << 10, TENSORS = 13 };
static const size_t sizes[TENSORS] = {70, 3, 0, 3 * UNIT + 5, 4096, 4097, 1, 5 * UNIT, 9000, 9000, 17, 4096, 4000};

/* An optimizer of these tensors, every third of them of another rule, with buffers. */
typedef struct set {
	lockstep_optimizer *o;
	float *params[TENSORS], *grads[TENSORS];
	const float *given[TENSORS];
} set;

static lockstep_group preset(options *o, const char *name) {
	*o = (options){0};
	CHECK(!lockstep_preset("optax", name, o->bytes, sizeof o->bytes, &o->rule), "no %s", name);
	set_option(o, "lr", 0.01);
	return (lockstep_group){o->rule->name, o->bytes, o->rule->size};
}

static set *open_set(const char *rule, const char *other) {
	options a, b;
	lockstep_group groups[] = {preset(&a, rule), preset(&b, other)};
	lockstep_tensor tensors[TENSORS];
	set *x = calloc(1, sizeof *x);
	source s = new_source("observe", 0);
	for (size_t k = 0; k < TENSORS; k++) {
		tensors[k] = (lockstep_tensor){.size = sizes[k], .group = k % 3 == 1};
		x->params[k] = malloc((sizes[k] + 1) * sizeof(float));
		x->given[k] = x->grads[k] = malloc((sizes[k] + 1) * sizeof(float));
		for (size_t i = 0; i < sizes[k]; i++) x->params[k][i] = ordinary(&s);
	}
	must(lockstep_optimizer_new(groups, 2, tensors, TENSORS, &x->o, &error));
	must(lockstep_optimizer_set_max_norm(x->o, 0.5, &error));
	must(lockstep_optimizer_set_grad_scale(x->o, 0.75, &error));
	return x;
}

static void close_set(set *x) {
	lockstep_optimizer_free(x->o);
	for (size_t k = 0; k < TENSORS; k++) free(x->params[k]), free(x->grads[k]);
	free(x);
}

/* Gradients of many sizes, in some steps without those of some tensors. */
static void draw(set *x, int step) {
	source s = new_source("observed gradients", step);
	for (size_t k = 0; k < TENSORS; k++) {
		for (size_t i = 0; i < sizes[k]; i++) x->grads[k][i] = ldexpf(ordinary(&s), -(int)(i % 7) * 3);
		x->given[k] = step % 3 == 2 && below(&s, 3) == 0 ? NULL : x->grads[k];
	}
}

static void compare(const set *got, const set *want, const char *what, int step) {
	CHECK(lockstep_optimizer_norm(got->o) == lockstep_optimizer_norm(want->o), "%s, step %d: the norm is %a, want %a", what, step, lockstep_optimizer_norm(got->o), lockstep_optimizer_norm(want->o));
	for (size_t k = 0; k < TENSORS; k++) CHECK(!memcmp(got->params[k], want->params[k], sizes[k] * sizeof(float)), "%s, step %d: tensor %zu has other bits", what, step, k);
}

/* Steps whose gradients have arrived in any order and from several threads. */
static void check_order(lockstep_pool *pool) {
	set *whole = open_set("AdamW", "Lamb"), *split = open_set("AdamW", "Lamb");
	must(lockstep_optimizer_set_policy(whole->o, LOCKSTEP_SKIP, &error));
	must(lockstep_optimizer_set_policy(split->o, LOCKSTEP_SKIP, &error));
	for (int step = 0; step < 20; step++) {
		source s = new_source("observed parts", step);
		draw(whole, step), draw(split, step);
		if (step == 7) whole->grads[3][5] = split->grads[3][5] = INFINITY;
		double read = 0, seen = 0;
		must(lockstep_optimizer_measure(split->o, split->given, pool, &read, &error));
		observe_parts(split->o, split->given, &s, step % 2 ? pool : NULL);
		must(lockstep_optimizer_measure(split->o, split->given, pool, &seen, &error));
		CHECK(seen == read, "step %d: the norm is %a, want %a", step, seen, read);
		must(lockstep_optimizer_step(split->o, split->params, split->given, pool, &error));
		must(lockstep_optimizer_step(whole->o, whole->params, whole->given, NULL, &error));
		compare(split, whole, "observed", step);
	}
	CHECK(lockstep_optimizer_skipped(split->o) == 1 && lockstep_optimizer_skipped(whole->o) == 1, "%lld steps were skipped", (long long)lockstep_optimizer_skipped(split->o));
	close_set(whole), close_set(split);
}

/* A step that is begun with a norm that was observed in other parts than it is applied to. */
static void check_apply(lockstep_pool *pool) {
	set *whole = open_set("AdamW", "RMSprop"), *split = open_set("AdamW", "RMSprop");
	for (int step = 0; step < 3; step++) {
		source s = new_source("observed and applied", step);
		draw(whole, 0), draw(split, 0);
		observe_parts(split->o, split->given, &s, pool);
		must(lockstep_optimizer_begin(split->o, -1, &error));
		for (size_t k = 0; k < TENSORS; k++)
			for (size_t lo = 0; lo < sizes[k]; lo += 7000) {
				size_t n = sizes[k] - lo < 7000 ? sizes[k] - lo : 7000;
				must(lockstep_optimizer_apply(split->o, k, lo, n, split->params[k] + lo, split->grads[k] + lo, &error));
			}
		must(lockstep_optimizer_end(split->o, &error));
		must(lockstep_optimizer_step(whole->o, whole->params, whole->given, NULL, &error));
		compare(split, whole, "observed and applied", step);
	}
	close_set(whole), close_set(split);
}

enum { N = 40000, M = 10, L = 100 };
static float p[L + N + M], g[L + N + M];
static float *params[] = {p, p + L, p + L + N};
static const float *grads[] = {g, g + L, g + L + N};

static lockstep_optimizer *make(const char *name) {
	const lockstep_tensor tensors[] = {{.size = L}, {.name = "weights", .size = N}, {.size = M}};
	options o;
	lockstep_group group = preset(&o, name);
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, tensors, 3, &made, &error));
	return made;
}

static lockstep_status observe(lockstep_optimizer *o, size_t tensor, size_t lo, size_t hi) {
	return lockstep_optimizer_observe(o, tensor, lo, hi - lo, grads[tensor] + lo, &error);
}

/* Refuses a step, which has written nothing. */
static void refused_step(lockstep_optimizer *o, const float *const *given, const char *want) {
	static float before[L + N + M];
	memcpy(before, p, sizeof p);
	refused(lockstep_optimizer_step(o, params, given, NULL, &error), want);
	CHECK(!memcmp(before, p, sizeof p) && lockstep_optimizer_steps(o, 0) == 0, "a step that was refused has written");
}

static void check_refused_parts(lockstep_optimizer *o) {
	refused(observe(o, 0, 0, L), "max_norm is 0, want a number above 0 with lockstep_optimizer_observe");
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(observe(o, 1, 100, 20000));
	must(lockstep_optimizer_observe(o, 1, 20000, 0, NULL, &error));
	refused(observe(o, 1, 0, 101), "first is 0, want that of a range of tensor 1 apart from 100 to 16384, which has been observed");
	refused(observe(o, 1, 19999, 20001), "first is 19999, want that of a range of tensor 1 apart from 16384 to 20000");
	refused(observe(o, 1, 100, 20000), "apart from 100 to 16384");
	refused(observe(o, 1, 300, 301), "apart from 100 to 16384");
	refused(observe(o, 1, 0, N), "apart from 100 to 16384");
	refused(lockstep_optimizer_observe(o, 3, 0, 1, g, &error), "tensor is 3, want the index of one of 3");
	refused(observe(o, 0, L + 1, L + 1), "first is 101, want one of the 100 elements of tensor 0");
	refused(observe(o, 0, 99, 101), "count is 2, want at most the 1 elements of tensor 0 from 99 on");
	refused(lockstep_optimizer_observe(o, 0, 1, SIZE_MAX, g, &error), "count is ");
	refused(lockstep_optimizer_observe(o, 0, 0, 1, NULL, &error), "grads is NULL");
}

/* Parts that overlap, that lack and that are too many. */
static void check_refusals(void) {
	const float *some[] = {g, g + L, NULL};
	lockstep_optimizer *o = make("AdamW");
	check_refused_parts(o);
	double norm = -1;
	refused_step(o, grads, "tensor 0 is not observed from 0 on, want all of its 100 elements");
	refused(lockstep_optimizer_measure(o, grads, NULL, &norm, &error), "tensor 0 is not observed from 0 on");
	CHECK(norm == -1, "a norm that was refused is written");
	must(observe(o, 0, 0, L));
	must(observe(o, 2, 0, M));
	refused(observe(o, 2, 3, 4), "apart from 0 to 10");
	refused_step(o, grads, "tensor 1 (weights) is not observed from 0 on, want all of its 40000 elements");
	refused(lockstep_optimizer_begin(o, -1, &error), "tensor 1 (weights) is not observed from 0 on");
	must(observe(o, 1, 0, 100));
	refused(observe(o, 1, 5, 6), "apart from 0 to 16384");
	must(observe(o, 1, 20001, N));
	refused_step(o, grads, "tensor 1 (weights) is not observed from 20000 on");
	must(observe(o, 1, 20000, 20001));
	refused_step(o, some, "tensor 2 is observed from 0 on, want it not observed, since its gradient is NULL");
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_steps(o, 0) == 1, "the step was not taken");
	refused(lockstep_optimizer_begin(o, -1, &error), "or gradients that were observed");
	lockstep_optimizer_free(o);
}

/* What was observed is let go of. */
static void check_forgotten(void) {
	lockstep_optimizer *o = make("AdamW");
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(observe(o, 1, 5, N));
	lockstep_optimizer_forget_observed(o);
	must(lockstep_optimizer_step(o, params, grads, NULL, &error)); /* which reads */
	double norm = lockstep_optimizer_norm(o);
	must(observe(o, 1, 5, N));
	must(lockstep_optimizer_set_max_norm(o, INFINITY, &error));
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(observe(o, 1, 0, N));
	must(lockstep_optimizer_begin(o, 4, &error));
	CHECK(lockstep_optimizer_norm(o) == 2, "the norm is %g, want that of begin", lockstep_optimizer_norm(o));
	for (size_t k = 0; k < 3; k++) must(observe(o, k, 0, (size_t[]){L, N, M}[k])); /* of the next step */
	for (size_t k = 0; k < 3; k++) must(lockstep_optimizer_apply(o, k, 0, (size_t[]){L, N, M}[k], params[k], grads[k], &error));
	must(lockstep_optimizer_end(o, &error));
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_norm(o) == norm, "the norm is %g, want %g", lockstep_optimizer_norm(o), norm);
	lockstep_optimizer_free(o);
}

/* Steps on rows read the gradients of theirs. */
static void check_rows(void) {
	const lockstep_tensor table = {.size = L};
	const int64_t rows[] = {1};
	options adam;
	lockstep_group group = preset(&adam, "AdamW");
	lockstep_optimizer *o;
	must(lockstep_optimizer_new(&group, 1, &table, 1, &o, &error));
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(observe(o, 0, 0, 10));
	refused(lockstep_optimizer_step_rows(o, p, 10, rows, 1, g, NULL, &error), "the gradient is observed, want");
	lockstep_optimizer_forget_observed(o);
	must(lockstep_optimizer_step_rows(o, p, 10, rows, 1, g, NULL, &error));
	lockstep_optimizer_free(o);
}

/* A table whose kernel for sums of squares is another one. */
static lockstep_table summing_by(lockstep_bare *kernel) {
	static lockstep_bare *kernels[512];
	const lockstep_table *active;
	const lockstep_kernel *k = lockstep_all;
	CHECK(!lockstep_active(&active) && lockstep_all_count <= sizeof kernels / sizeof *kernels, "%zu kernels", lockstep_all_count);
	while (strcmp(k->name, "SumSquares")) k++;
	memcpy(kernels, active->kernels, lockstep_all_count * sizeof *kernels);
	kernels[k - lockstep_all] = kernel;
	return (lockstep_table){active->isa, kernels, active->tile};
}

/* Takes a step while a part is being taken, by the kernel that sums it. */
static lockstep_optimizer *taken;
static void step_meanwhile(const lockstep_buffer *list, int64_t count, const void *scalars, void *const *lanes) {
	(void)list, (void)count, (void)scalars, (void)lanes;
	lockstep_optimizer *o = taken;
	taken = NULL;
	if (o) refused_step(o, grads, "the gradients are being observed, want them observed before the step");
}

static size_t sums;
static void count_sums(const lockstep_buffer *list, int64_t count, const void *scalars, void *const *lanes) {
	(void)list, (void)count, (void)scalars, (void)lanes;
	sums++;
}

static void check_meanwhile(void) {
	lockstep_table table = summing_by(step_meanwhile);
	lockstep_optimizer *o = taken = make("AdamW");
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(lockstep_optimizer_set_table(o, &table, &error));
	must(observe(o, 1, 0, N));
	CHECK(!taken, "no kernel ran");
	table = summing_by(count_sums);
	must(observe(o, 0, 50, L));
	must(observe(o, 0, 0, 50));
	CHECK(!sums, "a unit was summed before it was whole");
	must(observe(o, 2, 0, M));
	CHECK(sums, "a unit that was whole was not summed");
	sums = 0;
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(!sums, "a step has read what was observed");
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(sums, "a step has not read its gradients");
	lockstep_optimizer_free(o);
}

/* Forgets on another thread what this one's kernel reads, for which that has to wait. */
static atomic_int forgotten;
static lockstep_thread forgetting;
static LOCKSTEP_THREAD_RESULT forget(void *o) {
	lockstep_optimizer_forget_observed(o);
	forgotten = 1;
	return 0;
}

static void forget_meanwhile(const lockstep_buffer *list, int64_t count, const void *scalars, void *const *lanes) {
	(void)list, (void)count, (void)scalars, (void)lanes;
	CHECK(lockstep_start_thread(&forgetting, forget, taken), "no thread");
	for (int turn = 0; turn < 1 << 19; turn++) lockstep_pause();
	CHECK(!forgotten, "what is read was forgotten");
}

static void check_waits(void) {
	const lockstep_table table = summing_by(forget_meanwhile);
	lockstep_optimizer *o = taken = make("AdamW");
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(lockstep_optimizer_set_table(o, &table, &error));
	must(observe(o, 1, 0, 16 << 10));
	lockstep_join_thread(forgetting);
	CHECK(forgotten && !lockstep_is_observed(o), "what was observed is not forgotten");
	lockstep_optimizer_free(o);
}

/* Parts that are whole units or some of a few do not allocate, and others not twice. */
static void check_allocations(void) {
	lockstep_optimizer *o = make("AdamW");
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	for (int round = 0; round < 5; round++) {
		size_t length = round < 2 ? 5000 : 3, before = allocations();
		for (size_t first = 0; first < 2; first++)
			for (size_t k = 0; k < 3; k++)
				for (size_t size = o->places[k].size, lo = first * length; lo < size; lo += 2 * length) must(observe(o, k, lo, lo + length < size ? lo + length : size));
		must(lockstep_optimizer_step(o, params, grads, NULL, &error));
		CHECK((allocations() > before) == (round == 2), "%zu allocations in round %d", allocations() - before, round);
	}
	lockstep_optimizer_free(o);
}

void test_observe(void) {
	source s = new_source("observe", 1);
	for (size_t i = 0; i < L + N + M; i++) p[i] = ordinary(&s), g[i] = ordinary(&s);
	lockstep_pool *pool = busy_pool(8, 0);
	check_order(pool);
	check_apply(pool);
	lockstep_pool_free(pool);
	check_refusals();
	check_forgotten();
	check_rows();
	check_meanwhile();
	check_waits();
	check_allocations();
}
