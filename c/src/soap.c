/* The pass of SOAP over matrices, function by function that of Go's package update. */
#include "eigen.h"

#include <math.h>
#include <string.h>

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t greatest(size_t x, size_t y) { return x > y ? x : y; }

/* The sum and the product of rooms, if memory has so much. */
static size_t sum(size_t x, size_t y) { return x > SIZE_MAX - y ? SIZE_MAX : x + y; }
static size_t product(size_t x, size_t y) { return y && x > SIZE_MAX / y ? SIZE_MAX : x * y; }

/* Floats that are the room of bases. */
static size_t bases_room(size_t side) {
	size_t each = sizeof(double) / sizeof(float);
	return sum(product(product(side, side), each), product(7 * side, each));
}

/* Bases, two matrices, a preconditioner's product with its basis, and what products take: those
 * of sides that have a preconditioner, which are none that is longer than side. */
size_t lockstep_soap_room(const lockstep_table *table, size_t rows, size_t columns, size_t side) {
	const size_t sides[] = {rows, columns};
	size_t most = 0;
	for (int k = 0; k < 2; k++) {
		if (sides[k] > side) continue;
		most = greatest(most, lockstep_matmul_room(table, rows, columns, sides[k]));
		most = greatest(most, lockstep_matmul_room(table, sides[k], sides[k], greatest(rows, columns)));
	}
	return sum(sum(bases_room(side), product(side, side)), sum(product(2, rows * columns), most));
}

/* The preconditioner of rows or columns, and its basis, which may have no elements. */
typedef struct side {
	lockstep_matrix of, basis;
} side;

/* What turns a matrix to the bases of its preconditioners and back. */
typedef struct turner {
	const lockstep_table *table;
	lockstep_pool *pool;
	side left, right;
	lockstep_matrix m, v, g, x, y;
	double *bases;
	float *square; /* of the longer side */
	float *room;   /* of products */
} turner;

static lockstep_matrix row_major(float *data, size_t rows, size_t columns) { return (lockstep_matrix){data, rows, columns, columns, 1}; }
static lockstep_matrix transposed(lockstep_matrix m) { return (lockstep_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride}; }
static size_t size_of(lockstep_matrix m) { return m.rows * m.columns; }

static int is_there(const side *s) { return s->of.rows > 0; }

/* Whether there is no basis yet: in one that there is no row is 0. */
static int is_new(const side *s) {
	for (size_t j = 0; j < s->basis.columns; j++)
		if (s->basis.data[j] != 0) return 0;
	return is_there(s);
}

/* A kernel that takes elements in parts of any length. */
typedef struct mapping {
	const lockstep_table *table;
	float *buffers[4];
	size_t n;
	const void *scalars;
	void (*run)(const struct mapping *m, lockstep_buffer *list);
} mapping;

static void map_unit(void *context, size_t unit) {
	const mapping *m = context;
	size_t lo = unit * UNIT_LEN, n = least(UNIT_LEN, m->n - lo);
	lockstep_buffer list[4] = {{0}};
	for (size_t k = 0; k < 4 && m->buffers[k]; k++) list[k] = (lockstep_buffer){m->buffers[k] + lo, n, 0};
	m->run(m, list);
}

static void map(const turner *t, mapping m) {
	m.table = t->table;
	lockstep_share(t->pool, map_unit, &m, (m.n + UNIT_LEN - 1) / UNIT_LEN, m.n);
}

static void run_adam(const mapping *m, lockstep_buffer *list) { lockstep_kernel_adam(m->table, list, 4, m->scalars); }
static void run_fade(const mapping *m, lockstep_buffer *list) { lockstep_kernel_fade(m->table, list, 2, m->scalars); }
static void run_flush(const mapping *m, lockstep_buffer *list) { lockstep_kernel_flush(m->table, list, 1, m->scalars); }

static void flush(const turner *t, lockstep_matrix x, uint32_t small) {
	lockstep_flush_scalars c = {.small = small};
	map(t, (mapping){.buffers = {x.data}, .n = size_of(x), .scalars = &c, .run = run_flush});
}

