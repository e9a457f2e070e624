package main

import (
	"bytes"
	"fmt"
	"go/types"
	"regexp"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/gen/translate"
	"github.com/lockstep-go/lockstep/internal/names"
)

// A generator has the rules of package update.
type generator struct {
	p     *translate.Program
	rules []rule // by name
	words *regexp.Regexp
	names []string // of all options
}

// A rule is a type of package update that implements Rule.
type rule struct {
	name   string
	t      *types.Named
	fields []*types.Var // those of Options first
}

func load(root string) (*generator, error) {
	p, err := translate.Load(root, kernels(), translate.Module+"update")
	if err != nil {
		return nil, err
	}
	g := &generator{p: p}
	scope := p.Package("update").Scope()
	is := scope.Lookup("Rule").Type().Underlying().(*types.Interface)
	for _, name := range scope.Names() {
		t, ok := scope.Lookup(name).(*types.TypeName)
		if !ok || !t.Exported() || types.IsInterface(t.Type()) || !types.Implements(t.Type(), is) {
			continue
		}
		r := rule{name: name, t: t.Type().(*types.Named)}
		r.fields = fields(r.t)
		g.rules = append(g.rules, r)
		for _, f := range r.fields {
			g.names = append(g.names, f.Name())
		}
	}
	words := slices.DeleteFunc(slices.Clone(g.names), func(name string) bool { return g.isAbbreviation(name) })
	g.words = regexp.MustCompile(`\.?\b(` + strings.Join(words, "|") + `)\b`)
	p.Words = g.inC
	return g, nil
}

// kernels are those of C, by name.
func kernels() map[string]translate.Kernel {
	list := map[string]translate.Kernel{}
	for k, r := range rules.All.Rules() {
		list[r.Name] = translate.Kernel{Place: k, Buffers: len(r.Buffers), Sums: len(r.Reductions)}
	}
	return list
}

// fields are those of a struct, and of the structs that are embedded in it.
func fields(t types.Type) []*types.Var {
	var list []*types.Var
	s := t.Underlying().(*types.Struct)
	for k := range s.NumFields() {
		if f := s.Field(k); f.Embedded() {
			list = append(list, fields(f.Type())...)
		} else {
			list = append(list, f)
		}
	}
	return list
}

// isAbbreviation reports whether an option has a name, such as A or RMS, that means something
// else where sentences are not of its rule. Those that every rule has mean the same everywhere.
func (g *generator) isAbbreviation(name string) bool {
	isCommon := slices.ContainsFunc(g.common(), func(f *types.Var) bool { return f.Name() == name })
	return strings.ToUpper(name) == name && !isCommon
}

// inC has a sentence name options as they are in C, or is the name of one.
func (g *generator) inC(sentence string) string {
	if slices.Contains(g.names, sentence) {
		return names.C(sentence)
	}
	return g.words.ReplaceAllStringFunc(sentence, names.C)
}

// inCOf is inC for a sentence of a rule. A single letter is an option's name in formulas and
// lists; elsewhere it begins a sentence.
func (g *generator) inCOf(r rule, sentence string) string {
	sentence = g.inC(sentence)
	for _, f := range r.fields {
		if g.isAbbreviation(f.Name()) {
			behind := ""
			if len(f.Name()) == 1 {
				behind = "(·|,| and | are )"
			}
			sentence = regexp.MustCompile(`\b`+f.Name()+`\b`+behind).ReplaceAllStringFunc(sentence, strings.ToLower)
		}
	}
	return sentence
}

func structName(name string) string { return "lockstep_" + names.C(name) + "_options" }

// header is the header with the structs of all rules.
func (g *generator) header() []byte {
	b := bytes.NewBufferString(header + `/*
 * The options of each rule of lockstep_rules. 0 means 0 in every option: begin with a preset
 * (lockstep_preset) and change what differs. An int is a flag: 0, or any other number, unless
 * its comment says how large it is.
 *
 * g is a gradient, w a parameter, lr the learning rate and t the step, from 1.
 */
#ifndef LOCKSTEP_RULES_H
#define LOCKSTEP_RULES_H
`)
	options := g.p.Package("update").Scope().Lookup("Options")
	b.WriteString(block("These" + g.inC(strings.TrimPrefix(g.p.Doc(options), "Options"))))
	g.options(b, rule{"Options", nil, fields(options.Type())}, "lockstep_options")
	for _, r := range g.rules {
		b.WriteString(block(fmt.Sprintf("%q", r.name) + g.inCOf(r, strings.TrimPrefix(g.p.Doc(r.t.Obj()), r.name))))
		g.options(b, r, structName(r.name))
	}
	b.WriteString("\n#endif\n")
	return b.Bytes()
}

// block is a comment.
func block(doc string) string {
	var b strings.Builder
	b.WriteString("\n/*\n")
	for line := range strings.Lines(strings.TrimSpace(doc)) {
		if !strings.HasPrefix(line, "\t") {
			line = " " + line
		}
		b.WriteString(strings.TrimRight(" *"+line, " \n") + "\n")
	}
	return b.String() + " */\n"
}

// options prints a struct. What all rules have is documented once.
func (g *generator) options(b *bytes.Buffer, r rule, of string) {
	fmt.Fprintf(b, "typedef struct %s {", of)
	doc, end := "", ""
	for k, f := range r.fields {
		before := doc
		doc = g.docOf(f, r, of)
		option := g.p.Option(f)
		if k > 0 && doc == before && doc != "" && types.Identical(f.Type(), r.fields[k-1].Type()) {
			fmt.Fprintf(b, ", %s", option.Name)
			continue
		}
		b.WriteString(end)
		if doc != before {
			b.WriteString(doc)
		}
		fmt.Fprintf(b, "\n\t%s %s", option.Type, option.Name)
		end = ";"
	}
	fmt.Fprintf(b, ";\n} %s;\n", of)
}

// docOf is the comment above an option in a struct.
func (g *generator) docOf(f *types.Var, r rule, of string) string {
	if slices.Contains(g.common(), f) && of != "lockstep_options" {
		return comment("As in lockstep_options.")
	}
	return comment(g.inCOf(r, g.p.Doc(f)))
}

// comment is one above a field.
func comment(doc string) string {
	doc = strings.TrimSpace(doc)
	if doc == "" {
		return ""
	}
	return "\n\t/* " + strings.ReplaceAll(strings.ReplaceAll(doc, "\n", "\n\t * "), " * \n", " *\n") + " */"
}

// common are the options that every rule has.
func (g *generator) common() []*types.Var {
	return fields(g.p.Package("update").Scope().Lookup("Options").Type())
}
