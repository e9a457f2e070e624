// Package arm64 gives the programs of package loop their NEON instructions and
// registers. Go's assembler lacks most vector float instructions and avo is x86 only,
// so this package prints assembly itself.
//
// Multiplication and addition are not fused, but where the product is exact, and
// a maximum is a comparison and a choice: FMLA rounds once for two operations,
// and FMAX differs from the language on NaN and zeros.
package arm64

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// machine moves two vectors of four lanes at a time, which give a core that does not look
// far ahead twice as much to do. The last elements go one by one through the same
// instructions as the others: FMOVS clears the lanes above it, and ignores them in a
// store.
var machine = loop.Machine{Lanes: 4, Wide: 4, Rows: 4, Pairs: true, Steps: true, Singles: true, Whole: true}

// A kernel is a program with its instructions and their registers.
type kernel struct {
	*selection
	numbers map[loop.Reg]int
}

// Emit returns the assembly of r. Of all plans that one is taken which has the fewest
// instructions in the main loop.
func Emit(r *rule.Rule) []byte { return []byte(assemble(r).String()) }

// assemble is the kernel of r.
func assemble(r *rule.Rule) *kernel {
	kernels := map[*loop.Program]*kernel{}
	return kernels[loop.Best(r, machine, func(p *loop.Program) (cost float64, lacks int) {
		k := &kernel{selection: newSelection(p)}
		if k.numbers, lacks = allocate(k.lines); lacks > 0 {
			return 0, lacks
		}
		kernels[p] = k
		return k.cost(), 0
	})]
}

// cost is the number of instructions in the main loops, for 16 lanes.
func (k *kernel) cost() float64 {
	n := 0.0
	for _, m := range k.p.Mains {
		lines := strings.Count(k.body(m.Label), "\n")
		n += float64(16*lines) / float64(m.Rows*m.Elements)
	}
	return n
}

// body is the text of a loop, from its label to the jump back.
func (k *kernel) body(label string) string {
	var b strings.Builder
	inside := false
	for _, l := range k.lines {
		if inside {
			b.WriteString(k.text(l))
		}
		inside = l.label == label || inside && l.jump != label
	}
	return b.String()
}

// String is the text of the kernel.
func (k *kernel) String() string {
	var b strings.Builder
	r := k.p.Rule
	b.WriteString("//go:build !purego && !noasm\n\n#include \"textflag.h\"\n\n")
	k.data(&b)
	for line := range strings.Lines(strings.TrimLeft(r.Doc, "\n")) {
		fmt.Fprintf(&b, "//%s\n", strings.TrimRight(line, "\n"))
	}
	fmt.Fprintf(&b, "//\n// func %s(%s)\n", r.Name, r.Params(fmt.Sprintf("*[%d]float32", len(r.Scalars))))
	fmt.Fprintf(&b, "// Requires: ASIMD\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", r.Name, k.frame, size(r))
	for _, l := range k.lines {
		b.WriteString(k.text(l))
	}
	return b.String()
}

// text is that of a line.
func (k *kernel) text(l line) string {
	if l.label != "" {
		return "\n" + l.label + ":\n"
	}
	if text := l.print(k.numbers); text != "" {
		return "\t" + text + "\n"
	}
	return ""
}

// data writes the constants, each as a vector.
func (k *kernel) data(b *strings.Builder) {
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

// parameter is where a parameter or a part of it is: its name and its offset.
func parameter(r *rule.Rule, name string, p loop.Piece) string {
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
	return fmt.Sprintf("%s+%d(FP)", name, at)
}
