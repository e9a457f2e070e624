/*
 * Where the tensors of Python objects lie: what a step over PyTorch's tensors asks of every one
 * of them, in a loop that costs less than Python's.
 *
 * It is compiled against neither Python nor PyTorch. What it calls is handed to it: functions of
 * Python's stable ABI, and that of DLPack's exchange API which says where an object's tensor
 * lies (dltensor_from_py_object_no_sync, since DLPack 1.2). The caller holds the GIL.
 */
#include "lockstep.h"

/* DLTensor of DLPack 1. */
typedef struct dl_tensor {
	void *data;
	struct {
		int32_t type, id;
	} device;
	int32_t dimensions;
	struct {
		uint8_t code, bits;
		uint16_t lanes;
	} type;
	const int64_t *shape, *strides;
	uint64_t offset; /* in bytes */
} dl_tensor;

enum { DL_CPU = 1, DL_FLOAT = 2, DL_BFLOAT = 4 };

/* What is called, in the order of lockstep.torch._walk. */
typedef struct lockstep_python {
	ptrdiff_t (*list_size)(void *list);
	void *(*list_item)(void *list, ptrdiff_t k); /* borrowed */
	void *(*attribute)(void *object, void *name);
	void *(*type_of)(void *object);
	void (*release)(void *object);
	void *(*call)(void *function, void *arguments);
	void (*forget_error)(void);
	int (*disable_collector)(void), (*enable_collector)(void); /* whether it was enabled */
	int (*tensor_of)(void *object, dl_tensor *tensor);
	void *grad;        /* the name of that attribute */
	void *tensor_type; /* of gradients */
	void *change;      /* the function that notes changes of tensors */
} lockstep_python;

/* Parameters, which must be alive, as they were when they were last looked at. */
typedef struct lockstep_walk {
	void *const *params;
	const void *const *data;
	const int64_t *shapes; /* of each its dimensions, then the size and the stride of each */
	size_t count;
	void *const *parts; /* arguments of change: a list of so many parameters each, in order */
	size_t part;
	const void **grads; /* where their gradients are goes here */
	const char *const *hints; /* where PyTorch keeps what it knows of each one's memory, or nearly */
	const uint8_t *elements;  /* their types, of lockstep_element, which their gradients have too */
} lockstep_walk;

LOCKSTEP_API int lockstep_python_same(const lockstep_python *py, void *list, void *const *objects, size_t count);
LOCKSTEP_API int lockstep_python_walk(const lockstep_python *py, const lockstep_walk *walk);

/* Whether a list is that of some objects. */
int lockstep_python_same(const lockstep_python *py, void *list, void *const *objects, size_t count) {
	if (py->list_size(list) != (ptrdiff_t)count) return 0;
	for (size_t k = 0; k < count; k++)
		if (py->list_item(list, (ptrdiff_t)k) != objects[k]) return 0;
	return 1;
}

/* Whether a tensor has a shape, and its elements in the order that goes with it. */
static int has_shape(const dl_tensor *t, const int64_t *shape) {
	if (t->dimensions != shape[0]) return 0;
	for (int32_t d = 0; d < t->dimensions; d++) {
		int64_t size = shape[1 + 2 * d], stride = shape[2 + 2 * d];
		if (t->shape[d] != size || (size != 1 && t->strides[d] != stride)) return 0;
	}
	return 1;
}

static int is_of(const dl_tensor *t, uint8_t element) {
	uint8_t code = element == LOCKSTEP_BF16 ? DL_BFLOAT : DL_FLOAT, bits = element == LOCKSTEP_FLOAT32 ? 32 : 16;
	return t->device.type == DL_CPU && t->type.code == code && t->type.bits == bits && t->type.lanes == 1 && t->offset == 0;
}

/* Finds a tensor of a type and a shape. */
static int find(const lockstep_python *py, void *object, uint8_t element, const int64_t *shape, dl_tensor *t) {
	if (!py->tensor_of(object, t)) return is_of(t, element) && has_shape(t, shape);
	py->forget_error(); /* it has no memory, as sparse ones */
	return 0;
}

/* Finds the gradient of a parameter, which the parameter keeps alive. */
static int find_grad(const lockstep_python *py, void *param, uint8_t element, const int64_t *shape, dl_tensor *t) {
	void *grad = py->attribute(param, py->grad);
	if (!grad) {
		py->forget_error();
		return 0;
	}
	void *type = py->type_of(grad);
	int found = type == py->tensor_type && find(py, grad, element, shape, t);
	py->release(type);
	py->release(grad);
	return found;
}

/* Notes that a part of the parameters changes, which are still in the cache. If it is
 * interrupted Python's error stays. */
static int note_change(const lockstep_python *py, void *arguments) {
	void *result = py->call(py->change, arguments);
	if (result) py->release(result);
	return result != NULL;
}

/* Has the cache fetch what a parameter's turn will ask for, which is nothing that is near. */
static void fetch(const lockstep_walk *w, size_t k) {
	__builtin_prefetch(w->params[k]);
	__builtin_prefetch(w->hints[k]);
	__builtin_prefetch(w->hints[k] + 64);
}

static int walk(const lockstep_python *py, const lockstep_walk *w) {
	const size_t ahead = 6;
	const int64_t *shape = w->shapes;
	for (size_t k = 0; k < w->count; k++) {
		dl_tensor param, grad;
		uint8_t element = w->elements[k];
		if (k + ahead < w->count) fetch(w, k + ahead);
		if (!find(py, w->params[k], element, shape, &param) || param.data != w->data[k]) return 0;
		if (!find_grad(py, w->params[k], element, shape, &grad) || !grad.data != !param.data) return 0;
		w->grads[k] = grad.data;
		shape += 1 + 2 * shape[0];
		if (((k + 1) % w->part == 0 || k + 1 == w->count) && !note_change(py, w->parts[k / w->part])) return 0;
	}
	return 1;
}

/*
 * Finds the gradients of all parameters and notes that these change, if they are what they were
 * and each has a gradient of its type with its shape and its order of elements in the memory of
 * the CPU. Otherwise 0 is returned, and Python is to find out why, or it has an error already.
 *
 * A new gradient gets an object of Python when it is asked for. The collector would go through
 * these again and again meanwhile, for nothing.
 */
int lockstep_python_walk(const lockstep_python *py, const lockstep_walk *w) {
	int collects = py->disable_collector();
	int found = walk(py, w);
	if (collects) py->enable_collector();
	return found;
}
