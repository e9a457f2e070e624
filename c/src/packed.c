/* State in fewer bits: see Go's internal/engine/packed.go and update/statetypes.go. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "mode.h"
#include "optimizer.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Words of 32 bits have four codes, of elements that are so far apart in a block, or two halves of
 * neighbours: the words of a block come first, and behind those of all blocks their scales, of which each
 * QUARTER of a block of codes has one. */
enum { QUARTER = LOCKSTEP_STATE_SCALE, QUARTERS = PACK_LEN / QUARTER, PAIR = PACK_LEN / 2 };

/* What codes stand for: the numbers of Go's package fallback. */
#define SIGNED_LEAST 0x1p-15f
#define SIGNED_MOST (1.875f - SIGNED_LEAST)
#define SQUARE_LEAST 0x1p-31f
#define SQUARE_MOST 1.875f

#define SIGN_BIT (1u << 31)

/* Words of a block, blocks of a tensor, and scales of it: of the rest of its last block there is none. */
static size_t words_of(lockstep_state_type type) { return type == LOCKSTEP_STATE_BF16 ? PAIR : QUARTER; }
static size_t blocks_of(size_t n) { return (n + PACK_LEN - 1) / PACK_LEN; }
static size_t scales_of(size_t n) { return (n + LOCKSTEP_STATE_SCALE - 1) / LOCKSTEP_STATE_SCALE; }

/* What is random about a block. */
typedef struct drawing {
	uint32_t factor, add;
} drawing;

/* That of a block of a pair of slots, which share numbers, in the tensor's step: Go's (*Engine).drawingOf
 * and its at make the same. */
static drawing drawing_for(const lockstep_optimizer *o, uint64_t seed, size_t tensor, uint64_t pair, size_t block) {
	uint64_t key = lockstep_mixed(lockstep_mixed(seed) ^ (uint64_t)tensor);
	key = lockstep_mixed(lockstep_mixed(key ^ pair) ^ (uint64_t)(o->step - o->records[tensor].missed));
	key = lockstep_mixed(key ^ (uint64_t)block);
	return (drawing){.factor = (uint32_t)key | 1, .add = (uint32_t)(key >> 32)};
}

static drawing drawing_of(const lockstep_optimizer *o, size_t tensor, int slot, size_t block) { return drawing_for(o, o->pack_seed, tensor, (uint64_t)(slot / 2), block); }

/* Which part of the numbers a slot has. */
static uint32_t part_of(int slot) { return slot % 2 ? 1 << 8 : 1; }

void lockstep_hash_places(lockstep_optimizer *o) {
	for (uint32_t i = 0; i < PACK_LEN; i++) {
		uint32_t x = (i ^ i >> 16) * 0x85ebca6b;
		x = (x ^ x >> 13) * 0xc2b2ae35;
		x ^= x >> 16;
		memcpy(&o->hashes[i], &x, sizeof x);
	}
}

/* A slot of a tensor that is no floats. */
typedef struct packed {
	lockstep_state_type type;
	int is_square;
	size_t words; /* of a block */
	float *at, *scales;
} packed;


static packed packed_at(const lockstep_optimizer *o, size_t tensor, int slot, float *at) {
	const lockstep_place *place = &o->places[tensor];
	lockstep_state_type type = (lockstep_state_type)o->records[tensor].packing[slot];
	size_t words = words_of(type);
	return (packed){type, o->groups[place->group].plan.slots[slot].square, words, at, at + blocks_of(place->size) * words};
}

static packed packed_of(const lockstep_optimizer *o, size_t tensor, int slot) { return packed_at(o, tensor, slot, o->places[tensor].state[slot]); }

size_t lockstep_optimizer_state_room(lockstep_state_type type, size_t n) {
	if (n > PTRDIFF_MAX / sizeof(float) - PACK_LEN) return 0;
	switch (type) {
	case LOCKSTEP_STATE_FLOAT32: return n * sizeof(float);
	case LOCKSTEP_STATE_BF16: return blocks_of(n) * PAIR * sizeof(float);
	case LOCKSTEP_STATE_FLOAT8: return blocks_of(n) * (QUARTER + QUARTERS) * sizeof(float);
	}
	return 0;
}

static uint32_t word_at(const float *words, size_t k) {
	uint32_t bits;
	memcpy(&bits, &words[k], sizeof bits);
	return bits;
}

static void add_to_word(float *words, size_t k, uint32_t bits) {
	bits |= word_at(words, k);
	memcpy(&words[k], &bits, sizeof bits);
}

