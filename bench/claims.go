package main

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

// claims measures what the library claims of itself beyond single kernels.
func claims(m *Machine, rounds int, short bool) []Claim {
	sections := []func(m *Machine, short bool) []pending{roots, cliffs, workers, tensors, clipping, layout}
	var list []Claim
	bar := progress(len(sections), "claims")
	for _, section := range sections {
		for _, p := range section(m, short) {
			it, other := p.it(), p.other()
			it.long, other.long = p.Workers > 1, p.Workers > 1
			list = append(list, p.measure(rounds, it, other))
			runtime.GC() // what one claim was measured with makes room for the next
		}
		bar.Add(1)
	}
	bar.Finish()
	return list
}

// A pending is a claim with what it takes to measure it.
type pending struct {
	Claim
	it, other func() *candidate
}

func call(f func()) func() *candidate { return func() *candidate { return &candidate{call: f} } }

// roots are the tables beside the plain formula, which takes a root and a quotient
// from the divider and leaves small numbers as they are. The goals are those of a
// CPU whose divider is slow, which prefers Newton's iteration.
func roots(m *Machine, _ bool) []pending {
	goals := map[string]float64{adamW + " avx512newton": 1.5, "AdaGrad avx512newton": 1.7, adamW + " avx2newton": 1.2}
	var list []pending
	sizes, err := parseSizes("L1,L2", m)
	must(err)
	var before []string
	for _, t := range kernels.Available() {
		y := yardstick.For(t.ISA())
		if y == nil {
			continue
		}
		before = append(before, t.ISA())
		base := strings.TrimSuffix(t.ISA(), "newton")
		for _, c := range []struct {
			name  string
			plain func(b streams)
		}{
			{adamW, func(b streams) { b.parts(4, func(list [][]float32) { y.Adam(list, &adamC) }) }},
			{"AdaGrad", func(b streams) { b.parts(3, func(list [][]float32) { y.AdaGrad(list, &adaGradC) }) }},
		} {
			goal := goals[c.name+" "+t.ISA()]
			if base != t.ISA() && slices.Contains(before, base) {
				goal = 0
			}
			o := &ops[slices.IndexFunc(ops, func(o op) bool { return o.name == c.name })]
			for _, s := range sizes {
				n := s.elements(o.buffers)
				b := newArena(n).streams(n)
				list = append(list, pending{
					Claim{Section: "Square roots", Case: c.name + " by " + t.ISA() + ", " + s.name, Beside: "all by the divider", N: n, Workers: 1, Speedup: true, Goal: goal},
					call(o.call(t, b)), call(func() { c.plain(b) }),
				})
			}
		}
	}
	return list
}

// A trainee is an optimizer with its buffers.
type trainee struct {
	o             *update.Optimizer
	params, grads []float32
}

// newTrainee lays buffers out as users are told to.
func newTrainee(n int, r update.Rule, workers int) *trainee {
	o, err := update.New(n, r)
	must(err)
	must(o.SetWorkers(workers))
	b := update.Alloc(n, 2)
	t := &trainee{o, b[0], b[1]}
	fill(t.params)
	fill(t.grads)
	return t
}

func fill(x []float32) {
	rng := rand.New(rand.NewPCG(1, uint64(len(x))))
	var values [1009]float32
	for i := range values {
		values[i] = rng.Float32() - .5
	}
	for i := range x {
		x[i] = values[i%len(values)]
	}
}

func (t *trainee) step() { must(t.o.Step(t.params, t.grads)) }

