/* Checks the arguments of a call and hands them to a kernel. */
#include "internal.h"

static const char *const messages[] = {
	[LOCKSTEP_OK] = "ok",
	[LOCKSTEP_UNKNOWN_TABLE] = "no table of this name in this build",
	[LOCKSTEP_CANNOT_RUN] = "this CPU lacks what the table needs",
	[LOCKSTEP_BAD_COUNT] = "the buffers are not those of whole tensors",
	[LOCKSTEP_SHORT_BUFFER] = "a buffer is shorter than the first of its tensor asks for",
	[LOCKSTEP_LONG_BUFFER] = "a buffer is longer than memory",
	[LOCKSTEP_NULL] = "a buffer, the scalars or lanes are NULL",
	[LOCKSTEP_BAD_ARGUMENT] = "an argument is refused: its lockstep_error says why",
	[LOCKSTEP_NO_MEMORY] = "no memory",
	[LOCKSTEP_NON_FINITE] = "gradients are not finite, which the policy refuses",
};

const char *lockstep_message(lockstep_status status) {
	unsigned k = (unsigned)status;
	return k < sizeof messages / sizeof *messages ? messages[k] : "no such status";
}

const char *lockstep_version(void) { return LOCKSTEP_VERSION; }

const lockstep_kernel *lockstep_kernels(size_t *count) {
	*count = lockstep_all_count;
	return lockstep_all;
}

double lockstep_total(const double lanes[LOCKSTEP_LANES]) {
	double s[LOCKSTEP_LANES / 2];
	for (int j = 0; j < LOCKSTEP_LANES / 2; j++) s[j] = lanes[j] + lanes[j + LOCKSTEP_LANES / 2];
	for (int half = LOCKSTEP_LANES / 4; half > 0; half /= 2)
		for (int j = 0; j < half; j++) s[j] += s[j + half];
	return s[0];
}

float lockstep_weight(double beta) { return (float)(beta < 0.5 ? -beta : 1 - beta); }

static lockstep_status check(const lockstep_buffer *b, size_t least) {
	if (b->len < least) return LOCKSTEP_SHORT_BUFFER;
	if (b->len > PTRDIFF_MAX / sizeof(float)) return LOCKSTEP_LONG_BUFFER;
	return b->data || !least ? LOCKSTEP_OK : LOCKSTEP_NULL;
}

/* The buffers of a list, tensor by tensor. */
static lockstep_status check_list(const lockstep_kernel *kernel, const lockstep_buffer *list, size_t buffers) {
	if (buffers % kernel->buffer_count) return LOCKSTEP_BAD_COUNT;
	for (size_t k = 0; k < buffers; k++) {
		lockstep_status status = check(&list[k], list[k - k % kernel->buffer_count].len);
		if (status) return status;
	}
	return LOCKSTEP_OK;
}

/* The rows and columns of a matrix. */
typedef struct extent {
	size_t rows, columns;
} extent;

static int is_of_rows_and_columns(lockstep_kind kind) { return kind == LOCKSTEP_MATRIX || kind == LOCKSTEP_MATRIX_BF16; }

static int is_matrix(const lockstep_kernel *kernel) {
	for (size_t k = 0; k < kernel->buffer_count; k++)
		if (is_of_rows_and_columns(kernel->buffers[k].kind)) return 1;
	return 0;
}

/* The length of the first buffer of a kind. */
static size_t length(const lockstep_kernel *kernel, const lockstep_buffer *list, lockstep_kind kind) {
	size_t k = 0;
	while (kernel->buffers[k].kind != kind) k++;
	return list[k].len;
}

