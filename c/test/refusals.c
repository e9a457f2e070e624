/* What optimizers refuse, and with what words. */
#include "test.h"

#include <math.h>
#include <string.h>

static lockstep_error error;

static void refused(lockstep_status status, const char *want) {
	CHECK(status == LOCKSTEP_BAD_ARGUMENT && error.status == status && strstr(error.message, want), "refused with \"%s\" (%s), want: %s",
		status ? error.message : "", lockstep_message(status), want);
	memset(&error, 0, sizeof error);
}

/* An optimizer that is refused is none, and frees what it had. */
static void refused_new(const lockstep_group *groups, size_t group_count, const lockstep_tensor *tensors, size_t count, const char *want) {
	lockstep_optimizer *o = (lockstep_optimizer *)&error;
	refused(lockstep_optimizer_new(groups, group_count, tensors, count, &o, &error), want);
	CHECK(!o, "an optimizer was made");
	CHECK(lockstep_optimizer_new(groups, group_count, tensors, count, &o, NULL) == LOCKSTEP_BAD_ARGUMENT, "not refused without an error");
}

static void check_line(const line *l) {
	options o = read_options(l, 3);
	lockstep_group g = {o.rule->name, o.bytes, o.rule->size};
	char want[100];
	snprintf(want, sizeof want, "%s is %s", l->words[1], l->words[2]);
	refused_new(&g, 1, NULL, 0, want);
	CHECK(lockstep_slots(&g, NULL, 0) == 0, "refused options have slots");
}

static options adam(void) {
	static line l = {.words = {"Adam", "lr", "0.001", "beta1", "0.9", "beta2", "0.999", "eps", "1e-8"}, .count = 9};
	return read_options(&l, 0);
}

static void check_groups(void) {
	options good = adam(), bad = adam();
	set_option(&bad, "lr", -1);
	char newer[600] = {0};
	memcpy(newer, good.bytes, good.rule->size);
	newer[599] = 1;
	lockstep_group unknown = {"Adamant", good.bytes, good.rule->size}, none = {NULL, good.bytes, good.rule->size};
	lockstep_group without = {"Adam", NULL, good.rule->size}, too_new = {"Adam", newer, sizeof newer};
	lockstep_group two[] = {{"Adam", good.bytes, good.rule->size}, {"Adam", bad.bytes, bad.rule->size}};
	refused_new(&unknown, 1, NULL, 0, "rule is Adamant, want");
	refused_new(&none, 1, NULL, 0, "rule is NULL");
	refused_new(&without, 1, NULL, 0, "options is NULL");
	refused_new(&too_new, 1, NULL, 0, "size is 600, want at most");
	refused_new(two + 1, 1, NULL, 0, "lr is -1, want");
	refused_new(two, 2, NULL, 0, "groups[1]: lr is -1, want");
	refused_new(NULL, 1, NULL, 0, "groups is NULL");
	refused_new(two, 1, NULL, 1, "tensors is NULL");
}

static void check_tensors(void) {
	options o = adam();
	lockstep_group g = {"Adam", o.bytes, o.rule->size};
	float m[3] = {0}, v[3] = {0, 0, -1}, nan[3] = {0, NAN, 0};
	lockstep_tensor uneven = {.size = 12, .columns = 5};
	refused_new(&g, 1, &uneven, 1, "tensors[0].columns is 5, want 0, or a divisor of the tensor's size, 12");
	float *missing[] = {m, NULL}, *negative[] = {m, v}, *not_finite[] = {nan, m}, *same[] = {m, m};
	lockstep_tensor huge[] = {{.size = 1}, {.size = SIZE_MAX / 8}}, group[] = {{.size = 1}, {.size = 1, .group = 1}};
	lockstep_tensor state[] = {{.size = 3, .state = missing, .name = "bias"}, {.size = 3, .state = negative, .name = "bias"},
		{.size = 3, .state = not_finite}, {.size = 3, .state = same}};
	options muon = {0};
	CHECK(!lockstep_preset("torch", "Muon", muon.bytes, sizeof muon.bytes, &muon.rule), "no Muon");
	lockstep_group groups[] = {g, {"Muon", muon.bytes, muon.rule->size}};
	lockstep_tensor vectors[] = {{.size = 3}, {.group = 1}, {.size = 4, .columns = 2, .group = 1}, {.size = 5, .group = 1}};
	refused_new(groups, 2, vectors, 4, "tensors[3].columns is 0, want those of a matrix: the muon rule has no step of vectors");
	refused_new(&g, 1, huge, 2, "tensors[1].size is");
	refused_new(&g, 1, group, 2, "tensors[1].group is 1, want the index of one of 1 groups");
	refused_new(&g, 1, &state[0], 1, "the state v of tensor 0 (bias) is NULL, want a buffer of 3 elements");
	refused_new(&g, 1, &state[1], 1, "element 2 of the state v of tensor 0 (bias) is -1, want a finite number of at least 0");
	refused_new(&g, 1, &state[2], 1, "element 1 of the state m of tensor 0 is");
	refused_new(&g, 1, &state[3], 1, "of tensor 0 is 3 elements at 0x");
}

