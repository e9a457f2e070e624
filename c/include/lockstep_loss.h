/*
 * Losses with their gradients in one pass over float32 buffers: of predictions, penalties of
 * parameters, and linear models. They give the bits of Go's package loss: losses are added in
 * double in a fixed order, so that a result depends on the inputs alone.
 *
 *	lockstep_predictions p = {.pred = logits, .target = y, .n = n, .grad = grad};
 *	double value;
 *	lockstep_error error;
 *	if (lockstep_loss_bce_with_logits(NULL, &p, 1, &value, &error)) fprintf(stderr, "%s\n", error.message);
 *
 * Where a table is an argument, NULL stands for the one in use. What is refused has written
 * nothing, and says why in the error, of which the caller may give NULL. Any function may be
 * called from any number of threads; only lockstep_linear_new allocates, and
 * lockstep_linear_gradient_shared where it says so. Like optimizers they compute in the usual mode
 * of arithmetic.
 */
#ifndef LOCKSTEP_LOSS_H
#define LOCKSTEP_LOSS_H

#include "lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of the losses of the elements. */
typedef enum lockstep_reduction {
	LOCKSTEP_REDUCE_MEAN, /* their mean; the mean of no elements is NaN */
	LOCKSTEP_REDUCE_SUM,
	LOCKSTEP_REDUCE_NONE, /* themselves, one by one: the value is their sum and the gradient that of the sum */
	LOCKSTEP_REDUCE_BATCH_MEAN,   /* their sum divided by rows; of losses of rows by all rows */
	LOCKSTEP_REDUCE_WEIGHTED_MEAN /* their sum divided by that of the weights; where that is 0, NaN, and the gradient 0 */
} lockstep_reduction;

/*
 * Predictions, targets, and where what is computed goes. Numbers are not looked at: a NaN
 * reaches the value and its own loss and gradient, and a target that the loss is not made for
 * goes through the formula like any other. What is written overlaps nothing else.
 */
typedef struct lockstep_predictions {
	const float *pred, *target; /* n elements each */
	size_t n;
	lockstep_reduction reduction;
	float *grad; /* of the value, by pred; NULL if it is not wanted */
	float *each; /* the losses of the elements; NULL, but for LOCKSTEP_REDUCE_NONE, if they are not wanted */

	/* Of each element, or if there are as many as rows of each row; what has the weight 0 counts
	 * for nothing, even NaN. NULL stands for 1. The mean of PyTorch's mse_loss and l1_loss with
	 * weights is LOCKSTEP_REDUCE_WEIGHTED_MEAN, that of its other losses LOCKSTEP_REDUCE_MEAN. */
	const float *weight;
	size_t weights;
	size_t rows; /* of equal length; for weights of rows, and for LOCKSTEP_REDUCE_BATCH_MEAN */

	const double *grad_scale; /* what the gradient is multiplied by, and the value is not; NULL stands for 1 */
	double smoothing; /* of binary cross-entropies and focal losses, from 0 to 1: targets are target·(1 - smoothing) + ½smoothing */
	lockstep_pool *pool; /* whose threads share 262144 elements or more, with the same bits; NULL for the calling thread alone */
} lockstep_predictions;

/* The squared error (pred - target)². The value is of squares in double; the loss of an
 * element is infinite where float does not hold it. */
LOCKSTEP_API lockstep_status lockstep_loss_mse(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error);

/* How a cross-entropy keeps the logarithm of 0 finite. */
typedef enum lockstep_clamp {
	LOCKSTEP_CLAMP_LOG,        /* logarithms stay above -100 and the gradient's divisor above 1e-12, as in PyTorch */
	LOCKSTEP_CLAMP_PROBABILITY /* probabilities are clipped to [1e-7, 1-1e-7], and outside the gradient is 0, as in Keras */
} lockstep_clamp;

/*
 * The binary cross-entropy of probabilities, -target·log pred - (1-target)·log(1-pred). A
 * prediction outside of [0, 1] makes the value, its own loss and its own gradient NaN; with
 * LOCKSTEP_CLAMP_PROBABILITY it counts as the nearer of 0 and 1.
 */
LOCKSTEP_API lockstep_status lockstep_loss_bce(const lockstep_table *table, const lockstep_predictions *p, lockstep_clamp clamp, double *value, lockstep_error *error);

