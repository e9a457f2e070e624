package c11

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/names"
)

// calls is what holds of the calls of all kernels.
const calls = `
Every kernel takes a table, or NULL for the one in use, a list of so many buffers, its
scalars, and lanes for its reductions. What follows names the buffers of a tensor in their
order, and what becomes of each: it is read, changed, or written whatever was there.

It returns LOCKSTEP_BAD_COUNT, LOCKSTEP_SHORT_BUFFER, LOCKSTEP_LONG_BUFFER or LOCKSTEP_NULL
if that is what is wrong with its arguments, or without a table what lockstep_active returns,
and has written nothing then.`

// Header is the header of all kernels.
func (ref *Reference) Header(all []*rule.Rule) []byte {
	b := bytes.NewBufferString(header + `#ifndef LOCKSTEP_KERNELS_H
#define LOCKSTEP_KERNELS_H

#include "lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif
`)
	b.WriteString(block(calls))
	ref.masksOf(b)
	b.WriteString(block(ref.docs["Common"]))
	for _, r := range all {
		ref.scalars(b, r)
		b.WriteString(block(ref.docs[r.Name] + "\n" + arguments(r)))
		fmt.Fprintf(b, "LOCKSTEP_API lockstep_status %s;\n", prototype(r))
	}
	b.WriteString("\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n")
	return b.Bytes()
}

// masksOf prints the constants.
func (ref *Reference) masksOf(b *bytes.Buffer) {
	b.WriteString(block(ref.docs["Mask"]))
	for _, m := range ref.masks {
		fmt.Fprintf(b, "#define LOCKSTEP_%s UINT32_C(%s) /* %s */\n", strings.ToUpper(names.C(m.Name)), m.Type, m.Doc)
	}
}

// scalars prints the struct of a kernel's scalars.
func (ref *Reference) scalars(b *bytes.Buffer, r *rule.Rule) {
	if len(r.Scalars) == 0 {
		return
	}
	name := structName(r.Name)
	b.WriteString(block(ref.docs[r.Name+"Scalars"]))
	fmt.Fprintf(b, "typedef struct %s {\n", name)
	for _, f := range ref.Fields(r) {
		fmt.Fprintf(b, "\t%s %s;", f.Type, names.C(f.Name))
		if f.Doc != "" {
			fmt.Fprintf(b, " /* %s */", f.Doc)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "} %s;\n", name)
}

// block is a comment of sentences and formulas.
func block(doc string) string {
	var b strings.Builder
	b.WriteString("\n/*\n")
	for line := range strings.Lines(strings.TrimSpace(inC(doc))) {
		if !strings.HasPrefix(line, "\t") {
			line = " " + line
		}
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(" *"+line, " \n"))
	}
	b.WriteString(" */\n")
	return b.String()
}

// arguments says what a call does with each buffer.
func arguments(r *rule.Rule) string {
	var list []string
	for k, f := range r.Buffers {
		does := "read"
		switch {
		case r.Stores(k) && r.Loads(k):
			does = "changed"
		case r.Stores(k):
			does = "written"
		}
		list = append(list, f.Name+" ("+does+shapes[f.Shape].doc+typesOf[f.Type].doc+")")
	}
	return "list: " + strings.Join(list, ", ")
}

// shapes are what a buffer has an element for.
var shapes = [...]struct{ constant, doc string }{
	rule.Stream: {"LOCKSTEP_STREAM", ""},
	rule.Matrix: {"LOCKSTEP_MATRIX", ", rows × columns"},
	rule.PerRow: {"LOCKSTEP_PER_ROW", ", one for each row"},
}

// typesOf are what elements are, and what the constant of a buffer of them ends with.
var typesOf = [...]struct{ constant, doc string }{
	rule.F32:  {"", ""},
	rule.BF16: {"_BF16", ", of bf16"},
	rule.F16:  {"_F16", ", of f16"},
}

// prototype is the function that users call.
func prototype(r *rule.Rule) string {
	params := []string{"const lockstep_table *table", "const lockstep_buffer *list", "size_t buffers"}
	if len(r.Scalars) > 0 {
		params = append(params, "const "+structName(r.Name)+" *c")
	}
	for _, d := range r.Reductions {
		params = append(params, lane(d.Kind)+" "+names.C(d.Name)+"[LOCKSTEP_LANES]")
	}
	return function(r) + "(" + strings.Join(params, ", ") + ")"
}

func function(r *rule.Rule) string { return "lockstep_kernel_" + names.C(r.Name) }

// A Table is the kernels of an instruction set. Those that it has not are its base's.
type Table struct {
	ISA, Base string
	Platform  string // the macro of the builds that have it, or "" for all
	Has       func(r *rule.Rule) bool

	// TileRows and TileColumns are what its kernel of matrix products makes at once. A table
	// with a base has its.
	TileRows, TileColumns int
}

