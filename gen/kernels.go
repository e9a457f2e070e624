package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// tables names every table, in the order of their numbers.
var tables = []string{portable, "avx2", "avx2newton", "avx512", "avx512newton", "neon"}

// constant is the name of a table's number.
func constant(isa string) string { return isa + "Table" }

// params is the Go parameter list of a kernel.
func params(r *rule.Rule) string { return r.Params("*fallback." + r.Name + "Scalars") }

// args are the arguments of a call that passes on its parameters.
func args(r *rule.Rule) []string {
	names := []string{rule.List}
	if r.IsApart() {
		names = r.BufferNames()
	}
	return append(names, tail(r)...)
}

// tail names the arguments that are not buffers.
func tail(r *rule.Rule) []string {
	var names []string
	if len(r.Scalars) > 0 {
		names = append(names, "c")
	}
	for _, d := range r.Reductions {
		names = append(names, d.Name)
	}
	return names
}

// calls writes the safe call of every kernel, and the reference for a list.
func calls(all []*rule.Rule) []byte {
	b := bytes.NewBufferString(header + "package kernels\n\nimport \"" + module + "fallback\"\n\n")
	fmt.Fprintf(b, "const (\n%s Table = iota\n", constant(portable))
	for _, isa := range tables[1:] {
		fmt.Fprintf(b, "%s\n", constant(isa))
	}
	fmt.Fprintf(b, ")\n\nvar names = [...]string{%q", tables[0])
	for _, isa := range tables[1:] {
		fmt.Fprintf(b, ", %q", isa)
	}
	b.WriteString("}\n")
	for _, r := range all {
		switch {
		case r.IsMatrix():
			matrixCall(b, r)
		case r.IsTyped():
			typedCall(b, r)
		default:
			listCall(b, r)
			reference(b, r)
		}
	}
	return gofmt(b)
}

// listCall writes the call of a kernel for a list, part by part: the scheduler comes
// between the calls of a Go function, not between those of assembly.
func listCall(b *bytes.Buffer, r *rule.Rule) {
	names := strings.Join(r.BufferNames(), ", ")
	fmt.Fprintf(b, "\n// %s runs the kernel of a table over the tensors of a list, %s of each:\n// see fallback.%s.\n", r.Name, names, r.Name)
	typed := strings.Replace(params(r), rule.List+" [][]float32", rule.List+" *List", 1)
	passed := append([]string{"t", "part"}, tail(r)...)
	fmt.Fprintf(b, "func %s(t Table, %s) {\nfor _, part := range %s.of(%d) {\n%s(%s)\n}\n}\n",
		r.Name, typed, rule.List, len(r.Buffers), runName(r), strings.Join(passed, ", "))
}

// reference writes the reference's call for a list.
func reference(b *bytes.Buffer, r *rule.Rule) {
	var passed []string
	for k := range r.Buffers {
		passed = append(passed, fmt.Sprintf("%s[at+%d]", rule.List, k))
	}
	passed = append(passed, tail(r)...)
	fmt.Fprintf(b, "\nfunc %s(%s) {\nfor at := 0; at < len(%s); at += %d {\nfallback.%s(%s)\n}\n}\n",
		referenceName(r), params(r), rule.List, len(r.Buffers), r.Name, strings.Join(passed, ", "))
}

// typedCall writes the call of a kernel for one tensor of buffers of several types, part by
// part.
func typedCall(b *bytes.Buffer, r *rule.Rule) {
	names := r.BufferNames()
	fmt.Fprintf(b, "\n// %s runs the kernel of a table over a tensor: see fallback.%s.\nfunc %s(t Table, %s) {\n", r.Name, r.Name, r.Name, params(r))
	equalLengths(b, names)
	var parts, rests []string
	for _, name := range names {
		parts, rests = append(parts, name+"[:MaxLen]"), append(rests, name+"[MaxLen:]")
	}
	fmt.Fprintf(b, "for len(%s) > MaxLen {\n%s(t, %s)\n", names[0], runName(r), strings.Join(append(parts, tail(r)...), ", "))
	fmt.Fprintf(b, "%s = %s\n}\n%s(t, %s)\n}\n", strings.Join(names, ", "), strings.Join(rests, ", "), runName(r), strings.Join(args(r), ", "))
}

