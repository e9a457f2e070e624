/* Pools: the bits of one thread, many users at a time, and life in a child. */
#include "test.h"

#include <stdatomic.h>
#include <string.h>

#ifndef _WIN32

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 300000, SMALL = 2000, STEPS = 3, USERS = 8 };

/* An optimizer of a large tensor and many small ones, with its buffers. */
typedef struct user {
	lockstep_optimizer *o;
	float *params[SMALL + 1];
	const float *grads[SMALL + 1];
	float *room;
	size_t size;
	lockstep_pool *pool;
	uint32_t hash;
} user;

static void open_user(user *u, const char *preset, lockstep_pool *pool) {
	static lockstep_tensor tensors[SMALL + 1];
	options o = {0};
	CHECK(!lockstep_preset("optax", preset, o.bytes, sizeof o.bytes, &o.rule), "no preset");
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	tensors[0].size = N;
	u->pool = pool;
	u->size = N;
	for (size_t k = 1; k <= SMALL; k++) u->size += tensors[k].size = k % 100;
	u->room = malloc(2 * u->size * sizeof(float));
	source s = new_source(preset, 0);
	for (size_t i = 0; i < 2 * u->size; i++) u->room[i] = ordinary(&s);
	float *at = u->room;
	for (size_t k = 0; k <= SMALL; at += tensors[k].size, k++) u->params[k] = at, u->grads[k] = at + u->size;
	CHECK(!lockstep_optimizer_new(&group, 1, tensors, SMALL + 1, &u->o, NULL), "no optimizer");
	CHECK(!lockstep_optimizer_set_max_norm(u->o, 1, NULL), "no norm");
}

static void close_user(user *u) {
	lockstep_optimizer_free(u->o);
	free(u->room);
}

static void *take_steps(void *context) {
	user *u = context;
	for (int k = 0; k < STEPS; k++) CHECK(!lockstep_optimizer_step(u->o, u->params, u->grads, u->pool, NULL), "refused");
	u->hash = hash_sum(hash_floats(HASH_START, u->room, u->size));
	return NULL;
}

static lockstep_pool *new_pool(size_t threads) {
	lockstep_pool *pool;
	CHECK(!lockstep_pool_new(threads, &pool), "no pool of %zu", threads);
	return pool;
}

static uint32_t hash_with(const char *preset, lockstep_pool *pool) {
	user *u = calloc(1, sizeof *u);
	open_user(u, preset, pool);
	take_steps(u);
	uint32_t hash = u->hash;
	close_user(u);
	free(u);
	return hash;
}

static void check_threads(void) {
	static const size_t threads[] = {1, 2, 3, 7, 64};
	lockstep_pool *none = (lockstep_pool *)&none;
	for (int k = 0; k < 2; k++) {
		const char *preset = k ? "Lamb" : "AdamW";
		uint32_t want = hash_with(preset, NULL);
		for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
			lockstep_pool *pool = new_pool(threads[t]);
			CHECK(hash_with(preset, pool) == want, "%s: other bits with %zu threads", preset, threads[t]);
			lockstep_pool_free(pool);
		}
	}
	CHECK(lockstep_pool_new(0, &none) == LOCKSTEP_BAD_ARGUMENT && !none, "a pool of no threads");
	CHECK(lockstep_pool_new(SIZE_MAX, &none) == LOCKSTEP_BAD_ARGUMENT && !none, "a pool of too many threads");
	lockstep_pool_free(NULL);
	lockstep_pool_free(new_pool(3));
}

/* A linear model with a matrix of just so many elements that its gradient is shared. */
enum { ROWS = 1 << 14, COLUMNS = 1 << 6 };
typedef struct regression {
	lockstep_linear *l;
	float *x, y[ROWS], w[COLUMNS + 1], grad[COLUMNS + 1];
	lockstep_pool *pool;
	double value;
} regression;

