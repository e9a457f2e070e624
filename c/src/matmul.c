/* Products of matrices: Go's kernels.MatMul, function by function. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "mode.h"
#include "optimizer.h"

#include <string.h>

/* As in Go: the products that are one sum, the rows and columns of a unit of work, about how
 * many columns are packed at a time, the rows that are mirrored, the elements of a line of the
 * cache, the most of a tile, and how many products take as long as an element of a step. */
enum { MATMUL_LEN = 256, UNIT_OF_ROWS = 128, UNIT_OF_COLUMNS = 256, PACKED = 128, MIRRORED = 16, OF_LINE = 16, MOST_OF_TILE = 14 * 32, PRODUCTS_PER_ELEMENT = 64 };

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t greatest(size_t x, size_t y) { return x > y ? x : y; }
static size_t quotient(size_t n, size_t by) { return (n + by - 1) / by; }
static size_t round_up(size_t n, size_t to) { return quotient(n, to) * to; }

static lockstep_matrix transposed(lockstep_matrix m) { return (lockstep_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride}; }

static size_t columns_of(const lockstep_panels *p) { return round_up(p->from.columns, p->width); }
static size_t group_of(const lockstep_panels *p) { return round_up(PACKED, p->width); }
static size_t packs(const lockstep_panels *p) { return quotient(p->from.rows, MATMUL_LEN) * quotient(p->from.columns, group_of(p)); }

/* The panel of n rows from the first one on which has the columns from j on. */
static float *panel(const lockstep_panels *p, size_t first, size_t n, size_t j) { return p->room + first * columns_of(p) + n * j; }

/* Packs n rows of contiguous elements. */
static void pack_rows(float *to, size_t width, const float *from, size_t n, size_t columns, size_t stride) {
	for (size_t k = 0; k < n; k++) memcpy(to + k * width, from + k * stride, columns * sizeof *to);
}

/* Packs n rows column by column, so many rows at a time as a line of the cache has elements. */
static void pack_columns(float *to, size_t width, const float *from, size_t n, size_t columns, size_t stride, size_t apart) {
	for (size_t k = 0; k < n; k += OF_LINE)
		for (size_t j = 0; j < columns; j++)
			for (size_t i = k; i < least(k + OF_LINE, n); i++) to[i * width + j] = from[i * stride + j * apart];
}

/* Packs the rows from lo to hi, which are of the same panels, of the panels from the column left
 * on. */
static void pack_part(const lockstep_panels *p, size_t lo, size_t hi, size_t left, size_t right) {
	size_t first = lo / MATMUL_LEN * MATMUL_LEN, n = least(MATMUL_LEN, p->from.rows - first);
	for (size_t j = left; j < right; j += p->width) {
		float *to = panel(p, first, n, j) + (lo - first) * p->width;
		const float *from = p->from.data + lo * p->from.row_stride + j * p->from.column_stride;
		size_t columns = least(p->width, p->from.columns - j);
		if (columns < p->width) memset(to, 0, (hi - lo) * p->width * sizeof *to);
		if (p->from.column_stride == 1)
			pack_rows(to, p->width, from, hi - lo, columns, p->from.row_stride);
		else
			pack_columns(to, p->width, from, hi - lo, columns, p->from.row_stride, p->from.column_stride);
	}
}

static void pack(const lockstep_panels *p, size_t unit) {
	size_t group = group_of(p), across = quotient(p->from.columns, group);
	size_t first = unit / across * MATMUL_LEN, left = unit % across * group;
	pack_part(p, first, least(first + MATMUL_LEN, p->from.rows), left, least(left + group, p->from.columns));
}

static void pack_range(const lockstep_panels *p, size_t lo, size_t hi) {
	for (size_t end; lo < hi; lo = end) {
		end = least(hi, (lo / MATMUL_LEN + 1) * MATMUL_LEN);
		pack_part(p, lo, end, 0, p->from.columns);
	}
}

/* Rows from top to bottom and columns from left to right, each without the last. */
typedef struct window {
	size_t top, bottom, left, right;
} window;

/* Whether a window has elements of the lower triangle, and whether it has no others. */
static int reaches_below(window w) { return w.bottom > w.left; }
static int is_below(window w) { return w.top + 1 >= w.right; }

/* How many elements of a window's row are the product's, and not those of another one that is
 * mirrored. */