// cliffs are numbers on which arithmetic is slow: zeros, states that have decayed
// and subnormal numbers.
func cliffs(*Machine, bool) []pending {
	const n = 4 << 10
	sgd, decayed := torch.SGD(), torch.SGD()
	decayed.L2 = 1e-2
	momentum, decaying := torch.Momentum(.9), torch.Momentum(.9)
	decaying.WeightDecay = 1e-2
	adaGrad := textbook.AdaGrad(1e-3)
	var list []pending
	for _, r := range []struct {
		name string
		rule update.Rule
	}{{adamW, torch.AdamW()}, {"AdaGrad", adaGrad}, {"Momentum", momentum}, {"Momentum with weight decay", decaying}, {"SGD", sgd}, {"SGD with L2", decayed}} {
		for _, c := range []struct {
			name    string
			prepare func(t *trainee)
		}{
			{"zeros", func(t *trainee) { clear(t.params); clear(t.grads) }},
			{"gradients 0 for 100,000 steps", func(t *trainee) {
				t.step()
				clear(t.grads)
				for range 100_000 {
					t.step()
				}
			}},
			{"gradients of 1e-20, whose squares are subnormal", func(t *trainee) { set(t.grads, 1e-20) }},
			{"subnormal gradients", func(t *trainee) { set(t.grads, 1e-40) }},
			{"subnormal parameters and gradients", func(t *trainee) { set(t.params, 1e-40); set(t.grads, -1e-40) }},
		} {
			list = append(list, pending{
				Claim{Section: "No cliffs", Case: r.name + ", " + c.name, Beside: "ordinary numbers", N: n, Workers: 1, Goal: 1.15},
				func() *candidate {
					t := newTrainee(n, r.rule, 1)
					c.prepare(t)
					return &candidate{call: t.step}
				},
				func() *candidate { return &candidate{call: newTrainee(n, r.rule, 1).step} },
			})
		}
	}
	return list
}

func set(x []float32, value float32) {
	for i := range x {
		x[i] = value
	}
}

// workers are two beside one.
func workers(_ *Machine, short bool) []pending {
	if runtime.GOMAXPROCS(0) < 2 {
		return nil
	}
	var list []pending
	for _, n := range []int{16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20} {
		if short && n > 4<<20 {
			break
		}
		goal := 1.9
		if n < 1<<20 {
			goal = .97 // what noise leaves of never slower
		}
		one := newTrainee(n, torch.AdamW(), 1)
		two := newTrainee(n, torch.AdamW(), 2)
		list = append(list, pending{
			Claim{Section: "Workers", Case: adamW, Beside: "one worker", N: n, Workers: 2, Speedup: true, Goal: goal},
			call(two.step), call(one.step),
		})
	}
	y := yardstick.For(kernels.Active().ISA())
	for _, n := range []int{4 << 20, 16 << 20} {
		if y == nil || short {
			break
		}
		two := newTrainee(n, torch.AdamW(), 2)
		list = append(list, pending{
			Claim{Section: "Workers", Case: adamW, Beside: "the same reads and writes by two", N: n, Workers: 2, Goal: 1 / .97},
			call(two.step),
			func() *candidate { return &candidate{even: true, call: func() { two.limit(y) }} },
		})
	}
	return list
}

// limit has two goroutines go through the buffers of AdamW without arithmetic, a
// half each.
func (t *trainee) limit(y *yardstick.Table) {
	half := len(t.params) / 2
	var running sync.WaitGroup
	for _, r := range [][2]int{{0, half}, {half, len(t.params)}} {
		part := func(x []float32) []float32 { return x[r[0]:r[1]] }
		b := append(make(streams, 0, 2*last+1), part(t.params), part(t.grads), part(t.o.Buffer(0, "m")), part(t.o.Buffer(0, "v")))[:2*last+1]
		running.Go(func() { update3.limit(y, b) })
	}
	running.Wait()
}

// transformer is the sizes of the tensors of a transformer with 124 million
// parameters: 12 layers of width 768, a vocabulary of 50257 and 1024 positions.
func transformer() []int {
	const width = 768
	sizes := []int{50257 * width, 1024 * width}
	for range 12 {
		sizes = append(sizes, width, width, width*3*width, 3*width, width*width, width,
			width, width, width*4*width, 4*width, 4*width*width, width)
	}
	return append(sizes, width, width)
}