/* c ← alpha·a·b. */
static void multiply(const turner *t, lockstep_matrix c, lockstep_matrix a, lockstep_matrix b, float alpha) {
	lockstep_product p = {c, c, a, b, alpha, 0, 0};
	lockstep_multiply(t->table, &p, t->room, t->pool);
}

/* Makes to = alpha·aᵀ·from·b of the bases a and b, or alpha·a·from·bᵀ, by way of room that is
 * neither. */
static void turn(const turner *t, lockstep_matrix to, lockstep_matrix from, lockstep_matrix room, lockstep_matrix a, lockstep_matrix b, float alpha) {
	int has_left = is_there(&t->left), has_right = is_there(&t->right);
	if (has_left && has_right) {
		multiply(t, room, a, from, 1);
		multiply(t, to, room, b, alpha);
	} else if (has_left) {
		multiply(t, to, a, from, alpha);
	} else if (has_right) {
		multiply(t, to, from, b, alpha);
	} else {
		lockstep_scale(t->pool, to.data, from.data, size_of(to), (double)alpha);
	}
}

static void turn_forth(const turner *t, lockstep_matrix to, lockstep_matrix from, lockstep_matrix room) {
	turn(t, to, from, room, transposed(t->left.basis), t->right.basis, 1);
}

/* By way of x. */
static void turn_back(const turner *t, lockstep_matrix to, lockstep_matrix from, float alpha) {
	turn(t, to, from, t->x, t->left.basis, transposed(t->right.basis), alpha);
}

/* Makes a column of a basis. */
static void put(const side *s, const lockstep_bases *b, size_t column, size_t of) {
	for (size_t i = 0; i < b->n; i++) s->basis.data[i * b->n + column] = (float)b->a[of * b->n + i];
}

static int fades(const lockstep_bases_step *c) { return c->looks && (c->often || (c->t + 1) % FLUSH_EVERY == 0); }

static void learn_side(const turner *t, const side *s, lockstep_matrix a, const lockstep_bases_step *c) {
	if (!is_there(s)) return;
	lockstep_product p = {s->of, s->of, a, transposed(a), (float)(1 - c->shampoo_beta), (float)c->shampoo_beta, 1};
	lockstep_multiply(t->table, &p, t->room, t->pool);
	if (fades(c)) flush(t, s->of, c->flush);
}

/* Moves the preconditioners by the gradient. */
static void learn(const turner *t, const lockstep_bases_step *c) {
	learn_side(t, &t->left, t->g, c);
	learn_side(t, &t->right, transposed(t->g), c);
}

static void begin_side(const turner *t, const side *s) {
	if (!is_there(s)) return;
	size_t n = s->of.rows;
	lockstep_bases b = lockstep_bases_in(t->bases, n, t->pool);
	for (size_t i = 0; i < n * n; i++) b.a[i] = (double)s->of.data[i];
	lockstep_eigenvectors(&b);
	for (size_t k = 0; k < n; k++) put(s, &b, k, (size_t)b.places[k]);
}

static void clear(lockstep_matrix m) { memset(m.data, 0, size_of(m) * sizeof *m.data); }

/* Makes the bases, and a step of 0. */
static void begin(const turner *t, const lockstep_bases_step *c) {
	learn(t, c);
	begin_side(t, &t->left);
	begin_side(t, &t->right);
	clear(t->m);
	clear(t->v);
	clear(t->g);
}

/* Makes -m/(√v + eps) in the bases, in y. */
static void adam(const turner *t, const lockstep_bases_step *c) {
	turn_forth(t, t->x, t->g, t->y);
	clear(t->y);
	lockstep_adam_scalars scalars = {.scale = 1, .drop = c->drop, .first = c->drop, .weight1 = c->weight1, .beta2 = c->beta2, .root2 = c->root2,
		.small = c->small, .eps = c->eps, .step = 1};
	size_t n = size_of(t->y);
	map(t, (mapping){.buffers = {t->y.data, t->x.data, t->m.data, t->v.data}, .n = n, .scalars = &scalars, .run = run_adam});
	if (!fades(c)) return;
	const uint32_t drop_small = 0x0fffffff;
	lockstep_fade_scalars fading = {.scale = 1, .drop = c->drop, .small = drop_small};
	map(t, (mapping){.buffers = {t->m.data, t->x.data}, .n = n, .scalars = &fading, .run = run_fade});
}

