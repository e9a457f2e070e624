/* Orthonormal bases of square matrices, function by function those of Go's internal/eigen. */
#include "eigen.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* None changes a bit. */
enum { PANEL = 16, UNIT_COLUMNS = 8, UNIT_OF_ROWS = 128, WORK = 4 };

/* Bounds how often an eigenvalue is turned towards. */
enum { MOST_TURNS = 50 };

static size_t least(size_t x, size_t y) { return x < y ? x : y; }

size_t lockstep_bases_room(size_t n) { return n * n + 7 * n; }

lockstep_bases lockstep_bases_in(double *room, size_t n, lockstep_pool *pool) {
	lockstep_bases b = {.pool = pool, .n = n, .a = room};
	double **lists[] = {&b.tau, &b.diagonal, &b.off, &b.cosine, &b.sine, &b.places, &b.values};
	room += n * n;
	for (size_t k = 0; k < sizeof lists / sizeof *lists; k++, room += n) *lists[k] = room;
	return b;
}

static double *column_of(const lockstep_bases *b, size_t k) { return b->a + k * b->n; }

void lockstep_sort_values(const lockstep_bases *b) {
	for (size_t k = 0; k < b->n; k++) {
		double x = b->values[k];
		size_t j = k;
		for (; j > 0 && b->values[j - 1] < x; j--) {
			b->values[j] = b->values[j - 1];
			b->places[j] = b->places[j - 1];
		}
		b->values[j] = x;
		b->places[j] = (double)k;
	}
}

/* The sum of products: of eight lanes, which are added as pairs. */
static double dot(const double *x, const double *y, size_t n) {
	double s[8] = {0}, rest = 0;
	size_t i = 0;
	for (; n - i >= 8; i += 8)
		for (size_t j = 0; j < 8; j++) {
			double product = x[i + j] * y[i + j];
			s[j] += product;
		}
	for (; i < n; i++) {
		double product = x[i] * y[i];
		rest += product;
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])) + rest;
}

/* Adds y times a factor to x. */
static void add(double *restrict x, const double *restrict y, size_t n, double by) {
	for (size_t i = 0; i < n; i++) {
		double product = by * y[i];
		x[i] += product;
	}
}

/* Makes of x the vector v, of which the first element is 1, and a factor such that I - tau·v·vᵀ
 * takes x to a multiple, which is returned, of the first axis. */
static double householder(double *x, size_t n, double *tau) {
	double first = x[0];
	x[0] = 0;
	double squares = dot(x, x, n);
	x[0] = 1;
	*tau = 0;
	if (squares == 0) return first;
	double square = first * first, beta = -copysign(sqrt(square + squares), first), by = 1 / (first - beta);
	for (size_t i = 1; i < n; i++) x[i] *= by;
	*tau = (beta - first) / beta;
	return beta;
}

/* Applies a reflection to x. */
static void reflect(double *x, const double *v, size_t n, double tau) {
	if (tau == 0) return;
	double by = -(tau * dot(x, v, n));
	add(x, v, n, by);
}

/* Reflections of some columns that all behind them have. */
typedef struct reflecting {
	const lockstep_bases *b;
	size_t lo, hi;
	int backward;
} reflecting;

static void reflect_unit(void *context, size_t unit) {
	const reflecting *r = context;
	const lockstep_bases *b = r->b;
	for (size_t j = r->hi + unit * UNIT_COLUMNS; j < least(r->hi + (unit + 1) * UNIT_COLUMNS, b->n); j++)
		for (size_t i = 0; i < r->hi - r->lo; i++) {
			size_t k = r->backward ? r->hi - 1 - i : r->lo + i;
			reflect(column_of(b, j) + k, column_of(b, k) + k, b->n - k, b->tau[k]);
		}
}

static void reflect_all(const lockstep_bases *b, size_t lo, size_t hi, int backward) {
	reflecting r = {b, lo, hi, backward};
	size_t columns = b->n - hi;
	lockstep_share(b->pool, reflect_unit, &r, (columns + UNIT_COLUMNS - 1) / UNIT_COLUMNS, columns * (b->n - lo) * 4 * (hi - lo) / WORK);
}

