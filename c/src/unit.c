/* The work of one thread at a time: units, and what a step does with one. */
#include "optimizer.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Unit k, of which there may be no more than their number yet. */
static void put_unit(lockstep_optimizer *o, lockstep_unit u) {
	if (o->units) o->units[o->unit_count] = u;
	o->unit_count++;
}

int lockstep_by_rows(const lockstep_optimizer *o, size_t tensor) {
	const lockstep_plan *plan = &o->groups[o->places[tensor].group].plan;
	for (int k = 0; k < plan->pass_count; k++)
		if (plan->passes[k].walk == LOCKSTEP_ROWS) return 1;
	return 0;
}

/* So many that sums by column are small beside the matrix. */
static size_t rows_of_unit(size_t rows, size_t columns) {
	size_t n = UNIT_LEN / columns, part = (rows + ROW_UNITS - 1) / ROW_UNITS;
	if (n < UNIT_ROWS) n = UNIT_ROWS;
	return n < part ? part : n;
}

static void split_tensor(lockstep_optimizer *o, size_t tensor) {
	lockstep_record *r = &o->records[tensor];
	size_t size = o->places[tensor].size;
	size_t length = UNIT_LEN, row = lockstep_row_looked_at(o, tensor);
	if (size && lockstep_by_rows(o, tensor))
		length = rows_of_unit(size / r->columns, r->columns) * r->columns;
	else if (row)
		length = lockstep_rows_of(UNIT_LEN, row);
	r->units[0] = o->unit_count;
	for (size_t lo = 0; lo < size; lo += length) {
		size_t hi = size - lo < length ? size : lo + length;
		put_unit(o, (lockstep_unit){o->places[tensor].group, tensor, lo, hi});
	}
	r->units[1] = o->unit_count;
}

static void split_shared(lockstep_optimizer *o, uint32_t group) {
	const lockstep_rule_group *g = &o->groups[group];
	size_t lo = 0, size = 0;
	for (size_t at = 0; at < g->shared_count; at++) {
		size += o->places[g->shared[at]].size;
		if (size < UNIT_LEN && at + 1 < g->shared_count) continue;
		put_unit(o, (lockstep_unit){group, SHARED, lo, at + 1});
		lo = at + 1;
		size = 0;
	}
}

void lockstep_split(lockstep_optimizer *o) {
	o->unit_count = 0;
	for (size_t k = 0; k < o->count; k++)
		if (!o->records[k].listed) split_tensor(o, k);
	for (size_t g = 0; g < o->group_count; g++) split_shared(o, (uint32_t)g);
}

int lockstep_takes_rows(const lockstep_rule_group *g) {
	return !g->common.cautious_update && (g->plain || (g->plan.pass_count == 1 && g->plan.passes[0].row));
}

int lockstep_follows_own(const lockstep_rule_group *g, int pass) {
	return pass > 0 && g->plan.passes[pass - 1].sums == LOCKSTEP_OVER_TENSOR;
}

static int is_together(const lockstep_rule_group *g, int pass) { return pass >= 0 && g->plan.passes[pass].walk == LOCKSTEP_TOGETHER; }

int lockstep_scales_own(const lockstep_rule_group *g, int pass) {
	return g->keeps || lockstep_follows_own(g, pass) || is_together(g, pass) || is_together(g, pass - 1);
}

const lockstep_scalars *lockstep_scalars_for(const lockstep_optimizer *o, size_t tensor, int pass) {
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	if (lockstep_scales_own(g, pass) || (o->apart && o->records[tensor].missed != 0)) return o->records[tensor].own;
	return &g->scalars[pass];
}

/* Tensors, or ranges of them, that take a pass together, of which each has its parameters,
 * its gradient and all of its slots in the list. Many have no sums and one pass. */
enum { LIST_LEN = 512 };
typedef struct portion {
	const lockstep_optimizer *o;
	const lockstep_rule_group *g;
	int pass;
	const lockstep_scalars *scalars;
	const lockstep_clip_scalars *clip; /* of the tensors that are put, if there is a stage that clips */
	float trust;                       /* of the tensor that is put, if its step counts what agrees */
	int64_t t;
	int pairs;       /* the pass over a block packs both slots itself */
	int alone;       /* what is put goes by itself, block by block with all that is around a kernel */
	size_t tensor, first; /* what was put last, and its first element */
	size_t columns;       /* of that tensor */
	size_t row;           /* the length of its rows where they are looked at, or 0 */
	lockstep_row_state measured; /* of the row at work */
	lockstep_noise_scalars noise;
	double lanes[LOCKSTEP_MAX_SUMS][LOCKSTEP_LANES];
	size_t stride, count; /* buffers of a tensor, and of all */
	lockstep_buffer list[LIST_LEN], few[LIST_LEN];
} portion;

/* Whether the stages before a kernel ask where in its tensor a block is. */
static int needs_place(const lockstep_optimizer *o) { return o->shard_count || o->typed || o->noise.eta != 0 || o->adaptive || o->centralizes; }

static void open_portion(portion *x, const lockstep_optimizer *o, uint32_t group, int pass) {
	x->o = o;
	x->g = &o->groups[group];
	x->pass = pass;
	x->stride = LOCKSTEP_SLOT + (size_t)x->g->plan.slot_count;
	x->count = 0;
	x->pairs = 0;
	x->alone = lockstep_follows(o) || o->zeroes || o->copies || needs_place(o);
	if (!x->g->plain) memset(x->lanes, 0, sizeof x->lanes);
}

/* Adds elements of a tensor from the first on, at p and g. */
static void put_tensor(portion *x, size_t tensor, size_t first, size_t n, float *p, const float *g) {
	const lockstep_place *place = &x->o->places[tensor];
	lockstep_buffer *b = &x->list[x->count];
	x->tensor = tensor;
	x->first = first;
	x->columns = x->o->records[tensor].columns;
	x->row = lockstep_row_looked_at(x->o, tensor);
	b[LOCKSTEP_PARAMS] = (lockstep_buffer){p, n, 0};
	b[LOCKSTEP_GRADS] = (lockstep_buffer){(float *)g, n, 0}; /* which kernels of rules only read */
	for (size_t k = LOCKSTEP_SLOT; k < x->stride; k++) {
		size_t j = k - LOCKSTEP_SLOT;
		b[k] = (lockstep_buffer){place->state[j], 0, 0}; /* which no kernel takes */
		if (x->o->records[tensor].packing[j] != LOCKSTEP_STATE_FLOAT32)
			b[k] = (lockstep_buffer){NULL, n, 0}; /* of a block at a time */
		else if (x->g->plan.slots[j].extent == LOCKSTEP_OF_ELEMENTS)
			b[k] = (lockstep_buffer){place->state[j] + first, n, 0};
		if (x->g->plan.slots[j].extent == LOCKSTEP_OF_ROWS) b[k].data += first / x->columns;
	}
	x->count += x->stride;
}

