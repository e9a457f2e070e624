package main

import (
	"bytes"
	"fmt"
)

// A mode is how an architecture's register that rules arithmetic is read and written. The
// mask has the bits that change results or raise signals, and usual is what Go's own
// arithmetic takes for granted of them.
type mode struct {
	arch        string
	requires    string
	get, set    []string
	mask, usual uint32
}

var modes = []mode{
	{
		arch:     "amd64", // MXCSR: all but the flags of what has happened
		requires: "SSE",
		get:      []string{"STMXCSR ret+0(FP)"},
		set:      []string{"LDMXCSR mode+0(FP)"},
		mask:     0xffc0, usual: 0x1f80,
	},
	{
		arch:     "arm64", // FPCR: AHP, DN, FZ, RMode, the traps, and AH, FIZ, NEP of later CPUs
		requires: "ASIMD",
		get:      []string{"MOVD FPCR, R0", "MOVW R0, ret+0(FP)"},
		set:      []string{"MOVWU mode+0(FP), R0", "MOVD R0, FPCR"},
		mask:     0x07c09f07, usual: 0,
	},
}

// modeFiles adds the functions that read and write the mode of arithmetic.
func modeFiles(fs map[string][]byte) {
	for _, m := range modes {
		dir := "kernels/asm/mode/"
		fs[dir+"mode_"+m.arch+".s"] = m.assembly()
		fs[dir+"stubs_"+m.arch+".go"] = m.stubs()
	}
}

const modeConstraint = "//go:build !purego && !noasm\n\n"

func (m mode) assembly() []byte {
	b := bytes.NewBufferString(header + modeConstraint + "#include \"textflag.h\"\n")
	m.text(b, "Get() uint32", "Get", m.get)
	m.text(b, "Set(mode uint32)", "Set", m.set)
	return b.Bytes()
}

func (m mode) text(b *bytes.Buffer, signature, name string, lines []string) {
	fmt.Fprintf(b, "\n// func %s\n// Requires: %s\nTEXT ·%s(SB), NOSPLIT, $0-4\n", signature, m.requires, name)
	for _, line := range lines {
		fmt.Fprintf(b, "\t%s\n", line)
	}
	b.WriteString("\tRET\n")
}

func (m mode) stubs() []byte {
	b := bytes.NewBufferString(header + modeConstraint + "package mode\n\n")
	fmt.Fprintf(b, "// Usual is the mode of arithmetic that Go takes for granted, in the bits of Mask.\n"+
		"const Usual, Mask uint32 = %#x, %#x\n", m.usual, m.mask)
	b.WriteString("\n// Get is the mode of arithmetic of this thread.\nfunc Get() uint32\n")
	b.WriteString("\n// Set changes it, of this thread alone.\nfunc Set(mode uint32)\n")
	return gofmt(b)
}
