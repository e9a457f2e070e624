/* Softmax regression: Go's loss.SoftmaxLinear. */
#include "loss.h"
#include "mode.h"

#include <math.h>
#include <string.h>

/* Sizes, in rows and elements: see Go's internal/tune, which has the reasons. Another number of
 * rows of a unit changes bits. RUN is how many rows are one sum of a product. */
enum {
	UNIT = 64,
	RUN = 256,
	CHUNK = 1 << 20,
	CHUNK_ROWS = 4 << 10,
	FETCHED = 128 << 10,
	PRODUCTS_PER_ELEMENT = 64
};

/* Floats of a cache's line, with which each part of a room begins. */
enum { LINE = 16 };

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t most(size_t x, size_t y) { return x > y ? x : y; }
static size_t quotient(size_t n, size_t by) { return (n + by - 1) / by; }

/* Where the parts of a room begin, in floats. */
typedef struct layout {
	size_t chunk;       /* rows of one */
	int few;            /* classes, so that logits are computed as columns */
	size_t w;           /* packed for logits */
	size_t inputs;      /* w, packed for the gradient by x */
	size_t grad_w;      /* what the gradient by w is made of */
	size_t z, run;      /* logits of a chunk, the gradient by b of a run of rows */
	size_t intercepts;  /* UNIT times each, if there are few */
	size_t units, unit; /* what each unit has, and how much */
	size_t columns;     /* of a unit: logits as columns, behind what is packed */
	size_t end;
} layout;

/* Adds a part of n floats, and returns where it begins. */
static size_t add_part(layout *l, size_t n) {
	size_t begins = l->end, size = n > SIZE_MAX - LINE ? SIZE_MAX : quotient(n, LINE) * LINE;
	l->end = begins > SIZE_MAX - size ? SIZE_MAX : begins + size;
	return begins;
}

static layout lay_out(const lockstep_table *t, const lockstep_softmax_linear *p) {
	size_t f = p->features, c = p->classes, across = f > SIZE_MAX - c ? SIZE_MAX : f + c;
	layout l = {.chunk = most(RUN, least(CHUNK / across, CHUNK_ROWS) / RUN * RUN)};
	size_t rows = least(l.chunk, p->rows);
	l.few = 4 * lockstep_product_room(t, c, 0, 1) * lockstep_product_room(t, 0, UNIT, 1) <= 3 * lockstep_product_room(t, UNIT, 0, 1) * lockstep_product_room(t, 0, c, 1);
	l.w = add_part(&l, l.few ? lockstep_product_room(t, c, 0, f) : lockstep_product_room(t, 0, c, f));
	l.inputs = add_part(&l, p->grad_x ? lockstep_product_room(t, 0, f, c) : 0);
	l.grad_w = add_part(&l, p->grad_w ? lockstep_product_room(t, c, f, rows) : 0);
	l.z = add_part(&l, rows * c);
	l.run = add_part(&l, c);
	l.intercepts = add_part(&l, l.few ? UNIT * c : 0);
	layout unit = {0};
	size_t packed = l.few ? lockstep_product_room(t, 0, UNIT, f) : lockstep_product_room(t, UNIT, 0, f);
	add_part(&unit, p->grad_x ? most(packed, lockstep_product_room(t, UNIT, 0, c)) : packed);
	l.columns = add_part(&unit, l.few ? UNIT * c : 0);
	l.unit = unit.end;
	size_t count = quotient(rows, UNIT);
	l.units = add_part(&l, count && l.unit > SIZE_MAX / count ? SIZE_MAX : count * l.unit);
	return l;
}

size_t lockstep_loss_softmax_linear_room(const lockstep_table *table, const lockstep_softmax_linear *p) {
	if ((!table && lockstep_active(&table)) || p->classes < 1 || p->classes > 1 << 20) return SIZE_MAX;
	size_t n = lay_out(table, p).end;
	return n > PTRDIFF_MAX / sizeof(float) - LINE ? SIZE_MAX : n + LINE; /* which begins in a line */
}

