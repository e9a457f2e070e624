/* The mode of arithmetic of a thread. A host may have set FTZ, DAZ or another rounding:
 * optimizers compute in the usual mode and leave the thread as it was. */
#ifndef LOCKSTEP_MODE_H
#define LOCKSTEP_MODE_H

#include <stdint.h>

#if defined(__x86_64__) || (defined(__i386__) && defined(__SSE__))

enum { LOCKSTEP_USUAL_MODE = 0x1f80, LOCKSTEP_MODE_MASK = 0xffc0 };

typedef uint32_t lockstep_mode;
static inline lockstep_mode lockstep_get_mode(void) {
	lockstep_mode mode;
	__asm__ volatile("stmxcsr %0" : "=m"(mode)::"memory");
	return mode;
}
static inline void lockstep_set_mode(lockstep_mode mode) { __asm__ volatile("ldmxcsr %0" ::"m"(mode) : "memory"); }

#elif defined(__aarch64__)

enum { LOCKSTEP_USUAL_MODE = 0, LOCKSTEP_MODE_MASK = 0x7c09f07 };

typedef uint64_t lockstep_mode;
static inline lockstep_mode lockstep_get_mode(void) {
	lockstep_mode mode;
	__asm__ volatile("mrs %0, fpcr" : "=r"(mode)::"memory");
	return mode;
}
static inline void lockstep_set_mode(lockstep_mode mode) { __asm__ volatile("msr fpcr, %0" ::"r"(mode) : "memory"); }

#else /* nothing is mended */

enum { LOCKSTEP_USUAL_MODE = 0, LOCKSTEP_MODE_MASK = 0 };

typedef uint32_t lockstep_mode;
static inline lockstep_mode lockstep_get_mode(void) { return 0; }
static inline void lockstep_set_mode(lockstep_mode mode) { (void)mode; }

#endif

/* Sets the usual mode, and returns the one before for lockstep_leave_mode. What computes in
 * between is a function that is not inlined, lest a compiler move arithmetic out. */
static inline lockstep_mode lockstep_enter_mode(void) {
	lockstep_mode before = lockstep_get_mode();
	if ((before & LOCKSTEP_MODE_MASK) != LOCKSTEP_USUAL_MODE)
		lockstep_set_mode((before & ~(lockstep_mode)LOCKSTEP_MODE_MASK) | LOCKSTEP_USUAL_MODE);
	return before;
}

static inline void lockstep_leave_mode(lockstep_mode before) {
	if ((before & LOCKSTEP_MODE_MASK) != LOCKSTEP_USUAL_MODE) lockstep_set_mode(before);
}

#define LOCKSTEP_NOT_INLINED __attribute__((noinline))

#endif
