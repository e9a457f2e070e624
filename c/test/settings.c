/* Presets, and what of an optimizer is set and asked. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }

static size_t lines;

static void check_preset(const line *l) {
	options want = read_options(l, 3), got = {want.rule, {0}};
	const lockstep_rule *rule;
	memset(got.bytes, 1, sizeof got.bytes);
	CHECK(!lockstep_preset(l->words[1], l->words[2], got.bytes, want.rule->size, &rule), "no preset %s %s", l->words[1], l->words[2]);
	CHECK(rule == want.rule, "%s %s is %s", l->words[1], l->words[2], rule->name);
	for (size_t k = 0; k < rule->option_count; k++) {
		const char *name = rule->options[k].name;
		CHECK(get_option(&got, name) == get_option(&want, name), "%s %s: %s is %g, want %g", l->words[1], l->words[2], name, get_option(&got, name), get_option(&want, name));
	}
	lines++;
}

static void check_room(void) {
	char large[1000];
	size_t size;
	const lockstep_rule *rule;
	memset(large, 1, sizeof large);
	CHECK(!lockstep_preset("torch", "AdamW", NULL, 0, &rule) && !strcmp(rule->name, "Adam"), "not asked for the rule");
	size = rule->size;
	CHECK(!lockstep_preset("torch", "AdamW", large, sizeof large, NULL), "no room");
	for (size_t k = size; k < sizeof large; k++) CHECK(!large[k], "options that the library does not know are not 0");
	CHECK(lockstep_preset("torch", "AdamW", large, 40, NULL) == LOCKSTEP_BAD_ARGUMENT, "cut off");
	CHECK(lockstep_preset("torch", "adamw", large, size, NULL) == LOCKSTEP_BAD_ARGUMENT, "adamw");
	CHECK(lockstep_preset("pytorch", "AdamW", large, size, NULL) == LOCKSTEP_BAD_ARGUMENT, "pytorch");
	CHECK(lockstep_preset(NULL, NULL, large, size, NULL) == LOCKSTEP_BAD_ARGUMENT, "NULL");
}

void test_presets(void) {
	size_t count;
	lines = 0;
	each_line("preset", check_preset);
	lockstep_presets(&count);
	CHECK(count == lines, "%zu presets, and %zu in the file", count, lines);
	check_room();
}

static options preset(const char *framework, const char *name) {
	options o = {0};
	CHECK(!lockstep_preset(framework, name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	return o;
}

static lockstep_optimizer *make(const options *o, const lockstep_tensor *tensors, size_t count) {
	lockstep_group g = {o->rule->name, o->bytes, o->rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&g, 1, tensors, count, &made, &error));
	return made;
}

static void refused(lockstep_status status, const char *why) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, why), "not refused for %s: %s", why, error.message);
}

/* Parameters are made their mean, and what they were; who forgets in which mode they are is told. */
static void check_eval(void) {
	options o = preset("torch", "AdamWScheduleFree"), other = preset("torch", "AdamW");
	lockstep_group groups[] = {{o.rule->name, o.bytes, o.rule->size}, {other.rule->name, other.bytes, other.rule->size}};
	lockstep_tensor tensors[] = {{.size = 3}, {.size = 0}, {.size = 3, .group = 1}};
	float p[] = {1, -2, 3}, q[] = {1, 2, 3}, g[] = {1, -1, 1}, before[3], others[3], *params[] = {p, NULL, q};
	const float *grads[] = {g, NULL, g};
	const double beta = 0.9, mean = (1 - beta) / beta * (1 - 0x1p-30);
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(groups, 2, tensors, 3, &made, &error));
	refused(lockstep_optimizer_train(made, params, &error), "the mode of the parameters is train");
	for (int k = 0; k < 4; k++) must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	const float *behind = lockstep_optimizer_state(made, 0, "behind");
	memcpy(before, p, sizeof p);
	memcpy(others, q, sizeof q);
	must(lockstep_optimizer_eval(made, params, &error));
	for (int i = 0; i < 3; i++) {
		double product = (double)behind[i] * mean; /* which is not fused with what follows */
		CHECK(p[i] == (float)((double)before[i] + product) && p[i] != before[i], "element %d is %g", i, (double)p[i]);
	}
	refused(lockstep_optimizer_eval(made, params, &error), "the mode of the parameters is eval");
	refused(lockstep_optimizer_step(made, params, grads, NULL, &error), "the mode of the parameters is eval");
	refused(lockstep_optimizer_begin(made, -1, &error), "the mode of the parameters is eval");
	refused(lockstep_optimizer_set_options(made, 0, o.bytes, o.rule->size, &error), "the mode of the parameters is eval");
	refused(lockstep_optimizer_train(made, NULL, &error), "params is NULL");
	params[0] = NULL;
	refused(lockstep_optimizer_train(made, params, &error), "params[0] is NULL");
	params[0] = q;
	refused(lockstep_optimizer_train(made, params, &error), "params of tensor");
	params[0] = p;
	must(lockstep_optimizer_train(made, params, &error));
	CHECK(!memcmp(p, before, sizeof p) && !memcmp(q, others, sizeof q), "not what it was");
	must(lockstep_optimizer_begin(made, -1, &error));
	refused(lockstep_optimizer_eval(made, params, &error), "step is begun");
	lockstep_optimizer_free(made);
}