/*
 * The binary cross-entropy of σ(pred), right to a few units in the last place for any
 * prediction. pos_weight multiplies the loss of positive targets: usually 1, at least 0.
 */
LOCKSTEP_API lockstep_status lockstep_loss_bce_with_logits(const lockstep_table *table, const lockstep_predictions *p, double pos_weight, double *value, lockstep_error *error);

/* lockstep_loss_bce_with_logits with a pos_weight for each of so many classes, which a row of
 * predictions has one after another; finite, at least 0. Targets are from 0 to 1. */
LOCKSTEP_API lockstep_status lockstep_loss_bce_with_class_logits(const lockstep_table *table, const lockstep_predictions *p, const float *pos_weights, size_t classes, double *value, lockstep_error *error);

/* |pred - target|, whose gradient is 0 where it is. */
LOCKSTEP_API lockstep_status lockstep_loss_mae(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error);

/* ½d², or delta·(|d| - ½delta) beyond a difference of delta, which is above 0. */
LOCKSTEP_API lockstep_status lockstep_loss_huber(const lockstep_table *table, const lockstep_predictions *p, double delta, double *value, lockstep_error *error);

/* ½d²/beta, or |d| - ½beta from a difference of beta on, which is 0 or at least 2⁻¹²⁶. */
LOCKSTEP_API lockstep_status lockstep_loss_smooth_l1(const lockstep_table *table, const lockstep_predictions *p, double beta, double *value, lockstep_error *error);

/* The pinball loss: level·d for d = target - pred of at least 0, (level - 1)·d below. The level
 * is between 0 and 1. */
LOCKSTEP_API lockstep_status lockstep_loss_quantile(const lockstep_table *table, const lockstep_predictions *p, double level, double *value, lockstep_error *error);

/* log(cosh(pred - target)), right to a few units in the last place. */
LOCKSTEP_API lockstep_status lockstep_loss_log_cosh(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error);

/* log(1 + e^(-target·pred)), for targets of 1 and -1. */
LOCKSTEP_API lockstep_status lockstep_loss_soft_margin(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error);

/*
 * The negative log-likelihood of counts: e^pred - target·pred, or where predictions are rates
 * and not their logarithms pred - target·log(pred + eps); if it is to be full, with Stirling's
 * approximation of log target! for targets above 1. PyTorch's eps is 1e-8, Keras' 1e-7.
 */
LOCKSTEP_API lockstep_status lockstep_loss_poisson_nll(const lockstep_table *table, const lockstep_predictions *p, int rates, double eps, int full, double *value, lockstep_error *error);

/*
 * The negative log-likelihood of targets of a normal distribution, ½(log v + (pred - target)²/v),
 * where v is the variance of the element and at least eps, which is above 0; if it is to be full,
 * with ½log 2π. The gradient by the variance, which is stored unless grad_variance is NULL, does
 * not know of eps, as in PyTorch, whose eps is 1e-6.
 */
LOCKSTEP_API lockstep_status lockstep_loss_gaussian_nll(const lockstep_table *table, const lockstep_predictions *p, const float *variance, float *grad_variance, double eps, int full, double *value, lockstep_error *error);

/*
 * The divergence of the distribution target from the one of which pred has the logarithms of
 * probabilities, target·(log target - pred), or with log_target e^target·(target - pred).
 */
LOCKSTEP_API lockstep_status lockstep_loss_kl_divergence(const lockstep_table *table, const lockstep_predictions *p, int log_target, double *value, lockstep_error *error);

/* The divergence of the distribution target from pred, probabilities both and clipped to [1e-7, 1],
 * target·log(target/pred), as Keras has it: its mean is LOCKSTEP_REDUCE_BATCH_MEAN. Where pred is
 * clipped the gradient is 0. */
LOCKSTEP_API lockstep_status lockstep_loss_kl_divergence_of_probabilities(const lockstep_table *table, const lockstep_predictions *p, double *value, lockstep_error *error);

/*
 * The binary cross-entropy of σ(pred) times the power gamma, from 0 to 1000, of the probability
 * of the wrong class; times alpha for positive targets and 1 - alpha for negative ones unless
 * alpha is NULL. Targets may be smoothed, and alpha goes by what comes of it.
 */
