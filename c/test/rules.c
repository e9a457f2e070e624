/* Rules have the bits of Go's: what update/rules_in_c_test.go makes of random options, draw by
 * draw. LOCKSTEP_ALL in the environment takes all of them. */
#include "rule.h"
#include "test.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { BLOCKS = 128, RULE_CASES = 1000, RULE_STEPS = 4, STRIDE = 16 };

enum { TAME, SPARSE, WILD };

/* A case draws options and hashes what becomes of them. */
typedef struct rule_case {
	source s;
	uint64_t hash;
	const lockstep_rule *rule;
	const lockstep_rule_code *code;
	int kind;
	union {
		double aligns;
		char bytes[512];
	} options;
	void *prepared;
} rule_case;

static void hash_text(rule_case *c, const char *text) {
	for (; *text; text++) c->hash = hash_word(c->hash, (unsigned char)*text);
}

static void hash_number(rule_case *c, double x) { c->hash = hash_doubles(c->hash, &x, 1); }
static void hash_truth(rule_case *c, int x) { c->hash = hash_word(c->hash, x != 0); }

static double number_of_bits(source *s) {
	uint64_t bits = (uint64_t)next(s) << 32;
	bits |= next(s);
	double x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static double draw_number(rule_case *c) {
	source *s = &c->s;
	uint32_t kind = below(s, c->kind == WILD ? 16 : 12);
	double x = 1 + next(s) * 0x1p-32;
	if (c->kind == SPARSE && below(s, 2) == 0) return 0;
	if (kind < 4) return 0;
	if (kind < 8) return ldexp(x, -1 - (int)below(s, 64));
	if (kind < 11) return 1 - ldexp(x, -2 - (int)below(s, 52));
	if (kind < 12) return x - 1;
	if (kind < 13) return 1;
	if (kind < 14) return ldexp(x, (int)below(s, 2100) - 1076);
	if (kind < 15) return ldexp(x, (int)below(s, 40));
	return number_of_bits(s);
}

/* A flag that is set is any number but 0. */
static void draw_options(rule_case *c) {
	static const int set[] = {1, -1, 256, 1 << 30};
	for (size_t k = 0; k < c->rule->option_count; k++) {
		char *at = c->options.bytes + c->rule->options[k].offset;
		if (c->rule->options[k].kind == LOCKSTEP_FLAG) {
			int flag = below(&c->s, 8) == 0 ? set[k % 4] : 0;
			memcpy(at, &flag, sizeof flag);
		} else if (c->rule->options[k].kind == LOCKSTEP_INTEGER) {
			int x = (int)below(&c->s, 104) - 2;
			memcpy(at, &x, sizeof x);
		} else {
			double x = draw_number(c);
			memcpy(at, &x, sizeof x);
		}
	}
}

/* Hashes what a check came to, in small letters and without underscores: Go writes the names of
 * options in its own way. */
static int is_refused(rule_case *c, lockstep_status status, const lockstep_error *error) {
	if (!status) {
		hash_truth(c, 0);
		return 0;
	}
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && error->status == status, "%s: status %d", c->rule->name, status);
	for (const char *text = error->message; *text; text++)
		if (*text != '_') c->hash = hash_word(c->hash, (unsigned char)tolower((unsigned char)*text));
	return 1;
}

static void hash_common(rule_case *c, lockstep_options o) {
	hash_number(c, o.lr);
	hash_number(c, o.weight_decay);
	hash_number(c, o.l2);
	hash_number(c, o.l1);
	hash_truth(c, o.proximal);
	hash_truth(c, o.maximize);
	hash_truth(c, o.keep_subnormals);
	hash_truth(c, o.cautious_update);
	hash_truth(c, o.cautious_decay);
}

/* The type of Go's scalars of a pass together. */
static const char *together_of(const lockstep_pass *pass) { return pass->matrix == lockstep_soap_direction ? "basesStep" : "newtonSchulz"; }