/* Estimates move h of Sophia and nothing else. */
static void check_hessian(void) {
	options o = preset("optax", "Sophia"), other = preset("torch", "SGD");
	lockstep_group groups[] = {{o.rule->name, o.bytes, o.rule->size}, {other.rule->name, other.bytes, other.rule->size}};
	lockstep_tensor tensors[] = {{.size = 3}, {.size = 0}, {.size = 3, .group = 1}, {.size = 3}};
	float x[] = {1, -2, 3};
	const float *estimates[] = {x, NULL, NULL, NULL};
	const float weight = (float)(1 - 0.99);
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(groups, 2, tensors, 4, &made, &error));
	const float *h = lockstep_optimizer_state(made, 0, "h"), *m = lockstep_optimizer_state(made, 0, "m"), *kept = lockstep_optimizer_state(made, 3, "h");
	float want[3] = {0};
	for (int k = 0; k < 3; k++) {
		must(lockstep_optimizer_update_hessian(made, estimates, &error));
		for (int i = 0; i < 3; i++) {
			float product = (x[i] - want[i]) * weight; /* which is not fused with what follows */
			want[i] += product;
			CHECK(h[i] == want[i] && m[i] == 0 && kept[i] == 0, "element %d is %g", i, (double)h[i]);
		}
	}
	refused(lockstep_optimizer_update_hessian(made, NULL, &error), "estimates is NULL");
	estimates[0] = m;
	refused(lockstep_optimizer_update_hessian(made, estimates, &error), "estimates of tensor 0");
	estimates[0] = x;
	estimates[2] = x;
	refused(lockstep_optimizer_update_hessian(made, estimates, &error), "no use");
	estimates[2] = NULL;
	must(lockstep_optimizer_begin(made, -1, &error));
	refused(lockstep_optimizer_update_hessian(made, estimates, &error), "step is begun");
	CHECK(h[0] == want[0], "h is %g", (double)h[0]);
	lockstep_optimizer_free(made);
}

/* A caller with an older header has fewer options, and the others are 0. */
static void check_sizes(void) {
	options o = preset("torch", "SGD");
	lockstep_group old = {"SGD", o.bytes, sizeof(double)};
	float p[] = {1}, g[] = {1}, *params[] = {p};
	const float *grads[] = {g};
	lockstep_tensor t = {.size = 1};
	lockstep_optimizer *made;
	set_option(&o, "maximize", 1);
	must(lockstep_optimizer_new(&old, 1, &t, 1, &made, &error));
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(p[0] < 1, "an option beyond the size has counted");
	must(lockstep_optimizer_set_options(made, 0, o.bytes, o.rule->size, &error));
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(p[0] == 1, "options were not set: %g", (double)p[0]);
	lockstep_optimizer_free(made);
}

