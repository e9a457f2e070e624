/* Many threads at a time, and a child after fork. */
#include "test.h"

#ifndef _WIN32

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8 };

static void *work(void *first) {
	size_t count;
	const lockstep_kernel *all = lockstep_kernels(&count);
	arena *a = new_arena();
	for (size_t k = 0; k < count; k++) compare_vectors(a, NULL, &all[(k + (size_t)(intptr_t)first) % count], 7, call_checked);
	free_arena(a);
	return NULL;
}

/* The first calls of a process: the threads choose the table at the same time. */
static void threads(void) {
	pthread_t thread[THREADS];
	for (intptr_t t = 0; t < THREADS; t++) CHECK(!pthread_create(&thread[t], NULL, work, (void *)t), "no thread");
	for (int t = 0; t < THREADS; t++) CHECK(!pthread_join(thread[t], NULL), "no end");
}

static void in_child(void (*f)(void)) {
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		f();
		exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
}

void test_threads(void) { in_child(threads); }

static void alone(void) { work(NULL); }

void test_fork(void) {
	work(NULL);
	in_child(alone);
	work(NULL);
}

#endif