LOCKSTEP_API lockstep_status lockstep_loss_focal(const lockstep_table *table, const lockstep_predictions *p, double gamma, const double *alpha, double *value, lockstep_error *error);

/*
 * lockstep_loss_focal of probabilities: Keras'. Those of the cross-entropy are clipped to [1e-7, 1-1e-7], where it has the gradient 0, and that of
 * the wrong class is not, but is at least 2^-64. A prediction outside of [0, 1] counts as the nearer
 * of 0 and 1 and has the gradient 0.
 */
LOCKSTEP_API lockstep_status lockstep_loss_focal_of_probabilities(const lockstep_table *table, const lockstep_predictions *p, double gamma, const double *alpha, double *value, lockstep_error *error);

/* Which numbers stand for the two classes of a hinge loss. */
typedef enum lockstep_labels {
	LOCKSTEP_PLUS_MINUS, /* 1 and -1 */
	LOCKSTEP_ZERO_ONE    /* 1 and 0 */
} lockstep_labels;

/* max(1 - label·pred, 0). At the kink its gradient is 0. */
LOCKSTEP_API lockstep_status lockstep_loss_hinge(const lockstep_table *table, const lockstep_predictions *p, lockstep_labels labels, double *value, lockstep_error *error);

/* max(1 - label·pred, 0)². */
LOCKSTEP_API lockstep_status lockstep_loss_squared_hinge(const lockstep_table *table, const lockstep_predictions *p, lockstep_labels labels, double *value, lockstep_error *error);

/*
 * The elastic net l1·‖w‖₁ + ½l2·‖w‖² of n parameters, whose gradient is added to grad unless
 * that is NULL. The gradient of |0| is 0. Both coefficients are at least 0, and both parts are
 * computed even where one is 0, so that an infinite parameter shows as NaN.
 */
LOCKSTEP_API lockstep_status lockstep_penalty(const lockstep_table *table, double l1, double l2, const float *w, size_t n, float *grad, double *value, lockstep_error *error);

/* Which cross-entropy of rows it is. Zeros stand for PyTorch's defaults, but for the label that
 * is ignored. */
typedef struct lockstep_cross_entropy_options {
	/* The mean of labels is over the sum of the weights of the classes of all rows that are not
	 * ignored, the mean of targets over the rows. No LOCKSTEP_REDUCE_WEIGHTED_MEAN. */
	lockstep_reduction reduction;
	const float *class_weights; /* finite, at least 0, one for each class; NULL stands for 1 each */
	int ignores;                /* whether rows of a label cost nothing and have the gradient 0 */
	int64_t ignored;            /* that label, which may be none of the classes: -100 in PyTorch */
	double smoothing;           /* the part of each target, from 0 to 1, that is spread evenly over all classes */
	double z_loss;              /* factor of the square of the logarithm of each row's sum of exponentials, at least 0 */
	int empty_is_zero;          /* whether a mean over rows none of which counts is 0 and not NaN; its gradient is 0 */
} lockstep_cross_entropy_options;

/* Rows of logits, what is right, and where what is computed goes. */
typedef struct lockstep_logits {
	const float *logits; /* rows × classes, row-major without gaps */
	size_t rows, classes; /* 1 to 1048576 classes */

	/* One of these is NULL. */
	const int64_t *labels; /* the class of each row, from 0, or the label that is ignored */
	const float *targets;  /* the probability of each class in each row; they need not add up to 1 */

	const float *weights; /* factors of the rows' losses, finite, at least 0; NULL stands for 1 each. No mean is divided by them */
	float *grad;          /* of the value, by logits: logits itself, or apart; NULL if it is not wanted */
	float *each;          /* the losses of the rows; NULL, but for LOCKSTEP_REDUCE_NONE, if they are not wanted */
} lockstep_logits;

/*
 * The cross-entropy of the softmax of each row: with labels y, smoothing s and weights w
 *
 *	(1-s)·w[y]·(l - z[y]) + (s/classes)·Σ w[c]·(l - z[c]) + z_loss·l², l = log Σ e^z[c]
 *
 * and with targets t in their place Σ w[c]·t'[c]·(l - z[c]) + z_loss·l², t' = (1-s)·t +
 * s/classes. Go's loss.CrossEntropy says more of it. scale is a factor of the gradient. A label
 * that is neither a class nor ignored is refused. options may be NULL, and so may pool, whose
 * threads change no bit: rows of fewer than 262144 logits in all stay on the calling thread.
 */
