/* A pool of threads that share the units of a call with the caller's. */
#include "mode.h"
#include "optimizer.h"
#include "thread.h"

#include <stdatomic.h>
#include <stdlib.h>

/* How many turns of a loop a thread waits awake: some microseconds, which is less than it
 * takes to wake it. */
enum { TURNS = 500, MOST_THREADS = 1 << 12 };

struct lockstep_pool {
	size_t limit; /* threads, the caller's included */
	size_t least; /* elements of a call that is shared */

	atomic_long user; /* the process whose call has the pool, or 0 */
	long process;     /* that the helpers are threads of */
	size_t started;   /* helpers */

	/* Who has taken a unit may read these. */
	lockstep_work *work;
	void *context;
	size_t units;

	atomic_ptrdiff_t left; /* units that nobody has taken, or less than 0 */
	atomic_size_t pending; /* units that are not done */
	atomic_uint calls;    /* counts the calls */
	atomic_int stops;

	lockstep_lock lock;
	lockstep_condition call, done;
	size_t asleep;  /* helpers that wait for a call */
	atomic_int waits; /* the caller waits for the last unit to be done */

	lockstep_thread threads[];
};

lockstep_status lockstep_pool_new(size_t threads, lockstep_pool **pool) {
	*pool = NULL;
	if (threads < 1 || threads > MOST_THREADS) return LOCKSTEP_BAD_ARGUMENT;
	lockstep_pool *p = calloc(1, sizeof *p + threads * sizeof *p->threads);
	if (!p) return LOCKSTEP_NO_MEMORY;
	p->limit = threads;
	p->least = PARALLEL_LEN;
	*pool = p;
	return LOCKSTEP_OK;
}

void lockstep_share_from(lockstep_pool *p, size_t least) { p->least = least; }

/* Gives word to the caller if a unit was the last. */
static void finish(lockstep_pool *p) {
	if (atomic_fetch_sub(&p->pending, 1) != 1 || !atomic_load(&p->waits)) return;
	lockstep_take_lock(&p->lock);
	lockstep_wake_one(&p->done);
	lockstep_give_lock(&p->lock);
}

/* Takes units until none is left, the first ones first. */
static void work(lockstep_pool *p) {
	for (;;) {
		ptrdiff_t k = atomic_fetch_sub(&p->left, 1) - 1;
		if (k < 0) return;
		p->work(p->context, p->units - 1 - (size_t)k);
		finish(p);
	}
}

/* Sleeps until there is another call than one. */
static void sleep_through(lockstep_pool *p, unsigned call) {
	lockstep_take_lock(&p->lock);
	p->asleep++;
	while (atomic_load(&p->calls) == call && !atomic_load(&p->stops)) lockstep_wait_for(&p->call, &p->lock);
	p->asleep--;
	lockstep_give_lock(&p->lock);
}

static LOCKSTEP_THREAD_RESULT help(void *pool) {
	lockstep_pool *p = pool;
	lockstep_enter_mode();
	while (!atomic_load(&p->stops)) {
		unsigned call = atomic_load(&p->calls);
		work(p);
		for (int turn = 0; turn < TURNS && atomic_load(&p->calls) == call; turn++) lockstep_pause();
		if (atomic_load(&p->calls) == call) sleep_through(p, call);
	}
	return 0;
}

/* Begins anew in a process in which no helper is. */
static void move_in(lockstep_pool *p) {
	p->process = lockstep_process();
	p->started = p->asleep = 0;
	lockstep_make_lock(&p->lock);
	lockstep_make_condition(&p->call);
	lockstep_make_condition(&p->done);
	atomic_store(&p->left, 0);
	atomic_store(&p->waits, 0);
}

/* Whether the pool could be had for a call: nobody of this process has it. */
static int enter(lockstep_pool *p) {
	long process = lockstep_process(), user = 0;
	while (!atomic_compare_exchange_strong(&p->user, &user, process))
		if (user == process) return 0;
	if (p->process != process) move_in(p);
	return 1;
}

static void leave(lockstep_pool *p) { atomic_store(&p->user, 0); }

/* Has so many helpers, or as many as can be started, hear of the call. */
static void engage(lockstep_pool *p, size_t helpers) {
	lockstep_take_lock(&p->lock);
	atomic_fetch_add(&p->calls, 1);
	for (size_t k = 0; k < p->asleep && k < helpers; k++) lockstep_wake_one(&p->call);
	lockstep_give_lock(&p->lock);
	while (p->started < helpers && lockstep_start_thread(&p->threads[p->started], help, p)) p->started++;
}

/* Waits until all units are done. That the caller waits is exchanged and not stored: QEMU has loads
 * overtake AArch64's stores that none may overtake, and then neither it nor the thread with the last
 * unit sees what the other did. */
static void await(lockstep_pool *p) {
	for (int turn = 0; turn < TURNS && atomic_load(&p->pending); turn++) lockstep_pause();
	if (!atomic_load(&p->pending)) return;
	lockstep_take_lock(&p->lock);
	atomic_exchange(&p->waits, 1);
	while (atomic_load(&p->pending)) lockstep_wait_for(&p->done, &p->lock);
	atomic_store(&p->waits, 0);
	lockstep_give_lock(&p->lock);
}

static void alone(lockstep_work *f, void *context, size_t units) {
	for (size_t k = 0; k < units; k++) f(context, k);
}

int lockstep_shares(const lockstep_pool *p, size_t units, size_t size) { return p && p->limit > 1 && units > 1 && size >= p->least; }

void lockstep_share(lockstep_pool *p, lockstep_work *f, void *context, size_t units, size_t size) {
	if (!lockstep_shares(p, units, size) || !enter(p)) {
		alone(f, context, units);
		return;
	}
	p->work = f;
	p->context = context;
	p->units = units;
	atomic_store(&p->pending, units);
	atomic_store(&p->left, (ptrdiff_t)units);
	engage(p, (units < p->limit ? units : p->limit) - 1);
	work(p);
	await(p);
	leave(p);
}

void lockstep_pool_free(lockstep_pool *p) {
	if (!p) return;
	if (p->process == lockstep_process()) {
		lockstep_take_lock(&p->lock);
		atomic_store(&p->stops, 1);
		lockstep_wake_all(&p->call);
		lockstep_give_lock(&p->lock);
		for (size_t k = 0; k < p->started; k++) lockstep_join_thread(p->threads[k]);
	}
	free(p);
}
