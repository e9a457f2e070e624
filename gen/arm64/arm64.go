// Package arm64 gives the programs of package loop their NEON instructions and
// registers. Go's assembler lacks most vector float instructions and avo is x86 only,
// so this package has instructions of its own and prints them itself.
//
// Multiplication and addition are not fused, but where the product is exact, and
// a maximum is a comparison and a choice: FMLA rounds once for two operations,
// and FMAX differs from the language on NaN and zeros.
package arm64

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// machine moves two vectors of four lanes at a time, which give a core that does not look
// far ahead twice as much to do. The last elements go one by one through the same
// instructions as the others: FMOVS clears the lanes above it, and ignores them in a
// store.
var machine = loop.Machine{Lanes: 4, Wide: 4, Rows: 4, Pairs: true, Steps: true, Singles: true, Whole: true}

// A Kernel is a program with its instructions and their registers.
type Kernel struct {
	*selection
	numbers numbering
}

// Compile gives r its instructions. Of all plans that one is taken which has the fewest in
// the main loop.
func Compile(r *rule.Rule) *Kernel {
	kernels := map[*loop.Program]*Kernel{}
	return kernels[loop.Best(r, machine, func(p *loop.Program) (cost float64, lacks int) {
		k := &Kernel{selection: newSelection(p)}
		if k.numbers, lacks = allocate(k.lines); lacks > 0 {
			return 0, lacks
		}
		kernels[p] = k
		return k.cost(), 0
	})]
}

// cost is the number of instructions in the main loops, for 16 lanes.
func (k *Kernel) cost() float64 {
	n := 0.0
	for _, m := range k.p.Mains {
		n += float64(16*len(k.body(m.Label))) / float64(m.Rows*m.Elements)
	}
	return n
}

// body is a loop, from its label to the jump back.
func (k *Kernel) body(label string) []Instruction {
	var list []Instruction
	inside := false
	for _, l := range k.lines {
		if inside {
			list = append(list, k.code(l)...)
		}
		inside = l.label == label || inside && l.jump != label
	}
	return list
}

// code is what a line comes to.
func (k *Kernel) code(l line) []Instruction {
	if l.label != "" {
		return []Instruction{{Label: l.label}}
	}
	return l.number(k.numbers)
}

// Code is the kernel's instructions.
func (k *Kernel) Code() []Instruction {
	var list []Instruction
	for _, l := range k.lines {
		list = append(list, k.code(l)...)
	}
	return list
}

// Constants are the bits of the file's vectors, each in every lane.
func (k *Kernel) Constants() []uint32 { return k.constants }

// Locals is the size of the kernel's own memory, in bytes.
func (k *Kernel) Locals() int { return k.frame }

// Registers are the numbers of those of a kind that the kernel uses, in their order.
func (k *Kernel) Registers(kind loop.Kind) []int {
	var list []int
	for r, n := range k.numbers {
		if r.Kind == kind {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Print is Go's assembly of r.
func Print(r *rule.Rule, k *Kernel) []byte {
	var b strings.Builder
	b.WriteString("//go:build !purego && !noasm\n\n#include \"textflag.h\"\n\n")
	k.data(&b)
	for line := range strings.Lines(strings.TrimLeft(r.Doc, "\n")) {
		fmt.Fprintf(&b, "//%s\n", strings.TrimRight(line, "\n"))
	}
	fmt.Fprintf(&b, "//\n// func %s(%s)\n", r.Name, r.Params(fmt.Sprintf("*[%d]float32", len(r.Scalars))))
	fmt.Fprintf(&b, "// Requires: ASIMD\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", r.Name, k.frame, size(r))
	b.WriteString(text(k.Code()))
	return []byte(b.String())
}

// text is Go's assembly of instructions.
func text(list []Instruction) string {
	var b strings.Builder
	for _, i := range list {
		b.WriteString(i.String())
	}
	return b.String()
}

// data writes the constants, each as a vector.
func (k *Kernel) data(b *strings.Builder) {
	for slot, bits := range k.constants {
		for half := range 2 {
			fmt.Fprintf(b, "DATA constants<>+%d(SB)/8, $0x%08[2]x%08[2]x\n", 16*slot+8*half, bits)
		}
	}
	if len(k.constants) > 0 {
		fmt.Fprintf(b, "GLOBL constants<>(SB), RODATA|NOPTR, $%d\n\n", 16*len(k.constants))
	}
}

const header = 24 // bytes of a slice

// buffersSize is the size of the parameters that are buffers, which come first.
func buffersSize(r *rule.Rule) int {
	if r.IsMatrix() {
		return header * len(r.Buffers)
	}
	return header
}

// size is that of all parameters.
func size(r *rule.Rule) int {
	size := buffersSize(r) + 8*len(r.Reductions)
	if len(r.Scalars) > 0 {
		size += 8
	}
	return size
}

// parameter is a parameter or a part of it.
func parameter(r *rule.Rule, name string, p loop.Piece) Param {
	at := 0
	for k, b := range r.Buffers {
		if r.IsMatrix() && b.Name == name {
			at = header * k
		}
	}
	if p == loop.Whole {
		at = buffersSize(r)
	}
	for k, d := range r.Reductions {
		if p == loop.Whole && d.Name == name {
			at = size(r) - 8*(len(r.Reductions)-k)
		}
	}
	switch p {
	case loop.Base:
		name += "_base"
	case loop.Len:
		name, at = name+"_len", at+8
	}
	return Param{name, at}
}
