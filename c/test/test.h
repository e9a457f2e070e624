/* What the tests share. */
#ifndef LOCKSTEP_TEST_H
#define LOCKSTEP_TEST_H

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Ends the program with a message unless a condition holds. */
#define CHECK(condition, ...) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
			fprintf(stderr, __VA_ARGS__); \
			fprintf(stderr, "\n"); \
			exit(1); \
		} \
	} while (0)

/* Memory for the buffers of a case, each with pages around it that may not be touched. */
typedef struct arena arena;
arena *new_arena(void);
void free_arena(arena *a);

/* Where buffers begin. */
enum { PLACES = 4 };

/* How many cases a kernel has. */
enum { SHORT_CASES = 300, CASES = SHORT_CASES + 8 };

/* Makes the arguments of a case, has call use them, and hashes what it leaves behind. */
typedef struct arguments {
	const lockstep_table *table;
	const lockstep_kernel *kernel;
	lockstep_buffer list[128];
	size_t buffers;
	uint32_t scalars[32];
	double lanes[4][LOCKSTEP_LANES];
	void *lane_pointers[4];
} arguments;
typedef void caller(arguments *a);
uint32_t run_case(arena *a, const lockstep_table *table, const lockstep_kernel *kernel, int number, int place, caller *call);

/* Calls the function that users call. */
void call_checked(arguments *a);

/* Compares a kernel's cases with the file of vectors, those that are a multiple of a stride. */
void compare_vectors(arena *a, const lockstep_table *table, const lockstep_kernel *kernel, int stride, caller *call);
void read_vectors(const char *path);

enum { TABLES = 8 };
size_t tables(const lockstep_table *list[TABLES]);

void test_choice(void);
void test_vectors(void);
void test_calls(void);
void test_registers(void);
void test_unwind(void);
void test_threads(void);
void test_fork(void);

#endif