/* A call at work. */
typedef struct pass {
	const lockstep_table *table;
	const lockstep_cross_entropy_options *o;
	const lockstep_softmax_linear *p;
	layout l;
	float *room;
	double scale;
	int shared; /* whether units are those of several threads */
	size_t lo, hi; /* the rows of a chunk */
	lockstep_multiplication logits, inputs, grad_w;
	double sums[CHUNK_ROWS / UNIT]; /* of the losses of each unit */
} pass;

static lockstep_matrix row_major(const float *data, size_t rows, size_t columns) {
	return (lockstep_matrix){(float *)data, rows, columns, columns, 1}; /* which a product only reads but where it is C */
}

static lockstep_matrix transposed(lockstep_matrix m) { return (lockstep_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride}; }

/* Prepares w for the logits of rows. */
static void begin_logits(pass *s) {
	const lockstep_softmax_linear *p = s->p;
	lockstep_matrix w = row_major(p->w, p->classes, p->features), none = row_major(s->room, 0, p->features);
	lockstep_product packed = {.c = row_major(s->room, 0, p->classes), .a = none, .b = transposed(w), .alpha = 1};
	if (s->l.few) packed = (lockstep_product){.c = row_major(s->room, p->classes, 0), .a = w, .b = transposed(none), .alpha = 1};
	lockstep_begin_product(&s->logits, s->table, &packed, s->room + s->l.w);
	for (size_t i = 0; s->l.few && p->b && i < p->classes * UNIT; i++) s->room[s->l.intercepts + i] = p->b[i / UNIT];
}

/* Prepares w for the gradient by x. */
static void begin_inputs(pass *s) {
	const lockstep_softmax_linear *p = s->p;
	lockstep_product packed = {.c = row_major(s->room, 0, p->features), .a = row_major(s->room, 0, p->classes), .b = row_major(p->w, p->classes, p->features), .alpha = 1};
	lockstep_begin_product(&s->inputs, s->table, &packed, s->room + s->l.inputs);
}

/* Prepares what the chunk adds to the gradient by w. */
static void begin_gradient(pass *s) {
	const lockstep_softmax_linear *p = s->p;
	size_t n = s->hi - s->lo;
	lockstep_matrix g = row_major(p->grad_w, p->classes, p->features);
	lockstep_product product = {.c = g, .d = g, .a = transposed(row_major(s->room + s->l.z, n, p->classes)),
		.b = row_major(p->x + s->lo * p->features, n, p->features), .alpha = 1, .beta = s->lo > 0};
	lockstep_begin_product(&s->grad_w, s->table, &product, s->room + s->l.grad_w);
}

/* Reads a float of each line in the order of memory, which a processor foresees. Packing takes a
 * line of one row after that of another. */
static void fetch(const float *x, size_t n) {
	for (size_t i = 0; i < n; i += LINE) (void)*(const volatile float *)(x + i);
}

/* Stores the logits of n rows. */
static void predict(const pass *s, size_t row, size_t n, float *z, float *room) {
	const lockstep_softmax_linear *p = s->p;
	size_t classes = p->classes, features = p->features;
	lockstep_matrix x = row_major(p->x + row * features, n, features);
	if (n * features <= FETCHED) fetch(x.data, n * features);
	if (!s->l.few) {
		lockstep_matrix d = {(float *)p->b, n, classes, 0, 1};
		lockstep_multiply_packed(&s->logits, &(lockstep_product){.c = row_major(z, n, classes), .d = d, .a = x, .alpha = 1, .beta = p->b != NULL}, room);
		return;
	}
	float *columns = room + s->l.columns;
	lockstep_matrix d = {s->room + s->l.intercepts, classes, n, UNIT, 1};
	lockstep_multiply_packed(&s->logits, &(lockstep_product){.c = row_major(columns, classes, n), .d = d, .b = transposed(x), .alpha = 1, .beta = p->b != NULL}, room);
	for (size_t c = 0; c < classes; c++)
		for (size_t i = 0; i < n; i++) z[i * classes + c] = columns[c * n + i];
}

