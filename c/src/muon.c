/* The pass of Muon over matrices, function by function that of Go's package update. */
#include "optimizer.h"

#include <float.h>
#include <math.h>
#include <string.h>

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t greatest(size_t x, size_t y) { return x > y ? x : y; }

/* The sum of two rooms, if memory has so much. */
static size_t sum(size_t x, size_t y) { return x > SIZE_MAX - y ? SIZE_MAX : x + y; }

/* The room of the largest product. */
static size_t product_room(const lockstep_table *table, size_t rows, size_t columns) {
	size_t small = least(rows, columns), large = greatest(rows, columns);
	return greatest(lockstep_matmul_room(table, small, small, large), lockstep_matmul_room(table, rows, columns, small));
}

/* Another X and that of the beginning, XXᵀ, the polynomial of it, what products take, and a
 * number for each row or column. */
size_t lockstep_newton_schulz_room(const lockstep_table *table, size_t rows, size_t columns, size_t side) {
	(void)side;
	size_t small = least(rows, columns);
	return sum(sum(2 * rows * columns, 2 * small * small + greatest(rows, columns)), product_room(table, rows, columns));
}

/* Elements of a matrix times a factor, each rounded once. */
typedef struct scaling {
	float *to;
	const float *from;
	size_t n;
	double factor;
} scaling;

static void scale_unit(void *context, size_t unit) {
	const scaling *s = context;
	for (size_t i = unit * UNIT_LEN; i < least((unit + 1) * UNIT_LEN, s->n); i++) s->to[i] = (float)((double)s->from[i] * s->factor);
}

void lockstep_scale(lockstep_pool *pool, float *to, const float *from, size_t n, double factor) {
	scaling s = {to, from, n, factor};
	lockstep_share(pool, scale_unit, &s, (n + UNIT_LEN - 1) / UNIT_LEN, n);
}

/* What is done with each row of a matrix, and the numbers of its rows or columns. */
typedef struct rowing {
	lockstep_matrix x, y;
	float *numbers;
	void (*work)(const struct rowing *r, float *x, size_t i);
	size_t rows; /* of a unit */
} rowing;

static void row_unit(void *context, size_t unit) {
	const rowing *r = context;
	for (size_t i = unit * r->rows; i < least((unit + 1) * r->rows, r->x.rows); i++) r->work(r, r->x.data + i * r->x.row_stride, i);
}

static void each_row(lockstep_pool *pool, rowing r) {
	r.rows = greatest(UNIT_LEN / greatest(1, r.x.columns), 1);
	lockstep_share(pool, row_unit, &r, (r.x.rows + r.rows - 1) / r.rows, r.x.rows * r.x.columns);
}

/* The sum of the products of two rows, one after the other. */
static void dot(const rowing *r, float *x, size_t i) {
	const float *y = r->y.data + i * r->y.row_stride;
	double sum = 0;
	for (size_t j = 0; j < r->x.columns; j++) {
		double product = (double)x[j] * (double)y[j];
		sum += product;
	}
	r->numbers[i] = (float)sum;
}

void lockstep_dots(lockstep_pool *pool, float *numbers, lockstep_matrix x, lockstep_matrix y) {
	each_row(pool, (rowing){.x = x, .y = y, .numbers = numbers, .work = dot});
}

/* The sum of magnitudes. */
static void size_of(const rowing *r, float *x, size_t i) {
	double sum = 0;
	for (size_t j = 0; j < r->x.columns; j++) sum += fabs((double)x[j]);
	r->numbers[i] = (float)sum;
}

static void scale_row(const rowing *r, float *x, size_t i) {
	for (size_t j = 0; j < r->x.columns; j++) x[j] *= r->numbers[i];
}

static void scale_columns(const rowing *r, float *x, size_t i) {
	(void)i;
	for (size_t j = 0; j < r->x.columns; j++) x[j] *= r->numbers[j];
}

static void scale_both(const rowing *r, float *x, size_t i) {
	for (size_t j = 0; j < r->x.columns; j++) x[j] = (float)((double)x[j] * ((double)r->numbers[j] * (double)r->numbers[i]));
}

static lockstep_matrix row_major(float *data, size_t rows, size_t columns) { return (lockstep_matrix){data, rows, columns, columns, 1}; }
static lockstep_matrix transposed(lockstep_matrix m) { return (lockstep_matrix){m.data, m.columns, m.rows, m.column_stride, m.row_stride}; }