static void hash_plan(rule_case *c, const lockstep_plan *plan) {
	CHECK(plan->slot_count <= LOCKSTEP_MAX_SLOTS && plan->pass_count <= LOCKSTEP_MAX_PASSES, "%s: a large plan", c->rule->name);
	for (int k = 0; k < plan->slot_count; k++) {
		const lockstep_slot *slot = &plan->slots[k];
		hash_text(c, slot->name);
		hash_number(c, slot->first);
		hash_number(c, slot->fades);
		hash_truth(c, slot->square);
		c->hash = hash_word(c->hash, slot->flushes);
		if (slot->extent != LOCKSTEP_OF_ELEMENTS) {
			c->hash = hash_word(c->hash, slot->extent);
			hash_truth(c, slot->scratch);
			c->hash = hash_word(c->hash, (uint64_t)slot->most);
		}
		if (slot->begins_as_params) hash_text(c, "begins as params");
	}
	for (int k = 0; k < plan->pass_count; k++) {
		const lockstep_pass *pass = &plan->passes[k];
		hash_text(c, lockstep_keeps(pass) ? "Kept" : pass->kernel ? pass->kernel->name : pass->walk == LOCKSTEP_TOGETHER ? together_of(pass) : "AdafactorFactors");
		c->hash = hash_word(c->hash, pass->sums);
		if (pass->row) {
			hash_number(c, pass->keep);
			hash_number(c, pass->add);
			if (pass->trusts) hash_number(c, pass->decay);
		}
		if (pass->walk) c->hash = hash_word(c->hash, pass->walk);
		for (size_t b = 0; !pass->walk && b < pass->kernel->buffer_count; b++) c->hash = hash_word(c->hash, (uint64_t)pass->buffers[b]);
	}
	hash_truth(c, plan->fuses_proximal);
}

static void hash_float(rule_case *c, float x) { c->hash = hash_floats(c->hash, &x, 1); }

static void hash_regularize(rule_case *c, lockstep_regularize_scalars x) {
	hash_float(c, x.scale);
	hash_float(c, x.l2);
	hash_float(c, x.l1);
}

static void hash_common_scalars(rule_case *c, lockstep_common x) {
	hash_float(c, x.scale);
	hash_float(c, x.l2);
	hash_float(c, x.decay);
	c->hash = hash_word(c->hash, x.drop);
	c->hash = hash_word(c->hash, x.first);
}

/* What a step begins with, whatever the factor of its gradients. */
static void hash_stages(rule_case *c, int fuses_proximal) {
	lockstep_step_input in;
	lockstep_stages s;
	double scale = 1;
	if (below(&c->s, 4) > 0) {
		double x = 1 + next(&c->s) * 0x1p-32;
		scale = ldexp(x, (int)below(&c->s, 280) - 140);
	}
	lockstep_make_stages(c->code->common(&c->options), scale, fuses_proximal, &in, &s);
	hash_common_scalars(c, in.common);
	hash_number(c, in.lr);
	hash_number(c, in.prox_l1);
	hash_number(c, in.prox_l2);
	hash_truth(c, s.prescales);
	hash_truth(c, s.regularizes);
	hash_truth(c, s.shrinks);
	hash_regularize(c, s.prescale);
	hash_regularize(c, s.regularize);
	hash_float(c, s.shrink.threshold);
	hash_float(c, s.shrink.shrink);
	hash_float(c, s.fade.scale);
	c->hash = hash_word(c->hash, s.fade.drop);
	c->hash = hash_word(c->hash, s.fade.small);
	c->hash = hash_word(c->hash, s.small.small);
	hash_truth(c, s.decays);
}