static float offset_of(const packed *p) { return p->is_square ? 0 : SIGNED_LEAST; }
static float least_of(const packed *p) { return p->is_square ? SQUARE_LEAST : SIGNED_LEAST; }
static float most_of(const packed *p) { return p->is_square ? SQUARE_MOST : SIGNED_MOST; }
static uint32_t signs_of(const packed *p) { return p->is_square ? 0 : SIGN_BIT; }

/* What the numbers of a block's codes are multiplied by. */
static void set_units(const packed *p, size_t block, float units[QUARTERS]) {
	for (int k = 0; k < QUARTERS; k++) units[k] = p->scales[block * QUARTERS + (size_t)k] / most_of(p);
}

/* Makes floats of a block. */
static void load(const lockstep_optimizer *o, const packed *p, size_t block, float *x) {
	float *words = p->at + block * p->words, units[QUARTERS], least = least_of(p);
	if (p->type == LOCKSTEP_STATE_BF16) {
		const lockstep_buffer list[] = {{x, PACK_LEN, 0}, {words, PACK_LEN, 0}};
		lockstep_kernel_widen_bf16(o->table, list, 2);
		return;
	}
	const lockstep_buffer list[] = {{words, QUARTER, 0}, {x, QUARTER, 0}, {x + QUARTER, QUARTER, 0}, {x + 2 * QUARTER, QUARTER, 0}, {x + 3 * QUARTER, QUARTER, 0}};
	lockstep_dequantize_scalars c = {.offset = offset_of(p), .signs = signs_of(p)};
	set_units(p, block, units);
	c.unit0 = units[0], c.unit1 = units[1], c.unit2 = units[2], c.unit3 = units[3];
	memcpy(&c.least, &least, sizeof least);
	lockstep_kernel_dequantize(o->table, list, 5, &c);
}

/* Sets the largest magnitudes of so many quarters of a block. */
static void measure(const lockstep_optimizer *o, float *x, size_t quarters, float *scales) {
	const lockstep_buffer list[] = {{scales, quarters, 0}, {x, quarters * QUARTER, 0}, {(float *)o->hashes, QUARTER, 0}};
	lockstep_kernel_row_most(o->table, list, 3);
}

/* most/(the largest magnitude of a quarter of a block), rounded down: what it times that is, rounded, is at
 * most most, so that no number has a code above the largest. Where that would be no normal number, x is
 * multiplied by a power of 2 first. */
static float inverse_for(float *x, float largest, float most) {
	float inverse, up = largest > 1 ? 0x1p-40f : 0x1p40f;
	if (largest == 0) return 0;
	if (largest < 0x1p-100f || largest > 0x1p100f) {
		for (size_t i = 0; i < QUARTER; i++) x[i] *= up;
		largest *= up;
	}
	inverse = most / largest;
	uint32_t bits;
	memcpy(&bits, &inverse, sizeof bits);
	bits -= (double)inverse * (double)largest > (double)most; /* the product is exact, and no processor foresees this */
	memcpy(&inverse, &bits, sizeof bits);
	return inverse;
}

/* The inverses of what measure has set. Infinite elements, which would leave nothing of the others, become
 * zeros, and NaN is 0 once it is packed. */
static void invert(const lockstep_optimizer *o, float *x, float *scales, float most, float inverses[QUARTERS]) {
	for (int k = 0; k < QUARTERS; k++, x += QUARTER) {
		if (scales[k] > FLT_MAX) {
			for (size_t i = 0; i < QUARTER; i++)
				if (isinf(x[i])) x[i] = 0;
			measure(o, x, 1, &scales[k]);
		}
		inverses[k] = inverse_for(x, scales[k], most);
	}
}