static void swap(lockstep_matrix *x, lockstep_matrix *y) {
	lockstep_matrix before = *x;
	*x = *y;
	*y = before;
}

/* The matrices of a pass. */
typedef struct orthogonalizer {
	const lockstep_table *table;
	lockstep_pool *pool;
	int high;             /* columns are fewer than rows */
	lockstep_matrix x, y; /* of which one is the state */
	lockstep_matrix s, p; /* XXᵀ and its polynomial, of XᵀX if it is high */
	float *room;          /* of products */
	float *numbers;
} orthogonalizer;

/* The coefficients of Dion. */
static const double dion[5][3] = {
	{4.0848, -6.8946, 2.9270},
	{3.9505, -6.3029, 2.6377},
	{3.7418, -5.5913, 2.3037},
	{2.8769, -3.1427, 1.2046},
	{2.8366, -3.0525, 1.2012},
};

/* The larger of two numbers, and NaN if the first one is. */
static double at_least(double x, double floor) { return x < floor ? floor : x; }

/* The factor of a matrix that makes a norm 1, which is a norm of X as it is. */
static double scale_to_1(const lockstep_newton_schulz *c, double norm) {
	double size = c->size * norm;
	return c->size / at_least(size + c->eps, c->eps_floor);
}

/* A product with a term that is added. */
static void multiply(const orthogonalizer *o, lockstep_matrix c, lockstep_matrix d, lockstep_matrix a, lockstep_matrix b, double alpha, double beta, int symmetric) {
	lockstep_product p = {c, d, a, b, (float)alpha, (float)beta, symmetric};
	lockstep_multiply(o->table, &p, o->room, o->pool);
}

/* Makes S of X. */
static void square(const orthogonalizer *o) {
	lockstep_matrix t = transposed(o->x);
	multiply(o, o->s, o->s, o->high ? t : o->x, o->high ? o->x : t, 1, 0, 1);
}

/* Makes X of itself, times f, and S, which is of X without f. */
static void iterate(orthogonalizer *o, const lockstep_newton_schulz *c, int64_t k, double f) {
	double a = c->dion ? dion[k][0] : (double)c->a, b = c->dion ? dion[k][1] : (double)c->b, d = c->dion ? dion[k][2] : (double)c->c;
	multiply(o, o->p, o->s, o->s, o->s, d * f * f * f * f, b * f * f, 1);
	multiply(o, o->y, o->x, o->high ? o->x : o->p, o->high ? o->p : o->x, f, a * f, 0);
	swap(&o->x, &o->y);
}

double lockstep_total_of(const float *list, size_t n) {
	double sum = 0;
	for (size_t i = 0; i < n; i++) sum += (double)list[i];
	return sum;
}

/* The root of the sum of squares. */
static double norm_of(const orthogonalizer *o, lockstep_matrix m) {
	lockstep_dots(o->pool, o->numbers, m, m);
	return sqrt(lockstep_total_of(o->numbers, m.rows));
}

/* The largest singular value of X: see Go's, which has the reasons. */
static double largest(orthogonalizer *o) {
	enum { MOST = 24 };
	const double as_long = 1 - 0x1p-16;
	double alphas[MOST];
	square(o);
	double norm = norm_of(o, o->s);
	int n = 0;
	while (n < MOST && norm > 0) {
		alphas[n] = (double)(float)(1 / (norm * norm));
		multiply(o, o->p, o->p, o->s, o->s, alphas[n], 0, 1);
		n++;
		swap(&o->s, &o->p);
		norm = norm_of(o, o->s);
		if (norm >= as_long) break;
	}
	while (n > 0) norm = sqrt(norm / alphas[--n]);
	return sqrt(norm);
}

/* Leaves zeros of rows as they are. */
static float finite_factor(double x) { return x > (double)FLT_MAX ? FLT_MAX : (float)x; }