LOCKSTEP_API lockstep_status lockstep_loss_cross_entropy(const lockstep_table *table, const lockstep_cross_entropy_options *options, const lockstep_logits *rows,
	double scale, lockstep_pool *pool, double *value, lockstep_error *error);

/* A loss of rows of numbers z of classes, of which y is the right one and w[y] its weight: Go's
 * loss.RowModel says more of each. */
typedef enum lockstep_row_model {
	LOCKSTEP_ROW_NLL = 1, /* -w[y]·z[y], z logarithms of probabilities; the mean is over the sum of w[y], of the others over the rows */
	LOCKSTEP_ROW_MULTI_MARGIN, /* w[y]·Σ max(0, margin - z[y] + z[c])/classes over the other classes c, or of the squares */
	LOCKSTEP_ROW_CRAMMER_SINGER, /* w[y]·max(0, margin - z[y] + z[c]) of the largest other class, the first of several */
	LOCKSTEP_ROW_CATEGORICAL_HINGE, /* w[y]·max(0, margin - z[y] + max(0, z[c])) of that */
	LOCKSTEP_ROW_SOFTMAX_FOCAL /* -w[y]·(1-p)^gamma·log p, p the softmax's probability of y, or of all classes c that sum with the targets t, -Σ w[c]·t[c]·(1-p[c])^gamma·log p[c] */
} lockstep_row_model;

/* Which loss of rows and labels it is. */
typedef struct lockstep_row_loss_options {
	lockstep_row_model model;
	lockstep_reduction reduction; /* LOCKSTEP_REDUCE_MEAN is over rows that are not ignored; no LOCKSTEP_REDUCE_WEIGHTED_MEAN */
	const float *class_weights;   /* finite, at least 0, one for each class; rows of what has the weight 0 cost nothing; NULL stands for 1 each */
	int ignores;                  /* whether rows of a label cost nothing and have the gradient 0 */
	int64_t ignored;              /* that label, which may be none of the classes */
	int empty_is_zero;            /* whether a mean over rows none of which counts is 0 and not NaN */
	const double *margin;         /* of the three losses that have one; NULL stands for 1 */
	int squared;                  /* of LOCKSTEP_ROW_MULTI_MARGIN */
	double gamma;                 /* of LOCKSTEP_ROW_SOFTMAX_FOCAL, from 0 to 1000; usually 2 */

	/* Whether rows of LOCKSTEP_ROW_SOFTMAX_FOCAL are probabilities, not logits. Each is divided by its
	 * sum and clipped to q from 1e-7 to 1-1e-7, where it is constant then, as Keras does: the loss is
	 * -Σ w[c]·t[c]·(1-q[c])^gamma·log q[c], t 1 of the label, or the targets. */
	int probabilities;
	double smoothing; /* that of lockstep_cross_entropy_options, of LOCKSTEP_ROW_SOFTMAX_FOCAL alone */
} lockstep_row_loss_options;

/*
 * A loss of each row, of labels alone but LOCKSTEP_ROW_SOFTMAX_FOCAL, with what
 * lockstep_loss_cross_entropy says of rows, scale and pool. Where a margin is just kept its gradient is 0. A row whose loss is NaN, because
 * something in it is, has the gradient NaN; that of LOCKSTEP_ROW_NLL is the label's weight, negative,
 * whatever the numbers are, of which the label's alone counts.
 */
LOCKSTEP_API lockstep_status lockstep_loss_of_rows(const lockstep_table *table, const lockstep_row_loss_options *options, const lockstep_logits *rows,
	double scale, lockstep_pool *pool, double *value, lockstep_error *error);

/*
 * The exponentials of each row of x, row-major without gaps and of 1 to 1048576 columns, divided by
 * their sum: Go's loss.Softmax says what becomes of rows of nothing. y is x itself or apart from it.
 * Threads of the pool, which may be NULL, share 262144 elements or more.
 */
LOCKSTEP_API lockstep_status lockstep_loss_softmax(const lockstep_table *table, const float *x, size_t rows, size_t columns, float *y, lockstep_pool *pool, lockstep_error *error);

