/* A rule at work: its options, and what a step makes of them. */
#include "optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A pass over parameters, gradients and all slots, in this order. */
static int takes_all(const lockstep_plan *plan, const lockstep_pass *pass) {
	size_t n = LOCKSTEP_SLOT + (size_t)plan->slot_count;
	if (!pass->kernel || pass->kernel->buffer_count != n) return 0;
	for (size_t b = 0; b < n; b++)
		if (pass->buffers[b] != (int)b) return 0;
	return 1;
}

/* The kernel that is another with a form's conversions, or NULL: its scalars begin with the same, and
 * its name is that with the form's behind it. */
static const lockstep_kernel *fused_with(const lockstep_kernel *kernel, lockstep_form form) {
	static const char *const names[FORMS] = {[FORM_ALONE] = "GradBF16", [FORM_COPIED] = "BF16", [FORM_HALVED] = "SplitBF16", [FORM_PACKED] = "StateBF16", [FORM_CODES] = "GradBF16StateFloat8", [FORM_CODES_OF_FLOATS] = "StateFloat8"};
	size_t n = strlen(kernel->name);
	for (size_t k = 0; k < lockstep_all_count; k++)
		if (!strncmp(lockstep_all[k].name, kernel->name, n) && !strcmp(lockstep_all[k].name + n, names[form])) return &lockstep_all[k];
	return NULL;
}

/* What follows from options that have been checked. */
static void make_plan(lockstep_rule_group *g) {
	memset(&g->plan, 0, sizeof g->plan);
	(g->is_factored ? g->code->factored_plan : g->code->plan)(g->options, g->prepared, &g->plan);
	g->common = g->code->common(g->options);
	g->code->state_name(g->options, g->name, sizeof g->name);
	g->lr = g->common.lr;
	g->plain = g->plan.pass_count == 1 && g->plan.passes[0].sums == LOCKSTEP_NO_SUMS && takes_all(&g->plan, &g->plan.passes[0]);
	for (int form = 0; form < FORMS; form++) g->fused[form] = g->plain ? fused_with(g->plan.passes[0].kernel, (lockstep_form)form) : NULL;
	g->fades = 1;
	g->keeps = 0;
	for (int j = 0; j < g->plan.slot_count; j++) {
		const lockstep_slot *slot = &g->plan.slots[j];
		if (slot->extent == LOCKSTEP_OF_ELEMENTS) g->fades = fmin(g->fades, slot->fades);
		g->keeps |= slot->extent == LOCKSTEP_OF_TENSOR;
	}
	g->input.t = 0; /* what it has is that of other options */
}

/* Copies options of a caller who may know fewer or, if these are 0, more of them. */
lockstep_status lockstep_take_options(lockstep_rule_group *g, const void *options, size_t size, lockstep_error *error) {
	size_t known = g->rule->size, n = size < known ? size : known;
	if (!options) return lockstep_bad_argument(error, "options", "NULL", "those of the rule");
	for (size_t k = known; k < size; k++)
		if (((const char *)options)[k])
			return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "size is %zu, want at most %zu: this library is older than some of the options", size, known);
	memset(g->next, 0, known);
	memcpy(g->next, options, n);
	return g->code->check(g->next, error);
}

static lockstep_status find_rule(lockstep_rule_group *g, const char *name, lockstep_error *error) {
	g->rule = lockstep_rule_named(name);
	if (!g->rule) return lockstep_bad_argument(error, "rule", name ? name : "NULL", "the name of one of lockstep_rules");
	g->code = &lockstep_all_codes[g->rule - lockstep_all_rules];
	return LOCKSTEP_OK;
}

lockstep_status lockstep_open_group(lockstep_rule_group *g, const lockstep_group *from, lockstep_error *error) {
	lockstep_status status = find_rule(g, from->rule, error);
	if (status) return status;
	g->options = malloc(g->rule->size);
	g->next = malloc(g->rule->size);
	g->prepared = malloc(g->code->prepared + 1);
	if (!g->options || !g->next || !g->prepared) return lockstep_reject(error, LOCKSTEP_NO_MEMORY, "no memory for a rule");
	status = lockstep_take_options(g, from->options, from->size, error);
	if (status) return status;
	memcpy(g->options, g->next, g->rule->size);
	make_plan(g);
	return LOCKSTEP_OK;
}