static size_t counted(const lockstep_multiplication *m, window w, size_t row) {
	if (!m->p.symmetric) return w.right - w.left;
	size_t end = least(w.right, row + 1);
	return end > w.left ? end - w.left : 0;
}

static void run_tile(const lockstep_multiplication *m, size_t n, float *a, float *b, lockstep_buffer c, lockstep_buffer d, const lockstep_matmul_scalars *s) {
	lockstep_buffer list[] = {{a, n, 0}, {b, n, 0}, c, d};
	m->tile->multiply(list, 4, s, NULL);
}

/* Makes a tile that is not whole, or of which only the lower triangle counts. */
static void part(const lockstep_multiplication *m, window w, size_t n, float *a, float *b, const lockstep_matrix *d, const lockstep_matmul_scalars *s) {
	float tile[MOST_OF_TILE];
	size_t columns = m->tile->columns;
	if (s->beta != 0) {
		memset(tile, 0, sizeof tile);
		for (size_t i = w.top; i < w.bottom; i++)
			memcpy(tile + (i - w.top) * columns, d->data + i * d->row_stride + w.left, counted(m, w, i) * sizeof *tile);
	}
	lockstep_buffer room = {tile, columns, 0};
	run_tile(m, n, a, b, room, room, s);
	for (size_t i = w.top; i < w.bottom; i++)
		memcpy(m->p.c.data + i * m->p.c.row_stride + w.left, tile + (i - w.top) * columns, counted(m, w, i) * sizeof *tile);
}

/* Adds the products from the first one on to a part of C. */
static void add_products(const lockstep_multiplication *m, window w, size_t first, const lockstep_matrix *d, const lockstep_matmul_scalars *s) {
	const lockstep_matrix *c = &m->p.c;
	size_t n = least(MATMUL_LEN, m->p.a.columns - first), rows = m->tile->rows, columns = m->tile->columns;
	for (size_t j = w.left; j < w.right; j += columns) {
		float *b = panel(&m->b, first, n, j);
		for (size_t i = w.top; i < w.bottom; i += rows) {
			window t = {i, least(i + rows, w.bottom), j, least(j + columns, w.right)};
			int whole = t.bottom - t.top == rows && t.right - t.left == columns;
			float *a = panel(&m->a, first, n, i);
			if (m->p.symmetric && !reaches_below(t)) continue;
			if (whole && (!m->p.symmetric || is_below(t)))
				run_tile(m, n, a, b, (lockstep_buffer){c->data + i * c->row_stride + j, c->row_stride, 0},
					(lockstep_buffer){d->data + i * d->row_stride + j, d->row_stride, 0}, s);
			else
				part(m, t, n, a, b, d, s);
		}
	}
}

/* Copies what is below the diagonal above it. */
static void mirror(const lockstep_matrix *c, window w) {
	for (size_t i = w.top; i < w.bottom; i += MIRRORED) {
		size_t bottom = least(i + MIRRORED, w.bottom);
		for (size_t j = w.left; j < least(w.right, bottom - 1); j++)
			for (size_t k = greatest(i, j + 1); k < bottom; k++) c->data[j * c->row_stride + k] = c->data[k * c->row_stride + j];
	}
}

/* The rows and columns of a unit, which are those of whole tiles. */
static size_t unit_rows(const lockstep_multiplication *m) { return UNIT_OF_ROWS / m->tile->rows * m->tile->rows; }
static size_t unit_columns(const lockstep_multiplication *m) { return UNIT_OF_COLUMNS / m->tile->columns * m->tile->columns; }

void lockstep_pack_unit(void *context, size_t unit) {
	const lockstep_multiplication *m = context;
	size_t n = packs(&m->a);
	if (unit < n)
		pack(&m->a, unit);
	else
		pack(&m->b, unit - n);
}

void lockstep_multiply_unit(void *context, size_t unit) {
	const lockstep_multiplication *m = context;
	size_t rows = unit_rows(m), columns = unit_columns(m), across = quotient(m->p.c.columns, columns);
	size_t i = unit / across * rows, j = unit % across * columns;
	window w = {i, least(i + rows, m->p.c.rows), j, least(j + columns, m->p.c.columns)};
	lockstep_matmul_scalars s = {m->p.alpha, m->p.beta};
	const lockstep_matrix *d = &m->p.d;
	if (m->p.symmetric && !reaches_below(w)) return;
	for (size_t first = 0; first == 0 || first < m->p.a.columns; first += MATMUL_LEN) {
		add_products(m, w, first, d, &s);
		s.beta = 1;
		d = &m->p.c;
	}
	if (m->p.symmetric) mirror(&m->p.c, w);
}