/* Makes the root mean square of the direction 1. */
static void normalize(const turner *t) {
	size_t n = size_of(t->g);
	lockstep_dots(t->pool, t->x.data, t->g, t->g);
	double mean = lockstep_total_of(t->x.data, t->g.rows) / (double)n;
	lockstep_scale(t->pool, t->g.data, t->g.data, n, 1 / (sqrt(mean) + 1e-30));
}

/* Makes a step of the iteration of a basis, and says where its columns were. */
static const double *iterate(const turner *t, const side *s) {
	size_t n = s->of.rows;
	lockstep_bases b = lockstep_bases_in(t->bases, n, t->pool);
	multiply(t, row_major(t->square, n, n), s->of, s->basis, 1);
	memset(b.values, 0, n * sizeof *b.values);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			double of = (double)s->basis.data[i * n + j] * (double)t->square[i * n + j];
			b.values[j] += of;
		}
	lockstep_sort_values(&b);
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < n; i++) b.a[k * n + i] = (double)t->square[i * n + (size_t)b.places[k]];
	lockstep_orthonormalize(&b);
	for (size_t k = 0; k < n; k++) put(s, &b, k, k);
	return b.places;
}

static void follow_left(const turner *t) {
	const double *places = iterate(t, &t->left);
	size_t columns = t->v.columns;
	memcpy(t->x.data, t->v.data, size_of(t->v) * sizeof *t->v.data);
	for (size_t i = 0; i < t->v.rows; i++)
		memcpy(t->v.data + i * columns, t->x.data + (size_t)places[i] * columns, columns * sizeof *t->v.data);
}

static void follow_right(const turner *t) {
	const double *places = iterate(t, &t->right);
	size_t columns = t->v.columns;
	for (size_t i = 0; i < t->v.rows; i++) {
		float *row = t->v.data + i * columns;
		memcpy(t->x.data, row, columns * sizeof *row);
		for (size_t j = 0; j < columns; j++) row[j] = t->x.data[(size_t)places[j]];
	}
}

/* Makes a step of the iteration of both bases, with what is in them. */
static void follow(const turner *t) {
	turn_back(t, t->y, t->m, 1);
	if (is_there(&t->left)) follow_left(t);
	if (is_there(&t->right)) follow_right(t);
	turn_forth(t, t->m, t->y, t->x);
}

/* Slots of so many rows, unless that is more than the most. */
static side side_of(const lockstep_row_range *m, int of, int basis, size_t n, size_t most) {
	if (n > most) return (side){0};
	return (side){row_major(m->state[of], n, n), row_major(m->state[basis], n, n)};
}

void lockstep_soap_direction(const lockstep_row_range *m, const void *scalars) {
	lockstep_bases_step c;
	memcpy(&c, scalars, sizeof c);
	enum { M, V, LEFT, RIGHT, LEFT_BASIS, RIGHT_BASIS };
	size_t rows = m->rows, columns = m->columns, n = rows * columns;
	turner t = {.table = m->table, .pool = m->pool, .m = row_major(m->state[M], rows, columns), .v = row_major(m->state[V], rows, columns),
		.g = row_major(m->state[m->slot_count - 1], rows, columns)};
	if (m->slot_count > RIGHT_BASIS) {
		t.left = side_of(m, LEFT, LEFT_BASIS, rows, (size_t)c.most);
		t.right = side_of(m, RIGHT, RIGHT_BASIS, columns, (size_t)c.most);
	}
	size_t longest = greatest(t.left.of.rows, t.right.of.rows);
	float *room = m->room;
	t.bases = (double *)(void *)room;
	t.x = row_major(room += bases_room(longest), rows, columns);
	t.y = row_major(room += n, rows, columns);
	t.square = room += n;
	t.room = room + longest * longest;
	flush(&t, t.g, c.drop);
	if (c.t == 0 || is_new(&t.left) || is_new(&t.right)) {
		begin(&t, &c);
		return;
	}
	adam(&t, &c);
	learn(&t, &c);
	turn_back(&t, t.g, t.y, -1);
	if (c.normalizes) normalize(&t);
	if (c.t > 0 && c.t % c.frequency == 0) follow(&t);
}