/* Packs a block, whose elements may be changed. */
static void store(const lockstep_optimizer *o, const packed *p, size_t block, float *x, int slot, drawing d) {
	float *words = p->at + block * p->words, *scales = p->scales + block * QUARTERS, *h = (float *)o->hashes;
	if (p->type == LOCKSTEP_STATE_BF16) {
		const lockstep_buffer list[] = {{words, PACK_LEN, 0}, {x, PACK_LEN, 0}, {h, PACK_LEN, 0}};
		const lockstep_quantize_bf16_scalars c = {.factor = d.factor, .add = d.add, .part = part_of(slot)};
		lockstep_kernel_quantize_bf16(o->table, list, 3, &c);
		return;
	}
	lockstep_quantize_scalars c = {.offset = offset_of(p), .least = least_of(p), .signs = signs_of(p), .factor = d.factor, .add = d.add, .part = part_of(slot)};
	float inverses[QUARTERS];
	measure(o, x, QUARTERS, scales);
	invert(o, x, scales, most_of(p), inverses);
	c.inverse0 = inverses[0], c.inverse1 = inverses[1], c.inverse2 = inverses[2], c.inverse3 = inverses[3];
	const lockstep_buffer list[] = {{words, QUARTER, 0}, {x, QUARTER, 0}, {x + QUARTER, QUARTER, 0}, {x + 2 * QUARTER, QUARTER, 0}, {x + 3 * QUARTER, QUARTER, 0},
		{h, QUARTER, 0}, {h + QUARTER, QUARTER, 0}, {h + 2 * QUARTER, QUARTER, 0}, {h + 3 * QUARTER, QUARTER, 0}};
	lockstep_kernel_quantize(o->table, list, 9, &c);
}

void lockstep_round(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, uint16_t *to, float *from) {
	const uint64_t pair = UINT64_C(1) << 32; /* of no slots, so that state of the same seed has other numbers */
	for (size_t at = 0, part; at < n; at += part) {
		size_t place = (first + at) % PACK_LEN;
		part = PACK_LEN - place < n - at ? PACK_LEN - place : n - at;
		drawing d = drawing_for(o, o->rounding, tensor, pair, (first + at) / PACK_LEN);
		const lockstep_buffer list[] = {{(float *)(void *)(to + at), part, 0}, {from + at, part, 0}, {(float *)o->hashes + place, part, 0}};
		const lockstep_quantize_bf16_scalars c = {.factor = d.factor, .add = d.add, .part = 1};
		lockstep_kernel_quantize_bf16(o->table, list, 3, &c);
	}
}

void lockstep_draw_halves(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, lockstep_buffer *slots, uint32_t *factor, uint32_t *add) {
	drawing d = drawing_of(o, tensor, 0, first / PACK_LEN);
	for (int j = 0; j < 2; j++) slots[j] = (lockstep_buffer){o->places[tensor].state[j] + first / 2, n, 0};
	slots[2] = (lockstep_buffer){(float *)o->hashes, n, 0};
	*factor = d.factor;
	*add = d.add;
}

static int slots_of(const lockstep_optimizer *o, size_t tensor) { return o->groups[o->places[tensor].group].plan.slot_count; }

void lockstep_unpack(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, lockstep_buffer *slots, float room[][BLOCK_LEN]) {
	for (int j = 0; j < slots_of(o, tensor); j++) {
		if (o->records[tensor].packing[j] == LOCKSTEP_STATE_FLOAT32) continue;
		packed p = packed_of(o, tensor, j);
		for (size_t at = 0; at < n; at += PACK_LEN) load(o, &p, (first + at) / PACK_LEN, room[j] + at);
		slots[j].data = room[j];
	}
}

void lockstep_pack(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, float room[][BLOCK_LEN]) {
	for (int j = 0; j < slots_of(o, tensor); j++) {
		if (o->records[tensor].packing[j] == LOCKSTEP_STATE_FLOAT32) continue;
		packed p = packed_of(o, tensor, j);
		for (size_t at = 0; at < n; at += PACK_LEN) {
			size_t block = (first + at) / PACK_LEN;
			store(o, &p, block, room[j] + at, j, drawing_of(o, tensor, j, block));
		}
	}
}

int lockstep_pairs_up(const lockstep_optimizer *o, size_t tensor, size_t n) {
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	const uint8_t *packing = o->records[tensor].packing;
	return g->fused[FORM_CODES_OF_FLOATS] && n == PACK_LEN && packing[0] == LOCKSTEP_STATE_FLOAT8 && packing[1] == LOCKSTEP_STATE_FLOAT8 && !lockstep_is_cautious(&g->common);
}

static lockstep_buffer codes_of(const packed *p, size_t block) { return (lockstep_buffer){p->at + block * QUARTER, QUARTER, 0}; }