/* Makes of reflections, of which column k has that of the rows from k on, the product of all, in
 * their place. */
static void form(const lockstep_bases *b) {
	size_t n = b->n;
	for (size_t lo = n ? (n - 1) / PANEL * PANEL + PANEL : 0; lo > 0;) {
		size_t hi = least(lo, n);
		lo -= PANEL;
		reflect_all(b, lo, hi, 1);
		for (size_t k = hi; k-- > lo;) {
			double *v = column_of(b, k);
			for (size_t j = k + 1; j < hi; j++) reflect(column_of(b, j) + k, v + k, n - k, b->tau[k]);
			memset(v, 0, k * sizeof *v);
			for (size_t i = k; i < n; i++) v[i] = -(b->tau[k] * v[i]);
			v[k] += 1;
		}
	}
}

void lockstep_orthonormalize(const lockstep_bases *b) {
	size_t n = b->n;
	for (size_t lo = 0; lo < n; lo += PANEL) {
		size_t hi = least(lo + PANEL, n);
		for (size_t k = lo; k < hi; k++) {
			double *v = column_of(b, k) + k;
			householder(v, n - k, &b->tau[k]);
			for (size_t j = k + 1; j < hi; j++) reflect(column_of(b, j) + k, v, n - k, b->tau[k]);
		}
		reflect_all(b, lo, hi, 0);
	}
	form(b);
}

static int is_finite(const lockstep_bases *b) {
	for (size_t i = 0; i < b->n * b->n; i++)
		if (!(fabs(b->a[i]) <= DBL_MAX)) return 0;
	return 1;
}

/* What makes three diagonals of a matrix: p is its product with the reflection of column k, and v
 * and w are what the reflection before changes, which is yet to be taken off. */
typedef struct reducing {
	const lockstep_bases *b;
	size_t k;
	double *p, *w;   /* by row */
	const double *v; /* of the last rows, v_count of them */
	size_t v_count;
	int pending;
} reducing;

/* Takes off what the reflection before changes of a column, from a row on. */
static void subtract(const reducing *r, size_t j, size_t row) {
	if (!r->pending) return;
	size_t n = r->b->n;
	double *restrict x = column_of(r->b, j) + row;
	const double *v = r->v + r->v_count - (n - row), *w = r->w + row;
	double vj = r->v[r->v_count - (n - j)], wj = r->w[j];
	for (size_t i = 0; i < n - row; i++) {
		double first = v[i] * wj, second = w[i] * vj;
		x[i] -= first + second;
	}
}

static void reduce_unit(void *context, size_t unit) {
	const reducing *r = context;
	const lockstep_bases *b = r->b;
	size_t k = r->k;
	const double *v = column_of(b, k) + k + 1;
	for (size_t j = k + 1 + unit * UNIT_COLUMNS; j < least(k + 1 + (unit + 1) * UNIT_COLUMNS, b->n); j++) {
		subtract(r, j, k + 1);
		r->p[j] = 0;
		if (b->tau[k] != 0) r->p[j] = b->tau[k] * dot(column_of(b, j) + k + 1, v, b->n - k - 1);
	}
}

/* Leaves three diagonals of the matrix, and reflections in the columns below them. */
static void reduce(const lockstep_bases *b) {
	size_t n = b->n;
	reducing r = {.b = b, .p = b->sine, .w = b->cosine};
	for (size_t k = 0; k + 1 < n; k++) {
		double *x = column_of(b, k);
		size_t rest = n - 1 - k;
		subtract(&r, k, k);
		b->diagonal[k] = x[k];
		b->off[k] = householder(x + k + 1, rest, &b->tau[k]);
		r.k = k;
		lockstep_share(b->pool, reduce_unit, &r, (rest + UNIT_COLUMNS - 1) / UNIT_COLUMNS, rest * rest * 6 / WORK);
		double *v = x + k + 1, *p = r.p + k + 1;
		if (b->tau[k] != 0) {
			double by = -(b->tau[k] / 2 * dot(p, v, rest));
			add(p, v, rest, by);
		}
		double *before = r.w;
		r.v = v;
		r.v_count = rest;
		r.w = r.p;
		r.p = before;
		r.pending = b->tau[k] != 0;
	}
	subtract(&r, n - 1, n - 1);
	b->diagonal[n - 1] = column_of(b, n - 1)[n - 1];
	b->off[n - 1] = b->tau[n - 1] = 0;
}