/* Their logarithms, which LOCKSTEP_ROW_NLL takes: x less the largest of the row, less the logarithm of
 * the sum of the exponentials below that. */
LOCKSTEP_API lockstep_status lockstep_loss_log_softmax(const lockstep_table *table, const float *x, size_t rows, size_t columns, float *y, lockstep_pool *pool, lockstep_error *error);

/* Makes of grad, the gradient by what lockstep_loss_log_softmax has stored in y, that by its x. */
LOCKSTEP_API lockstep_status lockstep_loss_log_softmax_grad(const lockstep_table *table, const float *y, size_t rows, size_t columns, float *grad, lockstep_pool *pool, lockstep_error *error);

/* The logarithm of the sum of the exponentials of each row, which go to as many elements of y. */
LOCKSTEP_API lockstep_status lockstep_loss_log_sum_exp(const lockstep_table *table, const float *x, size_t rows, size_t columns, float *y, lockstep_pool *pool, lockstep_error *error);

/* Pairs of rows, and where what is computed goes: x, y and their gradients are row-major without
 * gaps. What is written overlaps nothing else. */
typedef struct lockstep_pairs {
	const float *x, *y;
	size_t rows, columns;  /* 1 to 1048576 columns, if there are rows */
	const float *labels;   /* 1 or -1 of each row; NULL stands for 1 each */
	const float *weights;  /* factors of the rows' losses, finite, at least 0; NULL stands for 1 each. No mean is divided by them */
	lockstep_reduction reduction; /* any but LOCKSTEP_REDUCE_WEIGHTED_MEAN */
	float *grad_x, *grad_y; /* of the value; NULL if they are not wanted */
	float *each;            /* the losses of the rows; NULL, but for LOCKSTEP_REDUCE_NONE, if they are not wanted */
	lockstep_pool *pool;    /* whose threads share 262144 elements or more, with the same bits; NULL for the calling thread alone */
} lockstep_pairs;

/*
 * 1 - c of the label 1 and max(0, c - margin) of -1, with c = x·y/√((‖x‖² + eps)(‖y‖² + eps)). The
 * margin is from -1 to 1 and eps at least 0: 1e-12 in PyTorch. scale is a factor of the gradients.
 */
LOCKSTEP_API lockstep_status lockstep_loss_cosine_embedding(const lockstep_table *table, const lockstep_pairs *pairs, double margin, double eps, double scale, double *value, lockstep_error *error);

/* The loss of a linear model's prediction x·w. */
typedef enum lockstep_model {
	LOCKSTEP_LINEAR_SQUARED,       /* (x·w - y)²: linear regression */
	LOCKSTEP_LINEAR_LOGISTIC,      /* cross-entropy of σ(x·w), y in [0, 1]: logistic regression */
	LOCKSTEP_LINEAR_HINGE,         /* max(1 - y·x·w, 0): linear support vector machine */
	LOCKSTEP_LINEAR_SQUARED_HINGE, /* max(1 - y·x·w, 0)² */
	LOCKSTEP_LINEAR_POISSON,       /* e^(x·w) - y·x·w, y of at least 0: Poisson regression, with the logarithm as its link */
	LOCKSTEP_LINEAR_HUBER,         /* ½d² or delta·(|d| - ½delta), d = x·w - y: robust regression */
	LOCKSTEP_LINEAR_ABSOLUTE,      /* |x·w - y|: least absolute deviations */
	LOCKSTEP_LINEAR_QUANTILE,      /* pinball loss: quantile regression */
	LOCKSTEP_LINEAR_LOG_COSH       /* log(cosh(x·w - y)) */
} lockstep_model;

/*
 * A linear model of so many columns. With an intercept, w and its gradient have one element
 * more, the last one. It belongs to one thread at a time.
 */
typedef struct lockstep_linear lockstep_linear;

/*
 * Makes a model, with all the memory that it needs on one thread. labels are those of y in a
 * hinge model.
 */
LOCKSTEP_API lockstep_status lockstep_linear_new(lockstep_model model, size_t columns, int intercept, lockstep_labels labels,
	lockstep_linear **l, lockstep_error *error);
LOCKSTEP_API void lockstep_linear_free(lockstep_linear *l);

/* Sets the difference up to which LOCKSTEP_LINEAR_HUBER is half of the square, a finite float above
 * 0, 1 at first; other models are refused. */
