/* Generated kernels for x86-64: the registers that arguments come in and those that are
 * the caller's, and how a debugger or profiler finds the caller. */
#if defined(__APPLE__)
#define BEGIN(name) .text; .p2align 6; .globl SYMBOL(name); .private_extern SYMBOL(name); SYMBOL(name):
#define SIZE(name)
#elif defined(_WIN64)
#define BEGIN(name) .text; .p2align 6; .globl SYMBOL(name); .def SYMBOL(name); .scl 2; .type 32; .endef; \
	.seh_proc SYMBOL(name); SYMBOL(name):
#else
#define BEGIN(name) .text; .p2align 6; .globl SYMBOL(name); .hidden SYMBOL(name); .type SYMBOL(name), @function; SYMBOL(name):
#define SIZE(name) .size SYMBOL(name), .-SYMBOL(name)
#endif

#if defined(_WIN64)

/* Windows: rdi, rsi and xmm6 to xmm15 are the caller's too. What unwinds the stack knows
 * an epilogue by its instructions, and wants no xmm among them. */
#define ARGUMENT0 %rcx
#define ARGUMENT1 %rdx
#define ARGUMENT2 %r8
#define ARGUMENT3 %r9
#define ENTER PUSH(rdi); PUSH(rsi)
#define PUSH(register) pushq %register; .seh_pushreg %register
#define POP(register) popq %register
#define ALLOCATE(size, pad) subq $(size) + 160 + (pad), %rsp; .seh_stackalloc (size) + 160 + (pad); \
	KEEP(6, size); KEEP(7, (size) + 16); KEEP(8, (size) + 32); KEEP(9, (size) + 48); KEEP(10, (size) + 64); \
	KEEP(11, (size) + 80); KEEP(12, (size) + 96); KEEP(13, (size) + 112); KEEP(14, (size) + 128); KEEP(15, (size) + 144); \
	.seh_endprologue
#define KEEP(k, at) movaps %xmm##k, at(%rsp); .seh_savexmm %xmm##k, at
#define FREE(size, pad) \
	BACK(6, size); BACK(7, (size) + 16); BACK(8, (size) + 32); BACK(9, (size) + 48); BACK(10, (size) + 64); \
	BACK(11, (size) + 80); BACK(12, (size) + 96); BACK(13, (size) + 112); BACK(14, (size) + 128); BACK(15, (size) + 144); \
	addq $(size) + 160 + (pad), %rsp
#define BACK(k, at) movaps at(%rsp), %xmm##k
#define LEAVE popq %rsi; popq %rdi; ret
#define END(name) .seh_endproc

#else

/* System V. The state before the epilogue holds for the code behind it too. */
#define ARGUMENT0 %rdi
#define ARGUMENT1 %rsi
#define ARGUMENT2 %rdx
#define ARGUMENT3 %rcx
#define ENTER .cfi_startproc; endbr64
#define PUSH(register) pushq %register; .cfi_adjust_cfa_offset 8; .cfi_rel_offset %register, 0
#define POP(register) popq %register; .cfi_adjust_cfa_offset -8; .cfi_restore %register
#define ALLOCATE(size, pad) subq $(size) + (pad), %rsp; .cfi_adjust_cfa_offset (size) + (pad)
#define FREE(size, pad) .cfi_remember_state; addq $(size) + (pad), %rsp; .cfi_adjust_cfa_offset -((size) + (pad))
#define LEAVE ret; .cfi_restore_state
#define END(name) .cfi_endproc; SIZE(name)

#endif
