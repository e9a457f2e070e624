/* Hosts that have set other modes of arithmetic. */
#include "test.h"

static arena *memory;
static way now;
static void follow(const line *l) { follow_line(memory, l, &now); }

lockstep_mode change_mode(lockstep_mode mode) {
	lockstep_mode before = lockstep_get_mode();
	if (mode) lockstep_set_mode(before ^ mode);
	return before;
}

/* What is flushed or how is rounded, as bits that change. */
static const lockstep_mode modes[] = {
#if defined(__x86_64__)
	0x8000 /* FTZ */, 0x8040 /* and DAZ */, 0x6000 /* towards 0 */,
#elif defined(__aarch64__)
	1 << 24 /* FZ */, 3 << 22 /* towards 0 */,
#endif
	0
};

/* Whether a mode shows: without that the test were none. */
static int shows(lockstep_mode mode) {
	volatile float small = 0x1p-126f, one = 1, half = 0.5f;
	lockstep_mode before = change_mode(mode);
	int other = small * half == 0 || one + 0x1.8p-24f == one;
	lockstep_set_mode(before);
	return other;
}

static void check_mode(lockstep_mode mode, lockstep_pool *pool, int ranges) {
	now = (way){NULL, pool, ranges, 1, 0, mode};
	CHECK(!lockstep_active(&now.table), "no table");
	each_line(ranges ? "whole" : "missing", follow);
	if (!ranges) each_line("observed", follow);
	if (ranges) each_line("followed_whole", follow);
	if (ranges) each_line("noisy_whole", follow);
}

void test_modes(void) {
	memory = new_arena();
	for (size_t k = 0; modes[k]; k++) {
		lockstep_pool *pool = busy_pool(3, modes[k]);
		CHECK(shows(modes[k]), "mode %#llx is as usual", (unsigned long long)modes[k]);
		check_mode(modes[k], NULL, 0);
		check_mode(modes[k], pool, 0);
		check_mode(modes[k], NULL, 1);
		lockstep_pool_free(pool);
	}
	free_arena(memory);
}
