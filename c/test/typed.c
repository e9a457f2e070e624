/* Gradients and copies of parameters in 16 bits, beside what trajectories have of them. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;
static void must(lockstep_status status) { CHECK(!status, "refused: %s", error.message); }
static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && strstr(error.message, want), "refused with \"%s\", want: %s", status ? error.message : "", want);
	memset(&error, 0, sizeof error);
}

enum { N = 20000, M = 7, ALL = N + M };
static const lockstep_tensor tensors[] = {{.name = "weights", .size = N}, {.size = M}};
static const lockstep_element bf16[] = {LOCKSTEP_BF16, LOCKSTEP_BF16}, f16[] = {LOCKSTEP_F16, LOCKSTEP_F16}, mixed[] = {LOCKSTEP_F16, LOCKSTEP_FLOAT32};
static float p[ALL], q[ALL], g[ALL];
static uint16_t h[ALL], copies[ALL];

static lockstep_optimizer *make_of(const char *framework, const char *name, const lockstep_tensor *list, size_t count) {
	options o = {0};
	CHECK(!lockstep_preset(framework, name, o.bytes, sizeof o.bytes, &o.rule), "no %s", name);
	set_option(&o, "lr", 0.01);
	lockstep_group group = {o.rule->name, o.bytes, o.rule->size};
	lockstep_optimizer *made;
	must(lockstep_optimizer_new(&group, 1, list, count, &made, &error));
	return made;
}

static lockstep_optimizer *make(void) { return make_of("torch", "AdamW", tensors, 2); }

/* Numbers that both types have. */
static void draw(int number) {
	source s = new_source("typed", number);
	for (size_t i = 0; i < ALL; i++) {
		p[i] = q[i] = ordinary(&s);
		g[i] = ldexpf((float)((int)below(&s, 255) - 127), -(int)below(&s, 8));
	}
}

static const float *cast(const uint16_t *x) { return (const float *)(const void *)x; }

static int is_copy(const uint16_t *copy, lockstep_element element, const float *x, size_t n) {
	static uint16_t want[ALL];
	narrow_to(element, want, x, n);
	return !memcmp(copy, want, n * sizeof *copy);
}

