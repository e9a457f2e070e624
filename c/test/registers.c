/* What a kernel must leave as it was: registers, the modes of floats, and clean upper
 * halves of vectors. Both are asked of the assembly, case by case. */
#include "test.h"

#if LOCKSTEP_ASSEMBLY

int lockstep_test_call(lockstep_bare *kernel, const lockstep_buffer *list, int64_t buffers, const void *scalars, void *const *lanes);

#if LOCKSTEP_X86_64

#include <cpuid.h>
#include <xmmintrin.h>

/* MXCSR without what has happened. */
static unsigned modes(void) { return _mm_getcsr() & 0xffc0; }

/* Whether the upper halves of ymm are in use, which is bit 2 of XINUSE. */
static int dirty(void) {
	unsigned a, b, c, d;
	if (!__get_cpuid_count(13, 1, &a, &b, &c, &d) || !(a & 4)) return 0;
	__asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(a), "=d"(d) : "c"(1));
	return !!(a & 4);
}

#else

static unsigned modes(void) {
	uint64_t fpcr;
	__asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
	return (unsigned)fpcr;
}

static int dirty(void) { return 0; }

#endif

static void call_in_assembly(arguments *x) {
	lockstep_bare *bare = x->table->kernels[x->kernel - lockstep_all];
	unsigned before = modes();
	int broken = lockstep_test_call(bare, x->list, (int64_t)x->buffers, x->scalars, x->lane_pointers);
	int used = dirty();
	CHECK(!broken, "%s of %s: %d registers of the caller's changed", x->kernel->name, x->table->isa, broken);
	CHECK(modes() == before, "%s of %s: the modes of floats changed", x->kernel->name, x->table->isa);
	CHECK(!used, "%s of %s: no VZEROUPPER", x->kernel->name, x->table->isa);
}

void test_registers(void) {
	const lockstep_table *list[TABLES];
	size_t n = tables(list), count;
	const lockstep_kernel *all = lockstep_kernels(&count);
	arena *a = new_arena();
	for (size_t t = 0; t + 1 < n; t++)
		for (size_t k = 0; k < count; k++) compare_vectors(a, list[t], &all[k], 5, call_in_assembly);
	free_arena(a);
}

#else

void test_registers(void) { printf("  no assembly here\n"); }

#endif