size_t lockstep_product_room(const lockstep_table *table, size_t rows, size_t columns, size_t products) {
	const size_t most = PTRDIFF_MAX / sizeof(float);
	if (rows > most / 2 || columns > most / 2) return SIZE_MAX;
	size_t each = round_up(rows, table->tile->rows) + round_up(columns, table->tile->columns);
	return products && each > most / products ? SIZE_MAX : products * each;
}

size_t lockstep_matmul_room(const lockstep_table *table, size_t rows, size_t columns, size_t products) {
	if (!table && lockstep_active(&table)) return SIZE_MAX;
	return lockstep_product_room(table, rows, columns, products);
}

void lockstep_begin_product(lockstep_multiplication *m, const lockstep_table *table, const lockstep_product *p, float *room) {
	if (!room) room = p->c.data; /* where there are no products */
	*m = (lockstep_multiplication){table, table->tile, *p, {transposed(p->a), table->tile->rows, room}, {p->b, table->tile->columns, NULL}};
	m->b.room = room + m->a.from.rows * columns_of(&m->a);
	if (p->beta == 0) m->p.d = p->c; /* which nobody reads */
}

size_t lockstep_packs(const lockstep_multiplication *m) { return packs(&m->a) + packs(&m->b); }

size_t lockstep_tiles(const lockstep_multiplication *m) { return quotient(m->p.c.rows, unit_rows(m)) * quotient(m->p.c.columns, unit_columns(m)); }

void lockstep_pack_products(const lockstep_multiplication *m, size_t lo, size_t hi) {
	pack_range(&m->a, lo, hi);
	pack_range(&m->b, lo, hi);
}

void lockstep_multiply_packed(const lockstep_multiplication *packed, const lockstep_product *p, float *room) {
	lockstep_multiplication m;
	lockstep_product whole = *p;
	int is_b = !packed->p.c.rows;
	if (is_b)
		whole.b = packed->p.b;
	else
		whole.a = packed->p.a;
	lockstep_begin_product(&m, packed->table, &whole, room);
	const lockstep_panels own = {is_b ? m.a.from : m.b.from, is_b ? m.a.width : m.b.width, room};
	m.a = is_b ? own : packed->a;
	m.b = is_b ? packed->b : own;
	for (size_t unit = 0; unit < packs(&own); unit++) pack(&own, unit);
	for (size_t unit = 0; unit < lockstep_tiles(&m); unit++) lockstep_multiply_unit(&m, unit);
}

void lockstep_multiply(const lockstep_table *table, const lockstep_product *p, float *room, lockstep_pool *pool) {
	lockstep_multiplication m;
	lockstep_begin_product(&m, table, p, room);
	size_t elements = p->c.rows * p->c.columns / PRODUCTS_PER_ELEMENT, products = p->a.columns;
	size_t size = products && elements > SIZE_MAX / products ? SIZE_MAX : elements * products;
	lockstep_share(pool, lockstep_pack_unit, &m, lockstep_packs(&m), size);
	lockstep_share(pool, lockstep_multiply_unit, &m, lockstep_tiles(&m), size);
}

/* How many elements there are from the first to the last, or SIZE_MAX if memory has not so many. */
static size_t extent(const lockstep_matrix *m) {
	const size_t most = PTRDIFF_MAX / sizeof(float);
	if (!m->rows || !m->columns) return 0;
	size_t down = m->rows - 1, across = m->columns - 1;
	if ((down && m->row_stride > most / down) || (across && m->column_stride > most / across)) return SIZE_MAX;
	size_t n = down * m->row_stride + across * m->column_stride;
	return n < most ? n + 1 : SIZE_MAX;
}

static lockstep_status check_matrix(const char *name, const lockstep_matrix *m, size_t rows, size_t columns, lockstep_error *error) {
	if (m->rows != rows || m->columns != columns)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s is %zu by %zu, want %zu by %zu", name, m->rows, m->columns, rows, columns);
	size_t n = extent(m);
	if (n == SIZE_MAX) return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "%s has %zu by %zu elements, want as many as memory has room for", name, rows, columns);
	return n && !m->data ? lockstep_reject(error, LOCKSTEP_NULL, "%s is NULL, want %zu by %zu elements", name, rows, columns) : LOCKSTEP_OK;
}

