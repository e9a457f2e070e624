/* The hashes of the README's section "The same bits": what bench/verify does, in C. */
#include "lockstep_loss.h"
#include "test.h"

#include <math.h>
#include <string.h>

/* SHA-256 (FIPS 180-4). */

typedef struct sha256 {
	uint32_t h[8];
	unsigned char block[64];
	uint64_t bytes;
} sha256;

/* The first 32 bits of the fraction of a root of a prime: 2 of its square root, 3 of its cube
 * root. */
static uint32_t fraction(uint32_t prime, int degree) {
	double root = degree == 2 ? sqrt(prime) : cbrt(prime);
	return (uint32_t)((root - floor(root)) * 0x1p32);
}

/* Fills a table with the fractions of the first primes. */
static void fill(uint32_t *table, int n, int degree) {
	for (uint32_t p = 2; n > 0; p++) {
		uint32_t d = 2;
		while (p % d) d++;
		if (d == p) *table++ = fraction(p, degree), n--;
	}
}

static uint32_t turned(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void schedule(const unsigned char *block, uint32_t w[64]) {
	for (int t = 0; t < 16; t++) w[t] = (uint32_t)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
	for (int t = 16; t < 64; t++) {
		uint32_t a = w[t - 15], b = w[t - 2];
		w[t] = w[t - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[t - 7] + (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
	}
}

static void compress(sha256 *s) {
	uint32_t k[64], w[64], v[8];
	fill(k, 64, 3);
	schedule(s->block, w);
	memcpy(v, s->h, sizeof v);
	for (int t = 0; t < 64; t++) {
		uint32_t a = v[0], e = v[4];
		uint32_t x = v[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + k[t] + w[t];
		uint32_t y = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof *v);
		v[4] += x;
		v[0] = x + y;
	}
	for (int j = 0; j < 8; j++) s->h[j] += v[j];
}

static void put_byte(sha256 *s, unsigned char byte) {
	s->block[s->bytes++ % 64] = byte;
	if (s->bytes % 64 == 0) compress(s);
}

/* Adds numbers as little-endian bytes. */
static void put_floats(sha256 *s, const float *x, size_t n) {
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < 32; k += 8) put_byte(s, (unsigned char)(bits_of(x[i]) >> k));
}

static void end(sha256 *s, char text[65]) {
	uint64_t bits = 8 * s->bytes;
	put_byte(s, 0x80);
	while (s->bytes % 64 != 56) put_byte(s, 0);
	for (int k = 56; k >= 0; k -= 8) put_byte(s, (unsigned char)(bits >> k));
	for (int j = 0; j < 8; j++) snprintf(text + 8 * j, 9, "%08x", s->h[j]);
}

/* The data: a row of bench/data/breast_cancer.csv is 30 columns and a class. */

enum { ROWS = 569, COLUMNS = 30, TRAINED = 200 };

static float x[ROWS * COLUMNS], y[ROWS];

static FILE *open_beside(const char *path) {
	char whole[500];
	snprintf(whole, sizeof whole, "%s/../../%s", folder, path);
	return fopen(whole, "r");
}

static void read_rows(FILE *f, double *table) {
	while (fgetc(f) != '\n');
	for (int k = 0; k < ROWS * (COLUMNS + 1); k++) CHECK(fscanf(f, k % (COLUMNS + 1) ? ",%lf" : " %lf", &table[k]) == 1, "number %d", k);
	fclose(f);
}

/* Standardises a column, with sums in order. */
static void standardise(const double *table, int column) {
	double mean = 0, squares = 0;
	for (int i = 0; i < ROWS; i++) mean += table[i * (COLUMNS + 1) + column];
	mean /= ROWS;
	for (int i = 0; i < ROWS; i++) {
		double d = table[i * (COLUMNS + 1) + column] - mean;
		squares += d * d;
	}
	double deviation = sqrt(squares / ROWS);
	for (int i = 0; i < ROWS; i++) x[i * COLUMNS + column] = (float)((table[i * (COLUMNS + 1) + column] - mean) / deviation);
}

static int read_data(void) {
	FILE *f = open_beside("bench/data/breast_cancer.csv");
	if (!f) return 0;
	double *table = malloc(ROWS * (COLUMNS + 1) * sizeof *table);
	read_rows(f, table);
	for (int j = 0; j < COLUMNS; j++) standardise(table, j);
	for (int i = 0; i < ROWS; i++) y[i] = (float)table[i * (COLUMNS + 1) + COLUMNS];
	free(table);
	return 1;
}

/* The hash that the README has for a name, in which it has spaces for our underscores. */
static void read_hash(const char *name, char hash[65]) {
	char row[400], *text;
	FILE *f = open_beside("README.md");
	CHECK(f, "no README.md");
	while (fgets(row, sizeof row, f)) {
		if (strncmp(row, "| ", 2) || !(text = strstr(row, " | `"))) continue;
		*text = 0;
		for (char *c = row; *c; c++)
			if (*c == ' ') *c = '_';
		if (strcmp(row + 2, name)) continue;
		memcpy(hash, text + 4, 64);
		hash[64] = 0;
		fclose(f);
		return;
	}
	CHECK(0, "the README has no hash of %s", name);
}

/* Training. */

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }

typedef struct training {
	lockstep_linear *model;
	lockstep_optimizer *o;
	float w[COLUMNS + 1], grad[COLUMNS + 1];
} training;

/* The columns of a tensor that is as near to a square as can be, for rules of matrices alone, and SOAP: as
 * Go's registry has them. */
static size_t columns_for(const options *rule, size_t n) {
	size_t columns = 1;
	if (!lockstep_all_codes[rule->rule - lockstep_all_rules].matrices && strcmp(rule->rule->name, "SOAP")) return 0;
	for (size_t k = 1; k * k <= n; k++)
		if (n % k == 0) columns = k;
	return columns;
}

static void make(training *t, const options *rule) {
	lockstep_group group = {rule->rule->name, rule->bytes, rule->rule->size};
	lockstep_tensor tensors[] = {{.name = "weights", .size = COLUMNS, .columns = columns_for(rule, COLUMNS)},
		{.name = "intercept", .size = 1, .columns = columns_for(rule, 1)}};
	memset(t, 0, sizeof *t);
	must(lockstep_linear_new(LOCKSTEP_LINEAR_LOGISTIC, COLUMNS, 1, LOCKSTEP_PLUS_MINUS, &t->model, &error));
	must(lockstep_optimizer_new(&group, 1, tensors, 2, &t->o, &error));
}

/* Takes the steps: the rate falls, and half of the time gradients are scaled and clipped. */
static void train(training *t, const lockstep_table *table) {
	float *params[] = {t->w, t->w + COLUMNS};
	const float *grads[] = {t->grad, t->grad + COLUMNS};
	double rate = lockstep_optimizer_lr(t->o, 0);
	must(lockstep_optimizer_set_table(t->o, table, &error));
	for (int step = 0; step < TRAINED; step++) {
		must(lockstep_linear_gradient(t->model, table, x, y, ROWS, t->w, t->grad, NULL, &error));
		if (step == TRAINED / 2) {
			must(lockstep_optimizer_set_max_norm(t->o, .05, &error));
			must(lockstep_optimizer_set_grad_scale(t->o, .5, &error));
		}
		must(lockstep_optimizer_set_lr(t->o, 0, rate / (1 + (double)step / TRAINED), &error));
		must(lockstep_optimizer_step(t->o, params, grads, NULL, &error));
	}
}

static void hash_training(const training *t, const options *rule, char text[65]) {
	lockstep_group group = {rule->rule->name, rule->bytes, rule->rule->size};
	const char *names[LOCKSTEP_MAX_SLOTS];
	sha256 s = {.bytes = 0};
	fill(s.h, 8, 2);
	put_floats(&s, t->w, COLUMNS + 1);
	for (size_t tensor = 0; tensor < 2; tensor++) {
		size_t size = tensor ? 1 : COLUMNS, columns = columns_for(rule, size);
		size_t slots = columns ? lockstep_matrix_slots(&group, size / columns, columns, names, NULL, LOCKSTEP_MAX_SLOTS) : lockstep_slots(&group, names, LOCKSTEP_MAX_SLOTS);
		for (size_t k = 0; k < slots; k++) put_floats(&s, lockstep_optimizer_state(t->o, tensor, names[k]), lockstep_optimizer_state_len(t->o, tensor, names[k]));
	}
	end(&s, text);
}

static void verify(const line *l) {
	const lockstep_table *list[TABLES];
	options rule = read_options(l, 2);
	char want[65], got[65];
	read_hash(l->words[1], want);
	for (size_t n = tables(list); n > 0; n--) {
		training t;
		make(&t, &rule);
		train(&t, list[n - 1]);
		hash_training(&t, &rule, got);
		CHECK(!strcmp(got, want), "%s of %s is %s, in the README %s", l->words[1], lockstep_isa(list[n - 1]), got, want);
		lockstep_linear_free(t.model);
		lockstep_optimizer_free(t.o);
	}
}

void test_verify(void) {
	if (read_data())
		each_line("verified", verify);
	else
		printf("  !!! not in a clone: the README's hashes were NOT tested\n");
}
