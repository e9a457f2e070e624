/* What calls refuse, and matrices that are walked row by row. */
#include "test.h"

#include <math.h>
#include <string.h>

static float room[64];

static lockstep_buffer of(size_t n) { return (lockstep_buffer){room, n, 0}; }

static void refuses(const char *what, lockstep_status got, lockstep_status want) {
	CHECK(got == want, "%s: %s, want: %s", what, lockstep_message(got), lockstep_message(want));
}

static void check_lists(void) {
	lockstep_sgd_scalars c = {.scale = 1};
	double sum[LOCKSTEP_LANES] = {0};
	lockstep_buffer two[] = {of(4), of(4)}, uneven[] = {of(4), of(3)}, huge[] = {of(PTRDIFF_MAX), of(PTRDIFF_MAX)};
	lockstep_buffer null[] = {of(4), {NULL, 4, 0}}, empty[] = {{NULL, 0, 0}, {NULL, 0, 0}}, longer[] = {of(3), of(4)};
	refuses("two buffers", lockstep_kernel_sgd(NULL, two, 2, &c), LOCKSTEP_OK);
	refuses("no buffers", lockstep_kernel_sgd(NULL, NULL, 0, &c), LOCKSTEP_OK);
	refuses("empty buffers", lockstep_kernel_sgd(NULL, empty, 2, &c), LOCKSTEP_OK);
	refuses("a longer buffer", lockstep_kernel_sgd(NULL, longer, 2, &c), LOCKSTEP_OK);
	refuses("one buffer", lockstep_kernel_sgd(NULL, two, 1, &c), LOCKSTEP_BAD_COUNT);
	refuses("a short buffer", lockstep_kernel_sgd(NULL, uneven, 2, &c), LOCKSTEP_SHORT_BUFFER);
	refuses("a huge buffer", lockstep_kernel_sgd(NULL, huge, 2, &c), LOCKSTEP_LONG_BUFFER);
	refuses("no data", lockstep_kernel_sgd(NULL, null, 2, &c), LOCKSTEP_NULL);
	refuses("no list", lockstep_kernel_sgd(NULL, NULL, 2, &c), LOCKSTEP_NULL);
	refuses("no scalars", lockstep_kernel_sgd(NULL, two, 2, NULL), LOCKSTEP_NULL);
	refuses("no lanes", lockstep_kernel_sum(NULL, two, 2, NULL), LOCKSTEP_NULL);
	refuses("a list", lockstep_kernel_sum(NULL, two, 2, sum), LOCKSTEP_OK);
}

static void check_matrices(void) {
	lockstep_buffer dots[] = {of(2), of(6), of(3)}, small[] = {of(2), of(5), of(3)}, huge[] = {of(SIZE_MAX / 2), of(6), of(3)};
	lockstep_buffer rank_one[] = {of(3), of(6), of(2)};
	refuses("dots", lockstep_kernel_dots(NULL, dots, 3), LOCKSTEP_OK);
	refuses("a rank-one update", lockstep_kernel_rank_one(NULL, rank_one, 3), LOCKSTEP_OK);
	refuses("two matrices", lockstep_kernel_dots(NULL, dots, 6), LOCKSTEP_BAD_COUNT);
	refuses("no matrix", lockstep_kernel_dots(NULL, dots, 0), LOCKSTEP_BAD_COUNT);
	refuses("a small matrix", lockstep_kernel_dots(NULL, small, 3), LOCKSTEP_SHORT_BUFFER);
	refuses("a huge matrix", lockstep_kernel_dots(NULL, huge, 3), LOCKSTEP_LONG_BUFFER);
}

/* A large matrix, whose rows are walked one by one, is its halves, whose rows are not. */
static void check_rows(const lockstep_table *table) {
	enum { ROWS = 33000, COLUMNS = 130 };
	float *x = malloc(sizeof(float) * ROWS * COLUMNS), *z = malloc(sizeof(float) * 2 * ROWS), *y = z + ROWS;
	float w[COLUMNS], g[2][COLUMNS] = {{0}};
	for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++) x[i] = (float)(i % 1013) - 500.25f;
	memcpy(w, x, sizeof w);
	lockstep_buffer dots[] = {{z, ROWS, 0}, {x, ROWS * COLUMNS, 0}, {w, COLUMNS, 0}};
	lockstep_buffer rank_one[] = {{g[0], COLUMNS, 0}, dots[1], dots[0]};
	CHECK(!lockstep_kernel_dots(table, dots, 3) && !lockstep_kernel_rank_one(table, rank_one, 3), "refused");
	for (int half = 0; half < 2; half++) {
		size_t first = half ? ROWS / 2 : 0, rows = half ? ROWS - ROWS / 2 : ROWS / 2;
		dots[0] = (lockstep_buffer){y + first, rows, 0};
		dots[1] = (lockstep_buffer){x + first * COLUMNS, rows * COLUMNS, 0};
		lockstep_buffer part[] = {{g[1], COLUMNS, 0}, dots[1], {z + first, rows, 0}};
		CHECK(!lockstep_kernel_dots(table, dots, 3) && !lockstep_kernel_rank_one(table, part, 3), "refused");
	}
	CHECK(!memcmp(z, y, sizeof(float) * ROWS) && !memcmp(g[0], g[1], sizeof g[0]), "%s: the rows of a large matrix come out otherwise", table->isa);
	free(x);
	free(z);
}

