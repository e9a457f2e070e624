/* Steps on rows of a table: gen/vectors/optimizers.go takes the same. */
#include "test.h"

#include <string.h>

enum { ROWS = 3000, COLUMNS = 21, LONGEST = 900, STEPS = 20, SIZE = ROWS * COLUMNS };

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
}

static float p[SIZE], g[LONGEST * COLUMNS];
static int64_t indices[LONGEST];
static int32_t narrow[LONGEST];

static int in_order(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static lockstep_optimizer *make(const options *of, const lockstep_tensor *tensors, size_t count) {
	lockstep_group group = {of->rule->name, of->bytes, of->rule->size};
	lockstep_optimizer *o;
	must(lockstep_optimizer_new(&group, 1, tensors, count, &o, &error));
	return o;
}

static const lockstep_table *table;
static lockstep_pool *pool;

static size_t draw(source *s, int step) {
	static const float scales[] = {0, 0x1p-60f, 1, 1};
	size_t n = below(s, LONGEST + 1);
	float scale = scales[below(s, 4)];
	for (size_t k = 0; k < n; k++) {
		uint32_t most = 1 + below(s, ROWS);
		indices[k] = below(s, most);
	}
	if (step % 4 == 3) qsort(indices, n, sizeof *indices, in_order);
	for (size_t k = 0; k < n; k++) narrow[k] = (int32_t)indices[k];
	for (size_t i = 0; i < n * COLUMNS; i++) g[i] = ordinary(s) * scale;
	return n;
}

static void follow(const line *l) {
	char name[64];
	const char *slots[LOCKSTEP_MAX_SLOTS];
	const lockstep_tensor tensor = {.size = SIZE, .columns = COLUMNS};
	options of = read_options(l, 3);
	lockstep_group group = {of.rule->name, of.bytes, of.rule->size};
	snprintf(name, sizeof name, "rows_%s", l->words[1]);
	source s = new_source(name, 0);
	lockstep_optimizer *o = make(&of, &tensor, 1);
	must(lockstep_optimizer_set_table(o, table, &error));
	for (size_t i = 0; i < SIZE; i++) p[i] = ordinary(&s);
	for (int step = 0; step < STEPS; step++) {
		if (step == 12) {
			must(lockstep_optimizer_set_max_norm(o, 3, &error));
			must(lockstep_optimizer_set_grad_scale(o, 0.5, &error));
		}
		size_t n = draw(&s, step);
		if (step % 2)
			must(lockstep_optimizer_step_rows(o, p, COLUMNS, indices, n, g, pool, &error));
		else
			must(lockstep_optimizer_step_rows32(o, p, COLUMNS, narrow, n, g, pool, &error));
	}
	double norm = lockstep_optimizer_norm(o);
	uint64_t h = hash_floats(HASH_START, p, SIZE);
	size_t count = lockstep_slots(&group, slots, LOCKSTEP_MAX_SLOTS);
	for (size_t j = 0; j < count; j++) h = hash_floats(h, lockstep_optimizer_state(o, 0, slots[j]), lockstep_optimizer_state_len(o, 0, slots[j]));
	uint32_t got = hash_sum(hash_doubles(h, &norm, 1)), want = (uint32_t)strtoul(l->words[2], NULL, 16);
	CHECK(got == want, "rows %s of %s: other bits than Go's", l->words[1], lockstep_isa(table));

	size_t allocated = allocations();
	must(lockstep_optimizer_step_rows(o, p, COLUMNS, indices, 10, g, pool, &error));
	CHECK(allocations() == allocated, "a step on fewer rows has allocated");
	lockstep_optimizer_free(o);
}

static options preset(const char *framework, const char *name) {
	options of = {0};
	CHECK(!lockstep_preset(framework, name, of.bytes, sizeof of.bytes, &of.rule), "no %s", name);
	return of;
}

/* What is refused leaves all as it is. */
static void check_misuse(void) {
	const lockstep_tensor tensors[] = {{.name = "table", .size = 30}, {.size = 30}};
	options of = preset("torch", "SparseAdam"), lamb = preset("keras", "Lamb");
	lockstep_optimizer *o = make(&of, tensors, 1), *two = make(&of, tensors, 2), *whole = make(&lamb, tensors, 1);
	const int64_t some[] = {1, 9, 1, -1, 10, INT64_C(1) << 32};
	const int32_t few[] = {0, -2147483647 - 1};
	float q[30], d[18] = {1, 2, 3};
	for (int i = 0; i < 30; i++) q[i] = p[i];
	must(lockstep_optimizer_step_rows(o, q, 3, some, 3, d, NULL, &error));
	memcpy(p, q, sizeof q);
	refused(lockstep_optimizer_step_rows(o, q, 3, some, 4, d, NULL, &error), "indices[3] is -1, want at least 0 and below the number of rows, 10");
	refused(lockstep_optimizer_step_rows(o, q, 3, some + 4, 2, d, NULL, &error), "indices[0] is 10, want");
	refused(lockstep_optimizer_step_rows(o, q, 3, some + 5, 1, d, NULL, &error), "indices[0] is 4294967296, want");
	refused(lockstep_optimizer_step_rows32(o, q, 3, few, 2, d, NULL, &error), "indices[1] is -2147483648, want");
	refused(lockstep_optimizer_step_rows(o, q, 0, some, 1, d, NULL, &error), "columns is 0, want");
	refused(lockstep_optimizer_step_rows(o, q, 4, some, 1, d, NULL, &error), "columns is 4, want a number that divides the tensor's size, 30");
	refused(lockstep_optimizer_step_rows(o, NULL, 3, some, 1, d, NULL, &error), "params is NULL");
	refused(lockstep_optimizer_step_rows(o, q, 3, NULL, 1, d, NULL, &error), "indices is NULL");
	refused(lockstep_optimizer_step_rows(o, q, 3, some, 1, NULL, NULL, &error), "grads is NULL");
	refused(lockstep_optimizer_step_rows(o, q, 3, some, SIZE_MAX / 2, d, NULL, &error), "count is ");
	refused(lockstep_optimizer_step_rows(o, q, 3, some, 3, q + 20, NULL, &error), "grads of tensor 0 (table) is 9 elements");
	refused(lockstep_optimizer_step_rows(o, q, 3, some, 3, lockstep_optimizer_state(o, 0, "v"), NULL, &error), "want a buffer apart from the optimizer's own state");
	refused(lockstep_optimizer_step_rows(two, q, 3, some, 1, d, NULL, &error), "the number of tensors is 2, want 1");
	refused(lockstep_optimizer_step_rows(whole, q, 3, some, 1, d, NULL, &error), "rule is lamb, want one of a single pass");
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_step_rows(o, q, 3, some, 1, d, NULL, &error), "step is begun");
	CHECK(!memcmp(p, q, sizeof q) && lockstep_optimizer_steps(o, 0) == 2, "something has changed");
	must(lockstep_optimizer_apply(o, 0, 0, 30, q, p, &error));
	must(lockstep_optimizer_end(o, &error));
	memcpy(p, q, sizeof q);
	must(lockstep_optimizer_step_rows(o, q, 3, NULL, 0, NULL, NULL, &error));
	CHECK(!memcmp(p, q, sizeof q) && lockstep_optimizer_steps(o, 0) == 3, "a step of no rows leaves all as it is");
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(two);
	lockstep_optimizer_free(whole);
}

