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

static void call(const char *name, const char *isa, lockstep_bare *kernel, const lockstep_buffer *list, size_t buffers, const void *scalars, void *const *lanes) {
	unsigned before = modes();
	int broken = lockstep_test_call(kernel, list, (int64_t)buffers, scalars, lanes);
	int used = dirty();
	CHECK(!broken, "%s of %s: %d registers of the caller's changed", name, isa, broken);
	CHECK(modes() == before, "%s of %s: the modes of floats changed", name, isa);
	CHECK(!used, "%s of %s: no VZEROUPPER", name, isa);
}

static void call_in_assembly(arguments *x) {
	size_t each = lockstep_per_call(x->kernel, x->buffers);
	for (size_t at = 0; at < x->buffers; at += each)
		call(x->kernel->name, x->table->isa, x->table->kernels[x->kernel - lockstep_all], x->list + at, each, x->scalars, x->lane_pointers);
}

/* The kernel of products of matrices, with no products, some, and as many as it takes at a time,
 * and with C alone or D too. */
static void call_tile(const lockstep_table *table) {
	static float x[4][16 * 32];
	for (size_t n = 0; n < 10; n++)
		for (int beta = 0; beta < 2; beta++) {
			size_t row = table->tile->columns;
			lockstep_buffer list[] = {{x[0], n, 0}, {x[1], n, 0}, {x[2], row, 0}, {x[3], row, 0}};
			lockstep_matmul_scalars s = {1, (float)beta};
			call("the tile", table->isa, table->tile->multiply, list, 4, &s, NULL);
		}
}

void test_registers(void) {
	const lockstep_table *list[TABLES];
	size_t n = tables(list), count;
	const lockstep_kernel *all = lockstep_kernels(&count);
	arena *a = new_arena();
	for (size_t t = 0; t + 1 < n; t++) {
		for (size_t k = 0; k < count; k++) compare_vectors(a, list[t], &all[k], 5, call_in_assembly);
		call_tile(list[t]);
	}
	free_arena(a);
}

#else

void test_registers(void) { printf("  no assembly here\n"); }

#endif