static lockstep_status check_rows(const char *name, const lockstep_matrix *m, lockstep_error *error) {
	if (m->column_stride != 1 && m->columns > 1)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s.column_stride is %zu, want 1: its rows are contiguous", name, m->column_stride);
	if (m->row_stride < m->columns && m->rows > 1)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s.row_stride is %zu, want at least its columns, %zu", name, m->row_stride, m->columns);
	return LOCKSTEP_OK;
}

/* Whether matrices share no elements: they lie apart, or their rows are other columns of one
 * matrix. */
static int is_apart(lockstep_matrix x, lockstep_matrix y) {
	uintptr_t at = (uintptr_t)x.data, other = (uintptr_t)y.data;
	size_t size = extent(&x) * sizeof(float), size_of_other = extent(&y) * sizeof(float);
	if (!size || !size_of_other || at + size <= other || other + size_of_other <= at) return 1;
	if (y.column_stride != 1) y = transposed(y);
	if (y.column_stride != 1 || y.row_stride != x.row_stride || !x.row_stride) return 0;
	size_t row = x.row_stride * sizeof(float), ends = x.columns * sizeof(float);
	size_t begins = other >= at ? (other - at) % row : (row - (at - other) % row) % row;
	return begins >= ends && begins + y.columns * sizeof(float) <= row;
}

static lockstep_status check_apart(const char *name, lockstep_matrix m, const char *from, const lockstep_matrix *other, lockstep_error *error) {
	if (is_apart(m, *other)) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "%s is at %#zx, want elements apart from those of %s at %#zx", name, (size_t)(uintptr_t)m.data, from, (size_t)(uintptr_t)other->data);
}

static int is_same(const lockstep_matrix *x, const lockstep_matrix *y) { return x->data == y->data && x->row_stride == y->row_stride; }

/* Checks that what is written shares no elements with anything else. */
static lockstep_status check_written(const lockstep_product *p, float *room, size_t room_len, lockstep_error *error) {
	const lockstep_matrix *const read[] = {&p->a, &p->b, &p->d}, taken = {room, 1, room_len, room_len, 1};
	static const char *const names[] = {"a", "b", "d"};
	size_t count = p->beta != 0 ? 3 : 2;
	lockstep_status status = check_apart("room", taken, "c", &p->c, error);
	for (size_t k = 0; k < count && !status; k++) {
		status = check_apart("room", taken, names[k], read[k], error);
		if (!status && !(k == 2 && is_same(&p->c, &p->d))) status = check_apart("c", p->c, names[k], read[k], error);
	}
	return status;
}

static lockstep_status check(const lockstep_table *table, const lockstep_product *p, float *room, size_t room_len, lockstep_error *error) {
	if (!p) return lockstep_reject(error, LOCKSTEP_NULL, "product is NULL, want one");
	size_t rows = p->c.rows, columns = p->c.columns, products = p->a.columns;
	lockstep_status status = check_matrix("c", &p->c, rows, columns, error);
	if (!status) status = check_matrix("a", &p->a, rows, products, error);
	if (!status) status = check_matrix("b", &p->b, products, columns, error);
	if (!status) status = check_rows("c", &p->c, error);
	if (!status && p->beta != 0) status = check_matrix("d", &p->d, rows, columns, error);
	if (!status && p->beta != 0) status = check_rows("d", &p->d, error);
	if (status) return status;
	if (p->symmetric && rows != columns)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "symmetric is 1, want 0 for a product of %zu by %zu elements", rows, columns);
	size_t most = lockstep_product_room(table, rows, columns, products);
	if (room_len < most) return lockstep_reject(error, LOCKSTEP_SHORT_BUFFER, "room_len is %zu, want at least %zu", room_len, most);
	if (most && !room) return lockstep_reject(error, LOCKSTEP_NULL, "room is NULL, want one of %zu elements", most);
	return check_written(p, room, most, error);
}

static LOCKSTEP_NOT_INLINED void multiply(const lockstep_table *table, const lockstep_product *p, float *room, lockstep_pool *pool) {
	lockstep_multiply(table, p, room, pool);
}

lockstep_status lockstep_matmul(const lockstep_table *table, const lockstep_product *product, float *room, size_t room_len, lockstep_pool *pool, lockstep_error *error) {
	lockstep_status status = table ? LOCKSTEP_OK : lockstep_active(&table);
	if (status) return lockstep_reject(error, status, "%s", lockstep_message(status));
	status = check(table, product, room, room_len, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	multiply(table, product, room, pool);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}
