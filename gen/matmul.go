package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/gen/amd64"
	"github.com/lockstep-go/lockstep/gen/arm64"
	"github.com/lockstep-go/lockstep/gen/gnu"
)

// A matMul is the kernel of matrix products of a target. It is no rule, because its elements
// are not computed apart from each other.
type matMul struct {
	target
	tile
}

// A tile is what such a kernel makes at once, and its assembly.
type tile struct {
	rows, columns int
	forGo         []byte
	forC          func(isa string) []byte
}

// matMulParams are the kernel's parameters.
func matMulParams(scalars string) string {
	return "(n int, a, b, c []float32, rowsOfC int, d []float32, rowsOfD int, s *" + scalars + ")"
}

const (
	matMulScalars = "fallback.MatMulScalars"
	matMulArgs    = "(n, a, b, c, rowsOfC, d, rowsOfD, s)"
)

// matMuls are the kernels of an architecture. Tables that have a base have its.
func matMuls(arch string) []matMul {
	var list []matMul
	for _, t := range targets {
		if t.arch == arch && t.base == "" {
			list = append(list, matMul{t, t.matMul("MatMulTile", matMulParams("[2]float32"))})
		}
	}
	return list
}

func x86MatMul(t amd64.Tile) func(name, params string) tile {
	return func(name, params string) tile {
		f := amd64.MatMul(t, name, params)
		return tile{t.Rows, t.Columns(), amd64.PrintMatMul(f), func(isa string) []byte { return gnu.TileAMD64(isa, f) }}
	}
}

func armMatMul(name, params string) tile {
	rows, columns, t := arm64.MatMul()
	return tile{rows, columns, t.Print(name, params), func(isa string) []byte { return gnu.TileARM64(isa, t) }}
}

// matMulFiles adds the kernels, and Go's choice among them.
func matMulFiles(fs map[string][]byte) {
	fs["kernels/zmatmul_other.go"] = matMulChoice(portable, nil)
	for _, arch := range architectures {
		kernels := matMuls(arch)
		fs["kernels/zmatmul_"+arch+".go"] = matMulChoice(arch, kernels)
		for _, m := range kernels {
			dir := "kernels/asm/" + m.isa + "/"
			fs[dir+"matmul_"+arch+".s"] = m.forGo
			fs[dir+"matmul_"+arch+".go"] = m.stubs()
			fs["c/src/"+m.isa+"/"+m.isa+"_matmul_tile.S"] = m.forC(m.isa)
		}
	}
}

func (m matMul) stubs() []byte {
	b := bytes.NewBufferString(header + "//go:build !purego && !noasm\n\npackage " + m.isa + "\n")
	fmt.Fprintf(b, "\nimport %q\n", module+"fallback")
	fmt.Fprintf(b, "\n// What MatMulTile makes at once.\nconst (\nMatMulRows = %d\nMatMulColumns = %d\n)\n", m.rows, m.columns)
	fmt.Fprintf(b, "\n// MatMulTile is fallback.MatMulTile of MatMulRows × MatMulColumns elements.\n//\n//go:noescape\nfunc MatMulTile%s\n", matMulParams(matMulScalars))
	return gofmt(b)
}

// matMulChoice writes the choice among the kernels of an architecture, which is not inlined,
// because the scheduler stops a goroutine where a function begins.
func matMulChoice(arch string, kernels []matMul) []byte {
	b := choiceFile(arch, func(t target) bool { return t.base == "" })
	b.WriteString("\n// tileShape is what the table's kernel of matrix products makes at once.\nfunc (t Table) tileShape() tileShape {\n")
	matMulCases(b, kernels, func(pkg string) string {
		return fmt.Sprintf("return tileShape{%[1]s.MatMulRows, %[1]s.MatMulColumns}", pkg)
	})
	b.WriteString("}\n\n//go:noinline\nfunc matMulTile(t Table, " + strings.TrimPrefix(matMulParams(matMulScalars), "(") + " {\n")
	if arch != portable {
		b.WriteString("if unusual() {\nasUsual(func() { matMulTile(t, " + matMulArgs[1:] + " })\nreturn\n}\n")
		fmt.Fprintf(b, "if sanitized && t != %s {\ntouchTile(t.tileShape(), %s\n}\n", constant(portable), matMulArgs[1:])
	}
	matMulCases(b, kernels, func(pkg string) string { return pkg + ".MatMulTile" + matMulArgs })
	b.WriteString("}\n")
	return gofmt(b)
}

// matMulCases writes what is done with the package of each table's kernel.
func matMulCases(b *bytes.Buffer, kernels []matMul, do func(pkg string) string) {
	if len(kernels) == 0 {
		fmt.Fprintf(b, "%s\n", do("fallback"))
		return
	}
	b.WriteString("switch t {\n")
	for _, m := range kernels {
		fmt.Fprintf(b, "case %s:\n%s\n", m.cases(func(target) bool { return false }), do(m.isa))
	}
	fmt.Fprintf(b, "default:\n%s\n}\n", do("fallback"))
}