// matrixCall writes the call of a kernel for a matrix, which is split between rows.
func matrixCall(b *bytes.Buffer, r *rule.Rule) {
	shapes := map[rule.Shape][]string{}
	var parts, order []string
	for _, f := range r.Buffers {
		shapes[f.Shape] = append(shapes[f.Shape], f.Name)
		switch f.Shape {
		case rule.PerRow:
			parts = append(parts, f.Name+"[:rows]")
			order = append(order, f.Name+"[rows:]")
		case rule.Matrix:
			parts = append(parts, f.Name+"[:rows*columns]")
			order = append(order, f.Name+"[rows*columns:]")
		default:
			parts = append(parts, f.Name)
		}
	}
	perRow, columns := shapes[rule.PerRow][0], shapes[rule.Stream][0]
	most := ""
	if folds(r) {
		most = ", of at most MaxLen\n// columns"
	}
	fmt.Fprintf(b, "\n// %s runs the kernel of a table over the rows of a matrix%s: see fallback.%s.\nfunc %s(t Table, %s) {\n", r.Name, most, r.Name, r.Name, params(r))
	equalLengths(b, shapes[rule.PerRow])
	equalLengths(b, shapes[rule.Stream])
	fmt.Fprintf(b, "columns := len(%s)\n", columns)
	for _, matrix := range shapes[rule.Matrix] {
		fmt.Fprintf(b, "%s = %s\n", matrix, atMost(matrix, "len("+perRow+")*columns"))
	}
	passed := strings.Join(append(parts, tail(r)...), ", ")
	if !folds(r) {
		longRows(b, r, perRow)
	}
	fmt.Fprintf(b, "rows := rowsPerCall(len(%s), columns)\nfor len(%s) > rows {\n%s(t, %s)\n", shapes[rule.Matrix][0], perRow, runName(r), passed)
	var left []string
	for _, o := range order {
		name, _, _ := strings.Cut(o, "[")
		left = append(left, name)
	}
	fmt.Fprintf(b, "%s = %s\n}\n%s(t, %s)\n}\n", strings.Join(left, ", "), strings.Join(order, ", "), runName(r), strings.Join(args(r), ", "))
}

// folds reports whether a kernel sums up rows, which then must not be cut.
func folds(r *rule.Rule) bool {
	return slices.ContainsFunc(r.Effects, func(e rule.Effect) bool { return e.Reduce && e.Kind.Folds() })
}

// longRows writes what is done with rows of more than MaxLen elements.
func longRows(b *bytes.Buffer, r *rule.Rule, perRow string) {
	var parts []string
	for _, f := range r.Buffers {
		parts = append(parts, f.Name+map[rule.Shape]string{rule.PerRow: "[k:k+1]", rule.Matrix: "[k*columns+at:k*columns+end]", rule.Stream: "[at:end]"}[f.Shape])
	}
	fmt.Fprintf(b, "if columns > MaxLen {\nfor k := range %s {\nfor at := 0; at < columns; at += MaxLen {\nend := min(at+MaxLen, columns)\n%s(t, %s)\n}\n}\nreturn\n}\n",
		perRow, runName(r), strings.Join(append(parts, tail(r)...), ", "))
}

// equalLengths cuts all buffers to the first one's length, and panics if one is
// shorter. The capacity is cut to the length first, or Go would let a slice grow
// into what lies behind it.
func equalLengths(b *bytes.Buffer, names []string) {
	for _, name := range names[1:] {
		fmt.Fprintf(b, "%s = %s\n", name, atMost(name, "len("+names[0]+")"))
	}
}

// atMost cuts a buffer to n elements.
func atMost(name, n string) string {
	return fmt.Sprintf("%[1]s[:len(%[1]s):len(%[1]s)][:%[2]s]", name, n)
}

// dispatch writes the choice of every kernel's function among the tables of an
// architecture. A function for each, and no table of all, lets a program link the
// kernels that it uses and no others.
func dispatch(arch string, all []*rule.Rule) []byte {
	b := choiceFile(arch, func(target) bool { return true })
	for _, r := range all {
		choice(b, arch, r)
	}
	return gofmt(b)
}

// choiceFile begins a file of choices among the targets of an architecture.
func choiceFile(arch string, among func(target) bool) *bytes.Buffer {
	constraint := arch + " && !purego && !noasm"
	if arch == portable {
		constraint = "purego || noasm || !(" + strings.Join(architectures, " || ") + ")"
	}
	b := bytes.NewBufferString(header + "//go:build " + constraint + "\n\npackage kernels\n\nimport (\n\"" + module + "fallback\"\n")
	for _, t := range targets {
		if t.arch == arch && among(t) {
			fmt.Fprintf(b, "%q\n", module+"kernels/asm/"+t.isa)
		}
	}
	b.WriteString(")\n")
	return b
}

