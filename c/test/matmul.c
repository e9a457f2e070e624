/* Products of matrices give the bits of Go's reference, on every table and for any number of
 * threads, and refuse what they must. Their kernels keep what is the caller's. */
#include "test.h"

#include <string.h>

enum { SHORT_PRODUCTS = 120, PRODUCT_CASES = SHORT_PRODUCTS + 6 };
static uint32_t expected[PRODUCT_CASES];

static arena *memory;

/* Room for n elements: in the arena but for large cases. */
static float *give(size_t slot, size_t n, int number, int place) {
	if (number < SHORT_PRODUCTS) return place_buffer(memory, slot, n, number, place);
	float *x = malloc((n + 1) * sizeof *x);
	CHECK(x, "no memory");
	return x;
}

static float draw(source *s) {
	uint32_t bits = value(s);
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static lockstep_matrix transposed(lockstep_matrix m) { return (lockstep_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride}; }

/* Draws a matrix with a gap behind each row, or column if it is transposed. */
static lockstep_matrix draw_matrix(source *s, size_t slot, size_t rows, size_t columns, int is_transposed, int place) {
	if (is_transposed) return transposed(draw_matrix(s, slot, columns, rows, 0, place));
	size_t stride = columns + below(s, 3);
	lockstep_matrix m = {give(slot, rows * stride, s->number, place), rows, columns, stride, 1};
	for (size_t i = 0; i < rows * stride; i++) m.data[i] = draw(s);
	return m;
}

/* A product with the memory that is its own. */
typedef struct drawn {
	lockstep_product p;
	float *room;
	size_t room_len;
	int number;
	float *all[5];
} drawn;

static void mirror(const lockstep_matrix *d) {
	for (size_t i = 0; i < d->rows; i++)
		for (size_t j = 0; j < i; j++) d->data[j * d->row_stride + i] = d->data[i * d->row_stride + j];
}

static drawn draw_product(const lockstep_table *table, int number, int place) {
	source s = new_source("matmul", number);
	drawn x = {.number = number};
	size_t rows = below(&s, 40), columns = below(&s, 40), n = below(&s, 40);
	if (number % 2) n = below(&s, 4);
	if (number >= SHORT_PRODUCTS) {
		rows = 100 + below(&s, 60);
		columns = 100 + below(&s, 200);
		n = 200 + below(&s, 400);
	}
	x.p.symmetric = below(&s, 4) == 0;
	if (x.p.symmetric) columns = rows;
	x.p.alpha = draw(&s);
	x.p.beta = draw(&s);
	if (below(&s, 3) == 0) x.p.beta = 0;
	int in_place = below(&s, 2) == 0, a_is_transposed = below(&s, 2) > 0;
	x.p.a = draw_matrix(&s, 0, rows, n, a_is_transposed, place);
	int b_is_transposed = below(&s, 2) > 0;
	x.p.b = draw_matrix(&s, 1, n, columns, b_is_transposed, place);
	x.p.c = draw_matrix(&s, 2, rows, columns, 0, place);
	x.p.d = draw_matrix(&s, 3, rows, columns, 0, place);
	x.room_len = lockstep_matmul_room(table, rows, columns, n);
	x.room = give(4, x.room_len, number, place);
	float *all[] = {x.p.a.data, x.p.b.data, x.p.c.data, x.p.d.data, x.room};
	memcpy(x.all, all, sizeof all);
	if (x.p.symmetric) x.p.b = transposed(x.p.a);
	if (in_place) x.p.d = x.p.c;
	if (x.p.symmetric) mirror(&x.p.d);
	return x;
}

static void free_product(drawn *x) {
	for (size_t k = 0; x->number >= SHORT_PRODUCTS && k < sizeof x->all / sizeof *x->all; k++) free(x->all[k]);
}

static void compare_case(const lockstep_table *table, lockstep_pool *pool, int number, int place) {
	drawn x = draw_product(table, number, place);
	lockstep_error error;
	size_t allocated = allocations();
	lockstep_status status = lockstep_matmul(table, &x.p, x.room, x.room_len, pool, &error);
	CHECK(!status, "case %d: %s", number, error.message);
	CHECK(allocations() == allocated, "a product has allocated");
	uint32_t got = hash_sum(hash_floats(HASH_START, x.p.c.data, x.p.c.rows * x.p.c.row_stride));
	CHECK(got == expected[number], "%s, case %d at place %d: other bits than the reference", lockstep_isa(table), number, place);
	free_product(&x);
}

static void compare(const lockstep_table *table, lockstep_pool *pool) {
	for (int number = 0; number < PRODUCT_CASES; number++)
		for (int place = 0; place < (number < SHORT_PRODUCTS ? PLACES : 1); place++) compare_case(table, pool, number, place);
}

/* A host that flushes, or rounds another way, gets the same bits. */
static void compare_in_mode(const lockstep_table *table) {
	lockstep_mode mode = LOCKSTEP_MODE_MASK & ~(lockstep_mode)LOCKSTEP_USUAL_MODE, before = change_mode(mode), host = lockstep_get_mode();
	for (int number = 1; number < SHORT_PRODUCTS; number += 2) compare_case(table, NULL, number, 0);
	CHECK(lockstep_get_mode() == host, "a product has changed the mode");
	lockstep_set_mode(before);
}

/* A fused operation rounds once: sums that double rounds to half way between two floats are where
 * others round twice. */
static void check_fused(const lockstep_table *table) {
	static const struct {
		float x, y, z, want;
	} cases[] = {
		{24929, 673, 0x1p-40f, 16777218}, {24929, 673, -0x1p-40f, 16777216}, {24929, 673, 0, 16777216},
		{-24929, 673, -0x1p-40f, -16777218}, {-24929, 673, 0x1p-40f, -16777216},
		{3, 5592409, -0x1p-40f, 16777226}, {3, 5592409, 0, 16777228}, {-3, 5592409, 0x1p-40f, -16777226},
		{0x1p-75f, 0x1p-75f, -0x1p-126f, -0x1p-126f}, {0x1.8p-75f, 0x1p-75f, 0x1p-149f, 0x1p-148f},
	};
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		float a = cases[k].y, b = 1, c, d = cases[k].z, room[256];
		lockstep_product p = {{&c, 1, 1, 1, 1}, {&d, 1, 1, 1, 1}, {&a, 1, 1, 1, 1}, {&b, 1, 1, 1, 1}, cases[k].x, 1, 0};
		CHECK(!lockstep_matmul(table, &p, room, 256, NULL, NULL), "refused");
		CHECK(c == cases[k].want, "%s: %a·%a + %a is %a, want %a", lockstep_isa(table), (double)cases[k].x, (double)a, (double)d, (double)c, (double)cases[k].want);
	}
}

