package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/gen/arm64"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/gen/typetest"
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

// functions are those of a file of assembly, each from its name on.
func functions(text []byte) []string { return strings.Split(string(text), "\nTEXT ·")[1:] }

// TestSize keeps the assembly from growing by what no rule needs: so many bytes a kernel of
// each instruction set, on average, and no kernel of more than twice as many, unless its graph
// is so long; and all of it, with its declarations, from more than a reader puts up with.
func TestSize(t *testing.T) {
	const most, perNode, whole = 10_000, 170, 2_600_000
	sizes, all := map[string][]int{}, 0
	for name, b := range files() {
		rest, ok := strings.CutPrefix(name, "kernels/asm/")
		if ok {
			all += len(b)
		}
		if ok && strings.HasSuffix(name, ".s") {
			isa, _, _ := strings.Cut(rest, "/")
			for _, kernel := range functions(b) {
				name, _, _ := strings.Cut(kernel, "(")
				limit := 2 * most
				for _, r := range rules.All.Rules() {
					if r.Name == name {
						limit = max(limit, perNode*len(r.Nodes))
					}
				}
				if sizes[isa] = append(sizes[isa], len(kernel)); len(kernel) > limit {
					t.Errorf("%s's %s is %d bytes of assembly, want at most %d: look for a main loop that is too long to be unrolled (Rule.Long), "+
						"or for a graph that computes a thing twice", isa, name, len(kernel), limit)
				}
			}
		}
	}
	if all == 0 || all > whole {
		t.Errorf("kernels/asm is %d bytes, want at most %d", all, whole)
	}
	for _, target := range targets {
		isa, sum := target.isa, 0
		list := sizes[isa]
		for _, n := range list {
			sum += n
		}
		if sum == 0 || sum > most*len(list) {
			t.Errorf("%d kernels of %s are %d bytes of assembly, %d each, want at most %d: compare one with what it was before (git diff kernels/asm); "+
				"a loop more in each, or one unrolled further, shows in all", len(list), isa, sum, sum/max(1, len(list)), most)
		}
	}
}

