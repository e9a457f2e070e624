/* What platforms differ in, for generated kernels: names of symbols and sections, and what
 * an object says of itself. */
#include "platform.h"

#if defined(__APPLE__)
#define L(name) L##name
#define SYMBOL(name) _lockstep_##name
#define CONSTANTS .section __TEXT, __const
#elif defined(_WIN64)
#define L(name) .L##name
#define SYMBOL(name) lockstep_##name
#define CONSTANTS .section .rdata, "dr"
#else
#define L(name) .L##name
#define SYMBOL(name) lockstep_##name
#define CONSTANTS .section .rodata
#endif

#if LOCKSTEP_X86_64
#include "asm_x86_64.h"
#elif LOCKSTEP_AARCH64
#include "asm_aarch64.h"
#endif

/* ELF: no executable stack; indirect calls land on endbr64 or bti, and there are shadow
 * stacks or signed return addresses (NT_GNU_PROPERTY_TYPE_0: GNU_PROPERTY_X86_FEATURE_1_AND
 * has IBT and SHSTK, GNU_PROPERTY_AARCH64_FEATURE_1_AND has BTI, PAC and GCS). */
#if !defined(__ELF__)
#define NOTES
#elif LOCKSTEP_X86_64
#define NOTES STACK; PROPERTY(0xc0000002, 3)
#elif LOCKSTEP_AARCH64
#define NOTES STACK; PROPERTY(0xc0000000, 7)
#elif defined(__arm__)
#define NOTES .section .note.GNU-stack, "", %progbits
#else
#define NOTES STACK
#endif
#define STACK .section .note.GNU-stack, "", @progbits
#define PROPERTY(type, features) .section .note.gnu.property, "a", @note; .p2align 3; \
	.long 4, 16, 5; .asciz "GNU"; .long type, 4, features, 0