static regression *open_regression(lockstep_pool *pool) {
	regression *r = calloc(1, sizeof *r);
	r->x = malloc(ROWS * COLUMNS * sizeof(float));
	r->pool = pool;
	source s = new_source("regression", 0);
	for (size_t i = 0; i < ROWS * COLUMNS; i++) r->x[i] = ordinary(&s);
	for (size_t i = 0; i < ROWS; i++) r->y[i] = ordinary(&s);
	for (size_t j = 0; j <= COLUMNS; j++) r->w[j] = ordinary(&s);
	CHECK(!lockstep_linear_new(LOCKSTEP_LINEAR_SQUARED, COLUMNS, 1, LOCKSTEP_PLUS_MINUS, &r->l, NULL), "no model");
	return r;
}

static void close_regression(regression *r) {
	lockstep_linear_free(r->l);
	free(r->x);
	free(r);
}

static void take_gradient(regression *r, size_t rows) {
	CHECK(!lockstep_linear_gradient_shared(r->l, NULL, r->x, r->y, rows, r->w, r->grad, r->pool, &r->value, NULL), "refused");
}

static void *take_gradients(void *context) {
	for (int k = 0; k < STEPS; k++) take_gradient(context, ROWS);
	return NULL;
}

static int is_same(const regression *a, const regression *b) { return a->value == b->value && !memcmp(a->grad, b->grad, sizeof a->grad); }

/* Models of many threads, each for itself, on one pool or none. */
static void check_regressions(lockstep_pool *pool) {
	pthread_t threads[USERS];
	regression *users[USERS], *alone = open_regression(NULL);
	CHECK(!lockstep_linear_gradient(alone->l, NULL, alone->x, alone->y, ROWS, alone->w, alone->grad, &alone->value, NULL), "refused");
	for (int k = 0; k < USERS; k++) users[k] = open_regression(k % 4 ? pool : NULL);
	for (int k = 0; k < USERS; k++) CHECK(!pthread_create(&threads[k], NULL, take_gradients, users[k]), "no thread");
	for (int k = 0; k < USERS; k++) {
		CHECK(!pthread_join(threads[k], NULL), "no end");
		CHECK(is_same(users[k], alone), "user %d has other bits", k);
		close_regression(users[k]);
	}
	close_regression(alone);
}

/* The room for a pool's threads is made once, and not for a matrix that stays on one. */
static void check_room(lockstep_pool *pool) {
	regression *r = open_regression(pool);
	size_t before = allocations();
	take_gradient(r, ROWS - 1);
	CHECK(allocations() == before, "a small matrix was shared");
	take_gradient(r, ROWS);
	CHECK(allocations() > before, "a large matrix was not shared");
	before = allocations();
	take_gradient(r, ROWS);
	CHECK(allocations() == before, "a gradient has allocated");
	close_regression(r);
}

/* Optimizers of many threads, each for itself, on one pool or none. */
static void check_users(lockstep_pool *pool) {
	uint32_t want = hash_with("AdamW", NULL);
	pthread_t threads[USERS];
	user *users = calloc(USERS, sizeof *users);
	for (int k = 0; k < USERS; k++) open_user(&users[k], "AdamW", k % 4 ? pool : NULL);
	for (int k = 0; k < USERS; k++) CHECK(!pthread_create(&threads[k], NULL, take_steps, &users[k]), "no thread");
	for (int k = 0; k < USERS; k++) {
		CHECK(!pthread_join(threads[k], NULL), "no end");
		CHECK(users[k].hash == want, "user %d has other bits", k);
		close_user(&users[k]);
	}
	free(users);
}

/* Every fourth range of each tensor, for one of four threads. */
enum { RANGES = 4, LENGTH = 10000 };
typedef struct ranges {
	user *u;
	size_t first;
} ranges;

static void *apply(void *context) {
	const ranges *r = context;
	for (size_t k = 0; k <= SMALL; k++)
		for (size_t size = r->u->o->places[k].size, lo = r->first * LENGTH; lo < size; lo += RANGES * LENGTH) {
			size_t n = size - lo < LENGTH ? size - lo : LENGTH;
			CHECK(!lockstep_optimizer_apply(r->u->o, k, lo, n, r->u->params[k] + lo, r->u->grads[k] + lo, NULL), "refused");
		}
	return NULL;
}

