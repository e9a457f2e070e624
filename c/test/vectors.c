/* Every kernel of every table gives the bits that Go's reference gives. */
#include "test.h"

#include <string.h>

enum { KERNELS = 256 };

static uint32_t expected[KERNELS][CASES];

const char *folder = "test";

void read_vectors(void) {
	char path[400];
	snprintf(path, sizeof path, "%s/vectors.txt", folder);
	FILE *f = fopen(path, "r");
	CHECK(f, "cannot open %s", path);
	while (fgetc(f) != '\n');
	size_t count, k = 0;
	const lockstep_kernel *all = lockstep_kernels(&count);
	char name[64];
	for (; fscanf(f, "%63s", name) == 1; k++) {
		CHECK(k < count && !strcmp(name, all[k].name), "%s is not the library's kernel %zu", name, k);
		for (int c = 0; c < CASES; c++) {
			unsigned hash;
			CHECK(fscanf(f, "%8x", &hash) == 1, "%s has %d cases, want %d", name, c, CASES);
			expected[k][c] = hash;
		}
	}
	CHECK(k == count && count < KERNELS, "%zu kernels in %s, %zu in the library", k, path, count);
	fclose(f);
}

void compare_vectors(arena *a, const lockstep_table *table, const lockstep_kernel *kernel, int stride, caller *call) {
	size_t count;
	const uint32_t *want = expected[kernel - lockstep_kernels(&count)];
	for (int number = 0; number < CASES; number += stride)
		for (int place = 0; place < PLACES; place++)
			CHECK(run_case(a, table, kernel, number, place, call) == want[number],
				"%s of %s, case %d at place %d: other bits than the reference", kernel->name, lockstep_isa(table), number, place);
}

size_t tables(const lockstep_table *list[TABLES]) {
	size_t n = lockstep_available(list, TABLES);
	CHECK(n > 0 && n <= TABLES, "%zu tables", n);
	return n;
}

void test_vectors(void) {
	const lockstep_table *list[TABLES];
	size_t n = tables(list), count;
	const lockstep_kernel *all = lockstep_kernels(&count);
	arena *a = new_arena();
	for (size_t t = 0; t < n; t++) {
		for (size_t k = 0; k < count; k++) compare_vectors(a, list[t], &all[k], 1, call_checked);
		printf("  %s: %zu kernels, %d cases at %d places\n", list[t]->isa, count, CASES, PLACES);
	}
	free_arena(a);
}
