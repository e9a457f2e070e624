/* The cases of gen/vectors, draw by draw. */
#include "test.h"

#include <string.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

enum { SLOTS = 112, CANARIES = 32, CANARY = 0xa5 };

/* A slot is room for one buffer between two pages without access. */
struct arena {
	char *slots;
	size_t page, room;
};

#ifdef _WIN32

static size_t page_size(void) { return 4096; }
static char *get_memory(size_t n) { return VirtualAlloc(NULL, n, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }
static void forbid(char *page, size_t n) {
	DWORD old;
	VirtualProtect(page, n, PAGE_NOACCESS, &old);
}
static void put_memory(char *memory, size_t n) {
	(void)n;
	VirtualFree(memory, 0, MEM_RELEASE);
}

#else

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
static char *get_memory(size_t n) {
	char *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}
static void forbid(char *page, size_t n) { mprotect(page, n, PROT_NONE); }
static void put_memory(char *memory, size_t n) { munmap(memory, n); }

#endif

arena *new_arena(void) {
	arena *a = malloc(sizeof *a);
	a->page = page_size();
	a->room = (256 << 10) + a->page;
	size_t slot = a->room + a->page;
	a->slots = get_memory(SLOTS * slot + a->page);
	CHECK(a->slots, "no memory");
	for (size_t k = 0; k <= SLOTS; k++) forbid(a->slots + k * slot, a->page);
	return a;
}

void free_arena(arena *a) {
	put_memory(a->slots, SLOTS * (a->room + a->page) + a->page);
	free(a);
}

/* The beginning of slot k. */
static char *slot_of(const arena *a, size_t k) { return a->slots + k * (a->room + a->page) + a->page; }

uint32_t value(source *s) {
	if (s->number % 2 == 0) return bits_of(ordinary(s));
	uint32_t bits = next(s), sign = bits & UINT32_C(0x80000000), mantissa = bits & 0x7fffff;
	switch (below(s, 16)) {
	case 0: return sign;
	case 1: return sign | 0x7f800000;
	case 2: return sign | 0x7fc00000 | mantissa;
	case 3: return sign | mantissa;
	case 4: return sign | 0x10000000;
	case 5:
	case 6:
	case 7: return bits_of(ordinary(s));
	case 8:
	case 9: return bits_of((float)((int)below(s, 5) - 2));
	}
	return bits;
}

static uint32_t usually(const char *name, uint32_t x) {
	if (!strcmp(name, "scale") || !strcmp(name, "input")) return 0x3f800000;
	if (!strcmp(name, "l2") || !strcmp(name, "decay")) return 0;
	if (!strcmp(name, "weight1") || !strcmp(name, "weight2")) return (x & 0x7fffffff) | 1;
	return x;
}

static void fill_scalars(source *s, arguments *x) {
	static const uint32_t masks[] = {0, LOCKSTEP_DROP_SUBNORMAL, LOCKSTEP_DROP_SMALL, LOCKSTEP_DROP_SQUARE};
	if (!x->kernel->scalar_count) return;
	int usual = below(s, 3) == 0;
	for (size_t k = 0; k < x->kernel->scalar_count; k++) {
		if (x->kernel->scalars[k].kind == LOCKSTEP_MASK) {
			x->scalars[k] = masks[below(s, 4)];
			continue;
		}
		x->scalars[k] = value(s);
		if (usual || below(s, 2) == 0) x->scalars[k] = usually(x->kernel->scalars[k].name, x->scalars[k]);
	}
}

static void fill_lanes(source *s, arguments *x) {
	for (size_t k = 0; k < x->kernel->lane_count; k++) {
		x->lane_pointers[k] = x->lanes[k];
		for (int j = 0; j < LOCKSTEP_LANES; j++) {
			double lane = (next(s) >> 8) * 0x1p-24;
			if (x->kernel->lanes[k].kind == LOCKSTEP_LANES_FLOAT) ((float *)x->lanes[k])[j] = (float)lane;
			else x->lanes[k][j] = lane;
		}
	}
}

static int is_of_rows_and_columns(lockstep_kind kind) { return kind == LOCKSTEP_MATRIX || kind == LOCKSTEP_MATRIX_BF16; }

static int is_matrix(const lockstep_kernel *kernel) {
	for (size_t k = 0; k < kernel->buffer_count; k++)
		if (is_of_rows_and_columns(kernel->buffers[k].kind)) return 1;
	return 0;
}

/* The size of an element of a kernel's buffer, of which a list has those of several tensors. */
static size_t element_size(const lockstep_kernel *kernel, size_t k) {
	lockstep_kind kind = kernel->buffers[k % kernel->buffer_count].kind;
	return kind == LOCKSTEP_STREAM_BF16 || kind == LOCKSTEP_STREAM_F16 || kind == LOCKSTEP_MATRIX_BF16 ? 2 : 4;
}

/* Room for so many elements of a size. */
static char *place_elements(const arena *a, size_t slot, size_t n, size_t size, int number, int place) {
	size_t away = place < 2 ? 0 : size * (size_t)(number % 16 + place - 2);
	char *begin = slot_of(a, slot);
	return place % 2 ? begin + a->room - size * n - away : begin + away;
}

float *place_buffer(const arena *a, size_t slot, size_t n, int number, int place) {
	return (float *)place_elements(a, slot, n, sizeof(float), number, place);
}

uint16_t *place_halves(const arena *a, size_t slot, size_t n, int number, int place) {
	return (uint16_t *)(void *)place_elements(a, slot, n, sizeof(uint16_t), number, place);
}

/* The bytes around a buffer that belong to its slot. */
typedef struct surroundings {
	unsigned char *before, *after;
	size_t before_size, after_size;
} surroundings;

static size_t least(size_t x, size_t y) { return x < y ? x : y; }

static surroundings around(const arena *a, size_t slot, const lockstep_buffer *b, size_t size) {
	char *data = (char *)b->data, *begin = slot_of(a, slot), *end = data + size * b->len;
	surroundings s;
	s.before_size = least((size_t)(data - begin), 4 * CANARIES);
	s.before = (unsigned char *)data - s.before_size;
	s.after = (unsigned char *)end;
	s.after_size = least((size_t)(begin + a->room - end), 4 * CANARIES);
	return s;
}

static void put_buffer(arena *a, source *s, arguments *x, size_t n, int place) {
	size_t slot = x->buffers++, size = element_size(x->kernel, slot);
	lockstep_buffer *b = &x->list[slot];
	CHECK(slot < SLOTS && 4 * n + 256 < a->room, "case %d has no room", s->number);
	char *data = place_elements(a, slot, n, size, s->number, place);
	b->data = (float *)data;
	b->len = n;
	for (size_t i = 0; i < n; i++) {
		uint32_t bits = value(s);
		uint16_t upper = (uint16_t)(bits >> 16);
		memcpy(data + size * i, size == 2 ? (void *)&upper : &bits, size);
	}
	surroundings r = around(a, slot, b, size);
	memset(r.before, CANARY, r.before_size);
	memset(r.after, CANARY, r.after_size);
}

static void put_tensor(arena *a, source *s, arguments *x, size_t columns, size_t rows, int place) {
	for (size_t k = 0; k < x->kernel->buffer_count; k++) {
		lockstep_kind kind = x->kernel->buffers[k].kind;
		put_buffer(a, s, x, is_of_rows_and_columns(kind) ? rows * columns : kind == LOCKSTEP_PER_ROW ? rows : columns, place);
	}
}

static void put_buffers(arena *a, source *s, arguments *x, int place) {
	size_t n = (size_t)s->number / 2;
	if (s->number >= SHORT_CASES) n = 1000 + below(s, 4000);
	if (is_matrix(x->kernel)) {
		put_tensor(a, s, x, n, below(s, 9), place);
		return;
	}
	size_t count = 1;
	if (s->number % 8 >= 6) count += below(s, 12);
	for (; count > 0; count--) {
		put_tensor(a, s, x, n, 0, place);
		n = below(s, 70);
	}
}

/* The bits as numbers, but of a NaN in bf16 that may have been computed those of one. */
static uint64_t hash_halves(uint64_t h, const uint16_t *x, size_t n, int computed) {
	for (size_t i = 0; i < n; i++) {
		float bits = computed && (x[i] & 0x7fff) > 0x7f80 ? 0x7fc0 : x[i];
		h = hash_floats(h, &bits, 1);
	}
	return h;
}

static uint32_t hash_of(const arguments *x) {
	uint64_t h = HASH_START;
	for (size_t k = 0; k < x->buffers; k++)
		h = element_size(x->kernel, k) == 2 ? hash_halves(h, (const uint16_t *)x->list[k].data, x->list[k].len, x->kernel->scalar_count > 0)
						    : hash_floats(h, x->list[k].data, x->list[k].len);
	for (size_t k = 0; k < x->kernel->lane_count; k++)
		h = x->kernel->lanes[k].kind == LOCKSTEP_LANES_FLOAT ? hash_floats(h, (const float *)x->lanes[k], LOCKSTEP_LANES)
								     : hash_doubles(h, x->lanes[k], LOCKSTEP_LANES);
	return hash_sum(h);
}

static void check_canaries(const unsigned char *bytes, size_t n, const char *kernel, int number) {
	for (size_t i = 0; i < n; i++) CHECK(bytes[i] == CANARY, "%s, case %d: wrote outside of a buffer", kernel, number);
}

uint32_t run_case(arena *a, const lockstep_table *table, const lockstep_kernel *kernel, int number, int place, caller *call) {
	static _Thread_local arguments x;
	source s = new_source(kernel->name, number);
	x.table = table;
	x.kernel = kernel;
	x.buffers = 0;
	put_buffers(a, &s, &x, place);
	fill_scalars(&s, &x);
	fill_lanes(&s, &x);
	call(&x);
	for (size_t k = 0; k < x.buffers; k++) {
		surroundings r = around(a, k, &x.list[k], element_size(kernel, k));
		check_canaries(r.before, r.before_size, kernel->name, number);
		check_canaries(r.after, r.after_size, kernel->name, number);
	}
	return hash_of(&x);
}

void call_checked(arguments *x) {
	lockstep_status status = lockstep_run(x->table, x->kernel, x->list, x->buffers, x->scalars, x->lane_pointers);
	CHECK(!status, "%s: %s", x->kernel->name, lockstep_message(status));
}
