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
func claims(list []pending, rounds int) []Claim {
	var measured []Claim
	bar := progress(len(list), "claims")
	for k := range list {
		measured = append(measured, list[k].measure(rounds, measured))
		bar.Add(1)
	}
	bar.Finish()
	return measured
}

// pendingClaims lists the claims that the flags -kernels and -sizes leave.
func (o options) pendingClaims(m *Machine) ([]pending, error) {
	only, err := o.only()
	if err != nil {
		return nil, err
	}
	sizes, err := parseSizes(o.sizesAsked(), m)
	if err != nil {
		return nil, err
	}
	ofTypes := func(*Machine, bool) []pending { return types(o.typesLen(sizes)) }
	var list []pending
	for _, section := range []func(m *Machine, short bool) []pending{roots, cliffs, workers, gaps, tensors, penalties, clipping, around, ofTypes, losses, layout} {
		list = append(list, section(m, o.short)...)
	}
	return slices.DeleteFunc(list, func(p pending) bool {
		fits := func(s size) bool { return m.place(s.elements(4)*16) == m.place(p.bytes) }
		return !only.MatchString(p.kernel) || o.sizes != "" && !slices.ContainsFunc(sizes, fits)
	}), nil
}

// roots are the tables beside the plain formula, which takes a root and a quotient
// from the divider and leaves small numbers as they are. The goals are those of a
// CPU whose divider is slow, which prefers Newton's iteration.
func roots(m *Machine, _ bool) []pending {
	sizes, err := parseSizes("L1,L2", m)
	must(err)
	var list []pending
	for _, t := range kernels.Available() {
		y := yardstick.For(t.ISA())
		if y == nil {
			continue
		}
		for _, name := range []string{adamW, "AdaGrad"} {
			for _, s := range sizes {
				list = append(list, rootClaim(name, t, y, s))
			}
		}
	}
	return list
}

// rootGoals are for the tables that a CPU with a slow divider prefers.
var rootGoals = map[string]float64{adamW + " avx512newton": 1.5, "AdaGrad avx512newton": 1.7, adamW + " avx2newton": 1.2}

// rootClaim is one kernel of one table. A table that does not come first of the two
// that differ in their roots has no goal: this CPU's divider is not slow.
func rootClaim(name string, t kernels.Table, y *yardstick.Table, s size) pending {
	o := opOf(name)
	plain := func(list [][]float32) { y.Adam(list, adamC) }
	if name == "AdaGrad" {
		plain = func(list [][]float32) { y.AdaGrad(list, adaGradC) }
	}
	goal := rootGoals[name+" "+t.ISA()]
	base := strings.TrimSuffix(t.ISA(), "newton")
	if before(base, t) {
		goal = 0
	}
	n := s.elements(o.buffers)
	return pending{
		Claim:  Claim{Section: "Square roots", Case: name + " by " + t.ISA() + ", " + s.name, Beside: "all by the divider", N: n, Workers: 1, Speedup: true, Goal: goal},
		kernel: name, bytes: 4 * n * o.buffers,
		pair: func() (it, other *candidate) {
			b := newArena(n).streams(n)
			return &candidate{call: o.call(t, b)}, &candidate{call: func() { b.parts(o.buffers, plain) }}
		},
	}
}

