package amd64

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

// Compile finds instructions and registers of r for t.
func Compile(r *rule.Rule, t ISA) *ir.File {
	var f *ir.File
	loop.Best(r, t.machine, func(p *loop.Program) (cost float64, lacks int) {
		if f = assemble(p, t); f == nil {
			return 0, 1
		}
		return 0, 0
	})
	return f
}

// Print returns Go's assembly of r.
func Print(r *rule.Rule, f *ir.File) []byte {
	b, err := printer.NewGoAsm(printer.Config{Name: "gen"}).Print(f)
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
	}
	return headed(r, b)
}

// headed puts the formula above the function, and leaves out of what it requires what
// every amd64 CPU has: prefetches.
func headed(r *rule.Rule, text []byte) []byte {
	head := "// func " + r.Name + "("
	doc := "//" + strings.ReplaceAll(strings.Trim(r.Doc, "\n"), "\n", "\n//") + "\n//\n"
	text = bytes.Replace(text, []byte(", MMX+"), nil, 1)
	return bytes.Replace(text, []byte(head), []byte(doc+head), 1)
}

// assemble has avo find registers for a program, and returns nil if it does not fit
// them.
func assemble(p *loop.Program, t ISA) *ir.File {
	e := newEmitter(p, t)
	for k, in := range p.Insts {
		e.emit(k, in)
	}
	for _, emit := range e.later {
		emit()
	}
	f, err := e.Result()
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", p.Rule.Name, err))
	}
	if err = pass.Compile.Execute(f); err != nil || vectors(f) > t.registers {
		return nil
	}
	return f
}

// vectors is how many vector registers the file uses. avo knows no limit of 16.
func vectors(f *ir.File) int {
	n := 0
	for _, fn := range f.Functions() {
		for _, i := range fn.Instructions() {
			for _, r := range i.Registers() {
				if p := reg.ToPhysical(r); p != nil && r.Kind() == reg.KindVector {
					n = max(n, int(p.PhysicalIndex())+1)
				}
			}
		}
	}
	return n
}