LOCKSTEP_API lockstep_status lockstep_linear_set_delta(lockstep_linear *l, double delta, lockstep_error *error);

/* Sets the quantile that LOCKSTEP_LINEAR_QUANTILE predicts, between 0 and 1, ½ at first; other
 * models are refused. */
LOCKSTEP_API lockstep_status lockstep_linear_set_level(lockstep_linear *l, double level, lockstep_error *error);

/*
 * The mean loss of w over the rows of x, which is row-major without gaps, with a row for each
 * element of y; its gradient goes to grad. The mean over no rows is NaN, and its gradient 0.
 * A y that the model has no meaning for is refused.
 */
LOCKSTEP_API lockstep_status lockstep_linear_gradient(lockstep_linear *l, const lockstep_table *table, const float *x, const float *y, size_t rows,
	const float *w, float *grad, double *value, lockstep_error *error);

/*
 * lockstep_linear_gradient on the threads of a pool, with the same bits. pool may be NULL: without
 * one the gradient is computed on the calling thread, as are those of matrices of fewer than
 * 1048576 elements, and any that finds its pool taken. Threads have sums of up to 64 parts of the
 * rows to themselves, 12 bytes a column and part, which the model keeps from the first call on
 * that wants so many; a call that has no memory for them stays on its own thread.
 */
LOCKSTEP_API lockstep_status lockstep_linear_gradient_shared(lockstep_linear *l, const lockstep_table *table, const float *x, const float *y, size_t rows,
	const float *w, float *grad, lockstep_pool *pool, double *value, lockstep_error *error);

/* Stores x·w, the intercept included, for each row of x in z. */
LOCKSTEP_API lockstep_status lockstep_linear_predict(lockstep_linear *l, const lockstep_table *table, const float *x, size_t rows,
	const float *w, float *z, lockstep_error *error);

/* Rows of softmax regression, what is right, and where what is computed goes. Matrices are row-major
 * without gaps, and what is written lies apart from all else. */
typedef struct lockstep_softmax_linear {
	const float *x; /* rows × features */
	const float *w; /* classes × features */
	const float *b; /* the intercept of each class; NULL stands for 0 each */
	size_t rows, features, classes; /* 1 to 1048576 classes */

	/* One of these is NULL: see lockstep_logits. */
	const int64_t *labels;
	const float *targets;

	const float *weights; /* factors of the rows' losses, finite, at least 0; NULL stands for 1 each. No mean is divided by them */
	float *grad_w, *grad_b, *grad_x; /* of the value, by w, b and x; NULL where it is not wanted */
	float *each; /* the losses of the rows; NULL, but for LOCKSTEP_REDUCE_NONE, if they are not wanted */
} lockstep_softmax_linear;

/* How many floats of room lockstep_loss_softmax_linear takes on a table (NULL: the one in use) for
 * the sizes and the gradients of a call, whatever else it has: SIZE_MAX if memory has not so many. */
LOCKSTEP_API size_t lockstep_loss_softmax_linear_room(const lockstep_table *table, const lockstep_softmax_linear *p);

/*
 * Softmax regression, also called multinomial logistic regression: the cross-entropy of the softmax
 * of x·wᵀ + b, and its gradients times a scale. The rows of x are taken some hundred at a time, and
 * while they are in the caches their logits are computed, become their gradient in their place, and
 * add to the gradients: x is read from memory once, as long as 256 rows of it are no more than the
 * caches hold. Rows that cost nothing take part in the products too: what is infinite or NaN in theirs
 * makes grad_w NaN. Go's loss.SoftmaxLinear says in which order what is added: the bits are those of
 * lockstep_matmul and lockstep_loss_cross_entropy one after the other, but for the last ones of the
 * value.
 *
 * Nothing is allocated: the room is lockstep_loss_softmax_linear_room floats or more, and lies apart
 * from all else. options may be NULL, and so may pool, whose threads change no bit. A mean over
 * nothing has the gradient 0.
 */
LOCKSTEP_API lockstep_status lockstep_loss_softmax_linear(const lockstep_table *table, const lockstep_cross_entropy_options *options, const lockstep_softmax_linear *p,
	double scale, float *room, size_t room_len, lockstep_pool *pool, double *value, lockstep_error *error);

#ifdef __cplusplus
}
#endif

#endif