static lockstep_optimizer *two_tensors(options *o) {
	lockstep_group g = {"Adam", o->bytes, o->rule->size};
	lockstep_tensor tensors[] = {{.name = "weights", .size = 3}, {.name = "bias", .size = 2}};
	lockstep_optimizer *made;
	CHECK(!lockstep_optimizer_new(&g, 1, tensors, 2, &made, &error), "%s", error.message);
	return made;
}

/* SOAP's options may change, but for those that make other state. */
static void check_lengths(void) {
	options o = {0};
	CHECK(!lockstep_preset("textbook", "SOAP", o.bytes, sizeof o.bytes, &o.rule), "no SOAP");
	lockstep_group g = {"SOAP", o.bytes, o.rule->size};
	lockstep_tensor tensors[] = {{.size = 5}, {.size = 12, .columns = 4}};
	lockstep_optimizer *made;
	CHECK(!lockstep_optimizer_new(&g, 1, tensors, 2, &made, &error), "%s", error.message);
	CHECK(lockstep_optimizer_state_len(made, 1, "left") == 9 && lockstep_optimizer_state_len(made, 1, "right_basis") == 16, "pairs of other lengths");
	set_option(&o, "max_precond_dim", 4);
	set_option(&o, "beta1", 0.5);
	CHECK(!lockstep_optimizer_set_options(made, 0, o.bytes, o.rule->size, &error), "%s", error.message);
	set_option(&o, "max_precond_dim", 3);
	refused(lockstep_optimizer_set_options(made, 0, o.bytes, o.rule->size, &error), "options is those of a rule whose state of tensor 1 is of other lengths");
	lockstep_optimizer_free(made);
	CHECK(!lockstep_optimizer_new(&g, 1, tensors, 2, &made, &error), "%s", error.message);
	CHECK(lockstep_optimizer_state_len(made, 1, "left") == 9 && lockstep_optimizer_state_len(made, 1, "right") == 0, "a side that is too long");
	lockstep_optimizer_free(made);
}

static void check_settings(void) {
	options good = adam(), bad = adam(), other = adam();
	set_option(&bad, "beta1", 1);
	set_option(&other, "amsgrad", 1);
	lockstep_optimizer *o = two_tensors(&good);
	refused(lockstep_optimizer_set_lr(o, 1, 1, &error), "group is 1, want the index of one of 1");
	refused(lockstep_optimizer_set_lr(o, 0, -2, &error), "lr is -2, want");
	refused(lockstep_optimizer_set_lr(o, 0, NAN, &error), "lr is ");
	CHECK(lockstep_optimizer_lr(o, 0) == 0.001, "a refused rate was set");
	refused(lockstep_optimizer_set_options(o, 1, good.bytes, good.rule->size, &error), "group is 1");
	refused(lockstep_optimizer_set_options(o, 0, NULL, good.rule->size, &error), "options is NULL");
	refused(lockstep_optimizer_set_options(o, 0, bad.bytes, bad.rule->size, &error), "beta1 is 1, want");
	refused(lockstep_optimizer_set_options(o, 0, other.bytes, other.rule->size, &error), "options is those of amsgrad, want those of adam");
	refused(lockstep_optimizer_set_grad_scale(o, 0, &error), "scale is 0, want");
	refused(lockstep_optimizer_set_grad_scale(o, 0x1p-150, &error), "scale is ");
	refused(lockstep_optimizer_set_grad_scale(o, INFINITY, &error), "scale is inf");
	double norm;
	refused(lockstep_optimizer_measure(o, NULL, NULL, &norm, &error), "grads is NULL, want");
	refused(lockstep_optimizer_set_max_norm(o, -1, &error), "max_norm is -1, want");
	refused(lockstep_optimizer_set_max_norm(o, NAN, &error), "max_norm is ");
	refused(lockstep_optimizer_set_max_value(o, -1, &error), "limit is -1, want");
	refused(lockstep_optimizer_set_max_value(o, 1e39, &error), "limit is 1e+39, want");
	refused(lockstep_optimizer_set_max_value(o, NAN, &error), "limit is ");
	refused(lockstep_optimizer_set_max_tensor_norm(o, -1, &error), "max_tensor_norm is -1, want");
	refused(lockstep_optimizer_set_policy(o, (lockstep_policy)3, &error), "policy is 3, want");
	CHECK(!lockstep_optimizer_set_max_norm(o, 1, &error), "%s", error.message);
	refused(lockstep_optimizer_set_max_tensor_norm(o, 1, &error), "max_tensor_norm is 1, want 0 while");
	CHECK(!lockstep_optimizer_set_max_norm(o, INFINITY, &error) && !lockstep_optimizer_set_max_tensor_norm(o, 1, &error), "%s", error.message);
	refused(lockstep_optimizer_set_max_norm(o, 1, &error), "max_norm is 1, want 0 while");
	refused(lockstep_optimizer_begin(o, -1, &error), "max_tensor_norm is set, want 0 in a step");
	CHECK(!lockstep_optimizer_set_max_tensor_norm(o, INFINITY, &error) && !lockstep_optimizer_set_policy(o, LOCKSTEP_SKIP, &error), "%s", error.message);
	refused(lockstep_optimizer_begin(o, -1, &error), "policy is to skip or refuse, want");
	refused(lockstep_optimizer_set_steps(o, 2, 1, &error), "tensor is 2, want the index of one of 2");
	refused(lockstep_optimizer_set_steps(o, 1, -1, &error), "steps is -1, want");
	refused(lockstep_optimizer_set_steps(o, 1, INT64_MAX, &error), "steps is 9223372036854775807, want");
	CHECK(lockstep_optimizer_set_lr(o, 0, -1, NULL) == LOCKSTEP_BAD_ARGUMENT, "not refused without an error");
	CHECK(!lockstep_optimizer_set_policy(o, LOCKSTEP_PROPAGATE, &error) && !lockstep_optimizer_begin(o, -1, &error), "%s", error.message);
	refused(lockstep_optimizer_set_max_value(o, 1, &error), "step is begun, want");
	refused(lockstep_optimizer_set_max_tensor_norm(o, 1, &error), "step is begun, want");
	refused(lockstep_optimizer_set_policy(o, LOCKSTEP_SKIP, &error), "step is begun, want");
	lockstep_optimizer_free(o);
}

