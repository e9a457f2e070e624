/* Steps on some rows of a table: see Go's internal/engine/rows.go. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "mode.h"
#include "optimizer.h"

#include <stdlib.h>
#include <string.h>

/* What a tensor of a list counts as at least, in elements: it decides how rows are cut into
 * units, and so the bits of norms. */
enum { TENSOR_LEN = 64 };

/* Bits that places are sorted by at a time. */
enum { DIGIT = 11, DIGITS = 1 << DIGIT };

/* Where the gradient of a row is in what a step is given. */
typedef struct place {
	size_t row, at;
} place;

struct lockstep_rows {
	place *places, *room;     /* by row, those of one row in order of appearance */
	lockstep_row *list;       /* each row once, in order */
	size_t *first;            /* of each, its first place; and the end of the last one's */
	double (*partial)[LOCKSTEP_MAX_SUMS];
	size_t longest;           /* list that there is room for */
	float *repeated;          /* gradients of rows that are there more than once, summed up */
	size_t repeated_room;
	size_t begin[DIGITS];
};

/* A step on rows. */
typedef struct job {
	lockstep_optimizer *o;
	float *params;
	const float *grads;
	size_t columns, count; /* count: of different rows */
	int summed;
} job;

void lockstep_free_rows(lockstep_optimizer *o) {
	struct lockstep_rows *r = o->rows;
	if (!r) return;
	void *all[] = {r->places, r->room, r->list, r->first, r->partial, r->repeated, r};
	for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
	o->rows = NULL;
}

/* Room for n of a size, in place of what was there, which is lost. */
static int renew(void *room, size_t n, size_t size) {
	void **at = room;
	free(*at);
	*at = n <= SIZE_MAX / size ? malloc(n * size) : NULL;
	return *at != NULL;
}

/* Has room for a list of so many rows. */
static int has_room(lockstep_optimizer *o, size_t count) {
	if (!o->rows) o->rows = calloc(1, sizeof *o->rows);
	struct lockstep_rows *r = o->rows;
	if (!r) return 0;
	if (r->longest && count <= r->longest) return 1;
	size_t n = count + count / 2 + 16;
	r->longest = 0;
	if (!renew(&r->places, n, sizeof *r->places) || !renew(&r->room, n, sizeof *r->room) || !renew(&r->list, n, sizeof *r->list)) return 0;
	if (!renew(&r->first, n + 1, sizeof *r->first) || !renew(&r->partial, n, sizeof *r->partial)) return 0;
	r->longest = n;
	return 1;
}

/* Sorts the places by row, digit by digit, and leaves those of one row in order. */
static void sort(struct lockstep_rows *r, size_t count, size_t rows) {
	for (unsigned shift = 0; shift < sizeof rows * 8 && (rows - 1) >> shift; shift += DIGIT) {
		memset(r->begin, 0, sizeof r->begin);
		for (size_t k = 0; k < count; k++) r->begin[r->places[k].row >> shift & (DIGITS - 1)]++;
		for (size_t d = 0, at = 0; d < DIGITS; d++) {
			size_t n = r->begin[d];
			r->begin[d] = at;
			at += n;
		}
		for (size_t k = 0; k < count; k++) r->room[r->begin[r->places[k].row >> shift & (DIGITS - 1)]++] = r->places[k];
		place *other = r->places;
		r->places = r->room;
		r->room = other;
	}
}

/* Reads and checks the indices: whether they are in order goes to ordered. */
static lockstep_status read_indices(struct lockstep_rows *r, const void *indices, int wide, size_t count, size_t rows, int *ordered, lockstep_error *error) {
	*ordered = 1;
	for (size_t k = 0; k < count; k++) {
		int64_t i = wide ? ((const int64_t *)indices)[k] : ((const int32_t *)indices)[k];
		if ((uint64_t)i >= rows)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "indices[%zu] is %lld, want at least 0 and below the number of rows, %zu", k, (long long)i, rows);
		r->places[k] = (place){(size_t)i, k};
		*ordered &= k == 0 || r->places[k - 1].row <= (size_t)i;
	}
	return LOCKSTEP_OK;
}

