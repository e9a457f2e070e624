/* int lockstep_test_call(lockstep_bare *kernel, list, buffers, scalars, lanes) calls a kernel
 * with known numbers in the registers that are the caller's, and returns how many come
 * back otherwise. */
#include "asm.h"
#if LOCKSTEP_X86_64 && !defined(_WIN64)

	BEGIN(test_call)
	ENTER
	PUSH(rbx)
	PUSH(rbp)
	PUSH(r12)
	PUSH(r13)
	PUSH(r14)
	PUSH(r15)
	ALLOCATE(0, 8)
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	movq %r8, %rcx
	movl $1, %ebx
	movl $2, %ebp
	movl $3, %r12d
	movl $4, %r13d
	movl $5, %r14d
	movl $6, %r15d
	call *%rax
	xorl %eax, %eax
	cmpq $1, %rbx
	setne %cl
	addb %cl, %al
	cmpq $2, %rbp
	setne %cl
	addb %cl, %al
	cmpq $3, %r12
	setne %cl
	addb %cl, %al
	cmpq $4, %r13
	setne %cl
	addb %cl, %al
	cmpq $5, %r14
	setne %cl
	addb %cl, %al
	cmpq $6, %r15
	setne %cl
	addb %cl, %al
	FREE(0, 8)
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
