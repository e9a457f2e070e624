/* AdamW over two tensors, by its kernel: usage: adamw. A caller of kernels works out the
 * scalars of a step itself, in double, and has each rounded once. */
#include <lockstep.h>

#include <math.h>
#include <stdio.h>

/* The scalars of step t, from 1 on, as PyTorch defines AdamW. */
static lockstep_adam_scalars scalars(int t, double lr, double beta1, double beta2, double eps, double decay) {
	double root = sqrt(1 - pow(beta2, t));
	lockstep_adam_scalars c = {
		.scale = 1,
		.decay = (float)(lr * decay),
		.weight1 = lockstep_weight(beta1),
		.beta2 = (float)beta2,
		.root2 = (float)sqrt(1 - beta2),
		.eps = (float)(eps * root),
		.step = (float)(lr * root / (1 - pow(beta1, t))),
	};
	return c;
}

/* The gradient of ½(p - 3)². */
static void gradient(float *g, const float *p, size_t n) {
	for (size_t i = 0; i < n; i++) g[i] = p[i] - 3;
}

int main(void) {
	enum { N = 100, M = 7 };
	static float p[N + M], g[N + M], m[N + M], v[N + M];
	lockstep_buffer list[] = {
		{p, N, 0}, {g, N, 0}, {m, N, 0}, {v, N, 0},
		{p + N, M, 0}, {g + N, M, 0}, {m + N, M, 0}, {v + N, M, 0},
	};
	for (int t = 1; t <= 2000; t++) {
		gradient(g, p, N + M);
		lockstep_adam_scalars c = scalars(t, 0.01, 0.9, 0.999, 1e-8, 1e-4);
		lockstep_status status = lockstep_kernel_adam(NULL, list, 8, &c);
		if (status) {
			fprintf(stderr, "%s\n", lockstep_message(status));
			return 1;
		}
	}
	char text[400];
	lockstep_info(text, sizeof text);
	printf("%s\np = %a and %a\n", text, p[0], p[N + M - 1]);
	return 0;
}