// Tables is the file of the kernels' descriptions, of the tables and of the functions that
// users call.
func (ref *Reference) Tables(all []*rule.Rule, tables []Table) []byte {
	b := bytes.NewBufferString(header + "#include \"internal.h\"\n\n")
	for _, r := range all {
		ref.description(b, r)
	}
	b.WriteString("const lockstep_kernel lockstep_all[] = {\n")
	for _, r := range all {
		fmt.Fprintf(b, "\t{%q, %s, %s, %s},\n", r.Name, some(r, "buffers", len(r.Buffers)), some(r, "scalars", len(r.Scalars)), some(r, "lanes", len(r.Reductions)))
	}
	fmt.Fprintf(b, "};\nconst size_t lockstep_all_count = %d;\n", len(all))
	table(b, Table{ISA: "portable", TileRows: fallback.MatMulRows, TileColumns: fallback.MatMulColumns}, all)
	tables = slices.Clone(tables) // a base before those that have its kernels
	slices.SortStableFunc(tables, func(a, b Table) int { return strings.Compare(a.Base, b.Base) })
	for _, t := range tables {
		table(b, t, all)
	}
	for k, r := range all {
		call(b, k, r)
	}
	return b.Bytes()
}

// some is an array of a kernel's description and its length.
func some(r *rule.Rule, what string, n int) string {
	if n == 0 {
		return "NULL, 0"
	}
	return fmt.Sprintf("%s_%s, %d", names.C(r.Name), what, n)
}

// description prints the arrays of a kernel's description.
func (ref *Reference) description(b *bytes.Buffer, r *rule.Rule) {
	var buffers, scalars, lanes []string
	for _, f := range r.Buffers {
		buffers = append(buffers, fmt.Sprintf("{%q, %s}", f.Name, shapes[f.Shape].constant+typesOf[f.Type].constant))
	}
	for _, f := range ref.Fields(r) {
		scalars = append(scalars, fmt.Sprintf("{%q, %s}", names.C(f.Name), map[string]string{"float": "LOCKSTEP_FLOAT", "uint32_t": "LOCKSTEP_MASK"}[f.Type]))
	}
	for _, d := range r.Reductions {
		lanes = append(lanes, fmt.Sprintf("{%q, LOCKSTEP_LANES_%s}", names.C(d.Name), strings.ToUpper(lane(d.Kind))))
	}
	for _, a := range []struct {
		what string
		list []string
	}{{"buffers", buffers}, {"scalars", scalars}, {"lanes", lanes}} {
		if len(a.list) > 0 {
			fmt.Fprintf(b, "static const lockstep_parameter %s_%s[] = {%s};\n", names.C(r.Name), a.what, strings.Join(a.list, ", "))
		}
	}
}

// table prints the kernels of a table.
func table(b *bytes.Buffer, t Table, all []*rule.Rule) {
	var own, entries []string
	for _, r := range all {
		isa := t.ISA
		if t.Has != nil && !t.Has(r) {
			isa = t.Base
		}
		symbol := "lockstep_" + isa + "_" + names.C(r.Name)
		entries = append(entries, symbol)
		if isa == t.ISA {
			own = append(own, symbol)
		}
	}
	if t.Platform != "" {
		fmt.Fprintf(b, "\n#if %s\n", t.Platform)
	}
	fmt.Fprintf(b, "\nlockstep_bare %s;\n", strings.Join(own, ",\n\t"))
	fmt.Fprintf(b, "lockstep_bare *const lockstep_%s_kernels[] = {\n\t%s,\n};\n", t.ISA, strings.Join(entries, ",\n\t"))
	if t.TileRows > 0 {
		fmt.Fprintf(b, "\nlockstep_bare lockstep_%s_matmul_tile;\nconst lockstep_tile lockstep_%[1]s_tile = {%d, %d, lockstep_%[1]s_matmul_tile};\n", t.ISA, t.TileRows, t.TileColumns)
	}
	if t.Platform != "" {
		b.WriteString("\n#endif\n")
	}
}

// call prints the function that users call.
func call(b *bytes.Buffer, k int, r *rule.Rule) {
	scalars, lanes := "NULL", "NULL"
	if len(r.Scalars) > 0 {
		scalars = "c"
	}
	fmt.Fprintf(b, "\nlockstep_status %s {\n", prototype(r))
	if len(r.Reductions) > 0 {
		var all []string
		for _, d := range r.Reductions {
			all = append(all, names.C(d.Name))
		}
		lanes = "lanes"
		fmt.Fprintf(b, "\tvoid *const lanes[] = {%s};\n", strings.Join(all, ", "))
	}
	fmt.Fprintf(b, "\treturn lockstep_run(table, &lockstep_all[%d], list, buffers, %s, %s);\n}\n", k, scalars, lanes)
}