void lockstep_step_pair(lockstep_pair *pair, size_t first, lockstep_form form, const lockstep_buffer *block, const lockstep_scalars *scalars) {
	static const uint32_t ups[QUARTERS] = {1 << 24, 1 << 16, 1 << 8, 1}; /* these bring a quarter's code to a word's highest byte */
	const lockstep_optimizer *o = pair->o;
	const lockstep_kernel *kernel = o->groups[o->places[pair->tensor].group].fused[form];
	const packed m = packed_of(o, pair->tensor, 0), v = packed_of(o, pair->tensor, 1);
	float up[QUARTERS];
	pair->block = first / PACK_LEN;
	set_units(&m, pair->block, pair->scales[0]);
	set_units(&v, pair->block, pair->scales[1]);
	memcpy(up, ups, sizeof up);
	const lockstep_buffer moves[] = {block[LOCKSTEP_PARAMS], block[LOCKSTEP_GRADS], {pair->x[0], PACK_LEN, 0}, {pair->x[1], PACK_LEN, 0}, {pair->scales[0], QUARTERS, 0},
		{pair->scales[1], QUARTERS, 0}, {up, QUARTERS, 0}, codes_of(&m, pair->block), codes_of(&v, pair->block)};
	o->table->kernels[kernel - lockstep_all](moves, 9, scalars->words, NULL);
}

void lockstep_measure_pair(lockstep_pair *pair) {
	for (int j = 0; j < 2; j++) measure(pair->o, pair->x[j], QUARTERS, pair->scales[j]);
}

void lockstep_pack_pair(lockstep_pair *pair) {
	const lockstep_optimizer *o = pair->o;
	float inverses[2][QUARTERS];
	lockstep_buffer words[2];
	for (int j = 0; j < 2; j++) {
		const packed p = packed_of(o, pair->tensor, j);
		words[j] = codes_of(&p, pair->block);
		invert(o, pair->x[j], pair->scales[j], most_of(&p), inverses[j]);
		memcpy(p.scales + pair->block * QUARTERS, pair->scales[j], sizeof pair->scales[j]);
	}
	const drawing d = drawing_of(o, pair->tensor, 0, pair->block);
	const lockstep_quantize_pair_scalars c = {.factor = d.factor, .add = d.add};
	const lockstep_buffer list[] = {words[0], words[1], {pair->x[0], PACK_LEN, 0}, {pair->x[1], PACK_LEN, 0}, {(float *)o->hashes, PACK_LEN, 0}, {inverses[0], QUARTERS, 0},
		{inverses[1], QUARTERS, 0}};
	lockstep_kernel_quantize_pair(o->table, list, 7, &c);
}

/* What may be packed, and what is set. */

static const char *name_of(lockstep_state_type type) {
	static const char *const names[] = {"float32", "bf16", "float8"};
	return (unsigned)type <= LOCKSTEP_STATE_FLOAT8 ? names[type] : "an unknown type";
}

/* Whether what is lost of a slot does not fade, since parameters are made of it or its signs are looked at,
 * or shows as a difference of what is nearly equal. Adamax' u is a divisor that is no square, as which it
 * would stay above 0. */
static int wants_whole(const lockstep_rule_group *g, const char *slot) {
	static const char *const rules[] = {"FTRL", "AdaGradDA", "MADGRAD", "Rprop", "ASGD"};
	for (size_t k = 0; k < sizeof rules / sizeof *rules; k++)
		if (!strcmp(g->rule->name, rules[k])) return 1;
	if (!strcmp(g->rule->name, "RMSprop")) return ((const lockstep_rmsprop_options *)g->options)->centered;
	return !strcmp(g->rule->name, "Adamax") && !strcmp(slot, "u");
}

/* The place of a slot in a group's plan, or -1. */
static int find_slot(const lockstep_rule_group *g, const char *slot) {
	for (int j = 0; slot && j < lockstep_kept_slots(&g->plan); j++)
		if (!strcmp(g->plan.slots[j].name, slot)) return j;
	return -1;
}

/* Whether a slot of a group may have fewer bits: one kernel takes elements of all buffers, in any parts, and
 * nothing else reads or writes them. */
static int may_pack(const lockstep_rule_group *g, const char *slot) {
	int j = find_slot(g, slot);
	if (j < 0 || g->code->factors || !g->plain || g->plan.hessian != 0 || g->plan.mean != 0 || wants_whole(g, slot)) return 0;
	return g->plan.slots[j].extent == LOCKSTEP_OF_ELEMENTS && !g->plan.slots[j].begins_as_params;
}

int lockstep_packs_state(const lockstep_optimizer *o) {
	for (size_t k = 0; k < o->count; k++)
		if (o->records[k].packs) return 1;
	return 0;
}

lockstep_status lockstep_check_unpacked(const lockstep_optimizer *o, const char *what, lockstep_error *error) {
	if (!lockstep_packs_state(o)) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the state is not of float32 alone, want that with %s: see lockstep_optimizer_set_state_types", what);
}