/* Types that change from step to step are those of the same floats, for steps, norms, ranges and losses. */
static void check_turns(void) {
	lockstep_optimizer *a = make(), *b = make();
	float *ps[] = {p, p + N}, *qs[] = {q, q + N};
	const float *floats[] = {g, g + N};
	const lockstep_element *const types[] = {bf16, f16, mixed, NULL};
	draw(0);
	for (int k = 0; k < 2; k++) {
		must(lockstep_optimizer_set_max_norm(k ? b : a, 1, &error));
		must(lockstep_optimizer_set_policy(k ? b : a, LOCKSTEP_SKIP, &error));
	}
	lockstep_loss_scaler s = LOCKSTEP_TORCH_LOSS_SCALER, t = s;
	s.scale = t.scale = 2;
	for (int step = 0; step < 12; step++) {
		const lockstep_element *of = types[step % 4];
		const float *grads[] = {of ? cast(h) : g, of ? cast(h + N) : g + N};
		if (of == mixed) grads[1] = g + N;
		if (of) narrow_to(of[0], h, g, ALL);
		size_t allocated = allocations();
		double norm[2];
		must(lockstep_optimizer_set_grad_elements(a, of, &error));
		must(lockstep_optimizer_measure(a, grads, NULL, &norm[0], &error));
		must(lockstep_optimizer_measure(b, floats, NULL, &norm[1], &error));
		CHECK(norm[0] == norm[1] && norm[0] > 1, "step %d: the norm is %g, want %g", step, norm[0], norm[1]);
		if (step % 3) {
			must(lockstep_optimizer_step(a, ps, grads, NULL, &error));
			must(lockstep_optimizer_step(b, qs, floats, NULL, &error));
		} else {
			must(lockstep_loss_scaler_step(&s, a, ps, grads, NULL, &error));
			must(lockstep_loss_scaler_step(&t, b, qs, floats, NULL, &error));
		}
		CHECK(allocations() == allocated, "a step has allocated");
		CHECK(!memcmp(p, q, sizeof p), "step %d is another", step);
	}
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

/* A gradient of 16 bits may lie where there is no room for floats. */
static void check_gap(void) {
	static union {
		float x[16];
		uint16_t h[32];
	} room;
	const lockstep_tensor two[] = {{.size = 4}, {.size = 4}};
	lockstep_optimizer *o = make_of("torch", "AdamW", two, 2);
	float *params[] = {room.x, room.x + 6};
	const float *grads[] = {cast(room.h + 8), cast(room.h + 20)}, *beside[] = {cast(room.h + 9), cast(room.h + 20)};
	must(lockstep_optimizer_set_grad_elements(o, bf16, &error));
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	refused(lockstep_optimizer_step(o, params, beside, NULL, &error), "grads of tensor 0 is 4 elements of bf16 at ");
	must(lockstep_optimizer_set_grad_elements(o, NULL, &error));
	refused(lockstep_optimizer_step(o, params, grads, NULL, &error), "grads of tensor 0 is 4 elements at ");
	lockstep_optimizer_free(o);
}

static void check_copies(void) {
	lockstep_optimizer *o = make();
	float *params[] = {p, p + N};
	uint16_t *list[] = {copies, NULL}, *both[] = {copies, copies + N};
	const float *grads[] = {g, g + N}, *one[] = {NULL, g + N};
	draw(1);
	refused(lockstep_optimizer_write_copies(o, params, NULL, &error), "copies is none, want those of lockstep_optimizer_set_copies");
	memset(copies, 0x55, sizeof copies);
	must(lockstep_optimizer_set_copies(o, list, bf16, &error));
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(is_copy(copies, LOCKSTEP_BF16, p, N) && copies[N] == 0x5555, "the copy of a step");
	must(lockstep_optimizer_set_copies(o, both, f16, &error));
	must(lockstep_optimizer_step(o, params, one, NULL, &error));
	CHECK(is_copy(copies + N, LOCKSTEP_F16, p + N, M) && is_copy(copies, LOCKSTEP_BF16, p, N), "copies where a tensor is left out");
	refused(lockstep_optimizer_write_copies(o, NULL, NULL, &error), "params is NULL");
	must(lockstep_optimizer_write_copies(o, params, NULL, &error));
	CHECK(is_copy(copies, LOCKSTEP_F16, p, N), "a copy that was written");
	must(lockstep_optimizer_begin(o, -1, &error));
	must(lockstep_optimizer_apply(o, 0, 1000, N - 1000, p + 1000, g + 1000, &error));
	CHECK(is_copy(copies + 1000, LOCKSTEP_F16, p + 1000, N - 1000), "the copy of a range");
	must(lockstep_optimizer_apply(o, 0, 0, 1000, p, g, &error));
	must(lockstep_optimizer_apply(o, 1, 0, M, p + N, g + N, &error));
	refused(lockstep_optimizer_set_copies(o, NULL, NULL, &error), "step is begun");
	refused(lockstep_optimizer_write_copies(o, params, NULL, &error), "step is begun");
	refused(lockstep_optimizer_set_grad_elements(o, NULL, &error), "step is begun");
	must(lockstep_optimizer_end(o, &error));
	must(lockstep_optimizer_set_copies(o, NULL, NULL, &error));
	memset(copies, 0x55, sizeof copies);
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(copies[0] == 0x5555 && !o->copies && o->state_count == 1, "a copy that was given up");
	lockstep_optimizer_free(o);
}

/* Steps on rows copy theirs, and take floats alone. */
static void check_rows(void) {
	enum { COLUMNS = 5, SIZE = 50 };
	const lockstep_tensor table = {.size = SIZE, .columns = COLUMNS};
	const int32_t rows[] = {3, 0, 3};
	for (size_t k = 0; k < 2; k++) {
		lockstep_optimizer *o = make_of(k ? "textbook" : "torch", k ? "RowwiseAdaGrad" : "Adagrad", &table, 1);
		float *params[] = {p};
		uint16_t *list[] = {copies};
		draw(2);
		must(lockstep_optimizer_set_copies(o, list, f16, &error));
		must(lockstep_optimizer_write_copies(o, params, NULL, &error));
		p[9] = 0.5f; /* of a row that the step leaves out */
		must(lockstep_optimizer_step_rows32(o, p, COLUMNS, rows, 3, g, NULL, &error));
		CHECK(!is_copy(copies + 9, LOCKSTEP_F16, p + 9, 1), "a row that was left out is copied");
		p[9] = q[9];
		CHECK(p[0] != q[0] && p[15] != q[15] && is_copy(copies, LOCKSTEP_F16, p, SIZE), "the copy has not the rows of the step");
		must(lockstep_optimizer_set_grad_elements(o, bf16, &error));
		refused(lockstep_optimizer_step_rows32(o, p, COLUMNS, rows, 3, g, NULL, &error), "grads is of bf16, want of float32 with steps on rows");
		lockstep_optimizer_free(o);
	}
}

/* What is refused leaves all as it is. */
static void check_refused(void) {
	lockstep_optimizer *o = make();
	float *params[] = {p, p + N};
	uint16_t *list[] = {copies, copies + N}, *crossed[] = {copies, copies + N - 1}, *in_params[] = {(uint16_t *)(void *)(p + N + 1), NULL};
	uint16_t *in_state[] = {NULL, (uint16_t *)(void *)lockstep_optimizer_state(o, 0, "m")};
	const lockstep_element unknown[] = {LOCKSTEP_BF16, (lockstep_element)7}, floats[] = {LOCKSTEP_FLOAT32, LOCKSTEP_BF16};
	const float *grads[] = {cast(h), cast(h + N)}, *same[] = {cast(h), cast(h + 1)}, *in_copies[] = {cast(copies + 1), cast(h + N)};
	draw(3);
	memcpy(q, p, sizeof p);
	refused(lockstep_optimizer_set_grad_elements(o, unknown, &error), "elements[1] is 7, want LOCKSTEP_FLOAT32, LOCKSTEP_BF16 or LOCKSTEP_F16");
	CHECK(!o->typed, "types that were refused are set");
	refused(lockstep_optimizer_set_copies(o, list, NULL, &error), "elements is NULL");
	refused(lockstep_optimizer_set_copies(o, list, floats, &error), "copies[0] (weights) is of float32, want of bf16 or f16");
	refused(lockstep_optimizer_set_copies(o, list, unknown, &error), "copies[1] is of an unknown type, want of bf16 or f16");
	refused(lockstep_optimizer_set_copies(o, crossed, f16, &error), "copies of tensor 0 (weights) is 20000 elements of f16 at ");
	refused(lockstep_optimizer_set_copies(o, in_state, bf16, &error), "the optimizer's own state");
	CHECK(!o->copies && o->state_count == 1, "copies that were refused are kept");
	must(lockstep_optimizer_set_grad_elements(o, f16, &error));
	must(lockstep_optimizer_set_copies(o, in_params, bf16, &error));
	refused(lockstep_optimizer_step(o, params, grads, NULL, &error), "params of tensor 1 is 7 elements at ");
	refused(lockstep_optimizer_write_copies(o, params, NULL, &error), "apart from copies of tensor 0 (weights) at ");
	CHECK(lockstep_optimizer_set_copies(o, list, mixed, NULL) == LOCKSTEP_BAD_ARGUMENT, "not refused without an error");
	must(lockstep_optimizer_set_copies(o, list, bf16, &error));
	refused(lockstep_optimizer_step(o, params, in_copies, NULL, &error), "grads of tensor 0 (weights) is 20000 elements of f16 at ");
	refused(lockstep_optimizer_set_copies(o, crossed, f16, &error), "copies of tensor 0 (weights) is 20000 elements of f16 at ");
	refused(lockstep_optimizer_step(o, params, in_copies, NULL, &error), "apart from copies of tensor 0 (weights) at ");
	must(lockstep_optimizer_set_zero_grads(o, 1, &error));
	refused(lockstep_optimizer_step(o, params, same, NULL, &error), "grads of tensor 0 (weights) is 20000 elements of f16 at ");
	must(lockstep_optimizer_set_zero_grads(o, 0, &error));
	CHECK(!memcmp(p, q, sizeof p) && !lockstep_optimizer_steps(o, 0), "a step that was refused has written");
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	must(lockstep_optimizer_begin(o, -1, &error));
	refused(lockstep_optimizer_apply(o, 0, 0, 8, p, (float *)(void *)((uint16_t *)(void *)p + 15), &error), "params of tensor 0 (weights) is 8 elements at ");
	must(lockstep_optimizer_apply(o, 0, 0, 8, p, cast((uint16_t *)(void *)p + 16), &error));
	lockstep_optimizer_free(o);
}

/* What was observed is forgotten where types change, and parts are of the tensor's type. */
static void check_observed(void) {
	lockstep_optimizer *o = make();
	float *params[] = {p, p + N};
	const float *grads[] = {cast(h), cast(h + N)}, *floats[] = {g, g + N};
	double norm, want;
	draw(4);
	must(lockstep_optimizer_set_max_norm(o, 1, &error));
	must(lockstep_optimizer_measure(o, floats, NULL, &want, &error));
	must(lockstep_optimizer_observe(o, 0, 0, N, g, &error));
	must(lockstep_optimizer_set_grad_elements(o, f16, &error));
	narrow_to(LOCKSTEP_F16, h, g, ALL);
	must(lockstep_optimizer_observe(o, 0, 5, N - 5, cast(h + 5), &error));
	must(lockstep_optimizer_observe(o, 1, 0, M, cast(h + N), &error));
	refused(lockstep_optimizer_step(o, params, grads, NULL, &error), "tensor 0 (weights) is not observed from 0 on");
	must(lockstep_optimizer_observe(o, 0, 0, 5, cast(h), &error));
	must(lockstep_optimizer_measure(o, grads, NULL, &norm, &error));
	CHECK(norm == want, "the norm is %g, want %g", norm, want);
	must(lockstep_optimizer_step(o, params, grads, NULL, &error));
	CHECK(lockstep_optimizer_norm(o) == want, "the norm is %g, want %g", lockstep_optimizer_norm(o), want);
	lockstep_optimizer_free(o);
}

/* Kernels that convert in their loop leave what blocks do, of rules that have one. */
static void check_fused(void) {
	static const char *const presets[][2] = {{"torch", "AdamW"}, {"textbook", "Momentum"}, {"optax", "Lion"}, {"torch", "Adagrad"}};
	float *ps[] = {p, p + N}, *qs[] = {q, q + N};
	uint16_t *both[] = {copies, copies + N};
	const float *floats[] = {g, g + N}, *grads[] = {cast(h), cast(h + N)};
	for (size_t k = 0; k < sizeof presets / sizeof *presets; k++) {
		lockstep_optimizer *a = make_of(presets[k][0], presets[k][1], tensors, 2), *b = make_of(presets[k][0], presets[k][1], tensors, 2);
		CHECK(a->groups[0].fused[FORM_COPIED], "%s has no kernel of its own for bf16", presets[k][1]);
		must(lockstep_optimizer_set_grad_elements(a, bf16, &error));
		must(lockstep_optimizer_set_copies(a, both, bf16, &error));
		must(lockstep_optimizer_set_zero_grads(a, 1, &error));
		for (int step = 0; step < 20; step++) {
			static float kept[ALL];
			memcpy(kept, p, sizeof kept);
			draw(100 + step); /* which draws parameters, too */
			if (step) memcpy(p, kept, sizeof p), memcpy(q, kept, sizeof q);
			narrow_to(LOCKSTEP_BF16, h, g, ALL);
			memset(copies, 0x55, sizeof copies);
			must(lockstep_optimizer_step(a, ps, grads, NULL, &error));
			must(lockstep_optimizer_step(b, qs, floats, NULL, &error));
			CHECK(!memcmp(p, q, sizeof p) && is_copy(copies, LOCKSTEP_BF16, p, ALL), "step %d of %s is another", step, presets[k][1]);
			for (size_t i = 0; i < ALL; i++) CHECK(h[i] == 0, "gradient %zu is no zero", i);
		}
		const char *names[LOCKSTEP_MAX_SLOTS];
		lockstep_group group = {a->groups[0].rule->name, a->groups[0].options, a->groups[0].rule->size};
		size_t n = lockstep_slots(&group, names, LOCKSTEP_MAX_SLOTS);
		for (size_t j = 0; j < n; j++)
			CHECK(!memcmp(lockstep_optimizer_state(a, 0, names[j]), lockstep_optimizer_state(b, 0, names[j]), N * sizeof(float)), "the state %s of %s is another", names[j], presets[k][1]);
		lockstep_optimizer_free(a);
		lockstep_optimizer_free(b);
	}
}

/* Adam's on floats without a copy, on halves of parameters and with halves of moments leave what blocks do
 * along the same gradients as floats. */
static void check_forms(lockstep_form form) {
	static const lockstep_slot_type moments[] = {{"m", LOCKSTEP_STATE_BF16}, {"v", LOCKSTEP_STATE_BF16}};
	static uint16_t upper[ALL], lower[ALL], states[2][N];
	lockstep_optimizer *a = make(), *b = make();
	float *ps[] = {p, p + N}, *qs[] = {q, q + N};
	uint16_t *uppers[] = {upper, upper + N}, *lowers[] = {lower, lower + N};
	const float *floats[] = {g, g + N}, *grads[] = {cast(h), cast(h + N)};
	const lockstep_buffer halves[] = {{(float *)cast(upper), ALL, 0}, {(float *)cast(lower), ALL, 0}, {p, ALL, 0}}, floats_first[] = {halves[2], halves[0], halves[1]};
	CHECK(a->groups[0].fused[form], "no kernel of form %d", (int)form);
	for (int k = 0; form == FORM_PACKED && k < 2; k++) must(lockstep_optimizer_set_state_types(k ? b : a, moments, 2, 3, &error));
	must(lockstep_optimizer_set_grad_elements(a, bf16, &error));
	must(lockstep_optimizer_set_zero_grads(a, 1, &error));
	draw(50);
	for (int step = 0; step < 20; step++) {
		static float kept[ALL];
		memcpy(kept, p, sizeof kept);
		draw(100 + step);
		memcpy(p, kept, sizeof p), memcpy(q, kept, sizeof q);
		narrow_to(LOCKSTEP_BF16, h, g, ALL);
		if (form == FORM_HALVED) {
			must(lockstep_kernel_split_bf16(NULL, halves, 3));
			must(lockstep_optimizer_step_split(a, uppers, lowers, grads, NULL, &error));
			must(lockstep_kernel_join_bf16(NULL, floats_first, 3));
		} else
			must(lockstep_optimizer_step(a, ps, grads, NULL, &error));
		must(lockstep_optimizer_step(b, qs, floats, NULL, &error));
		CHECK(!memcmp(p, q, sizeof p), "step %d of form %d is another", step, (int)form);
		for (size_t i = 0; i < ALL; i++) CHECK(h[i] == 0, "gradient %zu is no zero", i);
		for (size_t j = 0; j < 2; j++) {
			for (int k = 0; form == FORM_PACKED && k < 2; k++) must(lockstep_optimizer_read_halves(k ? b : a, 0, moments[j].slot, states[k], &error));
			CHECK(form == FORM_PACKED ? !memcmp(states[0], states[1], sizeof states[0]) : !memcmp(lockstep_optimizer_state(a, 0, moments[j].slot), lockstep_optimizer_state(b, 0, moments[j].slot), N * sizeof(float)),
				"step %d of form %d leaves another %s", step, (int)form, moments[j].slot);
		}
	}
	lockstep_optimizer_free(a);
	lockstep_optimizer_free(b);
}

void test_typed(void) {
	check_fused();
	check_forms(FORM_ALONE);
	check_forms(FORM_HALVED);
	check_forms(FORM_PACKED);
	check_turns();
	check_gap();
	check_copies();
	check_rows();
	check_refused();
	check_observed();
}