static void apply_at_once(user *u) {
	pthread_t threads[RANGES];
	ranges r[RANGES];
	CHECK(!lockstep_optimizer_begin(u->o, -1, NULL), "not begun");
	for (size_t k = 0; k < RANGES; k++) {
		r[k] = (ranges){u, k};
		CHECK(!pthread_create(&threads[k], NULL, apply, &r[k]), "no thread");
	}
	for (int k = 0; k < RANGES; k++) CHECK(!pthread_join(threads[k], NULL), "no end");
	CHECK(!lockstep_optimizer_end(u->o, NULL), "not whole");
}

/* A step on the caller's threads is a step. */
static void check_ranges(void) {
	uint32_t hashes[2];
	user *u = calloc(1, sizeof *u);
	for (int k = 0; k < 2; k++) {
		open_user(u, "AdamW", NULL);
		CHECK(!lockstep_optimizer_set_max_norm(u->o, 0, NULL), "no norm");
		for (int step = 0; step < STEPS; step++) {
			if (k) apply_at_once(u);
			else CHECK(!lockstep_optimizer_step(u->o, u->params, u->grads, NULL, NULL), "refused");
		}
		hashes[k] = hash_sum(hash_floats(HASH_START, u->room, u->size));
		close_user(u);
	}
	free(u);
	CHECK(hashes[0] == hashes[1], "ranges at the same time have other bits");
}

/* Which threads of the process have done what: the caller waits for the others as long as none
 * has a processor. */
enum { UNITS = 64, PATIENCE = 60000 /* turns of a millisecond at least */ };
static atomic_int helped, turns;
static pthread_t calling;
static void look(void *context, size_t unit) {
	int most = *(int *)context;
	(void)unit;
	if (!pthread_equal(pthread_self(), calling)) helped++;
	else
		while (!helped && turns++ < most) usleep(1000);
}

static int others(lockstep_pool *pool, size_t size, int most) {
	calling = pthread_self();
	helped = turns = 0;
	lockstep_share(pool, look, &most, UNITS, size);
	return helped;
}

static void check_helped(lockstep_pool *pool) { CHECK(others(pool, N, PATIENCE) > 0, "no other thread has helped"); }

/* Small steps stay with their callers. */
static void check_small(lockstep_pool *pool) { CHECK(others(pool, (256 << 10) - 1, UNITS) == 0, "a small step was shared"); }

void test_pool(void) {
	check_threads();
	check_ranges();
	lockstep_pool *pool = new_pool(4);
	check_small(pool);
	check_helped(pool);
	check_users(pool);
	check_regressions(pool);
	check_room(pool);
	check_helped(pool);
	lockstep_pool_free(pool);
}

static void in_child(lockstep_pool *pool, void f(lockstep_pool *)) {
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		f(pool);
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
}

static void use(lockstep_pool *pool) {
	check_helped(pool);
	CHECK(hash_with("AdamW", pool) == hash_with("AdamW", NULL), "other bits");
	check_regressions(pool);
}

static void use_and_free(lockstep_pool *pool) {
	use(pool);
	lockstep_pool_free(pool);
}

static atomic_int ends;
static void *step_on(void *context) {
	user *u = context;
	while (!ends) take_steps(u);
	return NULL;
}

/* The child is made while the pool is at work for another thread. */
static void check_busy_fork(lockstep_pool *pool) {
	user *u = calloc(1, sizeof *u);
	pthread_t thread;
	open_user(u, "AdamW", pool);
	CHECK(!pthread_create(&thread, NULL, step_on, u), "no thread");
	for (int k = 0; k < 10; k++) in_child(pool, check_helped);
	ends = 1;
	CHECK(!pthread_join(thread, NULL), "no end");
	close_user(u);
	free(u);
}

void test_pool_fork(void) {
	lockstep_pool *pool = new_pool(3);
	in_child(pool, use);
	use(pool);
	in_child(pool, use_and_free);
	in_child(pool, lockstep_pool_free);
	use(pool);
	check_busy_fork(pool);
	lockstep_pool_free(pool);
}

#endif