static void set_packing(lockstep_record *r, int slot, lockstep_state_type type) {
	r->packing[slot] = (uint8_t)type;
	r->packs = 0;
	for (int j = 0; j < LOCKSTEP_MAX_SLOTS; j++) r->packs |= r->packing[j] != LOCKSTEP_STATE_FLOAT32;
}

lockstep_status lockstep_take_types(lockstep_optimizer *o, size_t tensor, int of_caller, const lockstep_state_type *types, lockstep_error *error) {
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	char name[NAME_LEN];
	const char *quoted = lockstep_quoted(o, tensor, name);
	if (!of_caller) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensors[%zu].types is given, want NULL without the caller's state: see lockstep_optimizer_set_state_types", tensor);
	for (int j = 0; j < lockstep_kept_slots(&g->plan); j++) {
		const char *slot = g->plan.slots[j].name;
		if (types[j] == LOCKSTEP_STATE_FLOAT32) continue;
		if ((unsigned)types[j] > LOCKSTEP_STATE_FLOAT8)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensors[%zu].types[%d] is %d, want LOCKSTEP_STATE_FLOAT32, LOCKSTEP_STATE_BF16 or LOCKSTEP_STATE_FLOAT8", tensor, j, (int)types[j]);
		if (!may_pack(g, slot))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the state %s of tensor %zu%s is of %s, want of float32 with the %s rule", slot, tensor, quoted, name_of(types[j]), g->name);
		if (o->places[tensor].size <= SMALL_LEN)
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the state %s of tensor %zu%s is of %s, want of float32 for at most %d elements", slot, tensor, quoted, name_of(types[j]), SMALL_LEN);
		set_packing(&o->records[tensor], j, types[j]);
	}
	return LOCKSTEP_OK;
}

/* The type that a list has for a slot. */
static lockstep_state_type type_for(const lockstep_slot_type *types, size_t count, const char *slot) {
	for (size_t i = 0; i < count; i++)
		if (!strcmp(types[i].slot, slot)) return types[i].type;
	return LOCKSTEP_STATE_FLOAT32;
}

/* That of a slot of a tensor, which is 0 for floats if it is small. */
static lockstep_state_type wanted(const lockstep_optimizer *o, size_t tensor, int slot, const lockstep_slot_type *types, size_t count) {
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	if (o->places[tensor].size <= SMALL_LEN || slot >= lockstep_kept_slots(plan)) return LOCKSTEP_STATE_FLOAT32;
	return type_for(types, count, plan->slots[slot].name);
}

/* Refuses a type that some rule with a slot of the name cannot have, or a name that none has. */
static lockstep_status check_type(const lockstep_optimizer *o, const lockstep_slot_type *types, size_t i, lockstep_error *error) {
	const char *slot = types[i].slot;
	int known = 0;
	if (!slot) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "types[%zu].slot is NULL, want the name of a slot", i);
	if ((unsigned)types[i].type > LOCKSTEP_STATE_FLOAT8)
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "types[%zu].type is %d, want LOCKSTEP_STATE_FLOAT32, LOCKSTEP_STATE_BF16 or LOCKSTEP_STATE_FLOAT8", i, (int)types[i].type);
	for (size_t j = 0; j < i; j++)
		if (!strcmp(types[j].slot, slot)) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "types[%zu].slot is %s, which types[%zu] has, want another", i, slot, j);
	for (size_t k = 0; k < o->group_count; k++) {
		if (find_slot(&o->groups[k], slot) < 0) continue;
		known = 1;
		if (types[i].type != LOCKSTEP_STATE_FLOAT32 && !may_pack(&o->groups[k], slot))
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "types[%zu] is %s for %s, want float32 for this slot of the %s rule", i, name_of(types[i].type), slot, o->groups[k].name);
	}
	return known ? LOCKSTEP_OK : lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "types[%zu].slot is %s, want the name of a slot of a rule that there is", i, slot);
}

/* Refuses other types for state of the caller's than it has. */
static lockstep_status check_owned(const lockstep_optimizer *o, const lockstep_slot_type *types, size_t count, lockstep_error *error) {
	char name[NAME_LEN];
	for (size_t k = 0; k < o->count; k++)
		for (int j = 0; o->records[k].owned && j < slots_of(o, k); j++) {
			lockstep_state_type type = wanted(o, k, j, types, count), own = (lockstep_state_type)o->records[k].packing[j];
			if (type != own)
				return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the state %s of tensor %zu%s is to be %s, want %s: it is the caller's",
					o->groups[o->places[k].group].plan.slots[j].name, k, lockstep_quoted(o, k, name), name_of(type), name_of(own));
		}
	return LOCKSTEP_OK;
}