static lockstep_status check_matrix(const lockstep_kernel *kernel, const lockstep_buffer *list, size_t buffers, extent *size) {
	if (buffers != kernel->buffer_count) return LOCKSTEP_BAD_COUNT;
	size->rows = length(kernel, list, LOCKSTEP_PER_ROW);
	size->columns = length(kernel, list, LOCKSTEP_STREAM);
	if (size->columns && size->rows > SIZE_MAX / size->columns) return LOCKSTEP_LONG_BUFFER;
	for (size_t k = 0; k < buffers; k++) {
		lockstep_kind kind = kernel->buffers[k].kind;
		size_t least = kind == LOCKSTEP_PER_ROW ? size->rows : kind == LOCKSTEP_STREAM ? size->columns : size->rows * size->columns;
		lockstep_status status = check(&list[k], least);
		if (status) return status;
	}
	return LOCKSTEP_OK;
}

static lockstep_status check_rest(const lockstep_kernel *kernel, const void *scalars, void *const *lanes) {
	if ((kernel->scalar_count && !scalars) || (kernel->lane_count && !lanes)) return LOCKSTEP_NULL;
	for (size_t k = 0; k < kernel->lane_count; k++)
		if (!lanes[k]) return LOCKSTEP_NULL;
	return LOCKSTEP_OK;
}

int lockstep_rows_apart(size_t rows, size_t columns) {
	const size_t large = 4 << 20, lines = 128, page = 1024;
	return columns >= lines && columns < page && rows >= large / columns;
}

#define BUFFERS 9 /* at most, of a matrix */

static lockstep_buffer row_of(lockstep_kind kind, lockstep_buffer b, size_t row, size_t columns) {
	if (kind == LOCKSTEP_MATRIX) b.data += row * columns;
	if (kind == LOCKSTEP_MATRIX_BF16) b.data = (float *)(void *)((uint16_t *)(void *)b.data + row * columns);
	if (kind == LOCKSTEP_PER_ROW) b.data += row, b.len = 1;
	return b;
}

/* Walks a matrix row by row. */
static void by_rows(lockstep_bare *bare, const lockstep_kernel *kernel, const lockstep_buffer *list, extent size,
	const void *scalars, void *const *lanes) {
	lockstep_buffer row[BUFFERS];
	for (size_t r = 0; r < size.rows; r++) {
		for (size_t k = 0; k < kernel->buffer_count; k++) row[k] = row_of(kernel->buffers[k].kind, list[k], r, size.columns);
		bare(row, (int64_t)kernel->buffer_count, scalars, lanes);
	}
}

size_t lockstep_per_call(const lockstep_kernel *kernel, size_t buffers) {
	for (size_t k = 0; k < kernel->buffer_count; k++)
		if (kernel->buffers[k].kind == LOCKSTEP_STREAM_BF16 || kernel->buffers[k].kind == LOCKSTEP_STREAM_F16) return kernel->buffer_count;
	return buffers;
}

/* Walks a list in as many calls as the kernel needs. */
static void by_parts(lockstep_bare *bare, const lockstep_kernel *kernel, const lockstep_buffer *list, size_t buffers,
	const void *scalars, void *const *lanes) {
	size_t each = lockstep_per_call(kernel, buffers);
	for (size_t at = 0; at < buffers; at += each) bare(list + at, (int64_t)each, scalars, lanes);
}

lockstep_status lockstep_run(const lockstep_table *table, const lockstep_kernel *kernel,
	const lockstep_buffer *list, size_t buffers, const void *scalars, void *const *lanes) {
	lockstep_status status = table ? LOCKSTEP_OK : lockstep_active(&table);
	if (!status && buffers && !list) status = LOCKSTEP_NULL;
	if (!status) status = check_rest(kernel, scalars, lanes);
	if (status) return status;
	lockstep_bare *bare = table->kernels[kernel - lockstep_all];
	extent size = {0, 0};
	int matrix = is_matrix(kernel);
	status = matrix ? check_matrix(kernel, list, buffers, &size) : check_list(kernel, list, buffers);
	if (status) return status;
	if (matrix && lockstep_rows_apart(size.rows, size.columns))
		by_rows(bare, kernel, list, size, scalars, lanes);
	else
		by_parts(bare, kernel, list, buffers, scalars, lanes);
	return LOCKSTEP_OK;
}