/* Makes one row of places that follow each other. */
static int join(job *j, size_t places) {
	struct lockstep_rows *r = j->o->rows;
	size_t n = 0, repeated = 0;
	for (size_t k = 0; k < places; k++) {
		if (k && r->places[k].row == r->places[k - 1].row) {
			repeated += r->first[n - 1] == k - 1;
			r->list[n - 1].grads = NULL;
			continue;
		}
		r->first[n] = k;
		r->list[n++] = (lockstep_row){r->places[k].row, j->grads + r->places[k].at * j->columns};
	}
	r->first[n] = places;
	j->count = n;
	if (repeated * j->columns > r->repeated_room) {
		r->repeated_room = 0;
		if (!renew(&r->repeated, repeated * j->columns, sizeof(float))) return 0;
		r->repeated_room = repeated * j->columns;
	}
	float *room = r->repeated;
	for (size_t k = 0; k < n; k++) {
		if (r->list[k].grads) continue;
		r->list[k].grads = room;
		room += j->columns;
	}
	return 1;
}

static size_t unit_len(const job *j) {
	size_t n = UNIT_LEN / (j->columns > TENSOR_LEN ? j->columns : TENSOR_LEN);
	return n ? n : 1;
}

static size_t units(const job *j) { return (j->count + unit_len(j) - 1) / unit_len(j); }

/* The rows of a unit: the first one, and the one behind the last. */
static void bounds(const job *j, size_t unit, size_t *lo, size_t *hi) {
	size_t n = unit_len(j);
	*lo = unit * n;
	*hi = j->count - *lo < n ? j->count : *lo + n;
}

/* Adds up the gradients of rows that appear more than once, in order of appearance. */
static void add_up(const job *j, size_t lo, size_t hi) {
	const struct lockstep_rows *r = j->o->rows;
	const lockstep_accumulate_scalars add = {.scale = 1};
	for (size_t k = lo; k < hi && !j->summed; k++) {
		size_t at = r->first[k], end = r->first[k + 1];
		if (end - at == 1) continue;
		float *sum = (float *)r->list[k].grads;
		memcpy(sum, j->grads + r->places[at].at * j->columns, j->columns * sizeof *sum);
		while (++at < end) {
			lockstep_buffer list[] = {{sum, j->columns, 0}, {(float *)j->grads + r->places[at].at * j->columns, j->columns, 0}};
			lockstep_kernel_accumulate(j->o->table, list, 2, &add);
		}
	}
}

static void square_unit(void *context, size_t unit) {
	const job *j = context;
	const struct lockstep_rows *r = j->o->rows;
	size_t lo, hi;
	double lanes[LOCKSTEP_LANES] = {0};
	bounds(j, unit, &lo, &hi);
	add_up(j, lo, hi);
	for (size_t k = lo; k < hi; k++) {
		lockstep_buffer b = {(float *)r->list[k].grads, j->columns, 0};
		lockstep_kernel_sum_squares(j->o->table, &b, 1, lanes);
	}
	r->partial[unit][0] = lockstep_total(lanes);
}

static void step_unit(void *context, size_t unit) {
	const job *j = context;
	size_t lo, hi;
	bounds(j, unit, &lo, &hi);
	add_up(j, lo, hi);
	lockstep_step_some(j->o, &j->o->rows->list[lo], hi - lo, j->columns, j->params);
}

