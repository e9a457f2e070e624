/* Threads, locks and conditions of the system. */
#ifndef LOCKSTEP_THREAD_H
#define LOCKSTEP_THREAD_H

#ifdef _WIN32

#include <windows.h>

typedef HANDLE lockstep_thread;
typedef SRWLOCK lockstep_lock;
typedef CONDITION_VARIABLE lockstep_condition;

#define LOCKSTEP_THREAD_RESULT DWORD WINAPI

static inline void lockstep_make_lock(lockstep_lock *l) { InitializeSRWLock(l); }
static inline void lockstep_take_lock(lockstep_lock *l) { AcquireSRWLockExclusive(l); }
static inline void lockstep_give_lock(lockstep_lock *l) { ReleaseSRWLockExclusive(l); }
static inline void lockstep_make_condition(lockstep_condition *c) { InitializeConditionVariable(c); }
static inline void lockstep_wait_for(lockstep_condition *c, lockstep_lock *l) { SleepConditionVariableSRW(c, l, INFINITE, 0); }
static inline void lockstep_wake_one(lockstep_condition *c) { WakeConditionVariable(c); }
static inline void lockstep_wake_all(lockstep_condition *c) { WakeAllConditionVariable(c); }

typedef DWORD(WINAPI *lockstep_thread_main)(void *);
static inline int lockstep_start_thread(lockstep_thread *t, lockstep_thread_main run, void *context) {
	*t = CreateThread(NULL, 0, run, context, 0, NULL);
	return *t != NULL;
}
static inline void lockstep_join_thread(lockstep_thread t) {
	WaitForSingleObject(t, INFINITE);
	CloseHandle(t);
}
static inline long lockstep_process(void) { return (long)GetCurrentProcessId(); }

#else

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

typedef pthread_t lockstep_thread;
typedef pthread_mutex_t lockstep_lock;
typedef pthread_cond_t lockstep_condition;

#define LOCKSTEP_THREAD_RESULT void *

static inline void lockstep_make_lock(lockstep_lock *l) { pthread_mutex_init(l, NULL); }
static inline void lockstep_take_lock(lockstep_lock *l) { pthread_mutex_lock(l); }
static inline void lockstep_give_lock(lockstep_lock *l) { pthread_mutex_unlock(l); }
static inline void lockstep_make_condition(lockstep_condition *c) { pthread_cond_init(c, NULL); }
static inline void lockstep_wait_for(lockstep_condition *c, lockstep_lock *l) { pthread_cond_wait(c, l); }
static inline void lockstep_wake_one(lockstep_condition *c) { pthread_cond_signal(c); }
static inline void lockstep_wake_all(lockstep_condition *c) { pthread_cond_broadcast(c); }

/* Starts a thread on which no signal handler of the program runs. */
typedef void *(*lockstep_thread_main)(void *);
static inline int lockstep_start_thread(lockstep_thread *t, lockstep_thread_main run, void *context) {
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(t, NULL, run, context);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return !failed;
}
static inline void lockstep_join_thread(lockstep_thread t) { pthread_join(t, NULL); }
static inline long lockstep_process(void) { return (long)getpid(); }

#endif

/* Tells the CPU that a loop waits. */
static inline void lockstep_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("pause");
#elif defined(__aarch64__)
	__asm__ volatile("isb"); /* which waits longer than yield */
#endif
}

#endif