// before reports whether the CPU prefers another table.
func before(isa string, t kernels.Table) bool {
	for _, other := range kernels.Available() {
		if other == t {
			return false
		}
		if other.ISA() == isa {
			return true
		}
	}
	return false
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

func (t *trainee) candidate() *candidate { return &candidate{call: t.step} }

// stepBytes is what AdamW has of each parameter: itself, gradient and state.
const stepBytes = 16

// A cliff is numbers on which arithmetic is slow: zeros, states that have decayed and
// subnormal numbers.
type cliff struct {
	name    string
	prepare func(t *trainee)
	slow    bool // a limit that the README states: it has no goal
}

func filled(p, g float32) func(t *trainee) {
	return func(t *trainee) { set(t.params, p); set(t.grads, g) }
}

// always keeps the parameters, and takes steps until the state has settled.
func always(g float32) func(t *trainee) {
	return func(t *trainee) {
		set(t.grads, g)
		t.steps(3000)
	}
}

func set(x []float32, value float32) {
	for i := range x {
		x[i] = value
	}
}

func (t *trainee) steps(n int) {
	for range n {
		t.step()
	}
}

var cliffList = []cliff{
	{name: "zeros", prepare: filled(0, 0)},
	{name: "no gradients for 100,000 steps", prepare: func(t *trainee) { t.step(); clear(t.grads); t.steps(100_000) }},
	{name: "gradients always 1e-14", prepare: always(1e-14)},
	{name: "gradients always 1e-16", prepare: always(1e-16)}, // what Newton's steps leave of the root is subnormal
	{name: "gradients always 1e-20", prepare: always(1e-20)}, // squares are subnormal
	{name: "gradients always 1e-30", prepare: always(1e-30)},
	{name: "gradients always 1e-35", prepare: always(1e-35), slow: true},
	{name: "subnormal gradients", prepare: always(1e-40)},
	{name: "all subnormal", prepare: filled(1e-40, -1e-40)},
}

// cliffs goes through the rules. An eps of 1e-15 is what radiance fields and Gaussian
// splatting train with.
func cliffs(_ *Machine, short bool) []pending {
	sgd, decayed := torch.SGD(), torch.SGD()
	decayed.L2 = 1e-2
	momentum, decaying := torch.Momentum(.9), torch.Momentum(.9)
	decaying.WeightDecay = 1e-2
	fine := torch.AdamW()
	fine.Eps = 1e-15
	var list []pending
	for _, r := range []struct {
		kernel, with string
		rule         update.Rule
	}{
		{adamW, "", torch.AdamW()}, {adamW, ", eps 1e-15", fine}, {"AdaGrad", "", textbook.AdaGrad(1e-3)}, {"RMSprop", "", torch.RMSprop()},
		{"Momentum", "", momentum}, {"Momentum", ", weight decay", decaying}, {"SGD", "", sgd}, {"SGD", ", L2", decayed},
	} {
		for _, c := range cliffList {
			if short && c.slow {
				continue
			}
			list = append(list, cliffClaim(r.kernel, r.kernel+r.with, r.rule, c))
		}
	}
	return list
}

func cliffClaim(kernel, name string, r update.Rule, c cliff) pending {
	const n = 4 << 10
	p := pending{
		Claim:  Claim{Section: "No cliffs", Case: name + ": " + c.name, Beside: "ordinary numbers", N: n, Workers: 1, Goal: 1.15},
		kernel: kernel, bytes: n * stepBytes,
		pair: func() (it, other *candidate) {
			t := newTrainee(n, r, 1)
			c.prepare(t)
			return t.candidate(), newTrainee(n, r, 1).candidate()
		},
	}
	if c.slow {
		p.Goal = 0
	}
	return p
}

// bareCase is what two goroutines can do without arithmetic.
const bareCase = adamW + "'s reads and writes alone"

// workers are two beside one.
func workers(_ *Machine, short bool) []pending {
	if runtime.GOMAXPROCS(0) < 2 {
		return nil
	}
	sizes := []int{16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20}
	if short {
		sizes = sizes[:5]
	}
	var list, limits []pending
	for _, n := range sizes {
		y := yardstick.For(kernels.Active().ISA())
		if n < 1<<20 {
			list = append(list, workersClaim(n, .97, nil)) // what noise leaves of never slower
			continue
		}
		if y == nil {
			list = append(list, workersClaim(n, workersGoal, nil))
			continue
		}
		list = append(list, bareClaim(n, y), workersClaim(n, workersGoal, scales(n)))
		if n > 1<<20 && !short {
			limits = append(limits, workersLimit(n, y))
		}
	}
	return append(list, limits...)
}

// workersGoal is how many times as fast as one worker two are.
const workersGoal = 1.9

// scales reports whether the memory serves two goroutines so much better than one.
func scales(n int) func(measured []Claim) bool {
	return func(measured []Claim) bool {
		return !slices.ContainsFunc(measured, func(c Claim) bool {
			return c.Section == workersSection && c.Case == bareCase && c.N == n && c.Ratio < workersGoal
		})
	}
}

func workersClaim(n int, goal float64, reach func([]Claim) bool) pending {
	return pending{
		Claim:  Claim{Section: workersSection, Case: adamW, Beside: besideOne, N: n, Workers: 2, Speedup: true, Goal: goal},
		kernel: adamW, bytes: n * stepBytes, reach: reach,
		pair: func() (it, other *candidate) {
			return newTrainee(n, torch.AdamW(), 2).candidate(), newTrainee(n, torch.AdamW(), 1).candidate()
		},
	}
}

func bareClaim(n int, y *yardstick.Table) pending {
	return pending{
		Claim:  Claim{Section: workersSection, Case: bareCase, Beside: besideOne, N: n, Workers: 2, Speedup: true},
		kernel: adamW, bytes: n * stepBytes,
		pair: func() (it, other *candidate) {
			t := newTrainee(n, torch.AdamW(), 1)
			return t.bare(y, 2), t.bare(y, 1)
		},
	}
}

func workersLimit(n int, y *yardstick.Table) pending {
	return pending{
		Claim:  Claim{Section: workersSection, Case: adamW, Beside: besideBare, N: n, Workers: 2, Goal: 1 / .97},
		kernel: adamW, bytes: n * stepBytes,
		pair: func() (it, other *candidate) {
			t := newTrainee(n, torch.AdamW(), 2)
			return t.candidate(), t.bare(y, 2)
		},
	}
}

// bare has goroutines go through the buffers of AdamW without arithmetic, a part each.
func (t *trainee) bare(y *yardstick.Table, goroutines int) *candidate {
	buffers := [][]float32{t.params, t.grads}
	for _, name := range []string{"m", "v"} {
		b, err := t.o.Buffer(0, name)
		must(err)
		buffers = append(buffers, b)
	}
	var parts []streams
	for k := range goroutines {
		b := make(streams, 0, 2*last+1)
		for _, x := range buffers {
			b = append(b, x[k*len(x)/goroutines:(k+1)*len(x)/goroutines])
		}
		parts = append(parts, b[:2*last+1])
	}
	return &candidate{even: true, call: func() {
		var running sync.WaitGroup
		for _, b := range parts[1:] {
			running.Go(func() { update3.limit(y, b) })
		}
		update3.limit(y, parts[0])
		running.Wait()
	}}
}

// transformer is the sizes of the tensors of a small transformer, 22 million parameters:
// 12 layers of width 256, a vocabulary of 50257 and 1024 positions.
func transformer() []int {
	const width = 256
	sizes := []int{50257 * width, 1024 * width}
	for range 12 {
		sizes = append(sizes, width, width, width*3*width, 3*width, width*width, width,
			width, width, width*4*width, 4*width, 4*width*width, width)
	}
	return append(sizes, width, width)
}

func sum(list []int) int {
	total := 0
	for _, n := range list {
		total += n
	}
	return total
}

// small is the many small tensors that claims are about.
var (
	small     = slices.Repeat([]int{64}, 10_000)
	smallName = "10,000 tensors of 64"
)

// tensors are many in one call beside one flat buffer, gradients in other buffers in
// every step, and small steps.
func tensors(_ *Machine, short bool) []pending {
	list := besideFlat(smallName, small, 1.3)
	if !short {
		list = append(list, besideFlat("148 tensors of a transformer", transformer(), 1.05)...)
	}
	return append(list,
		newGradients(smallName, small, inTurn, 1.5),
		newGradients(smallName+" anywhere", small, anywhere, 1.5),
		newGradients("148 tensors of 4096", slices.Repeat([]int{4096}, 148), inTurn, 1.05),
		tiny("a step on 16 parameters", "the tuned Go loop", 2, func() (it, other *candidate) {
			b := [][]float32{make([]float32, 16), make([]float32, 16), make([]float32, 16), make([]float32, 16)}
			fill(b[0])
			fill(b[1])
			return newTrainee(16, torch.AdamW(), 1).candidate(), &candidate{call: func() { tunedAdam(b[0], b[1], b[2], b[3], adamC) }}
		}),
		tiny("a list of one tensor of 16", "a buffer of 16", 1.05, func() (it, other *candidate) {
			return many([]int{16}, torch.AdamW(), 1, 1, inTurn), newTrainee(16, torch.AdamW(), 1).candidate()
		}),
	)
}

const manySection = "Many tensors and small ones"

func besideFlat(name string, sizes []int, goal float64) []pending {
	var list []pending
	total := sum(sizes)
	for workers := range min(2, runtime.GOMAXPROCS(0)) {
		workers++
		list = append(list, pending{
			Claim:  Claim{Section: manySection, Case: name, Beside: "one flat buffer", N: total, Workers: workers, Goal: goal},
			kernel: adamW, bytes: total * stepBytes,
			pair: func() (it, other *candidate) {
				return many(sizes, torch.AdamW(), workers, 1, inTurn), newTrainee(total, torch.AdamW(), workers).candidate()
			},
		})
	}
	return list
}

// newGradients are gradients in other buffers in every step, as frameworks give them.
func newGradients(name string, sizes []int, place func([][]float32), goal float64) pending {
	total := sum(sizes)
	return pending{
		Claim:  Claim{Section: manySection, Case: name + ", gradients in new buffers", Beside: "the same buffers", N: total, Workers: 1, Goal: goal},
		kernel: adamW, bytes: total * stepBytes,
		pair: func() (it, other *candidate) {
			return many(sizes, torch.AdamW(), 1, 2, place), many(sizes, torch.AdamW(), 1, 1, place)
		},
	}
}

func tiny(name, beside string, goal float64, pair func() (it, other *candidate)) pending {
	return pending{
		Claim:  Claim{Section: manySection, Case: name, Beside: beside, N: 16, Workers: 1, Goal: goal},
		kernel: adamW, bytes: 16 * stepBytes, pair: pair,
	}
}

// many is a step on tensors that were allocated one by one, parameters first, unless they are
// placed otherwise. Its gradients are in so many sets of buffers, in turn.
func many(sizes []int, r update.Rule, workers, sets int, place func([][]float32)) *candidate {
	var list []update.Tensor
	for _, n := range sizes {
		list = append(list, update.Tensor{Size: n})
	}
	var all [][]float32
	for range 1 + sets {
		for _, n := range sizes {
			all = append(all, update.Alloc(n, 1)[0])
		}
	}
	place(all)
	for _, x := range all {
		fill(x)
	}
	o, err := update.NewSet(list, r)
	must(err)
	must(o.SetWorkers(workers))
	params, grads := all[:len(sizes)], all[len(sizes):]
	step := 0
	return &candidate{call: func() {
		from := step % sets * len(sizes)
		must(o.StepSet(params, grads[from:from+len(sizes)]))
		step++
	}}
}

func inTurn([][]float32) {}

// anywhere has tensors of one size lie among each other, as a busy allocator leaves them.
func anywhere(list [][]float32) {
	rng := rand.New(rand.NewPCG(1, 7))
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// penalties are steps with L2 beside steps without, in memory and on small tensors.
func penalties(_ *Machine, short bool) []pending {
	adam, decayed := torch.Adam(), torch.Adam()
	decayed.L2 = 1e-2
	momentum, decaying := torch.Momentum(.9), torch.Momentum(.9)
	decaying.L2 = 1e-2
	var list []pending
	for _, c := range []struct {
		kernel, name  string
		with, without update.Rule
	}{{adamW, "Adam", decayed, adam}, {"Momentum", "Momentum", decaying, momentum}} {
		claim := func(name string, n int, goal float64, make func(r update.Rule) *candidate) pending {
			return pending{
				Claim:  Claim{Section: "L2", Case: c.name + " with L2, " + name, Beside: "without", N: n, Workers: 1, Goal: goal},
				kernel: c.kernel, bytes: n * stepBytes,
				pair: func() (it, other *candidate) { return make(c.with), make(c.without) },
			}
		}
		list = append(list, claim(smallName, sum(small), 1.2, func(r update.Rule) *candidate { return many(small, r, 1, 1, inTurn) }))
		if !short {
			list = append(list, claim("in memory", memoryLen, 1.03, func(r update.Rule) *candidate { return newTrainee(memoryLen, r, 1).candidate() }))
		}
	}
	return list
}

// clipping is one reading of the gradients and the step, beside kernels without
// arithmetic that do the same: 32 bytes a parameter.
func clipping(*Machine, bool) []pending {
	const n = memoryLen
	y := yardstick.For(kernels.Active().ISA())
	if y == nil {
		return nil
	}
	return []pending{{
		Claim:  Claim{Section: "Clipping by the global norm", Case: adamW, Beside: "the same reads and writes", N: n, Workers: 1, Goal: 1.05},
		kernel: adamW, bytes: n * stepBytes,
		pair: func() (it, other *candidate) {
			t := newTrainee(n, torch.AdamW(), 1)
			must(t.o.SetMaxNorm(1))
			step, row := t.bare(y, 1), make([]float32, rowLen+kernels.MaxLen/rowLen)
			return t.candidate(), &candidate{even: true, call: func() {
				rowParts(t.grads, func(x []float32) { y.Read(row[:rowLen], x, row[rowLen:][:len(x)/rowLen]) })
				step.call()
			}}
		},
	}}
}

// layout is where buffers are in memory, which the step does not see.
func layout(*Machine, bool) []pending {
	const n = memoryLen
	return []pending{{
		Claim:  Claim{Section: "Memory layout", Case: adamW + " on buffers of update.Alloc", Beside: "buffers of make", N: n, Workers: 1, Speedup: true},
		kernel: adamW, bytes: n * stepBytes,
		pair: func() (it, other *candidate) {
			state := map[string][]float32{"m": make([]float32, n), "v": make([]float32, n)}
			o, err := update.NewSet([]update.Tensor{{Size: n, State: state}}, torch.AdamW())
			must(err)
			must(o.SetWorkers(1))
			t := &trainee{o, make([]float32, n), make([]float32, n)}
			fill(t.params)
			fill(t.grads)
			return newTrainee(n, torch.AdamW(), 1).candidate(), t.candidate()
		},
	}}
}