static lockstep_status check(const lockstep_optimizer *o, size_t columns, const void *indices, size_t count, const float *params, const float *grads, lockstep_error *error) {
	if (o->count != 1) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the number of tensors is %zu, want 1: an optimizer for each table", o->count);
	size_t size = o->places[0].size;
	lockstep_status status = lockstep_check_training(o, error);
	if (!status) status = lockstep_check_own(o, error);
	if (status) return status;
	if (o->following || o->zeroes || o->noise.eta != 0 || o->adaptive || o->centralizes)
		return lockstep_bad_argument(error, "an average, lookahead, zero_grads, noise, an adaptive clip or centralize", "set", "none of them with steps on rows: they are about all rows");
	if (o->typed) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "grads is of %s, want of float32 with steps on rows: see lockstep_optimizer_set_grad_elements", lockstep_element_name(o->records[0].element));
	status = lockstep_check_unpacked(o, "steps on rows", error);
	if (status) return status;
	if (o->begun) return lockstep_bad_argument(error, "step", "begun", "one that is not: its ranges are yours to apply");
	if (lockstep_is_observed(o)) return lockstep_bad_argument(error, "the gradient", "observed", "not observed with steps on rows: see lockstep_optimizer_forget_observed");
	if (!lockstep_takes_rows(&o->groups[o->places[0].group]))
		return lockstep_bad_argument(error, "rule", o->groups[o->places[0].group].name, "one of a single pass without sums or cautious_update");
	if (o->max_value || o->max_tensor_norm || o->policy)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "clipping by value or by tensor, or a policy, is set, want none of them with steps on rows");
	if (!columns || size % columns) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "columns is %zu, want a number that divides the tensor's size, %zu", columns, size);
	if (!o->groups[o->places[0].group].plain && columns != o->records[0].columns)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "columns is %zu, want those of the tensor, %zu: of each row there is state", columns, o->records[0].columns);
	if (count > PTRDIFF_MAX / sizeof(float) / columns) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "count is %zu, want rows whose gradients can be there", count);
	if (size && !params) return lockstep_bad_argument(error, "params", "NULL", "those of the tensor");
	if (count && !indices) return lockstep_bad_argument(error, "indices", "NULL", "as many as count says");
	if (count && !grads) return lockstep_bad_argument(error, "grads", "NULL", "those of the rows");
	return LOCKSTEP_OK;
}

/* Finds the rows of the step, and what of them is there more than once. */
static lockstep_status find(job *j, const void *indices, int wide, size_t count, lockstep_error *error) {
	size_t rows = j->o->places[0].size / j->columns;
	int ordered;
	if (!has_room(j->o, count)) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for a list of %zu rows", count);
	lockstep_status status = read_indices(j->o->rows, indices, wide, count, rows, &ordered, error);
	if (status) return status;
	if (!ordered) sort(j->o->rows, count, rows);
	return join(j, count) ? LOCKSTEP_OK : lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for the sums of rows");
}

static LOCKSTEP_NOT_INLINED lockstep_status step(job *j, const void *indices, int wide, size_t count, lockstep_pool *pool, lockstep_error *error) {
	lockstep_optimizer *o = j->o;
	lockstep_status status = check(o, j->columns, indices, count, j->params, j->grads, error);
	if (!status) status = lockstep_find_rows(o, j->params, j->grads, count * j->columns, error);
	if (!status) status = find(j, indices, wide, count, error);
	if (status) return status;
	double factor = 1;
	o->norm = 0;
	if (o->max_norm) {
		lockstep_share(pool, square_unit, j, units(j), j->count * j->columns);
		j->summed = 1;
		factor = lockstep_clip(o, lockstep_sum_pairs(o->rows->partial, units(j), 0));
	}
	lockstep_begin_step(o, o->grad_scale * factor, NULL);
	lockstep_begin_as_params(o, &j->params, NULL);
	lockstep_share(pool, step_unit, j, units(j), j->count * j->columns);
	return LOCKSTEP_OK;
}

static lockstep_status step_as_usual(lockstep_optimizer *o, float *params, size_t columns, const void *indices, int wide, size_t count,
	const float *grads, lockstep_pool *pool, lockstep_error *error) {
	job j = {o, params, grads, columns, 0, 0};
	lockstep_mode before = lockstep_enter_mode();
	lockstep_status status = step(&j, indices, wide, count, pool, error);
	lockstep_leave_mode(before);
	return status;
}

lockstep_status lockstep_optimizer_step_rows(lockstep_optimizer *o, float *params, size_t columns, const int64_t *indices, size_t count,
	const float *grads, lockstep_pool *pool, lockstep_error *error) {
	return step_as_usual(o, params, columns, indices, 1, count, grads, pool, error);
}

lockstep_status lockstep_optimizer_step_rows32(lockstep_optimizer *o, float *params, size_t columns, const int32_t *indices, size_t count,
	const float *grads, lockstep_pool *pool, lockstep_error *error) {
	return step_as_usual(o, params, columns, indices, 0, count, grads, pool, error);
}