/* A unit of rows: their losses, and of their gradient what others are made of. */
static void evaluate(void *context, size_t unit) {
	pass *s = context;
	const lockstep_softmax_linear *p = s->p;
	size_t first = unit * UNIT, row = s->lo + first, n = least(UNIT, s->hi - row), classes = p->classes;
	float *z = s->room + s->l.z + first * classes, *room = s->room + s->l.units + (s->shared ? unit * s->l.unit : 0);
	predict(s, row, n, z, room);
	lockstep_logits b = {.logits = z, .rows = n, .classes = classes, .grad = p->grad_w || p->grad_b || p->grad_x ? z : NULL};
	if (p->labels) b.labels = p->labels + row;
	if (p->targets) b.targets = p->targets + row * classes;
	if (p->weights) b.weights = p->weights + row;
	if (p->each) b.each = p->each + row;
	s->sums[unit] = lockstep_row_losses(s->table, s->o, &b, s->scale);
	if (p->grad_w) lockstep_pack_products(&s->grad_w, first, first + n);
	if (!p->grad_x) return;
	lockstep_product inputs = {.c = row_major(p->grad_x + row * p->features, n, p->features), .a = row_major(z, n, classes), .alpha = 1};
	lockstep_multiply_packed(&s->inputs, &inputs, room);
}

/* Adds the rows of the chunk to the gradient by b, which is that by a feature of 1. */
static void add_intercepts(const pass *s) {
	static const float one = 1;
	size_t classes = s->p->classes;
	float *run = s->room + s->l.run;
	for (size_t lo = s->lo; lo < s->hi; lo += RUN) {
		memset(run, 0, classes * sizeof *run);
		for (size_t i = lo; i < least(lo + RUN, s->hi); i++) {
			float *g = s->room + s->l.z + (i - s->lo) * classes;
			lockstep_buffer list[] = {{run, classes, 0}, {g, classes, 0}, {(float *)&one, 1, 0}};
			lockstep_kernel_rank_one(s->table, list, 3);
		}
		for (size_t c = 0; c < classes; c++) s->p->grad_b[c] += run[c];
	}
}

/* Adds the chunk to a part of the gradient by w, or as the first unit to that by b. */
static void add(void *context, size_t unit) {
	pass *s = context;
	if (s->p->grad_b && unit-- == 0)
		add_intercepts(s);
	else
		lockstep_multiply_unit(&s->grad_w, unit);
}

static void clear(float *x, size_t n) {
	if (x && n) memset(x, 0, n * sizeof *x);
}

/* The sum of the losses. */
static LOCKSTEP_NOT_INLINED double run(pass *s, lockstep_pool *pool) {
	const lockstep_softmax_linear *p = s->p;
	size_t work = p->rows * p->features, products = work / PRODUCTS_PER_ELEMENT;
	size_t size = products > (SIZE_MAX - work) / p->classes ? SIZE_MAX : work + products * p->classes;
	s->shared = lockstep_shares(pool, 2, size);
	begin_logits(s);
	lockstep_share(pool, lockstep_pack_unit, &s->logits, lockstep_packs(&s->logits), size);
	if (p->grad_x) {
		begin_inputs(s);
		lockstep_share(pool, lockstep_pack_unit, &s->inputs, lockstep_packs(&s->inputs), size);
	}
	clear(p->grad_b, p->classes);
	double sum = 0;
	for (s->lo = 0; s->lo < p->rows; s->lo = s->hi) {
		s->hi = least(s->lo + s->l.chunk, p->rows);
		size_t units = quotient(s->hi - s->lo, UNIT), adds = p->grad_b != NULL;
		if (p->grad_w) {
			begin_gradient(s);
			adds += lockstep_tiles(&s->grad_w);
		}
		lockstep_share(pool, evaluate, s, units, size);
		for (size_t k = 0; k < units; k++) sum += s->sums[k];
		lockstep_share(pool, add, s, adds, size);
	}
	return sum;
}

/* Checks. */