// tensors are many in one call beside one flat buffer, and a small step beside a
// loop in Go.
func tensors(_ *Machine, short bool) []pending {
	var list []pending
	for _, c := range []struct {
		name  string
		sizes []int
		goal  float64
	}{
		{"10,000 tensors of 64", slices.Repeat([]int{64}, 10_000), 1.3},
		{"148 tensors of a transformer", transformer(), 1.05},
	} {
		total := 0
		for _, n := range c.sizes {
			total += n
		}
		if short && total > 1<<24 {
			continue
		}
		for _, workers := range []int{1, 2} {
			if workers > runtime.GOMAXPROCS(0) {
				continue
			}
			list = append(list, pending{
				Claim{Section: "Many tensors", Case: c.name, Beside: "one flat buffer", N: total, Workers: workers, Goal: c.goal},
				func() *candidate { return many(c.sizes, workers) },
				func() *candidate { return &candidate{call: newTrainee(total, torch.AdamW(), workers).step} },
			})
		}
	}
	const n = 16
	small := newTrainee(n, torch.AdamW(), 1)
	p, g, m, v := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	fill(p)
	fill(g)
	return append(list, pending{
		Claim{Section: "Many tensors", Case: "a step on 16 parameters", Beside: "the tuned Go loop", N: n, Workers: 1, Goal: 2},
		call(small.step), call(func() { tunedAdam(p, g, m, v, &adamC) }),
	})
}

// many is a step on tensors that were allocated one by one.
func many(sizes []int, workers int) *candidate {
	var list []update.Tensor
	var params, grads [][]float32
	for _, n := range sizes {
		list = append(list, update.Tensor{Size: n})
		p, g := update.Alloc(n, 1)[0], update.Alloc(n, 1)[0]
		fill(p)
		fill(g)
		params, grads = append(params, p), append(grads, g)
	}
	o, err := update.NewSet(list, torch.AdamW())
	must(err)
	must(o.SetWorkers(workers))
	return &candidate{call: func() { must(o.StepSet(params, grads)) }}
}

// clipping is one reading of the gradients and the step, beside kernels without
// arithmetic that do the same: 32 bytes a parameter.
func clipping(*Machine, bool) []pending {
	const n = 16 << 20
	y := yardstick.For(kernels.Active().ISA())
	if y == nil {
		return nil
	}
	t := newTrainee(n, torch.AdamW(), 1)
	must(t.o.SetMaxNorm(1))
	b := append(make(streams, 0, 2*last+1), t.params, t.grads, t.o.Buffer(0, "m"), t.o.Buffer(0, "v"), nil, make([]float32, 2*kernels.MaxLen))[:2*last+1]
	return []pending{{
		Claim{Section: "Clipping by the global norm", Case: adamW, Beside: "the same reads and writes", N: n, Workers: 1, Goal: 1.05},
		call(t.step),
		func() *candidate {
			return &candidate{even: true, call: func() {
				read.limit(y, streams{t.grads, nil, nil, nil, nil, b[last]})
				update3.limit(y, b)
			}}
		},
	}}
}

// layout is where buffers are in memory, which the step does not see.
func layout(*Machine, bool) []pending {
	const n = 16 << 20
	plain := func() *candidate {
		state := map[string][]float32{"m": make([]float32, n), "v": make([]float32, n)}
		o, err := update.NewSet([]update.Tensor{{Size: n, State: state}}, torch.AdamW())
		must(err)
		must(o.SetWorkers(1))
		t := &trainee{o, make([]float32, n), make([]float32, n)}
		fill(t.params)
		fill(t.grads)
		return &candidate{call: t.step}
	}
	return []pending{{
		Claim{Section: "Memory layout", Case: adamW + " on buffers of update.Alloc", Beside: "buffers of make", N: n, Workers: 1, Speedup: true},
		func() *candidate { return &candidate{call: newTrainee(n, torch.AdamW(), 1).step} }, plain,
	}}
}