/* Scales the rows of X, or its columns, each by a norm of its own, and S with them. */
static void scale_each(const orthogonalizer *o, const lockstep_newton_schulz *c) {
	each_row(o->pool, (rowing){.x = o->s, .numbers = o->numbers, .work = size_of});
	for (size_t i = 0; i < o->s.rows; i++) o->numbers[i] = finite_factor(scale_to_1(c, sqrt((double)o->numbers[i])));
	each_row(o->pool, (rowing){.x = o->s, .numbers = o->numbers, .work = scale_both});
	each_row(o->pool, (rowing){.x = o->x, .numbers = o->numbers, .work = o->high ? scale_columns : scale_row});
}

/* What a row with the mean v is multiplied by. */
static double row_factor(const lockstep_newton_schulz *c, float v) { return 1 / (sqrt((double)v) + c->eps_row); }

/* Makes of the sums of a matrix' squares by row what NorMuon scales rows by, and moves their
 * means. */
static void row_factors(const lockstep_newton_schulz *c, float *row, float *v, size_t rows, size_t columns, double by) {
	double before = 0, after = 0;
	for (size_t i = 0; i < rows; i++) {
		double mean = (double)row[i] / (double)columns, kept = c->beta2 * (double)v[i], added = (1 - c->beta2) * mean;
		v[i] = (float)(kept + added);
		double factor = row_factor(c, v[i]), squares = factor * factor * (double)row[i];
		before += (double)row[i];
		after += squares;
	}
	double size = c->exact_rms ? sqrt((double)rows * (double)columns) : sqrt(before);
	by *= size / (sqrt(after) + c->eps_row);
	for (size_t i = 0; i < rows; i++) row[i] = finite_factor(row_factor(c, v[i]) * by);
}

/* Makes the direction as long as adaptive and beta2 say. */
static void lengthen(const orthogonalizer *o, const lockstep_row_range *m, const lockstep_newton_schulz *c, lockstep_matrix first, lockstep_matrix direction) {
	double by = 1;
	if (c->adaptive) {
		lockstep_dots(o->pool, o->numbers, first, direction);
		by = c->size * lockstep_total_of(o->numbers, m->rows);
	}
	if (c->normalizes) {
		lockstep_dots(o->pool, o->numbers, direction, direction);
		row_factors(c, o->numbers, m->state[1], m->rows, m->columns, by);
		each_row(o->pool, (rowing){.x = direction, .numbers = o->numbers, .work = scale_row});
	} else if (c->adaptive) {
		lockstep_scale(o->pool, direction.data, direction.data, m->rows * m->columns, by);
	}
}

/* X is multiplied on its shorter side, of which a matrix and its transposed have the same:
 *
 *	S = XXᵀ, P = b·S + c·S², X ← a·X + P·X        of XᵀX on the right if columns are fewer
 *
 * What scales X in the first iteration, f, goes into its products: b·f²·S + c·f⁴·S², and
 * a·f·X + f·P·X.
 */
void lockstep_orthogonalize(const lockstep_row_range *m, const void *scalars) {
	lockstep_newton_schulz c;
	memcpy(&c, scalars, sizeof c);
	size_t n = least(m->rows, m->columns), size = m->rows * m->columns;
	lockstep_matrix direction = row_major(m->state[m->slot_count - 1], m->rows, m->columns);
	orthogonalizer o = {.table = m->table, .pool = m->pool, .high = m->columns < m->rows, .x = direction};
	float *room = m->room;
	o.y = row_major(room, m->rows, m->columns);
	o.s = row_major(room += size, n, n);
	o.p = row_major(room += n * n, n, n);
	o.room = room += n * n;
	o.numbers = room += product_room(m->table, m->rows, m->columns);
	lockstep_matrix first = row_major(room + greatest(m->rows, m->columns), m->rows, m->columns);
	if (c.iterations % 2) swap(&o.x, &o.y); /* so that the last one ends in the state */
	lockstep_scale(o.pool, o.x.data, direction.data, size, c.factor);
	if (c.adaptive) memcpy(first.data, o.x.data, size * sizeof(float));
	double f = c.spectral ? scale_to_1(&c, largest(&o)) : 1;
	for (int64_t k = 0; k < c.iterations; k++) {
		square(&o);
		if (k == 0 && c.schatten) f = scale_to_1(&c, sqrt(norm_of(&o, o.s)));
		if (k == 0 && c.aol) scale_each(&o, &c);
		iterate(&o, &c, k, f);
		f = 1;
	}
	lengthen(&o, m, &c, first, direction);
}
