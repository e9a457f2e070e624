package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/arm64"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestFresh compares what is on disk with what is generated now. Run it with
// -count=1: the test cache does not look at files outside of this module, and
// answers (cached) though one of them was edited.
func TestFresh(t *testing.T) {
	fs := files()
	for name, want := range fs {
		switch got, err := os.ReadFile(filepath.Join("..", name)); {
		case os.IsNotExist(err):
			t.Errorf("%s is missing: run go generate ./...", name)
		case err != nil:
			t.Error(err)
		case !bytes.Equal(got, want):
			t.Errorf("%s is stale: run go generate ./...", name)
		}
	}
	for _, name := range generated("..") {
		if fs[name] == nil {
			t.Errorf("%s is an orphan: nothing generates it", name)
		}
	}
}

// TestWords disassembles every word of every NEON kernel on disk.
func TestWords(t *testing.T) {
	names, err := filepath.Glob("../kernels/asm/neon/*.s")
	if err != nil || len(names) != len(rules.All.Rules()) {
		t.Fatalf("%d files for %d rules (%v)", len(names), len(rules.All.Rules()), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("WORD")) {
			t.Errorf("%s has no words", name)
		}
		if err := arm64.Check(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// references are the functions of package fallback by name.
func references() map[string]any {
	tables := kernels.Available()
	m := map[string]any{}
	for _, k := range tables[len(tables)-1].Kernels() {
		m[k.Name] = k.Func
	}
	return m
}

// TestRules runs the graph of every rule against its reference.
func TestRules(t *testing.T) {
	for _, r := range rules.All.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			want := references()[r.Name]
			if want == nil {
				t.Fatal("no function of this name")
			}
			compared := 0
			for n := range 71 {
				for seed := range 4 {
					c := agree.Case{N: n, Rows: (n + seed) % 7, Seed: uint64(seed), Random: seed%2 > 0}
					k, err := agree.Compare(evaluator(r, want), want, agree.Of(r.Name), c)
					if err != nil {
						t.Fatal(err)
					}
					compared += k
				}
			}
			if compared == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

// evaluator makes a function of the type of like that runs the rule.
func evaluator(r *rule.Rule, like any) any {
	t := reflect.TypeOf(like)
	return reflect.MakeFunc(t, func(values []reflect.Value) []reflect.Value {
		a := rule.Args{Sums: map[int]*[rule.Lanes]float64{}, Maxima: map[int]*[rule.Lanes]float32{}}
		reductions := 0
		for _, v := range values {
			switch x := v.Interface().(type) {
			case []float32:
				a.Buffers = append(a.Buffers, x)
			case *[rule.Lanes]float64:
				a.Sums[reductions] = x
				reductions++
			case *[rule.Lanes]float32:
				a.Maxima[reductions] = x
				reductions++
			default:
				for k := range v.Elem().NumField() {
					a.Scalars = append(a.Scalars, float32(v.Elem().Field(k).Float()))
				}
			}
		}
		r.Eval(a)
		return nil
	}).Interface()
}

// TestScalars holds the fields of the references' scalars to the order in which
// rules, and so kernels, read them.
func TestScalars(t *testing.T) {
	for _, r := range rules.All.Rules() {
		var want, got []string
		for _, s := range r.Scalars {
			want = append(want, strings.ToUpper(s[:1])+s[1:])
		}
		f := reflect.TypeOf(references()[r.Name])
		for k := range f.NumIn() {
			if p := f.In(k); p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Struct {
				for j := range p.Elem().NumField() {
					got = append(got, p.Elem().Field(j).Name)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the fields are %v, the rule's scalars %v", r.Name, got, want)
		}
	}
}
