package update

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Passes are the types of the calls of a rule's passes.
func Passes(r Rule) []string {
	var list []string
	for _, p := range r.plan().Passes {
		list = append(list, reflect.ValueOf(p).FieldByName("call").Elem().Type().String())
	}
	return list
}

// Kernels are the names of the functions that a rule's passes call, where they call one of
// package kernels themselves and take all buffers.
func Kernels(r Rule) []string {
	var list []string
	for _, p := range r.plan().Passes {
		kernel := reflect.ValueOf(p).FieldByName("call").Elem().Elem().FieldByName("kernel")
		if !kernel.IsValid() { // of Keep
			continue
		}
		name := runtime.FuncForPC(kernel.Pointer()).Name()
		if _, of, ok := strings.Cut(name, "/kernels."); ok && reflect.ValueOf(p).FieldByName("names").Len() == 0 {
			list = append(list, of)
		}
	}
	return list
}

// SumsOverTensors reports whether a rule has sums over more than a tensor.
func SumsOverTensors(r Rule) bool {
	return slices.ContainsFunc(r.plan().Passes, func(p engine.Pass) bool {
		return engine.Scope(reflect.ValueOf(p).FieldByName("sums").Uint()) > engine.OverTensor
	})
}

// Slots are a rule's state, and whether its small numbers are kept.
func Slots(r Rule) (slots []engine.Slot, kept bool) {
	return r.plan().State, r.options().KeepSubnormals
}

// buffer is a state buffer that is there, slotNames the names of those of a tensor.
func buffer(o *Optimizer, tensor int, name string) []float32 {
	b, err := o.Buffer(tensor, name)
	if err != nil {
		panic(err)
	}
	return b
}

func slotNames(o *Optimizer, tensor int) []string {
	names, err := o.Buffers(tensor)
	if err != nil {
		panic(err)
	}
	return names
}

// Check refuses options, CheckLR a learning rate.
func Check(r Rule) error               { return checkOptions(r) }
func CheckLR(r Rule, lr float64) error { return (&group{rule: r}).checkLR(lr) }

// Plan is a rule's plan, Common the options that the engine has.
func Plan(r Rule) engine.Plan { return r.plan() }
func Common(r Rule) Options   { return r.options() }

// FactoredPlan is a rule's plan for matrices, if it has one.
func FactoredPlan(r Rule) (plan engine.Plan, ok bool) {
	p, ok := factoredPlan(r)
	return p.Plan, ok
}

// A Call is what a plan says of a pass in fields of its own.
type Call struct {
	Kernel  string // a function of package kernels, or what the type of the scalars is of
	Scope   uint64
	Buffers []string // nil for all
	Walk    uint64   // 0 if it takes elements

	ByRow     bool // each row has scalars of its own
	Keep, Add float64
	Trusts    bool // it moves by its trust ratio
	Decay     float64
}

// CallOf is that of a pass whose scalars are of a type.
func CallOf(p engine.Pass, scalars string) Call {
	v := reflect.ValueOf(p)
	c := Call{Kernel: strings.TrimSuffix(scalars, "Scalars"), Scope: v.FieldByName("sums").Uint(), Walk: v.FieldByName("walk").Uint()}
	kernel := v.FieldByName("call").Elem().Elem().FieldByName("kernel")
	if !kernel.IsValid() { // of Keep
		c.Buffers = []string{}
		return c
	}
	if keep := v.FieldByName("call").Elem().Elem().FieldByName("keep"); keep.IsValid() {
		c.ByRow, c.Keep, c.Add = true, keep.Float(), v.FieldByName("call").Elem().Elem().FieldByName("add").Float()
	}
	if decay := v.FieldByName("call").Elem().Elem().FieldByName("decay"); decay.IsValid() {
		c.Trusts, c.Decay = true, decay.Float()
	}
	if _, name, ok := strings.Cut(runtime.FuncForPC(kernel.Pointer()).Name(), "/kernels."); ok {
		c.Kernel = name
	}
	for k := range v.FieldByName("names").Len() {
		c.Buffers = append(c.Buffers, v.FieldByName("names").Index(k).String())
	}
	return c
}

// TakesMatrices reports whether a rule is for matrices alone.
func TakesMatrices(r Rule) bool {
	_, ok := r.(matrixRule)
	return ok
}

// FirstOf is what a slot begins with.
func FirstOf(s engine.Slot) float64 { return reflect.ValueOf(s.First).FieldByName("value").Float() }

// IsFused reports whether a rule has a kernel of its own for BF16, which its optimizer finds.
func IsFused(r Rule) bool {
	o, err := New(1, r)
	if err != nil {
		panic(err)
	}
	o.fuse()
	runs := reflect.ValueOf(o.engine).Elem().FieldByName("groups").Index(0).FieldByName("fused").FieldByName("run")
	for k := range runs.Len() {
		if !runs.Index(k).IsNil() {
			return true
		}
	}
	return false
}

// Unfused has an optimizer go block by block.
func Unfused(o *Optimizer) {
	o.fusing.Do(func() {})
	o.pairing.Do(func() {})
}

// CountFused counts what goes through the fused kernels of an optimizer of Adam, and what goes through
// that along float32 after it was made so.
func CountFused(o *Optimizer, elements, widened *atomic.Int64) {
	Unfused(o)
	count := func(n int) { elements.Add(int64(n)) }
	o.engine.Fuse(0, engine.FuseAdam(engine.AdamKernels{
		BF16: func(t kernels.Table, p []float32, g []BF16, m, v []float32, h []BF16, c *fallback.AdamScalars) {
			count(len(p))
			kernels.AdamBF16(t, p, g, m, v, h, c)
		},
		Grad: func(t kernels.Table, p []float32, g []BF16, m, v []float32, c *fallback.AdamScalars) {
			count(len(p))
			kernels.AdamGradBF16(t, p, g, m, v, c)
		},
		Split: func(t kernels.Table, h, r, g []BF16, m, v []float32, c *fallback.AdamScalars) {
			count(len(h))
			kernels.AdamSplitBF16(t, h, r, g, m, v, c)
		},
		State: func(t kernels.Table, p []float32, g, m, v []BF16, h []float32, c *fallback.AdamStateBF16Scalars) {
			count(len(p))
			kernels.AdamStateBF16(t, p, g, m, v, h, c)
		},
	}))
	o.engine.Pair(0, engine.PairAdam(engine.AdamPairs{
		Float32: func(t kernels.Table, p, g, m, v, ms, vs, up, mq, vq []float32, c *fallback.AdamScalars) {
			widened.Add(int64(len(p)))
			kernels.AdamStateFloat8(t, p, g, m, v, ms, vs, up, mq, vq, c)
		},
		GradBF16: func(t kernels.Table, p []float32, g []BF16, m, v, ms, vs, up, mq, vq []float32, c *fallback.AdamScalars) {
			count(len(p))
			kernels.AdamGradBF16StateFloat8(t, p, g, m, v, ms, vs, up, mq, vq, c)
		},
	}))
}