static void check_steps(void) {
	options good = adam();
	lockstep_optimizer *o = two_tensors(&good);
	float p[5] = {1, 2, 3, 4, 5}, g[5] = {1, 1, 1, 1, 1}, before[5];
	float *params[] = {p, p + 3}, *hole[] = {p, NULL}, *crossed[] = {p, p + 2};
	const float *grads[] = {g, g + 3}, *own[] = {p, g}, *beyond[] = {g, p + 2};
	memcpy(before, p, sizeof p);
	refused(lockstep_optimizer_step(o, NULL, grads, NULL, &error), "params is NULL");
	refused(lockstep_optimizer_step(o, params, NULL, NULL, &error), "grads is NULL");
	refused(lockstep_optimizer_step(o, hole, grads, NULL, &error), "params[1] (bias) is NULL, want 2 parameters");
	refused(lockstep_optimizer_step(o, crossed, grads, NULL, &error), "params of tensor 0 (weights) is 3 elements at 0x");
	refused(lockstep_optimizer_step(o, params, own, NULL, &error), "grads of tensor 0 (weights) is 3 elements at 0x");
	refused(lockstep_optimizer_step(o, params, beyond, NULL, &error), "apart from params of tensor 0 (weights) at 0x");
	CHECK(!memcmp(before, p, sizeof p) && lockstep_optimizer_steps(o, 0) == 0, "a refused step has changed something");
	CHECK(!lockstep_optimizer_step(o, params, grads, NULL, &error) && lockstep_optimizer_steps(o, 1) == 1, "%s", error.message);
	lockstep_optimizer_free(o);
}

/* Gradients that are not finite, and a policy that refuses them. */
static void check_policy(void) {
	options good = adam();
	lockstep_optimizer *o = two_tensors(&good);
	float p[5] = {1, 2, 3, 4, 5}, g[5] = {1, 1, 1, NAN, 0x1p64f}, before[5], *params[] = {p, p + 3};
	const float *grads[] = {g, g + 3};
	memcpy(before, p, sizeof p);
	CHECK(!lockstep_optimizer_set_policy(o, LOCKSTEP_REFUSE, &error), "%s", error.message);
	for (int k = 1; k < 3; k++) {
		CHECK(lockstep_optimizer_step(o, params, grads, NULL, &error) == LOCKSTEP_NON_FINITE && error.status == LOCKSTEP_NON_FINITE, "not refused");
		CHECK(!strcmp(error.message, "gradients have 2 elements that are NaN or infinite, or will be once they are scaled or squared, the first in tensor 1 (bias)"), "%s", error.message);
		CHECK(lockstep_optimizer_skipped(o) == k && lockstep_optimizer_non_finite(o) == 2 && !lockstep_optimizer_steps(o, 0) && !memcmp(before, p, sizeof p), "a refused step has changed something");
	}
	CHECK(!lockstep_optimizer_set_policy(o, LOCKSTEP_SKIP, &error) && !lockstep_optimizer_step(o, params, grads, NULL, &error), "%s", error.message);
	CHECK(lockstep_optimizer_skipped(o) == 3 && !memcmp(before, p, sizeof p), "a step was not skipped");
	g[3] = g[4] = 1;
	CHECK(!lockstep_optimizer_step(o, params, grads, NULL, &error) && lockstep_optimizer_steps(o, 0) == 1 && !lockstep_optimizer_non_finite(o), "%s", error.message);
	CHECK(lockstep_optimizer_skipped(o) == 3, "a step was skipped");
	memset(&error, 0, sizeof error);
	lockstep_optimizer_free(o);
}

void test_refusals(void) {
	each_line("refused", check_line);
	check_groups();
	check_tensors();
	check_lengths();
	check_settings();
	check_steps();
	check_policy();
}
