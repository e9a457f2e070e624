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

#elif LOCKSTEP_AARCH64

.macro PUT register, number
	mov \register, #\number
.endm

.macro SAME register, number
	cmp \register, #\number
	cinc w0, w0, ne
.endm

.macro PUT_VECTOR register, number
	mov x9, #\number
	fmov \register, x9
.endm

.macro SAME_VECTOR register, number
	fmov x9, \register
	SAME x9, \number
.endm

/* Does something to each register that is the caller's. x18 is the platform's or nobody's:
 * on Linux it can be looked at. */
.macro EACH number, vector
#if !defined(__APPLE__)
	\number x18, 18
#endif
	\number x19, 19
	\number x20, 20
	\number x21, 21
	\number x22, 22
	\number x23, 23
	\number x24, 24
	\number x25, 25
	\number x26, 26
	\number x27, 27
	\number x28, 28
	\number x29, 29
	\vector d8, 108
	\vector d9, 109
	\vector d10, 110
	\vector d11, 111
	\vector d12, 112
	\vector d13, 113
	\vector d14, 114
	\vector d15, 115
.endm

.macro SAVE first, second, at
	stp \first, \second, [sp, #\at]
	.cfi_offset \first, \at - 160
	.cfi_offset \second, \at - 152
.endm

.macro BACK first, second, at
	ldp \first, \second, [sp, #\at]
	.cfi_restore \first
	.cfi_restore \second
.endm

.macro PAIRS way
	\way x19, x20, 16
	\way x21, x22, 32
	\way x23, x24, 48
	\way x25, x26, 64
	\way x27, x28, 80
	\way d8, d9, 96
	\way d10, d11, 112
	\way d12, d13, 128
	\way d14, d15, 144
.endm

/* paciasp and autiasp by their hints, because the return address goes to memory. */
	BEGIN(test_call)
	hint #25
	.cfi_negate_ra_state
	stp x29, x30, [sp, #-160]!
	.cfi_def_cfa_offset 160
	.cfi_offset x29, -160
	.cfi_offset x30, -152
	PAIRS SAVE
	mov x10, x0
	mov x0, x1
	mov x1, x2
	mov x2, x3
	mov x3, x4
	EACH PUT, PUT_VECTOR
	blr x10
	mov w0, #0
	EACH SAME, SAME_VECTOR
	PAIRS BACK
	ldp x29, x30, [sp], #160
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	hint #29
	.cfi_negate_ra_state
	ret
	END(test_call)
#endif
NOTES
