/* What the tests share. */
#ifndef LOCKSTEP_TEST_H
#define LOCKSTEP_TEST_H

#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "mode.h"
#include "optimizer.h"

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

/* Random numbers, those of gen/vectors. */
typedef struct source {
	uint64_t state;
	int number;
} source;
source new_source(const char *name, int number);
uint32_t next(source *s);
uint32_t below(source *s, uint32_t n);
float ordinary(source *s); /* between -4 and 4 */
uint32_t value(source *s); /* the bits of a float: ordinary in even cases, any in odd ones */

/* Hashes, in which every NaN is the same. */
#define HASH_START UINT64_C(0xcbf29ce484222325)
uint32_t bits_of(float x);
uint64_t hash_word(uint64_t h, uint64_t w);
uint64_t hash_floats(uint64_t h, const float *list, size_t n);
uint64_t hash_doubles(uint64_t h, const double *list, size_t n);
uint32_t hash_sum(uint64_t h);

/* Memory for the buffers of a case, each with pages around it that may not be touched. */
typedef struct arena arena;
arena *new_arena(void);
void free_arena(arena *a);

/* Where buffers begin: next to one of the pages around their slot, or some elements away, by
 * a number. */
enum { PLACES = 4 };
float *place_buffer(const arena *a, size_t slot, size_t n, int number, int place);
uint16_t *place_halves(const arena *a, size_t slot, size_t n, int number, int place);

/* Rounds floats to a type of 16 bits. */
void narrow_to(lockstep_element element, uint16_t *to, const float *x, size_t n);

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
void read_vectors(void);

/* The folder of the files that gen/vectors writes. */
extern const char *folder;

enum { TABLES = 8 };
size_t tables(const lockstep_table *list[TABLES]);

/* A line of gen/vectors' file of optimizers, in words. */
typedef struct line {
	char text[1200];
	char *words[64];
	int count;
} line;

/* Calls f with each line that begins with a word. */
void each_line(const char *first, void f(const line *l));

/* The options that a line has from a word on, which is the rule's name. */
typedef struct options {
	const lockstep_rule *rule;
	union {
		double number; /* aligns */
		char bytes[512];
	};
} options;
options read_options(const line *l, int word);
void set_option(options *o, const char *name, double value);
double get_option(const options *o, const char *name);

/* How the steps of a trajectory are taken. */
typedef struct way {
	const lockstep_table *table;
	lockstep_pool *pool;
	int ranges; /* by lockstep_optimizer_begin, apply and end, if the rule can; 2 on parameters in halves */
	int owned;  /* the state is the caller's, at a place between pages that may not be touched */
	int place;
	lockstep_mode mode; /* of the host's arithmetic, in bits that are usually others */
} way;

/* Sets a mode, and returns the one before. */
lockstep_mode change_mode(lockstep_mode mode);

/* A pool that shares all steps, whose threads were started in a mode. */
lockstep_pool *busy_pool(size_t threads, lockstep_mode mode);

/* Takes the steps of a line, and compares what they leave with what Go's leave. */
void follow_line(arena *a, const line *l, const way *w);

/* Observes gradients, of the types that were set, in parts that a source draws, on the threads of a pool. */
void observe_parts(lockstep_optimizer *o, const float *const *grads, source *s, lockstep_pool *pool);

/* So many calls of malloc and its like have been made. */
size_t allocations(void);

void test_choice(void);
void test_rules(void);
void test_presets(void);
void test_trajectories(void);
void test_refusals(void);
void test_settings(void);
void test_places(void);
void test_ranges(void);
void test_observe(void);
void test_rows(void);
void test_follow(void);
void test_shards(void);
void test_unitwise(void);
void test_modes(void);
void test_pool(void);
void test_pool_fork(void);
void test_vectors(void);
void test_types(void);
void test_typed(void);
void test_packed(void);
void test_split(void);
void test_losses(void);
void test_matmul(void);
void test_verify(void);
void test_calls(void);
void test_registers(void);
void test_unwind(void);
void test_threads(void);
void test_fork(void);

#endif