static void check_state(void) {
	options o = preset("torch", "AdamW");
	lockstep_group g = {"Adam", o.bytes, o.rule->size};
	const char *names[2] = {0};
	CHECK(lockstep_slots(&g, names, 1) == 2 && !strcmp(names[0], "m") && !names[1], "slots");
	CHECK(lockstep_slots(&g, names, 2) == 2 && !strcmp(names[1], "v"), "slots");
	float m[3] = {1, 1, 1}, v[3] = {0}, *state[] = {m, v};
	lockstep_tensor tensors[] = {{.name = "a", .size = 3, .state = state}, {.size = 100000}, {.size = 0}};
	lockstep_optimizer *made = make(&o, tensors, 3);
	CHECK(lockstep_optimizer_state(made, 0, "m") == m && lockstep_optimizer_state(made, 0, "v") == v, "the state is not the caller's");
	CHECK(lockstep_optimizer_state(made, 1, "m") && lockstep_optimizer_state(made, 1, "v"), "no state");
	CHECK(!lockstep_optimizer_state(made, 1, "w") && !lockstep_optimizer_state(made, 3, "m") && !lockstep_optimizer_state(made, 1, NULL), "a state of nothing");
	CHECK(!strcmp(lockstep_optimizer_rule(made, 0), "adam") && !lockstep_optimizer_rule(made, 1), "the rule's name");
	CHECK(lockstep_optimizer_lr(made, 0) == 0.01 && lockstep_optimizer_lr(made, 1) == 0, "rates");
	lockstep_optimizer_free(made);
}

/* First values that are not 0. */
static void check_first(void) {
	options o = preset("keras", "Adagrad");
	lockstep_tensor tensors[] = {{.size = 5}, {.size = 3}};
	lockstep_optimizer *made = make(&o, tensors, 2);
	for (int i = 0; i < 5; i++) CHECK(lockstep_optimizer_state(made, 0, "accumulator")[i] == 0.1f, "the accumulator does not begin at 0.1");
	lockstep_optimizer_free(made);
}

static void check_norm(void) {
	options o = preset("torch", "SGD");
	float p[] = {0, 0, 0}, g[] = {3, 4, 0}, *params[] = {p, p + 2};
	const float *grads[] = {g, g + 2};
	lockstep_tensor tensors[] = {{.size = 2}, {.size = 1}};
	lockstep_optimizer *made = make(&o, tensors, 2);
	must(lockstep_optimizer_set_lr(made, 0, 1, &error));
	must(lockstep_optimizer_set_max_norm(made, 5, &error));
	must(lockstep_optimizer_set_grad_scale(made, 2, &error));
	double norm = 0;
	must(lockstep_optimizer_measure(made, grads, NULL, &norm, &error));
	CHECK(norm == 10 && p[0] == 0 && lockstep_optimizer_norm(made) == 0, "a norm that is measured is %g", norm);
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_norm(made) == 10 && p[0] == -3 && p[1] == -4 && g[0] == 3, "the norm is %g, p %g %g", lockstep_optimizer_norm(made), (double)p[0], (double)p[1]);
	must(lockstep_optimizer_set_max_norm(made, INFINITY, &error));
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_norm(made) == 0 && p[0] == -9, "clipped to infinity");
	lockstep_optimizer_free(made);
}