static lockstep_status check_types(const lockstep_optimizer *o, const lockstep_slot_type *types, size_t count, lockstep_error *error) {
	int some = 0;
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (!status && count && !types) status = lockstep_bad_argument(error, "types", "NULL", "as many as count says");
	for (size_t i = 0; i < count && !status; i++) {
		status = check_type(o, types, i, error);
		some |= types[i].type != LOCKSTEP_STATE_FLOAT32;
	}
	if (status) return status;
	if (some && (o->adaptive || o->centralizes)) return lockstep_bad_argument(error, "types", "not float32", "float32 with an adaptive clip or centralize, which look at rows");
	return check_owned(o, types, count, error);
}

/* How the state of a tensor was. */
typedef struct earlier {
	float *state[LOCKSTEP_MAX_SLOTS];
	uint8_t packing[LOCKSTEP_MAX_SLOTS];
} earlier;

/* Copies a slot from where it was, block by block if its type is another. */
static void move_slot(const lockstep_optimizer *o, size_t tensor, int slot, const earlier *from) {
	lockstep_state_type before = (lockstep_state_type)from->packing[slot], type = (lockstep_state_type)o->records[tensor].packing[slot];
	float *to = o->places[tensor].state[slot], x[PACK_LEN];
	if (type == before) {
		memcpy(to, from->state[slot], lockstep_slot_bytes(o, tensor, slot));
		return;
	}
	packed new = packed_of(o, tensor, slot), old = new;
	old.type = before;
	old.words = words_of(before);
	old.at = from->state[slot];
	size_t size = o->places[tensor].size;
	old.scales = old.at + blocks_of(size) * old.words;
	for (size_t block = 0, at = 0; at < size; block++, at += PACK_LEN) {
		size_t n = size - at < PACK_LEN ? size - at : PACK_LEN;
		memset(x, 0, sizeof x);
		if (before == LOCKSTEP_STATE_FLOAT32)
			memcpy(x, from->state[slot] + at, n * sizeof *x);
		else
			load(o, &old, block, x);
		if (type == LOCKSTEP_STATE_FLOAT32)
			memcpy(to + at, x, n * sizeof *x);
		else
			store(o, &new, block, x, slot, drawing_of(o, tensor, slot, block));
	}
}

/* Notes how all state is, and has it be of other types. Returns whether any is another. */
static int change_types(lockstep_optimizer *o, const lockstep_slot_type *types, size_t count, earlier *before) {
	int changes = 0;
	for (size_t k = 0; k < o->count; k++) {
		memcpy(before[k].state, o->places[k].state, sizeof before[k].state);
		memcpy(before[k].packing, o->records[k].packing, sizeof before[k].packing);
		for (int j = 0; j < slots_of(o, k); j++) {
			lockstep_state_type type = wanted(o, k, j, types, count);
			changes |= type != (lockstep_state_type)before[k].packing[j];
			set_packing(&o->records[k], j, type);
		}
	}
	return changes;
}

