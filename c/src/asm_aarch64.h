/* Generated kernels for AArch64: how a function begins and ends, and where its constants
 * are. Macros of the assembler, because what stands between statements of one line is ;
 * in ELF and begins a comment in Mach-O. There the constants' name is one that the linker
 * sees, by its l: no relocation may refer to another. */
#if defined(__APPLE__)

#define VECTORS lvectors

.macro FUNCTION symbol
	.text
	.p2align 6
	.globl \symbol
	.private_extern \symbol
\symbol:
.endm

.macro ADDRESS register
	adrp \register, VECTORS@PAGE
	add \register, \register, VECTORS@PAGEOFF
.endm

.macro SIZE symbol
.endm

#else

#define VECTORS .Lvectors

.macro FUNCTION symbol
	.text
	.p2align 6
	.globl \symbol
	.hidden \symbol
	.type \symbol, %function
\symbol:
.endm

.macro ADDRESS register
	adrp \register, VECTORS
	add \register, \register, :lo12:VECTORS
.endm

.macro SIZE symbol
	.size \symbol, .-\symbol
.endm

#endif

/* The hint is bti c, where indirect calls land, by the name that all assemblers know. */
.macro ENTER symbol
	FUNCTION \symbol
	.cfi_startproc
	hint #34
.endm

.macro LEAVE symbol
	.cfi_endproc
	SIZE \symbol
.endm

#define BEGIN(name) ENTER SYMBOL(name)
#define END(name) LEAVE SYMBOL(name)
