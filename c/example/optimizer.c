/* Logistic regression: usage: optimizer. Two groups of options, a rate that falls, gradients
 * that are clipped, and state by its name. */
#include <lockstep.h>

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 500, COLUMNS = 20, STEPS = 300 };

static float x[ROWS * COLUMNS], labels[ROWS], logits[ROWS], losses[ROWS], slopes[ROWS];
static float weights[COLUMNS], bias[1], weights_grad[COLUMNS], bias_grad[1];

static void check(lockstep_status status, const lockstep_error *error) {
	if (!status) return;
	fprintf(stderr, "%s\n", error->message);
	exit(1);
}

/* Numbers between -1 and 1. */
static float next(void) {
	static unsigned state = 1;
	state = state * 1664525u + 1013904223u;
	return (float)(state >> 8) * 0x1p-23f - 1;
}

/* Points on both sides of a plane, of which some are on the wrong one. */
static void make_data(void) {
	for (int row = 0; row < ROWS; row++) {
		float side = 0.25f;
		for (int k = 0; k < COLUMNS; k++) side += (x[row * COLUMNS + k] = next()) * (float)(k % 5 - 2);
		labels[row] = side + next() > 0;
	}
}

/* The mean loss, and its gradients. */
static double loss(void) {
	double sum[LOCKSTEP_LANES] = {0}, of_bias[LOCKSTEP_LANES] = {0};
	lockstep_buffer forward[] = {{logits, ROWS, 0}, {x, ROWS * COLUMNS, 0}, {weights, COLUMNS, 0}};
	lockstep_buffer entropy[] = {{slopes, ROWS, 0}, {losses, ROWS, 0}, {logits, ROWS, 0}, {labels, ROWS, 0}};
	lockstep_buffer backward[] = {{weights_grad, COLUMNS, 0}, forward[1], {slopes, ROWS, 0}};
	lockstep_bce_with_logits_scalars c = {.scale = 1.0f / ROWS, .positive = 1};
	lockstep_kernel_dots(NULL, forward, 3);
	for (int row = 0; row < ROWS; row++) logits[row] += bias[0];
	lockstep_kernel_bce_with_logits(NULL, entropy, 4, &c, sum);
	for (int k = 0; k < COLUMNS; k++) weights_grad[k] = 0;
	lockstep_kernel_rank_one(NULL, backward, 3);
	lockstep_kernel_sum(NULL, &backward[2], 1, of_bias);
	bias_grad[0] = (float)lockstep_total(of_bias);
	return lockstep_total(sum) / ROWS;
}

/* AdamW, which lets weights decay and the bias not. */
static lockstep_optimizer *make_optimizer(void) {
	lockstep_adam_options decaying, other;
	lockstep_error error;
	lockstep_optimizer *o;
	if (lockstep_preset("torch", "AdamW", &decaying, sizeof decaying, NULL)) exit(1);
	decaying.lr = 0.05;
	other = decaying;
	other.weight_decay = 0;
	lockstep_group groups[] = {{"Adam", &decaying, sizeof decaying}, {"Adam", &other, sizeof other}};
	lockstep_tensor tensors[] = {{.name = "weights", .size = COLUMNS}, {.name = "bias", .size = 1, .group = 1}};
	check(lockstep_optimizer_new(groups, 2, tensors, 2, &o, &error), &error);
	check(lockstep_optimizer_set_max_norm(o, 0.1, &error), &error);
	return o;
}

int main(void) {
	lockstep_optimizer *o = make_optimizer();
	lockstep_error error;
	float *params[] = {weights, bias};
	const float *grads[] = {weights_grad, bias_grad};
	make_data();
	double first = loss(), last = first;
	for (int step = 0; step < STEPS; step++) {
		for (size_t group = 0; group < 2; group++) check(lockstep_optimizer_set_lr(o, group, 0.05 * (STEPS - step) / STEPS, &error), &error);
		check(lockstep_optimizer_step(o, params, grads, NULL, &error), &error);
		last = loss();
	}
	printf("lockstep %s, %s\n", lockstep_version(), lockstep_isa(NULL));
	printf("loss %.4f, then %.4f; w[0] = %a, its v %a, the norm %a\n", first, last, weights[0],
		lockstep_optimizer_state(o, 0, "v")[0], lockstep_optimizer_norm(o));
	lockstep_optimizer_free(o);
	return !(last < first / 2);
}
