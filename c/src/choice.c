/* Chooses one table of kernels for this CPU, in the order and for the reasons of Go's
 * package kernels. */
#include "internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	lockstep_feature bit;
} features[] = {
	{"AVX", LOCKSTEP_AVX}, {"AVX2", LOCKSTEP_AVX2}, {"FMA3", LOCKSTEP_FMA3}, {"F16C", LOCKSTEP_F16C}, {"BMI2", LOCKSTEP_BMI2},
	{"AVX512F", LOCKSTEP_AVX512F}, {"AVX512VL", LOCKSTEP_AVX512VL}, {"AVX512DQ", LOCKSTEP_AVX512DQ}, {"AVX512BW", LOCKSTEP_AVX512BW},
};

#define FOR_AVX2 (LOCKSTEP_AVX | LOCKSTEP_AVX2 | LOCKSTEP_FMA3 | LOCKSTEP_F16C)
#define FOR_AVX512 (FOR_AVX2 | LOCKSTEP_BMI2 | LOCKSTEP_AVX512F | LOCKSTEP_AVX512VL | LOCKSTEP_AVX512DQ | LOCKSTEP_AVX512BW)

/* Newton's iteration pays where the divider is slow beside the multipliers, on CPUs which gain
 * by fetching ahead too; elsewhere the tables of each width change places. */
static const lockstep_candidate candidates[] = {
#if LOCKSTEP_X86_64
	{{"avx512newton", lockstep_avx512newton_kernels, &lockstep_avx512_tile}, FOR_AVX512},
	{{"avx512", lockstep_avx512_kernels, &lockstep_avx512_tile}, FOR_AVX512},
	{{"avx2newton", lockstep_avx2newton_kernels, &lockstep_avx2_tile}, FOR_AVX2},
	{{"avx2", lockstep_avx2_kernels, &lockstep_avx2_tile}, FOR_AVX2},
#elif LOCKSTEP_AARCH64
	{{"neon", lockstep_neon_kernels, &lockstep_neon_tile}, 0},
#endif
	{{"portable", lockstep_portable_kernels, &lockstep_portable_tile}, 0},
};

enum { COUNT = sizeof candidates / sizeof *candidates };

const lockstep_candidate *lockstep_candidate_of(const lockstep_cpu *cpu, size_t k) {
	if (k >= COUNT) return NULL;
	return &candidates[cpu->divides_fast && k + 1 < COUNT ? k ^ 1 : k];
}

static int can_run(const lockstep_cpu *cpu, const lockstep_candidate *c) { return !(c->needs & ~cpu->features); }

static lockstep_status find(const lockstep_cpu *cpu, const char *isa, const lockstep_table **table) {
	for (size_t k = 0; k < COUNT; k++) {
		const lockstep_candidate *c = lockstep_candidate_of(cpu, k);
		if (isa ? strcmp(isa, c->table.isa) != 0 : !can_run(cpu, c)) continue;
		if (!can_run(cpu, c)) return LOCKSTEP_CANNOT_RUN;
		*table = &c->table;
		return LOCKSTEP_OK;
	}
	return LOCKSTEP_UNKNOWN_TABLE;
}

lockstep_status lockstep_find(const char *isa, const lockstep_table **table) {
	lockstep_cpu cpu;
	lockstep_read_cpu(&cpu);
	*table = NULL;
	return isa ? find(&cpu, isa, table) : LOCKSTEP_UNKNOWN_TABLE;
}

/* The table that the environment names, or NULL if it names none. */
static const char *forced(void) {
	const char *isa = getenv("LOCKSTEP_ISA");
	return isa && *isa ? isa : NULL;
}

/* Threads that come here first at the same time find the same. */
lockstep_status lockstep_active(const lockstep_table **table) {
	static _Atomic(const lockstep_table *) chosen;
	static atomic_int refused;
	*table = atomic_load_explicit(&chosen, memory_order_acquire);
	if (*table) return LOCKSTEP_OK;
	lockstep_status status = (lockstep_status)atomic_load_explicit(&refused, memory_order_acquire);
	if (status != LOCKSTEP_OK) return status;
	lockstep_cpu cpu;
	lockstep_read_cpu(&cpu);
	status = find(&cpu, forced(), table);
	if (status == LOCKSTEP_OK)
		atomic_store_explicit(&chosen, *table, memory_order_release);
	else
		atomic_store_explicit(&refused, (int)status, memory_order_release);
	return status;
}

size_t lockstep_available(const lockstep_table **tables, size_t room) {
	lockstep_cpu cpu;
	lockstep_read_cpu(&cpu);
	size_t n = 0;
	for (size_t k = 0; k < COUNT; k++) {
		const lockstep_candidate *c = lockstep_candidate_of(&cpu, k);
		if (!can_run(&cpu, c)) continue;
		if (n < room) tables[n] = &c->table;
		n++;
	}
	return n;
}

const char *lockstep_isa(const lockstep_table *table) {
	if (!table && lockstep_active(&table) != LOCKSTEP_OK) return NULL;
	return table->isa;
}

/* A text in a room that may be too small. */
typedef struct writer {
	char *text;
	size_t room, length;
} writer;

static void put(writer *w, const char *s) {
	for (; *s; s++, w->length++)
		if (w->length + 1 < w->room) w->text[w->length] = *s;
	if (w->room) w->text[w->length < w->room ? w->length : w->room - 1] = 0;
}

static void put_lacks(writer *w, const lockstep_cpu *cpu, const lockstep_candidate *c) {
	const char *before = " lacks ";
	for (size_t k = 0; k < sizeof features / sizeof *features; k++) {
		if (!(c->needs & ~cpu->features & features[k].bit)) continue;
		put(w, before);
		put(w, features[k].name);
		before = ", ";
	}
}

size_t lockstep_info(char *text, size_t room) {
	lockstep_cpu cpu;
	lockstep_read_cpu(&cpu);
	writer w = {text, room, 0};
	const lockstep_table *active;
	lockstep_status status = lockstep_active(&active);
	put(&w, "lockstep " LOCKSTEP_VERSION ": ");
	put(&w, status ? lockstep_message(status) : active->isa);
	put(&w, forced() ? " (forced by LOCKSTEP_ISA) on " : COUNT > 1 ? " (the best here) on " : " (the only one in this build) on ");
	put(&w, cpu.name + strspn(cpu.name, " "));
	for (size_t k = 0; k + 1 < COUNT; k++) {
		const lockstep_candidate *c = lockstep_candidate_of(&cpu, k);
		if (&c->table == active) continue;
		put(&w, "; ");
		put(&w, c->table.isa);
		if (can_run(&cpu, c)) put(&w, " could run");
		else put_lacks(&w, &cpu, c);
	}
	return w.length;
}