/* The counts of tensors that are left out, in steps that others take. */
static void check_missing(void) {
	options o = preset("torch", "AdamW");
	float p[3] = {0}, g[3] = {1, 1, 1}, *params[] = {p, p + 1, p + 2};
	const float *all[] = {g, g + 1, g + 2}, *some[] = {g, NULL, g + 2}, *none[3] = {0};
	lockstep_tensor tensors[] = {{.size = 1}, {.size = 1}, {.size = 1}};
	lockstep_optimizer *made = make(&o, tensors, 3);
	for (int k = 0; k < 4; k++) must(lockstep_optimizer_step(made, params, k == 1 ? some : k == 2 ? none : all, NULL, &error));
	CHECK(lockstep_optimizer_steps(made, 0) == 3 && lockstep_optimizer_steps(made, 1) == 2 && lockstep_optimizer_steps(made, 3) == 0, "counts");
	CHECK(p[0] == p[2] && p[0] < p[1], "who took more steps is not further");
	must(lockstep_optimizer_set_steps(made, 1, 3, &error));
	must(lockstep_optimizer_set_steps(made, 2, INT64_C(1) << 62, &error));
	must(lockstep_optimizer_step(made, params, all, NULL, &error));
	CHECK(lockstep_optimizer_steps(made, 1) == 4 && lockstep_optimizer_steps(made, 2) == (INT64_C(1) << 62) + 1, "set counts");
	lockstep_optimizer_free(made);
}

/* What follows from sums over tensors is kept by all of them, those without a gradient too,
 * and state that begins as the parameters does in a tensor's first step. No rule of today has
 * either, and so NovoGrad's is taken for such. */
static void check_kept(void) {
	options o = preset("optax", "Novograd");
	float p[] = {5, 6, 7, 8}, g[] = {3, 4, 12, 0};
	float *params[] = {p, p + 2};
	const float *grads[] = {g, g + 2};
	lockstep_tensor tensors[] = {{.size = 2}, {.size = 2}};
	lockstep_optimizer *made = make(&o, tensors, 2);
	float *v[] = {lockstep_optimizer_state(made, 0, "v"), lockstep_optimizer_state(made, 1, "v")}, *m = lockstep_optimizer_state(made, 1, "m");
	CHECK(lockstep_optimizer_state_len(made, 0, "v") == 1 && lockstep_optimizer_state_len(made, 0, "m") == 2, "lengths of state");
	CHECK(!lockstep_optimizer_state_len(made, 0, "w") && !lockstep_optimizer_state_len(made, 2, "v") && !lockstep_optimizer_state_len(made, 0, NULL), "a length of nothing");
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(v[0][0] == 25 && v[1][0] == 144, "norms of tensors are %g and %g", v[0][0], v[1][0]);
	lockstep_optimizer_free(made);

	made = make(&o, tensors, 2);
	v[0] = lockstep_optimizer_state(made, 0, "v"), v[1] = lockstep_optimizer_state(made, 1, "v"), m = lockstep_optimizer_state(made, 1, "m");
	must(lockstep_optimizer_set_lr(made, 0, 0, &error));
	made->groups[0].plan.passes[0].sums = LOCKSTEP_OVER_RULE;
	made->groups[0].plan.slots[0].begins_as_params = made->records[0].begins = made->records[1].begins = 1;
	grads[1] = NULL;
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(v[0][0] == 25 && v[1][0] == 25, "a tensor without a gradient keeps %g, the other %g", v[1][0], v[0][0]);
	CHECK(m[0] == 0 && made->records[1].begins, "m has begun without a gradient");
	grads[1] = g + 2;
	p[2] = 70;
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(m[1] == .9f * 8 && m[0] > .9f * 70 && !made->records[1].begins, "m begins as %g and %g", m[0], m[1]);
	p[2] = 7;
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(m[0] > 50, "m begins twice");
	lockstep_optimizer_free(made);
}

/* The groups of a rule whose sums are over all tensors have one d, in which those of another
 * such rule have no part. */