static void read_products(void) {
	char path[400];
	snprintf(path, sizeof path, "%s/products.txt", folder);
	FILE *f = fopen(path, "r");
	CHECK(f, "cannot open %s", path);
	while (fgetc(f) != '\n');
	CHECK(fscanf(f, "matmul") == 0, "no products in %s", path);
	for (int c = 0; c < PRODUCT_CASES; c++) CHECK(fscanf(f, "%8x", &expected[c]) == 1, "%s has %d cases", path, c);
	fclose(f);
}

/* That something was refused, with a status and a message that begins so. */
static void refused(const lockstep_product *p, float *room, size_t room_len, lockstep_status want, const char *message) {
	lockstep_error error;
	lockstep_status got = lockstep_matmul(NULL, p, room, room_len, NULL, &error);
	CHECK(got == want && error.status == want, "status %d, want %d: %s", (int)got, (int)want, message);
	CHECK(!strncmp(error.message, message, strlen(message)), "'%s', want '%s'", error.message, message);
	CHECK(lockstep_matmul(NULL, p, room, room_len, NULL, NULL) == want, "another status without an error to write to");
}

static lockstep_matrix row_major(float *data, size_t rows, size_t columns) { return (lockstep_matrix){data, rows, columns, columns, 1}; }

static void refuse(void) {
	static float x[64], room[4096];
	const lockstep_product good = {row_major(x, 2, 3), row_major(x + 6, 2, 3), row_major(x + 12, 2, 4), row_major(x + 20, 4, 3), 1, 1, 0};
	lockstep_product p = good;
	refused(NULL, room, 4096, LOCKSTEP_NULL, "product is NULL");
	p.a.columns = 5;
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "b is 4 by 3, want 5 by 3");
	p = good, p.a.rows = 3;
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "a is 3 by 4, want 2 by 4");
	p = good, p.d = transposed(p.d);
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "d is 3 by 2, want 2 by 3");
	p = good, p.c.column_stride = 2;
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "c.column_stride is 2, want 1");
	p = good, p.c.row_stride = 2;
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "c.row_stride is 2, want at least its columns, 3");
	p = good, p.b.row_stride = SIZE_MAX / 2;
	refused(&p, room, 4096, LOCKSTEP_LONG_BUFFER, "b has 4 by 3 elements, want as many");
	p = good, p.b.data = NULL;
	refused(&p, room, 4096, LOCKSTEP_NULL, "b is NULL, want 4 by 3");
	p = good, p.symmetric = 1;
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "symmetric is 1, want 0 for a product of 2 by 3");
	size_t most = lockstep_matmul_room(NULL, 2, 3, 4);
	char text[64];
	snprintf(text, sizeof text, "room_len is %zu, want at least %zu", most - 1, most);
	refused(&good, room, most - 1, LOCKSTEP_SHORT_BUFFER, text);
	refused(&good, NULL, most, LOCKSTEP_NULL, "room is NULL");
	p = good, p.a.data = x + 5;
	refused(&p, room, most, LOCKSTEP_BAD_ARGUMENT, "c is at 0x");
	p = good, p.d.data = x + 1;
	refused(&p, room, most, LOCKSTEP_BAD_ARGUMENT, "c is at 0x");
	p = good, p.b.data = room + most - 1;
	refused(&p, room, most, LOCKSTEP_BAD_ARGUMENT, "room is at 0x");
	for (size_t i = 0; i < 64; i++) CHECK(x[i] == 0, "what was refused has written");
	p = good, p.d = p.c;
	CHECK(!lockstep_matmul(NULL, &p, room, most, NULL, NULL), "D that is C was refused");
	p = good, p.beta = 0, p.d = (lockstep_matrix){0};
	CHECK(!lockstep_matmul(NULL, &p, room, most, NULL, NULL), "no D was refused where beta is 0");
	/* Columns 0 to 2 and 3 to 6 of a matrix of 7, of which the latter are transposed, too. */
	p = good, p.c = (lockstep_matrix){x, 2, 3, 7, 1}, p.a = (lockstep_matrix){x + 3, 2, 4, 7, 1};
	p.b = (lockstep_matrix){x + 3, 4, 3, 1, 7}, p.d.data = x + 40;
	CHECK(!lockstep_matmul(NULL, &p, room, most, NULL, NULL), "other columns of one matrix were refused");
	p.a.data = x + 2;
	refused(&p, room, most, LOCKSTEP_BAD_ARGUMENT, "c is at 0x");
	p = (lockstep_product){.c = {x, 1, 3, 0, 1}, .a = {x, 1, 4, 0, 1}, .b = row_major(x + 20, 4, 3), .alpha = 1};
	refused(&p, room, 4096, LOCKSTEP_BAD_ARGUMENT, "c is at 0x");
	CHECK(lockstep_matmul_room(NULL, SIZE_MAX / 2, 3, 4) == SIZE_MAX && lockstep_matmul_room(NULL, 1 << 20, 1 << 20, SIZE_MAX / 64) == SIZE_MAX, "room beyond memory");
}

void test_matmul(void) {
	const lockstep_table *list[TABLES];
	lockstep_pool *two = busy_pool(2, 0), *seven = busy_pool(7, 0);
	read_products();
	memory = new_arena();
	for (size_t n = tables(list), t = 0; t < n; t++) {
		compare(list[t], NULL);
		compare(list[t], seven);
		for (int number = SHORT_PRODUCTS; number < PRODUCT_CASES; number++) compare_case(list[t], two, number, 0);
		compare_in_mode(list[t]);
		check_fused(list[t]);
		printf("  %s: %d products\n", lockstep_isa(list[t]), PRODUCT_CASES);
	}
	refuse();
	free_arena(memory);
	lockstep_pool_free(two);
	lockstep_pool_free(seven);
}