static float draw_float(source *s) {
	uint32_t bits = next(s);
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static int64_t draw_time(source *s, int64_t t) {
	switch (below(s, 4)) {
	case 0: return t + 1;
	case 1: return 1 + below(s, 20);
	case 2: return 1 + below(s, 100000);
	}
	uint64_t bits = (uint64_t)next(s) << 32;
	bits |= next(s);
	return 1 + (int64_t)(bits >> (2 + below(s, 60)));
}

static void draw_input(rule_case *c, lockstep_step_input *in) {
	lockstep_error error;
	in->common.scale = draw_float(&c->s);
	in->common.l2 = draw_float(&c->s);
	in->common.decay = draw_float(&c->s);
	in->common.drop = next(&c->s);
	in->common.first = next(&c->s);
	in->t = draw_time(&c->s, in->t);
	in->lr = draw_number(c);
	if (is_refused(c, c->code->check_lr(&c->options, in->lr, &error), &error)) in->lr = c->code->common(&c->options).lr;
	in->prox_l1 = draw_number(c);
	in->prox_l2 = draw_number(c);
	in->sums[0] = draw_number(c);
	in->sums[1] = draw_number(c);
	in->elements = next(&c->s) >> 2;
	if (c->code->matrices) {
		in->rows = 1 + below(&c->s, 1 << 20);
		in->columns = 1 + below(&c->s, 1 << 20);
	}
}

/* Scalars that are no kernel's. */
static void hash_doubles_of(rule_case *c, const lockstep_pass *pass, const lockstep_step_input *in) {
	lockstep_adafactor_factors_scalars x;
	pass->scalars(c->prepared, in, &x);
	const double all[] = {x.weight, x.eps_square, x.eps_floor, x.squares};
	for (size_t k = 0; k < sizeof all / sizeof *all; k++) hash_float(c, (float)all[k]);
}

static void hash_newton_schulz(rule_case *c, const lockstep_pass *pass, const lockstep_step_input *in) {
	lockstep_newton_schulz x;
	pass->scalars(c->prepared, in, &x);
	hash_float(c, (float)x.size);
	hash_float(c, (float)x.factor);
	hash_float(c, x.a);
	hash_float(c, x.b);
	hash_float(c, x.c);
	c->hash = hash_word(c->hash, (uint64_t)x.iterations);
	hash_truth(c, x.dion);
	hash_truth(c, x.schatten);
	hash_truth(c, x.spectral);
	hash_truth(c, x.aol);
	hash_float(c, (float)x.eps);
	hash_float(c, (float)x.eps_floor);
	hash_truth(c, x.adaptive);
	hash_truth(c, x.normalizes);
	hash_truth(c, x.exact_rms);
	hash_float(c, (float)x.beta2);
	hash_float(c, (float)x.eps_row);
}

static void hash_bases_step(rule_case *c, const lockstep_pass *pass, const lockstep_step_input *in) {
	lockstep_bases_step x;
	pass->scalars(c->prepared, in, &x);
	const float floats[] = {x.weight1, x.beta2, x.root2, x.eps};
	for (size_t k = 0; k < sizeof floats / sizeof *floats; k++) hash_float(c, floats[k]);
	const uint64_t words[] = {x.drop, x.small, x.flush}, more[] = {(uint64_t)x.t, (uint64_t)x.frequency, (uint64_t)x.most};
	for (size_t k = 0; k < 3; k++) c->hash = hash_word(c->hash, words[k]);
	hash_float(c, (float)x.shampoo_beta);
	for (size_t k = 0; k < 3; k++) c->hash = hash_word(c->hash, more[k]);
	hash_truth(c, x.looks);
	hash_truth(c, x.often);
	hash_truth(c, x.normalizes);
}

static void hash_scalars(rule_case *c, const lockstep_pass *pass, const lockstep_step_input *in) {
	uint32_t scalars[32], shared[32];
	if (pass->walk == LOCKSTEP_TOGETHER) {
		if (pass->matrix == lockstep_soap_direction)
			hash_bases_step(c, pass, in);
		else
			hash_newton_schulz(c, pass, in);
		return;
	}
	if (!pass->kernel && !lockstep_keeps(pass)) {
		hash_doubles_of(c, pass, in);
		return;
	}
	pass->scalars(c->prepared, in, pass->row ? shared : scalars);
	if (pass->row) pass->row(shared, (double)draw_float(&c->s), scalars);
	for (size_t k = 0; !pass->kernel && k < LOCKSTEP_MAX_KEPT; k++) {
		float x;
		memcpy(&x, &scalars[k], sizeof x);
		hash_float(c, x);
	}
	if (!pass->kernel) return;
	CHECK(pass->kernel->scalar_count <= 32, "%s has many scalars", pass->kernel->name);
	for (size_t k = 0; k < pass->kernel->scalar_count; k++) {
		float x;
		memcpy(&x, &scalars[k], sizeof x);
		if (pass->kernel->scalars[k].kind == LOCKSTEP_MASK) c->hash = hash_word(c->hash, scalars[k]);
		else c->hash = hash_floats(c->hash, &x, 1);
	}
}

static void take_step(rule_case *c, const lockstep_plan *plan, lockstep_step_input *in) {
	draw_input(c, in);
	for (int k = 0, kept = 0; k < plan->slot_count; k++)
		if (plan->slots[k].extent == LOCKSTEP_OF_TENSOR) in->per_tensor[kept++] = draw_float(&c->s);
	for (int k = 0; k < plan->pass_count; k++) hash_scalars(c, &plan->passes[k], in);
}

static void run_rule_case(rule_case *c) {
	lockstep_error error;
	lockstep_plan plan;
	char name[64];
	c->kind = (int)below(&c->s, 3);
	draw_options(c);
	lockstep_status status = c->code->check(&c->options, &error);
	CHECK(c->code->check(&c->options, NULL) == status, "%s: another status without a message", c->rule->name);
	if (is_refused(c, status, &error)) return;
	c->code->state_name(&c->options, name, sizeof name);
	hash_text(c, name);
	hash_common(c, c->code->common(&c->options));
	c->code->plan(&c->options, c->prepared, &plan);
	hash_plan(c, &plan);
	hash_stages(c, plan.fuses_proximal);
	lockstep_step_input in = {0};
	for (int step = 0; step < RULE_STEPS; step++) take_step(c, &plan, &in);
	if (!c->code->factored_plan) return;
	c->code->factored_plan(&c->options, c->prepared, &plan);
	hash_plan(c, &plan);
	take_step(c, &plan, &in);
}

/* Compares the hashes of a rule with those of its line in the file. */
static void compare_rule(FILE *f, size_t place) {
	const lockstep_rule *rule = &lockstep_all_rules[place];
	int stride = getenv("LOCKSTEP_ALL") ? 1 : STRIDE;
	rule_case c = {.rule = rule, .code = &lockstep_all_codes[place], .prepared = malloc(lockstep_all_codes[place].prepared)};
	char name[64];
	CHECK(rule->size <= sizeof c.options && fscanf(f, "%63s", name) == 1 && !strcmp(name, rule->name), "%s is not the file's rule", rule->name);
	for (int block = 0; block < BLOCKS; block++) {
		unsigned want;
		CHECK(fscanf(f, "%8x", &want) == 1, "%s has too few blocks", name);
		if (block % stride) continue;
		c.s = new_source(name, block);
		c.hash = HASH_START;
		for (int k = 0; k < RULE_CASES; k++) run_rule_case(&c);
		CHECK(hash_sum(c.hash) == want, "%s, block %d: other bits than Go's", name, block);
	}
	printf("  %s: %d random options\n", name, BLOCKS / stride * RULE_CASES);
	free(c.prepared);
}

void test_rules(void) {
	char path[4096], rest[2];
	snprintf(path, sizeof path, "%s/rules.txt", folder);
	FILE *f = fopen(path, "r");
	CHECK(f, "cannot open %s", path);
	while (fgetc(f) != '\n');
	for (size_t k = 0; k < lockstep_all_rules_count; k++) compare_rule(f, k);
	CHECK(fscanf(f, "%1s", rest) == EOF, "%s has more rules than the library", path);
	fclose(f);
}