/* Puts each reflection one column further, where form looks for that of its rows. */
static void shift(const lockstep_bases *b) {
	for (size_t k = b->n - 1; k > 0; k--) {
		memcpy(column_of(b, k) + k, column_of(b, k - 1) + k, (b->n - k) * sizeof *b->a);
		b->tau[k] = b->tau[k - 1];
	}
	b->tau[0] = 0;
	b->a[0] = 1;
}

/* A sweep's rotations of columns next to each other. */
typedef struct rotating {
	const lockstep_bases *b;
	size_t first, last;
} rotating;

static void rotate_unit(void *context, size_t unit) {
	const rotating *r = context;
	const lockstep_bases *b = r->b;
	size_t lo = unit * UNIT_OF_ROWS, n = least(UNIT_OF_ROWS, b->n - lo);
	for (size_t k = r->last; k-- > r->first;) {
		double *restrict x = column_of(b, k) + lo, *restrict y = column_of(b, k + 1) + lo, sine = b->sine[k], cosine = b->cosine[k];
		for (size_t i = 0; i < n; i++) {
			double f = y[i], up = sine * x[i], along = cosine * f, back = cosine * x[i], down = sine * f;
			y[i] = up + along;
			x[i] = back - down;
		}
	}
}

/* A sweep of rotations from a last row up to the first one of a block. */
static void turn(const lockstep_bases *b, size_t first, size_t last) {
	double *d = b->diagonal, *off = b->off;
	double half = (d[first + 1] - d[first]) / (2 * off[first]), square = half * half, root = copysign(sqrt(square + 1), half);
	double g = d[last] - d[first] + off[first] / (half + root), sine = 1, cosine = 1, less = 0;
	for (size_t i = last; i-- > first;) {
		double f = sine * off[i], h = cosine * off[i], ff = f * f, gg = g * g, r = sqrt(ff + gg);
		off[i + 1] = r;
		sine = r > 0 ? f / r : 0; /* nothing can be turned by any angle */
		cosine = r > 0 ? g / r : 1;
		g = d[i + 1] - less;
		double up = (d[i] - g) * sine, along = 2 * cosine * h;
		r = up + along;
		less = sine * r;
		d[i + 1] = g + less;
		g = cosine * r;
		g -= h;
		b->sine[i] = sine;
		b->cosine[i] = cosine;
	}
	d[first] -= less;
	off[first] = g;
	off[last] = 0;
	rotating r = {b, first, last};
	lockstep_share(b->pool, rotate_unit, &r, (b->n + UNIT_OF_ROWS - 1) / UNIT_OF_ROWS, b->n * (last - first) * 6 / WORK);
}

/* Turns the columns until the diagonal beside the main one is 0. */
static void diagonalize(const lockstep_bases *b) {
	double largest = 0;
	for (size_t k = 0; k < b->n; k++) {
		double size = fabs(b->diagonal[k]) + fabs(b->off[k]);
		if (size > largest) largest = size;
	}
	double small = largest * 0x1p-52;
	for (size_t first = 0; first < b->n; first++)
		for (int k = 0; k < MOST_TURNS; k++) {
			size_t last = first;
			while (last + 1 < b->n && fabs(b->off[last]) > small) last++;
			if (last == first) break;
			turn(b, first, last);
		}
}

void lockstep_eigenvectors(const lockstep_bases *b) {
	if (b->n == 0) return;
	if (!is_finite(b)) {
		for (size_t i = 0; i < b->n * b->n; i++) b->a[i] = (double)NAN;
		for (size_t k = 0; k < b->n; k++) b->values[k] = (double)NAN;
		lockstep_sort_values(b);
		return;
	}
	reduce(b);
	shift(b);
	form(b);
	diagonalize(b);
	memcpy(b->values, b->diagonal, b->n * sizeof *b->values);
	lockstep_sort_values(b);
}