// TestWords disassembles what is a macro's in every NEON kernel on disk.
func TestWords(t *testing.T) {
	for dir, set := range map[string]*rule.Set{"../kernels/asm": &rules.All, "typetest": &typetest.All} {
		text, header := neon(t, dir, "kernels_arm64.s")
		kernels := functions(text)
		if len(kernels) != len(set.Rules()) {
			t.Errorf("%s: %d kernels for %d rules", dir, len(kernels), len(set.Rules()))
		}
		for _, kernel := range kernels {
			if !strings.Contains(kernel, "(v") {
				t.Errorf("%s: no words in %.20s", dir, kernel)
			}
		}
		if err := arm64.Check(text, header); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// neon reads a file of NEON's assembly and the header that it includes.
func neon(t *testing.T, dir, name string) (text, header []byte) {
	t.Helper()
	for n, to := range map[string]*[]byte{name: &text, arm64.HeaderName: &header} {
		var err error
		if *to, err = os.ReadFile(filepath.Join(dir, "neon", n)); err != nil {
			t.Fatal(err)
		}
	}
	return text, header
}

// TestMatMulWords disassembles the words of NEON's kernel of matrix products, which only it
// may use.
func TestMatMulWords(t *testing.T) {
	text, header := neon(t, "../kernels/asm", "matmul_arm64.s")
	if err := arm64.CheckMatMul(text, header); err != nil {
		t.Error(err)
	}
	if err := arm64.Check(text, header); err == nil {
		t.Error("what is fused is let through among the rules' kernels")
	}
}

// byName are the kernels of package kernels.
func byName() map[string]kernels.Kernel {
	m := map[string]kernels.Kernel{}
	for _, k := range kernels.All() {
		m[k.Name] = k
	}
	return m
}

// TestRules runs the graph of every rule, and what it comes to under its assumptions,
// against its reference.
func TestRules(t *testing.T) {
	references := byName()
	for _, r := range rules.All.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			k, ok := references[r.Name]
			if !ok {
				t.Fatal("no function of this name")
			}
			want := k.Bare(kernels.Table(0))
			compared := 0
			for n := range 71 {
				for seed := range 6 {
					c := agree.Case{N: n, More: []int{seed}, Rows: (n + seed) % 7, Seed: uint64(seed), Random: seed%2 > 0}
					k, err := agree.Compare(evaluator(r, want), want, k.Buffers, c)
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
	return reflect.MakeFunc(reflect.TypeOf(like), func(values []reflect.Value) []reflect.Value {
		a := rule.Args{Sums: map[int]*[rule.Lanes]float64{}, Maxima: map[int]*[rule.Lanes]float32{}}
		var list [][]float32
		var back []func()
		reductions := 0
		for _, v := range values {
			switch x := v.Interface().(type) {
			case [][]float32:
				list = x
			case []float32:
				list = append(list, x)
			case []fallback.BF16:
				list = append(list, wide(x, fallback.BF16.Float32))
				back = append(back, narrowed(r.Stores(len(list)-1), list[len(list)-1], x, upper))
			case []fallback.F16:
				list = append(list, wide(x, fallback.F16.Float32))
				back = append(back, narrowed(r.Stores(len(list)-1), list[len(list)-1], x, fallback.ToF16))
			case *[rule.Lanes]float64:
				a.Sums[reductions] = x
				reductions++
			case *[rule.Lanes]float32:
				a.Maxima[reductions] = x
				reductions++
			default:
				a.Scalars = scalars(v.Elem())
			}
		}
		for at := 0; at < len(list); at += len(r.Buffers) {
			a.Buffers = list[at : at+len(r.Buffers)]
			eval(r, a)
		}
		for _, f := range back {
			f()
		}
		return nil
	}).Interface()
}

// wide is what elements stand for.
func wide[T ~uint16](x []T, widen func(T) float32) []float32 {
	list := make([]float32, len(x))
	for i, h := range x {
		list[i] = widen(h)
	}
	return list
}

// upper is a number that is one of BF16.
func upper(x float32) fallback.BF16 { return fallback.BF16(math.Float32bits(x) >> 16) }

// narrowed puts back what a rule has stored, which Eval has rounded.
func narrowed[T ~uint16](stored bool, list []float32, x []T, narrow func(float32) T) func() {
	return func() {
		for i := range x {
			if stored {
				x[i] = narrow(list[i])
			}
		}
	}
}

// eval runs the rule, or what it comes to where its assumptions hold.
func eval(r *rule.Rule, a rule.Args) {
	for _, u := range r.Usual {
		x := a.Scalars[u.Scalar]
		if u.Cond == rule.IsBits && x != u.Bits || u.Cond == rule.IsPositive && !(math.Float32frombits(x) > 0) {
			r.Eval(a)
			return
		}
	}
	r.Specialize(r.Usual).Eval(a)
}

// scalars are the bits of the fields of a struct, in order.
func scalars(v reflect.Value) []uint32 {
	var list []uint32
	for k := range v.NumField() {
		switch f := v.Field(k); f.Kind() {
		case reflect.Struct:
			list = append(list, scalars(f)...)
		case reflect.Uint32:
			list = append(list, uint32(f.Uint()))
		default:
			list = append(list, math.Float32bits(float32(f.Float())))
		}
	}
	return list
}

// TestScalars holds the fields of the references' scalars to the order in which
// rules, and so kernels, read them.
func TestScalars(t *testing.T) {
	references := byName()
	for _, r := range rules.All.Rules() {
		var want, got []string
		for _, s := range r.Scalars {
			want = append(want, strings.ToUpper(s[:1])+s[1:])
		}
		f := reflect.TypeOf(references[r.Name].Bare(kernels.Table(0)))
		for k := range f.NumIn() {
			if p := f.In(k); p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Struct {
				got = fields(p.Elem())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the fields are %v, the rule's scalars %v", r.Name, got, want)
		}
	}
}

// fields are the names of the fields of a struct, those of structs within it too.
func fields(t reflect.Type) []string {
	var list []string
	for k := range t.NumField() {
		if f := t.Field(k); f.Type.Kind() == reflect.Struct {
			list = append(list, fields(f.Type)...)
		} else {
			list = append(list, f.Name)
		}
	}
	return list
}
