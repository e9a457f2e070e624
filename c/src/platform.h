/* Which kernels a build has, for C and assembly. LOCKSTEP_PORTABLE leaves those in C alone. */
#ifndef LOCKSTEP_PLATFORM_H
#define LOCKSTEP_PLATFORM_H

#if defined(__x86_64__) && !defined(__ILP32__) && !defined(LOCKSTEP_PORTABLE)
#define LOCKSTEP_X86_64 1
#else
#define LOCKSTEP_X86_64 0
#endif

/* Not for Windows, whose unwinder wants to be told otherwise. */
#if defined(__aarch64__) && defined(__LP64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__) && \
	!defined(_WIN32) && !defined(LOCKSTEP_PORTABLE)
#define LOCKSTEP_AARCH64 1
#else
#define LOCKSTEP_AARCH64 0
#endif

#define LOCKSTEP_ASSEMBLY (LOCKSTEP_X86_64 || LOCKSTEP_AARCH64)

#endif
