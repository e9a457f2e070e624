/* A debugger or profiler finds the caller of a kernel: from inside, where it touches
 * memory that it may not, the stack is walked to the function that called it, and on to
 * another, because where the return address is in a register the first says nothing of
 * the stack. */
#include "test.h"

#if LOCKSTEP_ASSEMBLY && !defined(_WIN64)

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unwind.h>

static sigjmp_buf back;
static volatile int found;
static volatile int faults;

__attribute__((noinline)) static void call_bare(lockstep_bare *kernel, size_t buffers, lockstep_buffer *list, void *const *lanes) {
	static const uint32_t scalars[32];
	kernel(list, (int64_t)buffers, scalars, lanes);
	__asm__ volatile(""); /* no tail call */
}

static _Unwind_Reason_Code look(struct _Unwind_Context *c, void *unused) {
	(void)unused;
	void *function = _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(c));
	found += function == (void *)call_bare || function == (void *)test_unwind;
	return _URC_NO_REASON;
}

static void handle(int signal) {
	(void)signal;
	faults++;
	_Unwind_Backtrace(look, NULL);
	siglongjmp(back, 1);
}

static void check_kernel(const char *name, lockstep_bare *kernel, size_t buffers, float *forbidden, size_t n) {
	double lanes[4][LOCKSTEP_LANES] = {{0}};
	void *pointers[] = {lanes[0], lanes[1], lanes[2], lanes[3]};
	lockstep_buffer list[16];
	CHECK(buffers <= sizeof list / sizeof *list, "%s has %zu buffers", name, buffers);
	for (size_t b = 0; b < buffers; b++) list[b] = (lockstep_buffer){forbidden, n, 0};
	found = 0;
	int before = faults;
	if (!sigsetjmp(back, 1)) call_bare(kernel, buffers, list, pointers);
	CHECK(faults == before + 1, "%s touched nothing", name);
	CHECK(found == 2, "%s: its callers were not found", name);
}

static void check_table(const lockstep_table *table, float *forbidden) {
	char name[80];
	for (size_t k = 0; k < lockstep_all_count; k++)
		for (size_t n = 5; n <= 128; n += 123) {
			snprintf(name, sizeof name, "%s of %s", lockstep_all[k].name, table->isa);
			check_kernel(name, table->kernels[k], lockstep_all[k].buffer_count, forbidden, n);
		}
	snprintf(name, sizeof name, "the tile of %s", table->isa);
	for (size_t n = 0; n <= 5; n++) check_kernel(name, table->tile->multiply, 4, forbidden, n);
}

void test_unwind(void) {
	const lockstep_table *list[TABLES];
	size_t n = tables(list), page = 4096;
	float *forbidden = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction action = {.sa_handler = handle}, old[2];
	sigaction(SIGSEGV, &action, &old[0]);
	sigaction(SIGBUS, &action, &old[1]);
	for (size_t t = 0; t + 1 < n; t++) check_table(list[t], forbidden);
	sigaction(SIGSEGV, &old[0], NULL);
	sigaction(SIGBUS, &old[1], NULL);
	munmap(forbidden, page);
}

#elif !defined(_WIN32)

void test_unwind(void) { printf("  no assembly here\n"); }

#endif
