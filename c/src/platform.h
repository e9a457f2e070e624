/* Which kernels a build has, for C and assembly. LOCKSTEP_PORTABLE leaves those in C alone. */
#ifndef LOCKSTEP_PLATFORM_H
#define LOCKSTEP_PLATFORM_H

#if defined(__x86_64__) && !defined(__ILP32__) && !defined(LOCKSTEP_PORTABLE)
#define LOCKSTEP_X86_64 1
#else
#define LOCKSTEP_X86_64 0
#endif

#endif