/* Has all state be of its types, in a room of its own. */
static LOCKSTEP_NOT_INLINED lockstep_status convert(lockstep_optimizer *o, const earlier *before, lockstep_error *error) {
	lockstep_room old;
	lockstep_status status = lockstep_place_state_anew(o, &old, error);
	if (status) {
		for (size_t k = 0; k < o->count; k++)
			for (int j = 0; j < slots_of(o, k); j++) set_packing(&o->records[k], j, (lockstep_state_type)before[k].packing[j]);
		return status;
	}
	for (size_t k = 0; k < o->count; k++)
		for (int j = 0; j < slots_of(o, k); j++)
			if (o->places[k].state[j] != before[k].state[j]) move_slot(o, k, j, &before[k]);
	lockstep_free_room(&old);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_set_state_types(lockstep_optimizer *o, const lockstep_slot_type *types, size_t count, uint64_t seed, lockstep_error *error) {
	lockstep_status status = check_types(o, types, count, error);
	if (status) return status;
	earlier *before = malloc((o->count + 1) * sizeof *before);
	if (!before) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for other types of state");
	uint64_t seed_before = o->pack_seed;
	o->pack_seed = seed;
	if (change_types(o, types, count, before)) {
		lockstep_mode mode = lockstep_enter_mode();
		status = convert(o, before, error);
		lockstep_leave_mode(mode);
	}
	if (status) o->pack_seed = seed_before;
	free(before);
	return status;
}

/* What is in it. */

static int slot_of(const lockstep_optimizer *o, size_t tensor, const char *slot) {
	return tensor < o->count ? find_slot(&o->groups[o->places[tensor].group], slot) : -1;
}

lockstep_state_type lockstep_optimizer_state_type(const lockstep_optimizer *o, size_t tensor, const char *slot) {
	int j = slot_of(o, tensor, slot);
	return j < 0 ? LOCKSTEP_STATE_FLOAT32 : (lockstep_state_type)o->records[tensor].packing[j];
}

size_t lockstep_optimizer_state_bytes(const lockstep_optimizer *o) {
	size_t bytes = 0;
	for (size_t k = 0; k < o->count; k++) {
		for (int j = 0; j < slots_of(o, k); j++) bytes += lockstep_slot_bytes(o, k, j);
		for (int j = 0; j < 2; j++) bytes += o->records[k].beside[j] ? o->places[k].size * sizeof(float) : 0;
	}
	return bytes;
}

/* The slot of a name, which must be of a type. */
static lockstep_status find_packed(const lockstep_optimizer *o, size_t tensor, const char *slot, lockstep_state_type type, int *found, lockstep_error *error) {
	char name[NAME_LEN];
	*found = slot_of(o, tensor, slot);
	if (tensor >= o->count) return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "tensor is %zu, want the index of one of %zu", tensor, o->count);
	if (*found < 0) return lockstep_bad_argument(error, "slot", slot ? slot : "NULL", "the name of a slot of the tensor's rule");
	lockstep_state_type own = (lockstep_state_type)o->records[tensor].packing[*found];
	if (own == type) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "the state %s of tensor %zu%s is of %s, want of %s", slot, tensor, lockstep_quoted(o, tensor, name), name_of(own), name_of(type));
}

/* Where the code of an element is: the word, and the bits before it there. */
typedef struct bit_place {
	size_t word;
	unsigned shift;
} bit_place;

static bit_place code_at(size_t i) { return (bit_place){i / PACK_LEN * QUARTER + i % QUARTER, (unsigned)(i % PACK_LEN / QUARTER * 8)}; }

static uint16_t half_of(const packed *p, size_t i) {
	uint16_t half;
	memcpy(&half, (const char *)p->at + i * sizeof half, sizeof half);
	return half;
}

/* Refuses a half that no step can have left. */
static lockstep_status check_half(const lockstep_optimizer *o, size_t tensor, int slot, size_t i, uint16_t half, lockstep_error *error) {
	uint32_t bits = (uint32_t)half << 16;
	float x;
	char name[NAME_LEN];
	const lockstep_slot *s = &o->groups[o->places[tensor].group].plan.slots[slot];
	memcpy(&x, &bits, sizeof x);
	if (x >= (s->square ? 0 : -FLT_MAX) && x <= FLT_MAX) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "element %zu of the state %s of tensor %zu%s is %g, want a finite number%s", i, s->name, tensor, lockstep_quoted(o, tensor, name), (double)x, s->square ? " of at least 0" : "");
}

/* The same of a scale. */
static lockstep_status check_scale(const lockstep_optimizer *o, size_t tensor, int slot, size_t k, float scale, lockstep_error *error) {
	char name[NAME_LEN];
	if (scale >= 0 && scale <= FLT_MAX) return LOCKSTEP_OK;
	return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "scale %zu of the state %s of tensor %zu%s is %g, want a finite number of at least 0",
		k, o->groups[o->places[tensor].group].plan.slots[slot].name, tensor, lockstep_quoted(o, tensor, name), (double)scale);
}

lockstep_status lockstep_check_packed(const lockstep_optimizer *o, size_t tensor, int slot, const float *words, lockstep_error *error) {
	packed p = packed_at(o, tensor, slot, (float *)words);
	lockstep_status status = LOCKSTEP_OK;
	size_t n = o->places[tensor].size;
	for (size_t i = 0; p.type == LOCKSTEP_STATE_BF16 && i < n && !status; i++) status = check_half(o, tensor, slot, i, half_of(&p, i), error);
	for (size_t k = 0; p.type == LOCKSTEP_STATE_FLOAT8 && k < scales_of(n) && !status; k++) status = check_scale(o, tensor, slot, k, p.scales[k], error);
	return status;
}