static lockstep_status check_sizes(const lockstep_softmax_linear *p, lockstep_error *error) {
	if (p->features > PTRDIFF_MAX / 64 / p->classes)
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "w has %zu classes of %zu features, want no more than memory", p->classes, p->features);
	if (p->rows > PTRDIFF_MAX / sizeof(float) / most(p->features, p->classes))
		return lockstep_reject(error, LOCKSTEP_LONG_BUFFER, "x has %zu rows of %zu features, want no more than memory", p->rows, p->features);
	return LOCKSTEP_OK;
}

static lockstep_status check_right(const lockstep_cross_entropy_options *o, const lockstep_softmax_linear *p, lockstep_error *error) {
	if (p->labels && p->targets) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "targets are given, want NULL beside labels");
	if (p->rows && !p->labels && !p->targets) return lockstep_reject(error, LOCKSTEP_NULL, "labels is NULL, want labels or targets");
	if (o->reduction == LOCKSTEP_REDUCE_NONE && !p->each && p->rows) return lockstep_reject(error, LOCKSTEP_NULL, "each is NULL, want a buffer for the losses");
	return LOCKSTEP_OK;
}

/* Checks the buffers, of which the room is written too. */
static lockstep_status check_written(const lockstep_softmax_linear *p, const float *room, size_t room_len, lockstep_error *error) {
	size_t rows = p->rows, of_x = rows * p->features, of_w = p->classes * p->features, n = rows * p->classes;
	lockstep_named list[] = {{"each", p->each, p->each ? rows : 0}, {"grad_w", p->grad_w, p->grad_w ? of_w : 0},
		{"grad_b", p->grad_b, p->grad_b ? p->classes : 0}, {"grad_x", p->grad_x, p->grad_x ? of_x : 0}, {"room", room, room_len},
		{"x", p->x, of_x}, {"w", p->w, of_w}, {"b", p->b, p->b ? p->classes : 0}, {"targets", p->targets, p->targets ? n : 0},
		{"weights", p->weights, p->weights ? rows : 0}};
	lockstep_status status = lockstep_check_buffers(list, 10, 5, error);
	return status ? status : lockstep_check_factors("weights", p->weights, rows, error);
}

static lockstep_status check(const lockstep_table *table, const lockstep_cross_entropy_options *o, const lockstep_softmax_linear *p,
	const float *room, size_t room_len, lockstep_error *error) {
	lockstep_status status = lockstep_check_entropy(o, p->classes, error);
	if (!status) status = check_sizes(p, error);
	if (!status) status = check_right(o, p, error);
	if (status) return status;
	size_t n = lockstep_loss_softmax_linear_room(table, p);
	if (room_len < n) return lockstep_reject(error, LOCKSTEP_SHORT_BUFFER, "room_len is %zu, want at least %zu", room_len, n);
	return check_written(p, room, n, error);
}

lockstep_status lockstep_loss_softmax_linear(const lockstep_table *table, const lockstep_cross_entropy_options *options, const lockstep_softmax_linear *p,
	double scale, float *room, size_t room_len, lockstep_pool *pool, double *value, lockstep_error *error) {
	static const lockstep_cross_entropy_options defaults;
	const lockstep_cross_entropy_options *o = options ? options : &defaults;
	const lockstep_logits right = {.rows = p->rows, .classes = p->classes, .labels = p->labels, .targets = p->targets};
	double divisor = 1, v;
	lockstep_status status = lockstep_choose(&table, error);
	if (!status) status = check(table, o, p, room, room_len, error);
	if (!status) status = lockstep_divide_entropy(o, &right, &divisor, error);
	if (status) return status;
	lockstep_mode before = lockstep_enter_mode();
	if (divisor == 0 || !p->rows) {
		clear(p->grad_w, p->classes * p->features), clear(p->grad_b, p->classes), clear(p->grad_x, p->rows * p->features), clear(p->each, p->rows);
		v = divisor != 0 || o->empty_is_zero ? 0 : (double)NAN;
	} else {
		room += (LINE - (uintptr_t)room / sizeof(float) % LINE) % LINE;
		pass s = {.table = table, .o = o, .p = p, .l = lay_out(table, p), .room = room, .scale = scale / divisor};
		v = run(&s, pool) / divisor;
	}
	lockstep_leave_mode(before);
	if (value) *value = v;
	return LOCKSTEP_OK;
}