void lockstep_close_group(lockstep_rule_group *g) {
	free(g->options);
	free(g->next);
	free(g->prepared);
	free(g->shared);
}

lockstep_status lockstep_change_group(lockstep_rule_group *g, const void *options, size_t size, lockstep_error *error) {
	char name[NAME_LEN];
	lockstep_status status = lockstep_take_options(g, options, size, error);
	if (status) return status;
	g->code->state_name(g->next, name, sizeof name);
	if (strcmp(name, g->name))
		return lockstep_reject(error, LOCKSTEP_BAD_ARGUMENT, "options is those of %s, want those of %s, whose state there is", name, g->name);
	memcpy(g->options, g->next, g->rule->size);
	make_plan(g);
	return LOCKSTEP_OK;
}

int lockstep_factors(const lockstep_rule_group *g, const void *options, size_t size, size_t columns) {
	return columns && g->code->factors && g->code->factors(options, (int64_t)(size / columns), (int64_t)columns);
}

int lockstep_begins_as_params(const lockstep_plan *plan) {
	for (int j = 0; j < plan->slot_count; j++)
		if (plan->slots[j].begins_as_params) return 1;
	return 0;
}

int lockstep_kept_slots(const lockstep_plan *plan) {
	int n = 0;
	while (n < plan->slot_count && !plan->slots[n].scratch) n++;
	return n;
}

size_t lockstep_matrix_slots(const lockstep_group *group, size_t rows, size_t columns, const char **names, size_t *lengths, size_t room) {
	lockstep_rule_group g = {0};
	if (columns && rows > SIZE_MAX / columns) return 0;
	size_t size = columns ? rows * columns : rows, n = 0;
	int opened = !lockstep_open_group(&g, group, NULL), factored = opened && lockstep_factors(&g, g.options, size, columns);
	if (factored) {
		g.is_factored = 1;
		make_plan(&g);
	}
	if (opened) n = (size_t)lockstep_kept_slots(&g.plan);
	for (size_t j = 0; j < n && j < room; j++) {
		if (names) names[j] = g.plan.slots[j].name;
		if (lengths) lengths[j] = lockstep_slot_len(&g.plan.slots[j], size, columns);
	}
	lockstep_close_group(&g);
	return n;
}

size_t lockstep_slots(const lockstep_group *group, const char **names, size_t room) {
	return lockstep_matrix_slots(group, 0, 0, names, NULL, room);
}

/* Has a stage make the whole gradient, for a pass that takes the mean of its squares, or for a
 * kernel that does not see the parameters. */
static void regularize_all(lockstep_rule_group *g) {
	lockstep_common *c = &g->input.common;
	if (g->stages.regularizes || (c->scale == 1 && c->l2 == 0)) return;
	g->stages.regularizes = 1;
	g->stages.regularize = (lockstep_regularize_scalars){.scale = c->scale, .l2 = c->l2};
	c->scale = 1;
	c->l2 = 0;
}

static void renew(lockstep_rule_group *g, double scale) {
	g->scale = scale;
	lockstep_options options = g->common;
	options.lr = g->lr;
	if (g->clipping.value) { /* which leaves a scale of 1 to the others */
		options.maximize = 0;
		lockstep_make_stages(options, 1, g->plan.fuses_proximal, &g->input, &g->stages);
		g->clip = lockstep_clip_by(g, scale);
		g->stages.fade.scale = (float)(g->common.maximize ? -scale : scale);
	} else {
		lockstep_make_stages(options, scale, g->plan.fuses_proximal, &g->input, &g->stages);
	}
	if (g->plan.passes[0].row || (lockstep_is_cautious(&g->common) && g->input.common.l2 != 0)) regularize_all(g);
	for (int j = 0; j < g->plan.slot_count; j++)
		if (g->plan.slots[j].square && g->plan.slots[j].flushes) g->stages.small.small = g->plan.slots[j].flushes;
}

void lockstep_begin_group(lockstep_rule_group *g, int64_t t, double scale) {
	if (!g->input.t || g->scale != scale || g->input.lr != g->lr) renew(g, scale);
	g->input.t = t;
	g->input.elements = 0;
	memset(g->input.sums, 0, sizeof g->input.sums);
}

int lockstep_flushes(const lockstep_rule_group *g, int64_t t) {
	const double least_kept = 0.5;
	return !g->common.keep_subnormals && (t % FLUSH_EVERY == 0 || g->fades < least_kept);
}