/* A rule with state by row wants the rows of its tensor. */
static void check_columns(void) {
	const lockstep_tensor tensors[] = {{.size = 30, .columns = 5}, {.size = 30}, {.size = 0, .columns = 5}, {.size = 0}};
	options of = preset("textbook", "RowwiseAdam");
	set_option(&of, "lr", 0.1);
	lockstep_group group = {of.rule->name, of.bytes, of.rule->size};
	const int64_t some[] = {5, 2, 5};
	const char *names[2];
	size_t lengths[2];
	float q[30] = {0}, d[30] = {1, 2, 3};
	CHECK(lockstep_matrix_slots(&group, 6, 5, names, lengths, 2) == 2 && !strcmp(names[0], "v") && lengths[0] == 6 && lengths[1] == 30, "of a matrix");
	CHECK(lockstep_matrix_slots(&group, 30, 0, names, lengths, 2) == 2 && lengths[0] == 1 && lengths[1] == 30, "of a vector");
	CHECK(lockstep_matrix_slots(&group, 0, 0, names, lengths, 2) == 2 && lengths[0] == 0 && lengths[1] == 0, "of nothing");
	lockstep_optimizer *o = make(&of, tensors, 1), *vector = make(&of, tensors + 1, 1), *all = make(&of, tensors, 4);
	CHECK(lockstep_optimizer_state_len(o, 0, "v") == 6 && lockstep_optimizer_state_len(vector, 0, "v") == 1, "numbers for each row");
	refused(lockstep_optimizer_step_rows(o, q, 3, some, 3, d, NULL, &error), "columns is 3, want those of the tensor, 5");
	refused(lockstep_optimizer_step_rows(vector, q, 5, some, 3, d, NULL, &error), "columns is 5, want those of the tensor, 30");
	refused(lockstep_optimizer_begin(o, -1, &error), "rule is rowwise adam, want one of a single pass over elements, without sums");
	must(lockstep_optimizer_step_rows(o, q, 5, some, 3, d, NULL, &error));
	const float *v = lockstep_optimizer_state(o, 0, "v");
	for (int row = 0; row < 6; row++) CHECK((v[row] > 0) == (row == 5), "v of row %d is %g", row, (double)v[row]);
	must(lockstep_optimizer_step_rows(vector, q, 30, some + 1, 0, NULL, NULL, &error));
	float *params[] = {q, p, NULL, NULL};
	const float *grads[] = {d, d, NULL, NULL};
	must(lockstep_optimizer_step(all, params, grads, NULL, &error));
	lockstep_optimizer_free(o);
	lockstep_optimizer_free(vector);
	lockstep_optimizer_free(all);
}

void test_rows(void) {
	const lockstep_table *list[TABLES];
	lockstep_pool *pools[] = {NULL, busy_pool(2, 0), busy_pool(7, 0)};
	check_misuse();
	check_columns();
	for (size_t n = tables(list), k = 0; k < n; k++) {
		table = list[k];
		for (size_t j = getenv("LOCKSTEP_EMULATED") ? 2 : 0; j < sizeof pools / sizeof *pools; j++) {
			pool = pools[j];
			each_line("rows", follow);
		}
	}
	lockstep_pool_free(pools[1]);
	lockstep_pool_free(pools[2]);
}