static size_t buffers_of_matrices(void) {
	size_t count, most = 0;
	const lockstep_kernel *all = lockstep_kernels(&count);
	for (size_t k = 0; k < count; k++)
		for (size_t b = 0; b < all[k].buffer_count; b++)
			if (all[k].buffers[b].kind == LOCKSTEP_MATRIX && all[k].buffer_count > most) most = all[k].buffer_count;
	return most;
}

/* The same of a matrix in bf16, beside others, by the kernel with the most buffers: there is room for no more. */
static void check_typed_rows(const lockstep_table *table) {
	enum { ROWS = 33000, COLUMNS = 130, N = ROWS * COLUMNS };
	const lockstep_adam_grad_bf16_state_float8_scalars c = {.scale = 1, .weight1 = 0.5f, .beta2 = 0.5f, .root2 = 0.7f, .eps = 1, .step = 1};
	float *x = calloc(6 * N + 5 * ROWS, sizeof *x), *up = x + 6 * N, codes[COLUMNS];
	uint16_t *g = malloc(sizeof *g * N);
	for (size_t i = 0; i < N; i++) g[i] = (uint16_t)(0x3f80 + i % 61);
	for (size_t i = 0; i < COLUMNS; i++) codes[i] = (float)i;
	for (size_t r = 0; r < ROWS; r++) memcpy(&up[r], &(uint32_t){1u << r % 24}, sizeof *up);
	const lockstep_buffer words = {codes, COLUMNS, 0};
	CHECK(buffers_of_matrices() == 9, "a kernel of matrices has %zu buffers, want 9 at most", buffers_of_matrices());
	for (int part = 0; part < 3; part++) { /* the whole, and both halves */
		size_t first = part == 2 ? ROWS / 2 : 0, rows = part == 0 ? ROWS : part == 1 ? ROWS / 2 : ROWS - ROWS / 2, n = rows * COLUMNS;
		float *p = (part ? x + 3 * N : x) + first * COLUMNS, *ms = up + (part ? 3 : 1) * ROWS + first;
		lockstep_buffer list[] = {{p, n, 0}, {(float *)(void *)(g + first * COLUMNS), n, 0}, {p + N, n, 0}, {p + 2 * N, n, 0}, {ms, rows, 0}, {ms + ROWS, rows, 0}, {up + first, rows, 0}, words, words};
		CHECK(!lockstep_kernel_adam_grad_bf16_state_float8(table, list, 9, &c), "refused");
	}
	CHECK(!memcmp(x, x + 3 * N, sizeof *x * 3 * N) && !memcmp(up + ROWS, up + 3 * ROWS, sizeof *x * 2 * ROWS), "%s: the rows of a large matrix with one in bf16 come out otherwise", table->isa);
	CHECK(x[N - 1] != 0 && x[3 * N - 1] != 0 && up[3 * ROWS - 1] != 0, "%s: nothing comes out", table->isa);
	free(x);
	free(g);
}

static void check_small_functions(void) {
	double lanes[LOCKSTEP_LANES] = {0};
	lanes[0] = 0x1p60;
	lanes[16] = -0x1p60;
	lanes[1] = 1;
	CHECK(lockstep_total(lanes) == 1, "the lanes are added in another order");
	CHECK(lockstep_weight(0.75) == 0.25f && lockstep_weight(0.25) == -0.25f, "weights");
	CHECK(!strcmp(lockstep_version(), LOCKSTEP_VERSION), "the header is of another version");
	CHECK(!strcmp(lockstep_message(LOCKSTEP_NO_MEMORY), "no memory"), "a message");
	CHECK(!strcmp(lockstep_message((lockstep_status)99), "no such status"), "a message of nothing");
}

void test_calls(void) {
	const lockstep_table *list[TABLES];
	size_t n = tables(list);
	check_lists();
	check_matrices();
	for (size_t t = 0; t < n; t++) {
		check_rows(list[t]);
		check_typed_rows(list[t]);
	}
	check_small_functions();
}