static void check_rules_apart(void) {
	options prodigy = preset("torch", "Prodigy"), d_adapt = preset("torch", "DAdaptAdam");
	options *rules[] = {&prodigy, &d_adapt};
	float p[2][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 4, 5, 6, 7, 8}}, g[] = {1, -1, 100, 50, 2, 3, -40, 30};
	lockstep_group groups[4];
	lockstep_tensor tensors[4] = {{0}};
	for (size_t k = 0; k < 4; k++) {
		options *o = rules[k % 2];
		set_option(o, "lr", 1);
		set_option(o, "d0", 0.01);
		groups[k] = (lockstep_group){o->rule->name, o->bytes, o->rule->size};
		tensors[k].size = 2, tensors[k].group = k;
	}
	float *together[] = {p[0], p[0] + 2, p[0] + 4, p[0] + 6};
	const float *grads[] = {g, g + 2, g + 4, g + 6};
	lockstep_optimizer *all, *apart[2];
	must(lockstep_optimizer_new(groups, 4, tensors, 4, &all, &error));
	for (size_t r = 0; r < 2; r++) {
		lockstep_group own[] = {groups[r], groups[r + 2]};
		lockstep_tensor pair[] = {{.size = 2}, {.size = 2, .group = 1}};
		must(lockstep_optimizer_new(own, 2, pair, 2, &apart[r], &error));
	}
	for (int k = 0; k < 9; k++) {
		must(lockstep_optimizer_step(all, together, grads, NULL, &error));
		for (size_t r = 0; r < 2; r++) {
			float *params[] = {p[1] + 2 * r, p[1] + 2 * r + 4};
			const float *of[] = {grads[r], grads[r + 2]};
			must(lockstep_optimizer_step(apart[r], params, of, NULL, &error));
		}
	}
	for (size_t k = 0; k < 4; k++) {
		float d = lockstep_optimizer_state(all, k, "d")[0], alone = lockstep_optimizer_state(apart[k % 2], k / 2, "d")[0];
		CHECK(d == alone && d > 0.01f, "tensor %zu: d is %g, and %g without another rule", k, d, alone);
		CHECK(d == lockstep_optimizer_state(all, k % 2, "d")[0], "two groups have a d each");
	}
	CHECK(!memcmp(p[0], p[1], sizeof p[0]), "a rule moves another's parameters");
	lockstep_optimizer_free(all);
	for (size_t r = 0; r < 2; r++) lockstep_optimizer_free(apart[r]);
}

/* Sums over tensors are those of one tensor that has all their units. No rule of today has
 * them, and so LAMB's are taken for such. */
static void check_scopes(void) {
	enum { UNIT = 16 << 10 };
	static float p[2][2 * UNIT], g[2 * UNIT];
	options o = preset("optax", "Lamb");
	lockstep_tensor whole = {.size = 2 * UNIT}, halves[] = {{.size = UNIT}, {.size = UNIT}};
	for (int scope = LOCKSTEP_OVER_RULE; scope <= LOCKSTEP_OVER_ALL; scope++) {
		lockstep_group groups[] = {{o.rule->name, o.bytes, o.rule->size}, {o.rule->name, o.bytes, o.rule->size}};
		source s = new_source("scopes", 0);
		for (size_t i = 0; i < 2 * UNIT; i++) p[0][i] = p[1][i] = ordinary(&s), g[i] = ordinary(&s);
		float *one[] = {p[0]}, *two[] = {p[1], p[1] + UNIT};
		const float *grads[] = {g, g + UNIT};
		lockstep_optimizer *a = make(&o, &whole, 1), *b;
		halves[1].group = scope == LOCKSTEP_OVER_ALL;
		must(lockstep_optimizer_new(groups, 2, halves, 2, &b, &error));
		b->groups[0].plan.passes[0].sums = b->groups[1].plan.passes[0].sums = (lockstep_scope)scope;
		for (int k = 0; k < 3; k++) {
			must(lockstep_optimizer_step(a, one, grads, NULL, &error));
			must(lockstep_optimizer_step(b, two, grads, NULL, &error));
		}
		CHECK(!memcmp(p[0], p[1], sizeof p[0]), "sums of scope %d are others", scope);
		CHECK(b->groups[0].input.elements == 2 * UNIT, "%lld elements", (long long)b->groups[0].input.elements);
		grads[1] = NULL;
		must(lockstep_optimizer_step(b, two, grads, NULL, &error));
		CHECK(b->groups[0].input.elements == UNIT, "elements without a gradient count");
		grads[1] = g + UNIT;
		b->groups[0].plan.passes[0].sums = b->groups[1].plan.passes[0].sums = LOCKSTEP_OVER_RULE;
		must(lockstep_optimizer_step(b, two, grads, NULL, &error));
		CHECK(b->groups[0].input.elements == (halves[1].group ? UNIT : 2 * UNIT), "elements of another rule count");
		lockstep_optimizer_free(a);
		lockstep_optimizer_free(b);
	}
	check_rules_apart();
}

