package amd64

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
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

// Print returns Go's assembly of rules as one file. It leaves out of what they require what
// every amd64 CPU has: prefetches.
func Print(all []*rule.Rule, kernels []*ir.File) []byte {
	b := bytes.ReplaceAll(text(joined(kernels)), []byte(", MMX+"), nil)
	for _, r := range all {
		b = headed(r, b)
	}
	return b
}

// padding is what avo has before the first operand, so that all of a block are in a column.
var padding = regexp.MustCompile(`(?m)^(\t[A-Z0-9.]+ ) +`)

// text is Go's assembly of a file. Without padding it is an eighth shorter.
func text(f *ir.File) []byte {
	b, err := printer.NewGoAsm(printer.Config{Name: "gen"}).Print(f)
	if err != nil {
		panic(fmt.Errorf("amd64: %w", err))
	}
	return padding.ReplaceAll(b, []byte("$1"))
}

// joined is the kernels as one file, in which data that several have are there once.
func joined(kernels []*ir.File) *ir.File {
	f := &ir.File{Constraints: kernels[0].Constraints, Includes: kernels[0].Includes}
	data := map[string]*ir.Global{}
	var functions []ir.Section
	for _, k := range kernels {
		for _, s := range k.Sections {
			switch g, ok := s.(*ir.Global); {
			case !ok:
				functions = append(functions, s)
			case data[g.Symbol.Name] == nil:
				data[g.Symbol.Name] = g
				f.Sections = append(f.Sections, g)
			case !reflect.DeepEqual(g, data[g.Symbol.Name]):
				panic("amd64: " + g.Symbol.Name + " is two things")
			}
		}
	}
	f.Sections = append(f.Sections, functions...)
	return f
}

// headed puts the formula above the function.
func headed(r *rule.Rule, text []byte) []byte {
	head := "// func " + r.Name + "("
	doc := "//" + strings.ReplaceAll(strings.Trim(r.Doc, "\n"), "\n", "\n//") + "\n//\n"
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