// choice writes the choice of one kernel. It is not inlined, because the scheduler
// stops a goroutine where a function begins.
func choice(b *bytes.Buffer, arch string, r *rule.Rule) {
	fmt.Fprintf(b, "\n//go:noinline\nfunc %s(t Table, %s) {\n", runName(r), params(r))
	passed := strings.Join(args(r), ", ")
	plain := fmt.Sprintf("%s(%s)", referenceName(r), passed)
	if r.IsApart() {
		plain = fmt.Sprintf("fallback.%s(%s)", r.Name, passed)
	}
	if arch == portable {
		fmt.Fprintf(b, "%s\n}\n", plain)
		return
	}
	fmt.Fprintf(b, "if unusual() {\nasUsual(func() { %s(%s) })\nreturn\n}\n", runName(r), strings.Join(append([]string{"t"}, args(r)...), ", "))
	touches(b, r)
	b.WriteString("switch t {\n")
	for _, t := range targets {
		if t.arch != arch || !t.has(r) {
			continue
		}
		own := func(other target) bool { return other.has(r) }
		fmt.Fprintf(b, "case %s:\n%s.%s(%s)\n", t.cases(own), t.isa, r.Name, passed)
	}
	fmt.Fprintf(b, "default:\n%s\n}\n}\n", plain)
}

// cases are the tables that run the target's kernel: its own, and those with it as their
// base that have none themselves.
func (t target) cases(own func(target) bool) string {
	cases := []string{constant(t.isa)}
	for _, other := range targets {
		if other.base == t.isa && !own(other) {
			cases = append(cases, constant(other.isa))
		}
	}
	return strings.Join(cases, ", ")
}

// touches writes what tells sanitizers of the memory that assembly reads and writes. The
// buffers that are no list have lengths of their own.
func touches(b *bytes.Buffer, r *rule.Rule) {
	fmt.Fprintf(b, "if sanitized && t != %s {\n", constant(portable))
	var does []string
	for k, name := range r.BufferNames() {
		does = append(does, access(r.Loads(k), r.Stores(k)))
		if r.IsApart() {
			fmt.Fprintf(b, "touchBuffer(%s, %s)\n", name, does[k])
		}
	}
	if !r.IsApart() {
		fmt.Fprintf(b, "touch(%s, %s)\n", rule.List, strings.Join(does, ", "))
	}
	for _, d := range r.Reductions {
		fmt.Fprintf(b, "touchLanes(%s)\n", d.Name)
	}
	b.WriteString("}\n")
}

// access names what a kernel does with a buffer.
func access(loads, stores bool) string {
	switch {
	case loads && stores:
		return "reads|writes"
	case stores:
		return "writes"
	}
	return "reads"
}

// list writes the list of all kernels.
func list(all []*rule.Rule) []byte {
	b := bytes.NewBufferString(header + "package kernels\n\nimport \"" + module + "fallback\"\n\n" +
		"// All lists the kernels by name. A program that calls it links all of them.\nfunc All() []Kernel {\nreturn []Kernel{\n")
	for _, r := range all {
		passed := strings.Join(append([]string{"t"}, args(r)...), ", ")
		fmt.Fprintf(b, "{%q, []Buffer{%s}, %s, fallback.%s, func(t Table) any {\nreturn func(%s) { %s(%s) }\n}},\n",
			r.Name, buffers(r), r.Name, r.Name, params(r), runName(r), passed)
	}
	b.WriteString("}\n}\n")
	return gofmt(b)
}

// buffers writes the buffers of a kernel.
func buffers(r *rule.Rule) string {
	shapes := [...]string{rule.Stream: "Stream", rule.Matrix: "Matrix", rule.PerRow: "PerRow"}
	types := [...]string{rule.F32: "Float32", rule.BF16: "Bfloat16", rule.F16: "Float16"}
	var list []string
	for _, f := range r.Buffers {
		list = append(list, fmt.Sprintf("{%q, %s, %s}", f.Name, shapes[f.Shape], types[f.Type]))
	}
	return strings.Join(list, ", ")
}

// runName and referenceName name what is not exported: the choice among the tables and
// the reference for a list.
func runName(r *rule.Rule) string       { return "run" + r.Name }
func referenceName(r *rule.Rule) string { return "reference" + r.Name }
