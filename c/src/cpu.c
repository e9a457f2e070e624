/* What this CPU has, and whether the operating system saves the registers. */
#include "internal.h"

#include <string.h>

#if LOCKSTEP_X86_64

#include <cpuid.h>

/* A leaf of CPUID: eax, ebx, ecx, edx, or zeros if the CPU has no such leaf. */
typedef struct leaf {
	unsigned a, b, c, d;
} leaf;

static leaf cpuid(unsigned number) {
	leaf l = {0, 0, 0, 0};
	__get_cpuid_count(number, 0, &l.a, &l.b, &l.c, &l.d);
	return l;
}

/* The registers that the operating system saves: bit 1 xmm, 2 ymm, 5 to 7 masks and zmm. */
static unsigned saved(leaf one) {
	unsigned low = 0, high;
	if (one.c >> 27 & 1) __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

static unsigned feature(unsigned word, int bit, lockstep_feature f) { return word >> bit & 1 ? f : 0; }

static unsigned features(void) {
	const unsigned ymm = 0x06, zmm = 0xe6;
	leaf one = cpuid(1), seven = cpuid(7);
	unsigned has = feature(seven.b, 8, LOCKSTEP_BMI2);
	if ((saved(one) & ymm) == ymm)
		has |= feature(one.c, 28, LOCKSTEP_AVX) | feature(one.c, 12, LOCKSTEP_FMA3) | feature(one.c, 29, LOCKSTEP_F16C) |
			feature(seven.b, 5, LOCKSTEP_AVX2);
	if ((saved(one) & zmm) == zmm)
		has |= feature(seven.b, 16, LOCKSTEP_AVX512F) | feature(seven.b, 17, LOCKSTEP_AVX512DQ) |
			feature(seven.b, 30, LOCKSTEP_AVX512BW) | feature(seven.b, 31, LOCKSTEP_AVX512VL);
	return has;
}

/* Whether Newton's iteration is slower than the divider: on all CPUs but Intel's, and on
 * those of Intel's that have the core of Skylake. */
static int divides_fast(void) {
	leaf zero = cpuid(0), one = cpuid(1);
	unsigned family = one.a >> 8 & 15, model = one.a >> 4 & 15;
	if (family == 6 || family == 15) model += one.a >> 12 & 0xf0;
	if (memcmp(&zero.b, "Genu", 4) || memcmp(&zero.d, "ineI", 4) || memcmp(&zero.c, "ntel", 4)) return 1;
	switch (model) {
	case 78: case 85: case 94: case 142: case 158: case 165: case 166: return 1;
	}
	return 0;
}

void lockstep_read_cpu(lockstep_cpu *cpu) {
	memset(cpu, 0, sizeof *cpu);
	for (unsigned k = 0; k < 3; k++) {
		leaf l = cpuid(0x80000002 + k);
		memcpy(cpu->name + 16 * k, &l, sizeof l);
	}
	cpu->features = features();
	cpu->divides_fast = divides_fast();
}

#else

void lockstep_read_cpu(lockstep_cpu *cpu) {
	memset(cpu, 0, sizeof *cpu);
	strcpy(cpu->name, LOCKSTEP_AARCH64 ? "a CPU with NEON" : "a CPU without kernels of its own");
}

#endif
