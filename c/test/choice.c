/* The choice of a table. Each test that sets the environment runs in a child, because the
 * variable is read once. */
#include "test.h"

#ifndef _WIN32

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void in_child(void (*test)(const char *), const char *isa) {
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		setenv("LOCKSTEP_ISA", isa, 1);
		test(isa);
		exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child with LOCKSTEP_ISA=%s failed", isa);
}

static void is_forced(const char *isa) {
	const lockstep_table *table = NULL;
	char text[400];
	CHECK(lockstep_active(&table) == LOCKSTEP_OK && !strcmp(lockstep_isa(table), isa), "%s was not chosen", isa);
	CHECK(!strcmp(lockstep_isa(NULL), isa), "NULL is not %s", isa);
	CHECK(lockstep_info(text, sizeof text) == strlen(text) && strstr(text, isa) && strstr(text, "forced"), "%s", text);
	setenv("LOCKSTEP_ISA", "portable", 1);
	CHECK(!strcmp(lockstep_isa(NULL), isa), "the variable was read twice");
}

/* No call goes through, to whatever table. */
static void refuse(lockstep_status want) {
	const lockstep_table *table;
	float p[] = {1, 2}, g[] = {3, 4};
	lockstep_buffer list[] = {{p, 2, 0}, {g, 2, 0}};
	lockstep_sgd_scalars c = {.scale = 1, .step = 1};
	for (int time = 0; time < 2; time++) {
		CHECK(lockstep_active(&table) == want && table == NULL, "a table was chosen");
		CHECK(lockstep_kernel_sgd(NULL, list, 2, &c) == want, "a kernel ran");
	}
	CHECK(lockstep_isa(NULL) == NULL, "a table has a name");
	CHECK(p[0] == 1 && p[1] == 2, "a kernel ran");
}

static void is_unknown(const char *isa) {
	(void)isa;
	refuse(LOCKSTEP_UNKNOWN_TABLE);
}

static void cannot_run(const char *isa) {
	(void)isa;
	refuse(LOCKSTEP_CANNOT_RUN);
}

static void is_best(const char *isa) {
	const lockstep_table *list[TABLES], *active;
	(void)isa;
	tables(list);
	CHECK(lockstep_active(&active) == LOCKSTEP_OK && active == list[0], "the best is not chosen");
}

/* The first of each width by a CPU's divider. */
static void check_order(int divides_fast, const char *const want[]) {
	lockstep_cpu cpu = {.divides_fast = divides_fast};
	for (size_t k = 0; want[k]; k++) {
		const lockstep_candidate *c = lockstep_candidate_of(&cpu, k);
		CHECK(c && !strcmp(c->table.isa, want[k]), "table %zu is %s, want %s", k, c ? c->table.isa : "none", want[k]);
	}
}

static void check_info(void) {
	char whole[400], part[8], none = 'x';
	size_t n = lockstep_info(whole, sizeof whole);
	CHECK(n == strlen(whole) && n > 40, "%s", whole);
	CHECK(lockstep_info(part, sizeof part) == n && !strncmp(part, whole, 7) && part[7] == 0, "cut to %s", part);
	CHECK(lockstep_info(&none, 0) == n && none == 'x', "wrote where there was no room");
	printf("  %s\n", whole);
}

void test_choice(void) {
	const lockstep_table *list[TABLES], *table;
	size_t n = tables(list);
	for (size_t t = 0; t < n; t++) {
		in_child(is_forced, list[t]->isa);
		CHECK(lockstep_find(list[t]->isa, &table) == LOCKSTEP_OK && table == list[t], "%s is not found", list[t]->isa);
	}
	CHECK(!strcmp(list[n - 1]->isa, "portable"), "%s is last", list[n - 1]->isa);
	in_child(is_best, "");
	in_child(is_unknown, "sse");
	CHECK(lockstep_find("sse", &table) == LOCKSTEP_UNKNOWN_TABLE && !table, "sse was found");
	CHECK(lockstep_find(NULL, &table) == LOCKSTEP_UNKNOWN_TABLE && !table, "NULL was found");
	lockstep_cpu cpu;
	lockstep_read_cpu(&cpu);
	for (size_t k = 0; lockstep_candidate_of(&cpu, k); k++) {
		const lockstep_candidate *c = lockstep_candidate_of(&cpu, k);
		if (c->needs & ~cpu.features) in_child(cannot_run, c->table.isa);
	}
#if LOCKSTEP_X86_64
	check_order(0, (const char *const[]){"avx512newton", "avx512", "avx2newton", "avx2", "portable", NULL});
	check_order(1, (const char *const[]){"avx512", "avx512newton", "avx2", "avx2newton", "portable", NULL});
#elif LOCKSTEP_AARCH64
	check_order(0, (const char *const[]){"neon", "portable", NULL});
#else
	check_order(0, (const char *const[]){"portable", NULL});
#endif
	check_info();
}

#endif