static void check_tables(void) {
	options o = preset("torch", "SGD");
	const lockstep_table *list[TABLES];
	float p[] = {1}, g[] = {1}, *params[] = {p};
	const float *grads[] = {g};
	lockstep_tensor t = {.size = 1};
	lockstep_optimizer *made = make(&o, &t, 1);
	for (size_t n = tables(list); n > 0; n--) {
		must(lockstep_optimizer_set_table(made, list[n - 1], &error));
		CHECK(made->table == list[n - 1], "%s was not set", list[n - 1]->isa);
		must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	}
	must(lockstep_optimizer_set_table(made, NULL, &error));
	CHECK(p[0] < 1, "no table did anything");
	lockstep_optimizer_free(made);
}

static void check_nothing(void) {
	options o = preset("torch", "AdamW");
	lockstep_tensor empty[] = {{.size = 0}, {.size = 0}};
	float *params[2] = {0};
	const float *grads[2] = {0};
	lockstep_optimizer *made = make(&o, NULL, 0);
	must(lockstep_optimizer_step(made, NULL, NULL, NULL, &error));
	lockstep_optimizer_free(made);
	made = make(&o, empty, 2);
	must(lockstep_optimizer_step(made, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_steps(made, 1) == 1, "an empty tensor takes no step");
	lockstep_optimizer_free(made);
	lockstep_optimizer_free(NULL);
	must(lockstep_optimizer_new(NULL, 0, NULL, 0, &made, &error));
	lockstep_optimizer_free(made);
}

/* The scales of a loss, and the parameter that steps leave: gen/vectors takes the same. */
static void check_scaler(const line *l) {
	source source = new_source("scaler", 0);
	lockstep_loss_scaler s = {strtod(l->words[1], NULL), strtod(l->words[2], NULL), strtod(l->words[3], NULL), atoi(l->words[4]), 0, 0, 0};
	options sgd = preset("torch", "SGD");
	lockstep_tensor tensor = {.size = 1};
	lockstep_optimizer *o = make(&sgd, &tensor, 1);
	must(lockstep_optimizer_set_lr(o, 0, 1, &error));
	must(lockstep_optimizer_set_policy(o, LOCKSTEP_SKIP, &error));
	float p[] = {1}, g[1], *params[] = {p};
	const float *grads[] = {g};
	uint64_t h = HASH_START;
	for (int step = 0; step < 200; step++) {
		g[0] = (float)(s.scale * 0.25);
		if (below(&source, 6) == 0) g[0] = INFINITY;
		must(lockstep_loss_scaler_step(&s, o, params, grads, NULL, &error));
		must(lockstep_loss_scaler_update(&s, &error));
		h = hash_doubles(h, &s.scale, 1);
		h = hash_floats(h, p, 1);
	}
	CHECK(hash_sum(h) == strtoul(l->words[5], NULL, 16), "other scales than Go's from %g on", strtod(l->words[1], NULL));
	lockstep_optimizer_free(o);
}

/* A scaler of two optimizers, of which one skips, and what it refuses. */
static void check_scaling(void) {
	options sgd = preset("torch", "SGD");
	lockstep_tensor tensor = {.size = 1};
	lockstep_optimizer *a = make(&sgd, &tensor, 1), *b = make(&sgd, &tensor, 1);
	float p[] = {1}, q[] = {1}, g[] = {NAN}, good[] = {8}, *params[] = {p}, *others[] = {q};
	const float *grads[] = {g}, *fine[] = {good};
	lockstep_loss_scaler s = {8, 2, 0.5, 1, 0, 0, 0}, torch = LOCKSTEP_TORCH_LOSS_SCALER, keras = LOCKSTEP_KERAS_LOSS_SCALER;
	CHECK(torch.scale == 2 * keras.scale, "defaults");
	refused(lockstep_loss_scaler_step(&s, a, params, grads, NULL, &error), "policy is LOCKSTEP_PROPAGATE, want");
	refused(lockstep_loss_scaler_update(&s, &error), "step is none since the last update, want");
	must(lockstep_optimizer_set_policy(a, LOCKSTEP_REFUSE, &error));
	must(lockstep_optimizer_set_policy(b, LOCKSTEP_SKIP, &error));
	must(lockstep_optimizer_set_grad_scale(b, 0.5, &error));
	refused(lockstep_loss_scaler_step(&s, a, params, NULL, NULL, &error), "grads is NULL");
	refused(lockstep_loss_scaler_update(&s, &error), "step is none since the last update, want");
	CHECK(lockstep_loss_scaler_step(&s, a, params, grads, NULL, &error) == LOCKSTEP_NON_FINITE, "NaN was not refused");
	must(lockstep_loss_scaler_step(&s, b, others, fine, NULL, &error));
	CHECK(p[0] == 1 && q[0] == 1 - 0.01f * 0.5f && lockstep_optimizer_skipped(a) == 1, "q is %g", (double)q[0]);
	must(lockstep_loss_scaler_update(&s, &error));
	CHECK(s.scale == 4 && !s.stepped && !s.skipped, "the scale is %g", s.scale);
	must(lockstep_loss_scaler_step(&s, b, others, fine, NULL, &error));
	must(lockstep_loss_scaler_update(&s, &error));
	CHECK(s.scale == 8, "the scale is %g after a good step", s.scale);
	s.scale = 0x1p-126;
	g[0] = INFINITY;
	must(lockstep_loss_scaler_step(&s, b, others, grads, NULL, &error));
	refused(lockstep_loss_scaler_update(&s, &error), "scale is ");
	CHECK(s.scale == 0x1p-126, "the scale has fallen to %g", s.scale);
	const struct {
		lockstep_loss_scaler s;
		const char *want;
	} bad[] = {{{0, 2, 0.5, 1, 0, 1, 0}, "scale is 0"}, {{INFINITY, 2, 0.5, 1, 0, 1, 0}, "scale is inf"}, {{1, 1, 0.5, 1, 0, 1, 0}, "growth is 1"},
		{{1, 2, 1, 1, 0, 1, 0}, "backoff is 1"}, {{1, 2, 0.5, 0, 0, 1, 0}, "interval is 0"}, {{1, 2, 0.5, 1, -1, 1, 0}, "good is -1"}};
	for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
		s = bad[k].s;
		refused(lockstep_loss_scaler_update(&s, &error), bad[k].want);
		refused(lockstep_loss_scaler_step(&s, b, others, fine, NULL, &error), bad[k].want);
	}
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

void test_settings(void) {
	each_line("scaler", check_scaler);
	check_scaling();
	check_sizes();
	check_state();
	check_first();
	check_norm();
	check_missing();
	check_scopes();
	check_kept();
	check_tables();
	check_nothing();
	check_eval();
	check_hessian();
}
