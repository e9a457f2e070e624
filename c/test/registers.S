/* int lockstep_test_call(lockstep_bare *kernel, list, buffers, scalars, lanes) calls a kernel
 * with known numbers in the registers that are the caller's, and returns how many come
 * back otherwise. */
#include "asm.h"

/* Windows wants 32 bytes for the callee. The fifth argument is behind the return address
 * and as much for us, eight registers and what is allocated. */
#if defined(_WIN64)
#define SHADOW 32
#define LANES 8 + 32 + 8 * 8 + (SHADOW + 160 + 8)(%rsp)
#else
#define SHADOW 0
#define LANES %r8
#endif

#define SAME(number, register) cmpq $number, register; setne %cl; addb %cl, %al
#define PUT(number, xmm) movl $number, %ecx; movd %ecx, xmm
#define SAME_VECTOR(number, xmm) movq xmm, %rcx; SAME(number, %rcx)

#if LOCKSTEP_X86_64

	BEGIN(test_call)
	ENTER
	PUSH(rbx)
	PUSH(rbp)
	PUSH(r12)
	PUSH(r13)
	PUSH(r14)
	PUSH(r15)
	ALLOCATE(SHADOW, 8)
#if defined(_WIN64)
	movl $7, %edi
	movl $8, %esi
	movq %rcx, %rax
	PUT(106, %xmm6)
	PUT(107, %xmm7)
	PUT(108, %xmm8)
	PUT(109, %xmm9)
	PUT(110, %xmm10)
	PUT(111, %xmm11)
	PUT(112, %xmm12)
	PUT(113, %xmm13)
	PUT(114, %xmm14)
	PUT(115, %xmm15)
#else
	movq ARGUMENT0, %rax
#endif
	movq ARGUMENT1, ARGUMENT0
	movq ARGUMENT2, ARGUMENT1
	movq ARGUMENT3, ARGUMENT2
	movq LANES, ARGUMENT3
	movl $1, %ebx
	movl $2, %ebp
	movl $3, %r12d
	movl $4, %r13d
	movl $5, %r14d
	movl $6, %r15d
	call *%rax
	xorl %eax, %eax
	SAME(1, %rbx)
	SAME(2, %rbp)
	SAME(3, %r12)
	SAME(4, %r13)
	SAME(5, %r14)
	SAME(6, %r15)
#if defined(_WIN64)
	SAME(7, %rdi)
	SAME(8, %rsi)
	SAME_VECTOR(106, %xmm6)
	SAME_VECTOR(107, %xmm7)
	SAME_VECTOR(108, %xmm8)
	SAME_VECTOR(109, %xmm9)
	SAME_VECTOR(110, %xmm10)
	SAME_VECTOR(111, %xmm11)
	SAME_VECTOR(112, %xmm12)
	SAME_VECTOR(113, %xmm13)
	SAME_VECTOR(114, %xmm14)
	SAME_VECTOR(115, %xmm15)
#endif
	FREE(SHADOW, 8)
	POP(r15)
	POP(r14)
	POP(r13)
	POP(r12)
	POP(rbp)
	POP(rbx)
	LEAVE
	END(test_call)
#endif
NOTES