static void run_kernel(portion *x, const lockstep_buffer *list, size_t count, const lockstep_scalars *scalars) {
	const lockstep_kernel *kernel = x->g->plan.passes[x->pass].kernel;
	void *lanes[LOCKSTEP_MAX_SUMS] = {x->lanes[0], x->lanes[1]};
	x->o->table->kernels[kernel - lockstep_all](list, (int64_t)count, scalars->words, lanes);
}

/* Runs the kernel of a pass on tensors, that of a pass over some buffers on one. */
static void run_pass(portion *x, const lockstep_buffer *list, size_t count) {
	const lockstep_pass *pass = &x->g->plan.passes[x->pass];
	if (x->g->plain) {
		run_kernel(x, list, count, x->scalars);
		return;
	}
	lockstep_buffer some[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	size_t n = pass->kernel->buffer_count;
	for (size_t b = 0; b < n; b++) some[b] = list[pass->buffers[b]];
	run_kernel(x, some, n, x->scalars);
}

static int takes_grads(const lockstep_pass *pass) {
	for (size_t b = 0; b < pass->kernel->buffer_count; b++)
		if (pass->buffers[b] == LOCKSTEP_GRADS) return 1;
	return 0;
}

/* Has a block's gradient be what a stage leaves of it. */
static void regularize(const portion *x, lockstep_buffer *block, float *room, const lockstep_regularize_scalars *c) {
	lockstep_buffer list[] = {{room, block->len, 0}, block[LOCKSTEP_GRADS], block[LOCKSTEP_PARAMS]};
	lockstep_kernel_regularize(x->o->table, list, 3, c);
	block[LOCKSTEP_GRADS].data = room;
}

static void clip(const portion *x, lockstep_buffer *block, float *room) {
	lockstep_buffer list[] = {{room, block->len, 0}, block[LOCKSTEP_GRADS]};
	lockstep_kernel_clip(x->o->table, list, 2, x->clip);
	block[LOCKSTEP_GRADS].data = room;
}

/* Room for the stages before a kernel: for sums of shards, what is centered, and what becomes of
 * gradients. */
typedef struct stage_room {
	float sums[2][BLOCK_LEN], centered[BLOCK_LEN], staged[2][BLOCK_LEN];
} stage_room;

/* Centers and clips a part of a row, which has been measured. */
static void stage_part_of_row(const lockstep_optimizer *o, const lockstep_row_state *row, float *centered, float *clipped, const float *grads, size_t n) {
	lockstep_buffer center[] = {{centered, n, 0}, {(float *)grads, n, 0}};
	lockstep_buffer clip[] = {{clipped, n, 0}, {centered, n, 0}};
	lockstep_kernel_center(o->table, center, 2, &row->mean);
	if (o->adaptive) lockstep_kernel_clip(o->table, clip, 2, &row->clip);
}

/* Does it with all rows of a block, from an element of the portion's tensor on. */
static void stage_each_row(portion *x, lockstep_buffer *block, size_t at, stage_room *room) {
	const lockstep_buffer *tensor = x->list; /* which went alone */
	const float *grads = block[LOCKSTEP_GRADS].data;
	for (size_t i = 0, n; i < block->len; i += n) {
		size_t in = (at + i) % x->row, begin = at + i - in;
		n = x->row - in < block->len - i ? x->row - in : block->len - i;
		if (!in) lockstep_measure_row(x->o, x->tensor, x->first + begin, x->row, tensor[LOCKSTEP_PARAMS].data + begin, lockstep_grads_at(x->o, x->tensor, tensor[LOCKSTEP_GRADS].data, begin), &x->measured);
		stage_part_of_row(x->o, &x->measured, room->centered + i, room->staged[0] + i, grads + i, n);
	}
	block[LOCKSTEP_GRADS].data = room->centered;
}

/* Has a block's gradient be as the rule is given it, of the elements from one of its tensor on. */
static void give(portion *x, lockstep_buffer *block, size_t at, stage_room *room) {
	const lockstep_optimizer *o = x->o;
	float *grads = block[LOCKSTEP_GRADS].data;
	if (o->shard_count || o->typed) block[LOCKSTEP_GRADS].data = (float *)lockstep_gradient(o, grads, x->tensor, o->shard_count ? x->first + at : 0, block->len, room->sums);
	if (x->row) stage_each_row(x, block, at, room);
}

/* Has the gradient of a block from an element on be what the stages before a kernel leave of it. */
static void stage(const portion *x, lockstep_buffer *block, size_t at, stage_room *room) {
	const lockstep_stages *s = &x->g->stages;
	if (x->g->clipping.ratio)
		block[LOCKSTEP_GRADS].data = room->staged[0]; /* as stage_each_row has clipped it */
	else if (x->g->clipping.value)
		clip(x, block, room->staged[0]);
	if (x->g->clipping.noisy) lockstep_add_noise(x->o->table, &x->noise, x->first + at, room->staged[0], block->len);
	if (s->prescales) regularize(x, block, room->staged[0], &s->prescale);
	if (s->regularizes) regularize(x, block, room->staged[1], &s->regularize);
}

/* Parameters of -0, of which a kernel that does nothing with parameters but decay them makes
 * its step with the other sign: see Go's internal/engine/cautious.go. */
static lockstep_buffer unmoved(float room[BLOCK_LEN], size_t n) {
	for (size_t i = 0; i < n; i++) room[i] = -0.0f;
	return (lockstep_buffer){room, n, 0};
}

/* Takes the cautious step of a block. */
static void move_cautiously(portion *x, lockstep_buffer *block) {
	const lockstep_options *o = &x->g->common;
	const lockstep_common *in = &x->g->input.common;
	lockstep_cautious_scalars c = {.scale = in->scale, .trust = 1, .distrust = 1, .decay = in->decay, .growth = in->decay};
	if (o->cautious_update) c.trust = x->trust, c.distrust = 0;
	if (o->cautious_decay) c.growth = 0;
	float room[BLOCK_LEN];
	lockstep_buffer params = block[LOCKSTEP_PARAMS];
	block[LOCKSTEP_PARAMS] = unmoved(room, params.len);
	run_pass(x, block, x->stride);
	lockstep_buffer list[] = {params, block[LOCKSTEP_GRADS], block[LOCKSTEP_PARAMS]};
	lockstep_kernel_cautious(x->o->table, list, 3, &c);
	block[LOCKSTEP_PARAMS] = params;
}

/* Adds up how many elements of a block agree, by a step of copies of its state. */
static void count_agreeing(portion *x, lockstep_buffer *block, size_t at, double lanes[LOCKSTEP_LANES]) {
	float moves[LOCKSTEP_MAX_SLOTS + 1][BLOCK_LEN];
	stage_room room;
	give(x, block, at, &room);
	stage(x, block, at, &room);
	block[LOCKSTEP_PARAMS] = unmoved(moves[LOCKSTEP_MAX_SLOTS], block->len);
	for (size_t b = LOCKSTEP_SLOT; b < x->stride; b++)
		block[b].data = memcpy(moves[b - LOCKSTEP_SLOT], block[b].data, block->len * sizeof(float));
	run_pass(x, block, x->stride);
	lockstep_agree_scalars c = {.scale = x->g->input.common.scale};
	lockstep_buffer list[] = {block[LOCKSTEP_GRADS], block[LOCKSTEP_PARAMS]};
	lockstep_kernel_agree(x->o->table, list, 2, &c, lanes);
}

/* Whether a pass is the last one over parameters: others keep numbers of tensors. */
static int is_last(const lockstep_plan *plan, int pass) {
	for (int k = pass + 1; k < plan->pass_count; k++)
		if (!lockstep_keeps(&plan->passes[k])) return 0;
	return 1;
}

/* Makes zeros of what has faded in a buffer of all tensors where the gradient is 0. */
static void fade(portion *x, const lockstep_buffer *list, size_t count, size_t buffer) {
	size_t n = 0;
	for (size_t at = 0; at < count; at += x->stride) {
		x->few[n++] = list[at + buffer];
		x->few[n++] = list[at + LOCKSTEP_GRADS];
	}
	lockstep_kernel_fade(x->o->table, x->few, n, &x->g->stages.fade);
}

/* Makes zeros of what is small in a buffer of all tensors. */
static void flush(portion *x, const lockstep_buffer *list, size_t count, size_t buffer) {
	size_t n = 0;
	for (size_t at = 0; at < count; at += x->stride) x->few[n++] = list[at + buffer];
	lockstep_kernel_flush(x->o->table, x->few, n, &x->g->stages.small);
}

/* Looks at the state of tensors after the last pass. */
static void flush_state(portion *x, const lockstep_buffer *list, size_t count) {
	if (!is_last(&x->g->plan, x->pass) || !lockstep_flushes(x->g, x->t)) return;
	for (int j = 0; j < x->g->plan.slot_count; j++) {
		const lockstep_slot *s = &x->g->plan.slots[j];
		if (s->extent != LOCKSTEP_OF_ELEMENTS) continue;
		if (s->square && s->flushes) flush(x, list, count, LOCKSTEP_SLOT + (size_t)j);
		if (!s->square && s->fades < 1) fade(x, list, count, LOCKSTEP_SLOT + (size_t)j);
	}
	if (x->g->stages.decays) fade(x, list, count, LOCKSTEP_PARAMS);
}

/* Whether no pass after one takes gradients. */
static int is_last_of_grads(const lockstep_plan *plan, int pass) {
	for (int k = pass + 1; k < plan->pass_count; k++) {
		const lockstep_pass *p = &plan->passes[k];
		if (p->walk == LOCKSTEP_ROWS || (p->walk == LOCKSTEP_ELEMENTS && takes_grads(p))) return 0;
	}
	return 1;
}

/* Whether a pass of a step leaves zeros of the gradients: the last one that takes them, or where
 * state is flushed, for which they are looked at, the last. */
static int zeroes(const lockstep_optimizer *o, const lockstep_rule_group *g, int pass, int64_t t) {
	if (!o->zeroes || !is_last_of_grads(&g->plan, pass)) return 0;
	if (lockstep_flushes(g, t)) return is_last(&g->plan, pass);
	return pass == 0 || !is_last_of_grads(&g->plan, pass - 1);
}

/* Does what comes behind the last pass with a range of parameters that were moved. */
static void trail(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, float *params) {
	if (lockstep_follows(o)) lockstep_follow(o, tensor, first, n, params);
	lockstep_copy_out(o, tensor, first, n, params);
}

/* Does what comes behind a pass, of a block from an element of its tensor on that went alone, whose
 * gradient lies elsewhere. */
static void end_block(portion *x, const lockstep_buffer *block, size_t at, float *grads) {
	size_t first = x->first + at;
	if (!x->pairs) flush_state(x, block, x->stride);
	if (is_last(&x->g->plan, x->pass)) trail(x->o, x->tensor, first, block->len, block[LOCKSTEP_PARAMS].data);
	if (zeroes(x->o, x->g, x->pass, x->t)) lockstep_zero(x->o, grads, x->tensor, x->o->shard_count ? first : 0, block->len);
}

/* Whether there are stages around the passes of a group. */
static int is_staged(const lockstep_rule_group *g) {
	return g->stages.prescales || g->stages.regularizes || g->stages.shrinks || g->clipping.value != 0 || g->clipping.centers || lockstep_is_cautious(&g->common);
}

/* Whether a group's kernel may have the gradient of a tensor that goes alone as it comes, which is one of bf16. */
static int is_along_bf16(const portion *x) {
	return x->alone && !x->o->shard_count && x->o->records[x->tensor].element == LOCKSTEP_BF16 && !is_staged(x->g);
}

/* Runs a pass on a block whose slots it packs, and looks at these before. */
static void run_pair(portion *x, const lockstep_buffer *block, size_t at, lockstep_form form) {
	lockstep_pair pair;
	pair.o = x->o;
	pair.tensor = x->tensor;
	lockstep_step_pair(&pair, x->first + at, form, block, x->scalars);
	if (lockstep_flushes(x->g, x->t)) {
		lockstep_buffer list[LOCKSTEP_SLOT + 2] = {block[LOCKSTEP_PARAMS], block[LOCKSTEP_GRADS], {pair.x[0], PACK_LEN, 0}, {pair.x[1], PACK_LEN, 0}};
		flush_state(x, list, x->stride);
		lockstep_measure_pair(&pair);
	}
	lockstep_pack_pair(&pair);
}

/* Runs a pass with the stages around it. */
static void run_block(portion *x, lockstep_buffer *block, size_t at) {
	const lockstep_stages *s = &x->g->stages;
	float *grads = block[LOCKSTEP_GRADS].data, *given;
	stage_room room;
	int takes = takes_grads(&x->g->plan.passes[x->pass]), is_direct = x->pairs && !lockstep_flushes(x->g, x->t) && is_along_bf16(x);
	if (!is_direct && (takes || is_last(&x->g->plan, x->pass))) give(x, block, at, &room);
	given = block[LOCKSTEP_GRADS].data;
	if (takes) stage(x, block, at, &room);
	if (lockstep_is_cautious(&x->g->common))
		move_cautiously(x, block);
	else if (x->pairs)
		run_pair(x, block, at, is_direct ? FORM_CODES : FORM_CODES_OF_FLOATS);
	else
		run_pass(x, block, x->stride);
	if (s->shrinks && is_last(&x->g->plan, x->pass)) lockstep_kernel_shrink(x->o->table, block, 1, &s->shrink);
	block[LOCKSTEP_GRADS].data = given;
	if (x->alone) end_block(x, block, at, grads);
}

/* The elements of a tensor from one on, at most so many: of each buffer that has such. Returns
 * how many there are. */
static size_t cut(const portion *x, const lockstep_buffer *tensor, size_t at, size_t most, lockstep_buffer *block) {
	size_t n = tensor->len - at < most ? tensor->len - at : most;
	for (size_t b = 0; b < x->stride; b++) {
		block[b] = tensor[b];
		if (tensor[b].len) block[b].len = n;
		if (tensor[b].len && tensor[b].data && b != LOCKSTEP_GRADS) block[b].data += at;
	}
	block[LOCKSTEP_GRADS] = (lockstep_buffer){(float *)lockstep_grads_at(x->o, x->tensor, tensor[LOCKSTEP_GRADS].data, at), n, 0};
	return n;
}

/* How long a block from an element on may be. Lanes of sums begin anew with some rows, as many as
 * Go takes at a time. */
static size_t block_len(const portion *x, size_t at) {
	if (!x->row) return BLOCK_LEN;
	size_t some = lockstep_rows_of(lockstep_shards_of(x->o, x->tensor) > 1 ? SHARD_LEN : BLOCK_LEN, x->row), rest = some - at % some;
	return rest < BLOCK_LEN ? rest : BLOCK_LEN;
}

static void run_blocks(portion *x, const lockstep_buffer *tensor) {
	lockstep_buffer block[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	for (size_t at = 0, n; at < tensor->len; at += n) {
		n = cut(x, tensor, at, block_len(x, at), block);
		run_block(x, block, at);
	}
}

/* The same where some state is no floats: blocks of it begin where those here do. */
static void run_packed_blocks(portion *x, const lockstep_buffer *tensor) {
	lockstep_buffer block[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	float room[LOCKSTEP_MAX_SLOTS][BLOCK_LEN];
	for (size_t at = 0, n; at < tensor->len; at += n) {
		n = cut(x, tensor, at, BLOCK_LEN, block);
		x->pairs = lockstep_pairs_up(x->o, x->tensor, n) && !(lockstep_flushes(x->g, x->t) && is_staged(x->g));
		if (!x->pairs) lockstep_unpack(x->o, x->tensor, x->first + at, n, block + LOCKSTEP_SLOT, room);
		run_block(x, block, at);
		if (!x->pairs) lockstep_pack(x->o, x->tensor, x->first + at, n, room);
	}
	x->pairs = 0;
}

/* Runs the kernel of a pass on a part of a row. */
static void run_part(portion *x, const lockstep_buffer *part, const lockstep_scalars *scalars) {
	lockstep_buffer list[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	size_t n = 0;
	for (size_t b = 0; b < x->stride; b++)
		if (part[b].len) list[n++] = part[b];
	run_kernel(x, list, n, scalars);
}

static void stage_part(portion *x, lockstep_buffer *part, size_t at, stage_room *room) {
	give(x, part, at, room);
	stage(x, part, at, room);
}

/* Looks at the state of a row that went alone, from an element of its tensor on, part by part where
 * its gradient is added up. */
static void end_row(portion *x, const lockstep_buffer *row, size_t first) {
	lockstep_buffer part[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	stage_room room;
	for (size_t at = 0, n; at < row->len; at += n) {
		n = cut(x, row, at, needs_place(x->o) ? BLOCK_LEN : row->len, part);
		float *grads = part[LOCKSTEP_GRADS].data;
		give(x, part, first + at, &room);
		end_block(x, part, first + at, grads);
	}
}

/* Makes the direction of a part of a row whose step its trust ratio scales. */
static lockstep_buffer direct(const portion *x, const lockstep_buffer *part, const lockstep_muon_scalars *c, float room[BLOCK_LEN]) {
	lockstep_regularize_scalars by = {.scale = c->ahead, .l2 = (float)x->g->plan.passes[x->pass].decay};
	lockstep_buffer u = {room, part->len, 0}, list[] = {u, part[LOCKSTEP_SLOT + 1], part[LOCKSTEP_PARAMS]};
	lockstep_kernel_regularize(x->o->table, list, 3, &by);
	return u;
}

/* lr times the ratio of two norms, of which the squares are given, or lr where one is 0. */
static float trusted_rate(double lr, double params, double directions) {
	double p = sqrt(params), u = sqrt(directions);
	if (p > 0 && u > 0) lr *= p / u;
	return (float)(lr > FLT_MAX ? FLT_MAX : lr); /* beyond, where u is 0 it would give NaN */
}

/* Takes a row by its trust ratio: see Go's engine.TrustByRow. */
static void run_trusting(portion *x, const lockstep_buffer *row, size_t first, const lockstep_muon_scalars *c, int staged) {
	lockstep_buffer part[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS], u;
	double params[LOCKSTEP_LANES] = {0}, directions[LOCKSTEP_LANES] = {0}, unused[LOCKSTEP_LANES] = {0};
	float direction[BLOCK_LEN];
	stage_room room;
	for (size_t at = 0, n; at < row->len; at += n) {
		n = cut(x, row, at, BLOCK_LEN, part);
		if (staged) stage_part(x, part, first + at, &room);
		lockstep_buffer list[] = {part[LOCKSTEP_GRADS], part[LOCKSTEP_SLOT + 1], {direction, part->len, 0}};
		lockstep_kernel_muon(x->o->table, list, 3, c, unused);
		u = direct(x, part, c, direction);
		lockstep_kernel_sum_squares(x->o->table, part, 1, params);
		lockstep_kernel_sum_squares(x->o->table, &u, 1, directions);
	}
	lockstep_sgd_scalars move = {.scale = 1, .step = trusted_rate(x->g->input.lr, lockstep_total(params), lockstep_total(directions))};
	for (size_t at = 0, n; at < row->len; at += n) {
		n = cut(x, row, at, BLOCK_LEN, part);
		if (row->len > BLOCK_LEN) u = direct(x, part, c, direction);
		lockstep_buffer list[] = {part[LOCKSTEP_PARAMS], u};
		lockstep_kernel_sgd(x->o->table, list, 2, &move);
	}
}

/* Takes a row, in parts of which each has whole lanes: the mean of the gradient's squares, then
 * the kernel with what follows from it. A row of several parts has its stages twice. */
static void run_row(portion *x, const lockstep_buffer *row, size_t first) {
	const lockstep_pass *pass = &x->g->plan.passes[x->pass];
	lockstep_buffer part[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	lockstep_scalars scalars;
	float *slot = row[LOCKSTEP_SLOT].data;
	stage_room room;
	double lanes[LOCKSTEP_LANES] = {0};
	int staged = is_staged(x->g) || x->o->shard_count || x->o->typed;
	size_t most = staged ? BLOCK_LEN : UNIT_LEN, n = 0;
	for (size_t at = 0; at < row->len;) {
		n = cut(x, row, at, most, part);
		if (staged) stage_part(x, part, first + at, &room);
		at += n;
		lockstep_kernel_sum_squares(x->o->table, &part[LOCKSTEP_GRADS], 1, lanes);
	}
	double kept = pass->keep * (double)*slot, added = pass->add * (lockstep_total(lanes) / (double)row->len);
	*slot = (float)(kept + added);
	pass->row(x->scalars->words, (double)*slot, scalars.words);
	if (pass->trusts) {
		lockstep_muon_scalars c;
		memcpy(&c, scalars.words, sizeof c);
		run_trusting(x, n == row->len ? part : row, first, &c, staged && n < row->len);
		return;
	}
	if (n == row->len) {
		run_part(x, part, &scalars);
		return;
	}
	for (size_t at = 0; at < row->len; at += n) {
		n = cut(x, row, at, most, part);
		if (staged) stage_part(x, part, first + at, &room);
		run_part(x, part, &scalars);
	}
}

/* Takes the rows of a range of a tensor. */
static void run_each_row(portion *x, const lockstep_buffer *tensor, size_t columns) {
	lockstep_buffer row[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	for (size_t k = 0; k < tensor->len / columns; k++) {
		cut(x, tensor, k * columns, columns, row);
		for (size_t b = LOCKSTEP_SLOT; b < x->stride; b++)
			if (!row[b].len) row[b].data += k;
		run_row(x, row, k * columns);
		if (x->alone) end_row(x, row, k * columns);
	}
}

/* Reads what rows that lie apart have, so that it is in the cache: a kernel with a list looks
 * ahead, one that has a row does not. */
static void fetch(portion *x) {
	double lanes[LOCKSTEP_LANES] = {0};
	size_t n = 0;
	for (size_t at = 0; at < x->count; at++) {
		if (at % x->stride == LOCKSTEP_GRADS) continue;
		x->few[n] = x->list[at];
		if (!x->few[n].len) x->few[n].len = 1;
		n++;
	}
	lockstep_kernel_sum_squares(x->o->table, x->few, n, lanes);
}

/* Takes what was put row by row. */
static void run_rows_apart(portion *x) {
	if (x->count > x->stride) fetch(x);
	for (size_t at = 0; at < x->count; at += x->stride) run_each_row(x, &x->list[at], x->columns);
}

/* Whether all slots of a tensor are halves. */
static int is_halves(const portion *x) {
	for (int j = 0; j < x->g->plan.slot_count; j++)
		if (x->o->records[x->tensor].packing[j] != LOCKSTEP_STATE_BF16) return 0;
	return 1;
}

/* The form in which what was put, of float parameters, takes its step by a kernel that has the conversions
 * before and after it in its loop, if its rule has one: there is no stage between. Where small state is
 * looked at, a block is better in the cache. */
static lockstep_form form_of(const portion *x) {
	const lockstep_record *r = &x->o->records[x->tensor];
	if (!is_along_bf16(x) || lockstep_follows(x->o) || lockstep_flushes(x->g, x->t)) return FORM_NONE;
	if (r->packs) return is_halves(x) && !r->copied ? FORM_PACKED : FORM_NONE;
	if (!r->copied) return FORM_ALONE;
	return r->copy_element == LOCKSTEP_BF16 ? FORM_COPIED : FORM_NONE;
}

static void call_fused(const portion *x, lockstep_form form, const lockstep_buffer *list, size_t count, const uint32_t *scalars) {
	x->o->table->kernels[x->g->fused[form] - lockstep_all](list, (int64_t)count, scalars, NULL);
}

/* Runs it block by block of state, of which each is rounded with other numbers. */
static void run_fused_halves(const portion *x, const lockstep_buffer *tensor) {
	lockstep_scalars c = *x->scalars;
	size_t known = x->g->plan.passes[0].kernel->scalar_count;
	for (size_t at = 0, n; at < tensor->len; at += n) {
		n = tensor->len - at < PACK_LEN ? tensor->len - at : PACK_LEN;
		lockstep_buffer list[LOCKSTEP_SLOT + 3] = {{tensor->data + at, n, 0}, {(float *)lockstep_grads_at(x->o, x->tensor, tensor[LOCKSTEP_GRADS].data, at), n, 0}};
		lockstep_draw_halves(x->o, x->tensor, x->first + at, n, list + LOCKSTEP_SLOT, &c.words[known], &c.words[known + 1]);
		call_fused(x, FORM_PACKED, list, LOCKSTEP_SLOT + 3, c.words);
	}
}

/* Runs the kernel of a form, if there is one. */
static int runs_fused(const portion *x, lockstep_form form) {
	const lockstep_buffer *tensor = x->list;
	lockstep_buffer list[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS + 1];
	size_t n = tensor->len;
	if (form == FORM_NONE || !x->g->fused[form]) return 0;
	for (size_t b = 0; b < x->stride; b++) list[b] = tensor[b];
	if (form == FORM_COPIED) list[x->stride] = (lockstep_buffer){(float *)(void *)(x->o->records[x->tensor].copied + x->first), n, 0};
	if (form == FORM_PACKED)
		run_fused_halves(x, tensor);
	else
		call_fused(x, form, list, x->stride + (form == FORM_COPIED), x->scalars->words);
	if (x->o->zeroes) lockstep_zero(x->o, tensor[LOCKSTEP_GRADS].data, x->tensor, 0, n);
	return 1;
}

/* Runs the pass on what was put, and after the last one looks at the state. */
static void run(portion *x) {
	if (!x->count) return;
	if (x->g->plan.passes[x->pass].row)
		run_rows_apart(x);
	else if (runs_fused(x, form_of(x)))
		;
	else if (x->o->records[x->tensor].packs)
		run_packed_blocks(x, x->list);
	else if (x->alone || is_staged(x->g))
		for (size_t at = 0; at < x->count; at += x->stride) run_blocks(x, &x->list[at]);
	else
		run_pass(x, x->list, x->count);
	if (!x->alone) flush_state(x, x->list, x->count);
	x->count = 0;
}

/* Has what is put next take the step of a tensor, apart from what was put if that is another. */
static void turn_to(portion *x, size_t tensor) {
	const lockstep_scalars *scalars = lockstep_scalars_for(x->o, tensor, x->pass);
	int clipped = x->g->clipping.norm != 0, alone = clipped || x->g->common.cautious_update || x->alone;
	if (x->count && scalars == x->scalars && x->count + x->stride <= LIST_LEN && !alone) return;
	run(x);
	x->clip = clipped ? &x->o->records[tensor].clip : &x->g->clip;
	x->trust = x->o->records[tensor].trust;
	x->scalars = scalars;
	x->t = x->o->step - x->o->records[tensor].missed;
	if (x->g->clipping.noisy) x->noise = lockstep_noise_of(x->o, tensor);
}

/* Has what follows a range of a tensor do so that has no part in the step. Its copy is another only where
 * the parameters are. */
static void follow_range_without(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, float *params) {
	lockstep_follow(o, tensor, first, n, params);
	if (o->following->overwrites || o->following->synchronizes) lockstep_copy_out(o, tensor, first, n, params);
}

/* The same behind the last pass. */
static void follow_without(const lockstep_job *job, size_t tensor, size_t lo, size_t hi) {
	const lockstep_optimizer *o = job->o;
	if (!lockstep_follows(o) || !is_last(&o->groups[o->places[tensor].group].plan, job->pass)) return;
	follow_range_without(o, tensor, lo, hi - lo, job->params[tensor] + lo);
}

/* Small tensors share calls, after which comes what would come behind a block, unless each needs a
 * call of its own. */
static void step_shared(const lockstep_job *job, const lockstep_unit *u) {
	const lockstep_optimizer *o = job->o;
	portion x;
	open_portion(&x, o, u->group, job->pass);
	x.alone = needs_place(o);
	for (size_t at = u->lo; at < u->hi; at++) {
		size_t k = x.g->shared[at], n = o->places[k].size;
		if (!n || !job->grads[k]) {
			if (n && x.alone) follow_without(job, k, 0, n);
			continue;
		}
		turn_to(&x, k);
		put_tensor(&x, k, 0, n, job->params[k], job->grads[k]);
	}
	run(&x);
	for (size_t at = u->lo; !x.alone && (lockstep_follows(o) || o->zeroes || o->copies) && at < u->hi; at++) {
		size_t k = x.g->shared[at], n = o->places[k].size;
		if (job->grads[k])
			trail(o, k, 0, n, job->params[k]);
		else
			follow_without(job, k, 0, n);
		if (o->zeroes && job->grads[k]) lockstep_zero(o, (float *)job->grads[k], k, 0, n);
	}
}

/* Rows of a matrix, from element lo to hi, as a pass over matrices sees them. */
static lockstep_row_range matrix_of(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, float *p, const float *g) {
	const lockstep_place *place = &job->o->places[tensor];
	const lockstep_record *r = &job->o->records[tensor];
	const lockstep_plan *plan = &job->o->groups[place->group].plan;
	size_t columns = r->columns ? r->columns : place->size;
	lockstep_row_range m = {.table = job->o->table, .rows = (hi - lo) / columns, .columns = columns, .params = p, .grads = g,
		.slot_count = plan->slot_count};
	for (int j = 0; j < plan->slot_count; j++) {
		lockstep_extent extent = plan->slots[j].extent;
		m.state[j] = place->state[j] + (extent == LOCKSTEP_OF_ROWS ? lo / columns : extent == LOCKSTEP_OF_ELEMENTS ? lo : 0);
	}
	return m;
}

/* Where a unit's sums by column are, and its room. */
static void give_room(lockstep_row_range *m, const lockstep_record *r, size_t unit) {
	m->column_sums = r->by_column + (unit - r->units[0]) * r->columns;
	m->room = r->row_room + (unit - r->units[0]) * lockstep_row_room(r->columns);
}

/* Adds what a piece of FACTOR_ROWS rows has left in the room up by column. */
static void fold(const lockstep_row_range *m) {
	for (size_t j = 0; j < m->columns; j++) {
		m->column_sums[j] += (double)m->room[j];
		m->room[j] = 0;
	}
}

/* Where a piece of rows ends that begins at or before an element of a unit. */
static size_t end_of_piece(const lockstep_unit *u, size_t lo, size_t columns) {
	size_t row = (lo - u->lo) / columns, end = (row / FACTOR_ROWS + 1) * FACTOR_ROWS;
	return end < (u->hi - u->lo) / columns ? u->lo + end * columns : u->hi;
}

/* Has the gradient of rows from element lo on be added up and centered in the second row of the
 * room, if it is a sum or rows are looked at, and clipped in the third if they are. */
static void give_rows(const lockstep_optimizer *o, size_t tensor, size_t lo, lockstep_row_range *m) {
	size_t n = m->rows * m->columns;
	float *to = m->room + m->columns, *clipped = to + lockstep_row_length(m->columns), room[2][BLOCK_LEN];
	const float *grads = m->grads;
	size_t looked = lockstep_row_looked_at(o, tensor);
	float *sums = looked ? clipped : to;
	int made = o->shard_count || o->records[tensor].element != LOCKSTEP_FLOAT32;
	for (size_t at = 0; made && at < n; at += BLOCK_LEN) {
		size_t length = n - at < BLOCK_LEN ? n - at : BLOCK_LEN;
		memcpy(sums + at, lockstep_gradient(o, grads, tensor, o->shard_count ? lo + at : at, length, room), length * sizeof *to);
	}
	if (made) m->grads = sums;
	for (size_t at = 0; looked && at < n; at += m->columns) {
		lockstep_row_state row;
		lockstep_measure_row(o, tensor, lo + at, m->columns, m->params + at, lockstep_grads_at(o, tensor, grads, at), &row);
		stage_part_of_row(o, &row, to + at, clipped + at, m->grads + at, m->columns);
	}
	if (looked) m->grads = to;
}

/* Has the stages before a kernel leave the gradient in the third row of the room. A rule that
 * factors matrices has no others, and its gradient either is clipped or may have a factor in two
 * parts. */
static void stage_rows(const lockstep_optimizer *o, size_t tensor, size_t lo, lockstep_row_range *m) {
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	const lockstep_record *r = &o->records[tensor];
	size_t n = m->rows * m->columns;
	lockstep_buffer list[] = {{m->room + m->columns + lockstep_row_length(m->columns), n, 0}, {(float *)m->grads, n, 0}, {m->params, n, 0}};
	if (g->clipping.value && !g->clipping.ratio)
		lockstep_kernel_clip(o->table, list, 2, g->clipping.norm != 0 ? &r->clip : &g->clip);
	else if (!g->clipping.ratio) /* or give_rows has clipped it */
		lockstep_kernel_regularize(o->table, list, 3, &g->stages.prescale);
	if (g->clipping.noisy) {
		lockstep_noise_scalars noise = lockstep_noise_of(o, tensor);
		lockstep_add_noise(o->table, &noise, lo, list[0].data, n);
	}
	m->grads = list[0].data;
}

/* Looks at the state of rows after the last pass, from element lo to hi, whose gradient is grads. */
static void flush_rows(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, const float *grads) {
	const lockstep_optimizer *o = job->o;
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	size_t n = hi - lo;
	lockstep_buffer list[] = {{NULL, n, 0}, {(float *)grads, n, 0}};
	if (!is_last(&g->plan, job->pass) || !lockstep_flushes(g, o->step - o->records[tensor].missed)) return;
	for (int j = 0; j < g->plan.slot_count; j++) {
		const lockstep_slot *s = &g->plan.slots[j];
		if (s->extent != LOCKSTEP_OF_ELEMENTS || s->square || s->fades >= 1) continue;
		list[0].data = o->places[tensor].state[j] + lo;
		lockstep_kernel_fade(o->table, list, 2, &g->stages.fade);
	}
	list[0].data = job->params[tensor] + lo;
	if (g->stages.decays) lockstep_kernel_fade(o->table, list, 2, &g->stages.fade);
}

/* Runs a pass on the rows of a unit, block by block if there are stages around it. */
static void run_rows(const lockstep_job *job, const lockstep_unit *u, size_t unit, double (*lanes)[LOCKSTEP_LANES]) {
	const lockstep_optimizer *o = job->o;
	const lockstep_rule_group *g = &o->groups[u->group];
	const lockstep_record *r = &o->records[u->tensor];
	const lockstep_scalars *scalars = lockstep_scalars_for(o, u->tensor, job->pass);
	int by_column = g->plan.passes[job->pass].sums == LOCKSTEP_BY_COLUMN, staged = g->stages.prescales || g->clipping.value != 0;
	int blockwise = staged || lockstep_follows(o) || o->zeroes || o->copies || needs_place(o);
	size_t rows = BLOCK_LEN / r->columns, length = blockwise ? (rows ? rows : 1) * r->columns : u->hi - u->lo;
	for (size_t lo = u->lo, hi; lo < u->hi; lo = hi) {
		hi = u->hi - lo < length ? u->hi : lo + length;
		size_t end = end_of_piece(u, lo, r->columns);
		if (by_column && hi > end) hi = end;
		lockstep_row_range m = matrix_of(job, u->tensor, lo, hi, job->params[u->tensor] + lo, lockstep_grads_at(o, u->tensor, job->grads[u->tensor], lo));
		give_room(&m, r, unit);
		if (lo == u->lo && by_column) {
			memset(m.column_sums, 0, m.columns * sizeof *m.column_sums);
			memset(m.room, 0, m.columns * sizeof *m.room);
		}
		m.lanes = lanes;
		give_rows(o, u->tensor, lo, &m);
		const float *given = m.grads;
		if (staged) stage_rows(o, u->tensor, lo, &m);
		g->plan.passes[job->pass].matrix(&m, scalars->words);
		if (by_column && hi == end) fold(&m);
		flush_rows(job, u->tensor, lo, hi, given);
		if (is_last(&g->plan, job->pass)) trail(o, u->tensor, lo, hi - lo, job->params[u->tensor] + lo);
		if (zeroes(o, g, job->pass, o->step - r->missed)) lockstep_zero(o, (float *)job->grads[u->tensor], u->tensor, lo, hi - lo);
	}
}

/* Runs a pass over matrices on a unit. */
static void step_matrix(const lockstep_job *job, const lockstep_unit *u, size_t unit, double sums[LOCKSTEP_MAX_SUMS]) {
	const lockstep_optimizer *o = job->o;
	const lockstep_rule_group *g = &o->groups[u->group];
	const lockstep_record *r = &o->records[u->tensor];
	double lanes[LOCKSTEP_MAX_SUMS][LOCKSTEP_LANES] = {{0}};
	if (!job->grads[u->tensor]) {
		follow_without(job, u->tensor, u->lo, u->hi);
		return;
	}
	if (g->plan.passes[job->pass].walk == LOCKSTEP_ROWS) {
		run_rows(job, u, unit, lanes);
	} else if (unit == r->units[0]) { /* which has all of it */
		lockstep_row_range m = matrix_of(job, u->tensor, 0, o->places[u->tensor].size, NULL, NULL);
		give_room(&m, r, unit);
		m.lanes = lanes;
		g->plan.passes[job->pass].matrix(&m, lockstep_scalars_for(o, u->tensor, job->pass)->words);
	}
	for (int s = 0; s < LOCKSTEP_MAX_SUMS; s++) sums[s] = lockstep_total(lanes[s]);
}

/* Runs a pass on a range of a tensor, and notes what it has measured there. */
static void step_part(const lockstep_job *job, const lockstep_unit *u, double sums[LOCKSTEP_MAX_SUMS]) {
	size_t k = u->tensor;
	if (!job->grads[k]) {
		follow_without(job, k, u->lo, u->hi);
		return;
	}
	portion x;
	open_portion(&x, job->o, u->group, job->pass);
	x.alone |= job->o->records[k].packs;
	turn_to(&x, k);
	put_tensor(&x, k, u->lo, u->hi - u->lo, job->params[k] + u->lo, lockstep_grads_at(job->o, k, job->grads[k], u->lo));
	run(&x);
	for (int s = 0; s < LOCKSTEP_MAX_SUMS && !x.g->plain; s++) sums[s] = lockstep_total(x.lanes[s]);
}

void lockstep_step_together(const lockstep_job *job, size_t tensor, lockstep_pool *pool) {
	const lockstep_optimizer *o = job->o;
	const lockstep_rule_group *g = &o->groups[o->places[tensor].group];
	lockstep_row_range m = matrix_of(job, tensor, 0, o->places[tensor].size, NULL, NULL);
	m.room = o->together;
	m.pool = pool;
	g->plan.passes[job->pass].matrix(&m, lockstep_scalars_for(o, tensor, job->pass)->words);
}

void lockstep_step_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	const lockstep_unit *u = &job->o->units[unit];
	const lockstep_plan *plan = &job->o->groups[u->group].plan;
	if (job->pass >= plan->pass_count || lockstep_keeps(&plan->passes[job->pass]) || plan->passes[job->pass].walk == LOCKSTEP_TOGETHER) return;
	if (u->tensor == SHARED)
		step_shared(job, u);
	else if (plan->passes[job->pass].matrix)
		step_matrix(job, u, unit, job->o->partial[unit]);
	else
		step_part(job, u, job->o->partial[unit]);
}

void lockstep_step_range(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, float *params, const float *grads) {
	portion x;
	open_portion(&x, o, o->places[tensor].group, 0);
	x.alone |= o->records[tensor].packs;
	turn_to(&x, tensor);
	put_tensor(&x, tensor, first, count, params, grads);
	run(&x);
}

static lockstep_buffer halves_at(uint16_t *x, size_t n) { return (lockstep_buffer){(float *)(void *)x, n, 0}; }

static lockstep_halves halves_from(lockstep_halves x, size_t at) { return (lockstep_halves){x.upper + at, x.lower ? x.lower + at : NULL}; }

/* Makes floats of parameters in 16 bits. */
static void join(const lockstep_optimizer *o, float *to, lockstep_halves x, size_t n) {
	const lockstep_buffer list[] = {{to, n, 0}, halves_at(x.upper, n), halves_at(x.lower, n)};
	if (x.lower)
		lockstep_kernel_join_bf16(o->table, list, 3);
	else
		lockstep_kernel_widen_bf16(o->table, list, 2);
}

/* Takes a step of a block of a tensor, which is joined. */
static void step_joined(const lockstep_optimizer *o, size_t tensor, size_t first, size_t n, lockstep_halves x, const float *grads) {
	float room[BLOCK_LEN];
	join(o, room, x, n);
	if (grads && o->records[tensor].begins) lockstep_begin_range_as_params(o, tensor, first, n, room);
	if (o->following) lockstep_begin_beside_range(o, tensor, first, n, room);
	if (grads)
		lockstep_step_range(o, tensor, first, n, room, grads);
	else if (lockstep_follows(o))
		follow_range_without(o, tensor, first, n, room);
	const lockstep_buffer split[] = {halves_at(x.upper, n), halves_at(x.lower, n), {room, n, 0}};
	if (x.lower)
		lockstep_kernel_split_bf16(o->table, split, 3);
	else
		lockstep_round(o, tensor, first, n, x.upper, room);
}

/* Takes it of a range at once, if there is a kernel that joins and splits in its loop. */
static int steps_fused_halves(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, lockstep_halves params, const float *grads) {
	portion x;
	if (!grads || !params.lower || o->following || o->records[tensor].begins) return 0;
	open_portion(&x, o, o->places[tensor].group, 0);
	turn_to(&x, tensor);
	put_tensor(&x, tensor, first, count, NULL, grads);
	if (form_of(&x) != FORM_ALONE || !x.g->fused[FORM_HALVED]) return 0;
	lockstep_buffer list[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS + 1] = {halves_at(params.upper, count), halves_at(params.lower, count)};
	for (size_t b = LOCKSTEP_GRADS; b < x.stride; b++) list[b + 1] = x.list[b];
	call_fused(&x, FORM_HALVED, list, x.stride + 1, x.scalars->words);
	if (o->zeroes) lockstep_zero(o, x.list[LOCKSTEP_GRADS].data, tensor, 0, count);
	return 1;
}

void lockstep_step_halves(const lockstep_optimizer *o, size_t tensor, size_t first, size_t count, lockstep_halves params, const float *grads) {
	if (!grads && !o->following) return;
	if (steps_fused_halves(o, tensor, first, count, params, grads)) return;
	for (size_t at = 0, n; at < count; at += n) {
		n = count - at < BLOCK_LEN ? count - at : BLOCK_LEN;
		step_joined(o, tensor, first + at, n, halves_from(params, at), grads ? lockstep_grads_at(o, tensor, grads, at) : NULL);
	}
}

/* The same of a range of a tensor of a job. */
static void step_part_halves(const lockstep_job *job, size_t tensor, size_t lo, size_t hi) {
	const float *grads = job->grads[tensor];
	lockstep_halves x = {job->halves[tensor], job->rests ? job->rests[tensor] : NULL};
	if (lo < hi) lockstep_step_halves(job->o, tensor, lo, hi - lo, halves_from(x, lo), grads ? lockstep_grads_at(job->o, tensor, grads, lo) : NULL);
}

void lockstep_split_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	const lockstep_unit *u = &job->o->units[unit];
	if (u->tensor != SHARED) step_part_halves(job, u->tensor, u->lo, u->hi);
	for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) {
		size_t k = job->o->groups[u->group].shared[at];
		step_part_halves(job, k, 0, job->o->places[k].size);
	}
}

void lockstep_step_some(const lockstep_optimizer *o, const lockstep_row *rows, size_t count, size_t columns, float *params) {
	portion x;
	open_portion(&x, o, o->places[0].group, 0);
	x.alone = needs_place(o); /* rows share calls, after which they are copied */
	for (size_t k = 0; k < count; k++) {
		size_t first = rows[k].index * columns;
		turn_to(&x, 0);
		put_tensor(&x, 0, first, columns, params + first, rows[k].grads);
	}
	run(&x);
	for (size_t k = 0; o->copies && k < count; k++) lockstep_copy_out(o, 0, rows[k].index * columns, columns, params + rows[k].index * columns);
}

void lockstep_reduce(const lockstep_job *job, size_t unit, lockstep_add *add) {
	const lockstep_optimizer *o = job->o;
	const lockstep_unit *u = &o->units[unit];
	double lanes[LOCKSTEP_LANES] = {0};
	if (u->tensor != SHARED && job->grads[u->tensor]) add(job, u->tensor, u->lo, u->hi, lanes);
	for (size_t at = u->lo; u->tensor == SHARED && at < u->hi; at++) {
		size_t k = o->groups[u->group].shared[at];
		if (job->grads[k] && o->places[k].size) add(job, k, 0, o->places[k].size, lanes);
	}
	o->partial[unit][0] = lockstep_total(lanes);
}

void lockstep_square(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]) {
	float room[2][BLOCK_LEN];
	for (size_t n; lo < hi; lo += n) {
		n = lockstep_piece(job->o, hi - lo);
		lockstep_buffer b = {(float *)lockstep_gradient(job->o, job->grads[tensor], tensor, lo, n, room), n, 0};
		lockstep_kernel_sum_squares(job->o->table, &b, 1, lanes);
	}
}

void lockstep_square_unit(void *context, size_t unit) { lockstep_reduce(context, unit, lockstep_square); }

/* Counts the elements of a range of a tensor that agree. */
static void agree(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]) {
	lockstep_buffer block[LOCKSTEP_SLOT + LOCKSTEP_MAX_SLOTS];
	portion x;
	open_portion(&x, job->o, job->o->places[tensor].group, 0);
	turn_to(&x, tensor);
	put_tensor(&x, tensor, lo, hi - lo, job->params[tensor] + lo, lockstep_grads_at(job->o, tensor, job->grads[tensor], lo));
	for (size_t at = 0, n; at < hi - lo; at += n) {
		float room[LOCKSTEP_MAX_SLOTS][BLOCK_LEN];
		n = cut(&x, x.list, at, block_len(&x, at), block);
		if (job->o->records[tensor].packs) lockstep_unpack(job->o, tensor, lo + at, n, block + LOCKSTEP_SLOT, room);
		count_agreeing(&x, block, at, lanes);
	}
}

/* The same of a tensor that shares its unit, apart from the others. */
static void agree_apart(const lockstep_job *job, size_t tensor, size_t lo, size_t hi, double lanes[LOCKSTEP_LANES]) {
	double own[LOCKSTEP_LANES] = {0};
	(void)lanes;
	agree(job, tensor, lo, hi, own);
	job->o->records[tensor].sums[0] = lockstep_total(own);
}

void lockstep_agree_unit(void *context, size_t unit) {
	const lockstep_job *job = context;
	const lockstep_unit *u = &job->o->units[unit];
	if (job->o->groups[u->group].common.cautious_update) lockstep_reduce(job, unit, u->tensor == SHARED ? agree_apart : agree);
}