lockstep_status lockstep_optimizer_read_halves(const lockstep_optimizer *o, size_t tensor, const char *slot, uint16_t *halves, lockstep_error *error) {
	int j;
	lockstep_status status = find_packed(o, tensor, slot, LOCKSTEP_STATE_BF16, &j, error);
	if (!status && !halves) status = lockstep_bad_argument(error, "halves", "NULL", "room for all elements");
	if (status) return status;
	packed p = packed_of(o, tensor, j);
	memcpy(halves, p.at, o->places[tensor].size * sizeof *halves);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_write_halves(lockstep_optimizer *o, size_t tensor, const char *slot, const uint16_t *halves, lockstep_error *error) {
	int j;
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (!status) status = find_packed(o, tensor, slot, LOCKSTEP_STATE_BF16, &j, error);
	if (!status && !halves) status = lockstep_bad_argument(error, "halves", "NULL", "all elements");
	size_t n = status ? 0 : o->places[tensor].size;
	for (size_t i = 0; i < n && !status; i++) status = check_half(o, tensor, j, i, halves[i], error);
	if (status) return status;
	packed p = packed_of(o, tensor, j);
	memset(p.at, 0, lockstep_slot_bytes(o, tensor, j));
	memcpy(p.at, halves, n * sizeof *halves);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_read_codes(const lockstep_optimizer *o, size_t tensor, const char *slot, uint8_t *codes, float *scales, lockstep_error *error) {
	int j;
	lockstep_status status = find_packed(o, tensor, slot, LOCKSTEP_STATE_FLOAT8, &j, error);
	if (!status && !(codes && scales)) status = lockstep_bad_argument(error, codes ? "scales" : "codes", "NULL", "room for those of all elements");
	if (status) return status;
	packed p = packed_of(o, tensor, j);
	for (size_t i = 0; i < o->places[tensor].size; i++) codes[i] = (uint8_t)(word_at(p.at, code_at(i).word) >> code_at(i).shift);
	memcpy(scales, p.scales, scales_of(o->places[tensor].size) * sizeof *scales);
	return LOCKSTEP_OK;
}

lockstep_status lockstep_optimizer_write_codes(lockstep_optimizer *o, size_t tensor, const char *slot, const uint8_t *codes, const float *scales, lockstep_error *error) {
	int j;
	lockstep_status status = lockstep_check_not_begun(o, error);
	if (!status) status = find_packed(o, tensor, slot, LOCKSTEP_STATE_FLOAT8, &j, error);
	if (!status && !(codes && scales)) status = lockstep_bad_argument(error, codes ? "scales" : "codes", "NULL", "those of all elements");
	size_t n = status ? 0 : o->places[tensor].size;
	for (size_t k = 0; k < scales_of(n) && !status; k++) status = check_scale(o, tensor, j, k, scales[k], error);
	if (status) return status;
	packed p = packed_of(o, tensor, j);
	memset(p.at, 0, lockstep_slot_bytes(o, tensor, j));
	for (size_t i = 0; i < n; i++) add_to_word(p.at, code_at(i).word, (uint32_t)codes[i] << code_at(i).shift);
	memcpy(p.scales, scales, scales_of(n) * sizeof *scales);
	return LOCKSTEP_OK;
}

static LOCKSTEP_NOT_INLINED void read_all(const lockstep_optimizer *o, const packed *p, float *floats, size_t n) {
	float x[PACK_LEN];
	for (size_t block = 0, at = 0; at < n; block++, at += PACK_LEN) {
		load(o, p, block, x);
		memcpy(floats + at, x, (n - at < PACK_LEN ? n - at : PACK_LEN) * sizeof *x);
	}
}

lockstep_status lockstep_optimizer_read_floats(const lockstep_optimizer *o, size_t tensor, const char *slot, float *floats, lockstep_error *error) {
	int j;
	lockstep_status status = find_packed(o, tensor, slot, lockstep_optimizer_state_type(o, tensor, slot), &j, error);
	if (!status && !floats) status = lockstep_bad_argument(error, "floats", "NULL", "room for all elements");
	if (status) return status;
	size_t n = lockstep_optimizer_state_len(o, tensor, slot);
	if (o->records[tensor].packing[j] == LOCKSTEP_STATE_FLOAT32) {
		if (n) memcpy(floats, o->places[tensor].state[j], n * sizeof *floats);
		return LOCKSTEP_OK;
	}
	packed p = packed_of(o, tensor, j);
	lockstep_mode before = lockstep_enter_mode();
	read_all(o, &p, floats, n);
	lockstep_leave_mode(before);
	return LOCKSTEP_OK;
}
