package arm64

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A core is what sets the pace of these kernels on an Arm core. The figures are
// other people's: counts.tmpl says whose. All vectors have four lanes.
type core struct {
	name string

	// In a cycle: instructions on vectors, conversions to another size, registers
	// loaded, registers stored, and operations of loading and storing together.
	vectors, widenings, loads, stores, moves float64

	// What storing a register of a pair takes: of those operations, and of those
	// on vectors.
	storeMoves, storeVectors float64

	// Units that divide and take roots, and the cycles for which one is busy.
	dividers, divide, root float64

	estimate float64 // operations on vectors of FRSQRTE
	window   float64 // operations in flight

	// Cycles until a result can be used, that of most operations on bits being 2.
	load, add, multiply, fma, convert, divided, rooted float64
}

const logical = 2

var cores = []core{{
	name:    "Apple M1, Firestorm",
	vectors: 4, widenings: 4, loads: 3, stores: 2, moves: 4, storeMoves: 1, storeVectors: 0,
	dividers: 1, divide: 1, root: 2, estimate: 1, window: 623,
	load: 9, add: 3, multiply: 4, fma: 4, convert: 3, divided: 8, rooted: 10,
}, {
	name:    "Neoverse N1",
	vectors: 2, widenings: 1, loads: 2, stores: 1, moves: 2, storeMoves: 2, storeVectors: 1,
	dividers: 1, divide: 7, root: 7, estimate: 2, window: 128,
	load: 7, add: 2, multiply: 3, fma: 4, convert: 4, divided: 10, rooted: 10,
}, {
	name:    "Neoverse V1",
	vectors: 4, widenings: 2, loads: 3, stores: 4, moves: 3, storeMoves: 0.5, storeVectors: 0.5,
	dividers: 2, divide: 7, root: 7, estimate: 1, window: 256,
	load: 6, add: 2, multiply: 3, fma: 4, convert: 4, divided: 10, rooted: 10,
}, {
	name:    "Neoverse N2",
	vectors: 2, widenings: 1, loads: 3, stores: 2, moves: 3, storeMoves: 0.5, storeVectors: 1,
	dividers: 1, divide: 10, root: 10, estimate: 2, window: 160,
	load: 6, add: 2, multiply: 3, fma: 4, convert: 4, divided: 10, rooted: 10,
}, {
	name:    "Neoverse V2",
	vectors: 4, widenings: 2, loads: 3, stores: 2, moves: 3, storeMoves: 0.5, storeVectors: 1,
	dividers: 2, divide: 10, root: 9, estimate: 2, window: 320,
	load: 6, add: 2, multiply: 3, fma: 4, convert: 4, divided: 10, rooted: 10,
}}

// newtonRoot is what takes the place of FSQRT: the estimate, its product with the
// number, two steps of three instructions, a half, the residual, the last sum, and
// two instructions each to put zeros and infinities right.
const newtonRoot = 1 + 1 + 2*3 + 3 + 2*2

// A unit is busy for so many cycles with 16 lanes.
type unit struct {
	name   string
	cycles float64
}

// units lists what a kernel keeps busy, if so many of four roots are Newton's.
func (k core) units(c Count, newton int) []unit {
	roots := c.Roots * float64(newton) / 4
	return []unit{
		{"vectors", (c.Float + c.Vector + roots*(newtonRoot-1+k.estimate-1) + c.Stored*k.storeVectors) / k.vectors},
		{"divider", (c.Divides*k.divide + (c.Roots-roots)*k.root) / k.dividers},
		{"conversions", c.Widenings / k.widenings},
		{"moves", max(c.Loaded/k.loads, c.Stored/k.stores, (c.Loaded+c.Stored*k.storeMoves)/k.moves)},
	}
}

// slowest is the unit that all others wait for.
func (k core) slowest(c Count, newton int) unit {
	return slices.MaxFunc(k.units(c, newton), func(a, b unit) int { return cmp.Compare(a.cycles, b.cycles) })
}

// latency is the time that an operation takes.
func (k core) latency(op rule.Op) float64 {
	switch op {
	case rule.Load:
		return k.load
	case rule.Add, rule.Sub:
		return k.add
	case rule.Mul, rule.MulInt:
		return k.multiply
	case rule.FMA, rule.FNMA:
		return k.fma
	case rule.Div:
		return k.divided
	case rule.Sqrt:
		return k.rooted
	case rule.FromInt:
		return k.convert
	case rule.Max, rule.Min, rule.Flush:
		return 2 * logical
	}
	return logical
}

// path is the time from a vector's loads to its last result.
func (k core) path(r *rule.Rule) float64 {
	changes := changing(r)
	ready := make([]float64, len(r.Nodes))
	longest := 0.0
	for _, step := range r.Schedule() {
		if step.IsEffect || !changes[step.ID] {
			continue
		}
		n := r.Nodes[step.ID]
		for _, x := range n.Operands() {
			ready[step.ID] = max(ready[step.ID], ready[x])
		}
		ready[step.ID] += k.latency(n.Op)
		longest = max(longest, ready[step.ID])
	}
	return longest
}

// A mainLoop is a line of the tables: a kernel's main loop.
type mainLoop struct {
	title string
	*rule.Rule
	Count
}

// loopsOf lists the main loops of a kernel: the one that is usual, and the one for scaled
// gradients if there is one.
func loopsOf(r *rule.Rule) []mainLoop {
	list := []mainLoop{{title: r.Name, Rule: r}}
	if scaled := r.Scaled(); len(r.Usual) > 0 && scaled != nil {
		list = []mainLoop{{title: r.Name, Rule: r.Specialize(r.Usual)}, {title: r.Name + ", scaled", Rule: r.Specialize(scaled)}}
	} else if len(r.Usual) > 0 {
		list = []mainLoop{{title: r.Name, Rule: r.Specialize(r.Usual)}, {title: r.Name + ", general", Rule: r}}
	}
	k := Compile(r)
	for j, m := range k.p.Mains {
		list[j].Count = count(text(k.body(m.Label)), m)
	}
	return list
}

//go:embed counts.tmpl
var prose string

// Counts writes what is known of the kernels' speed without an Arm CPU: their
// instructions beside the least, and what these cost on some cores.
func Counts(all []*rule.Rule) []byte {
	counts := map[string]Count{}
	byName := map[string]*rule.Rule{}
	var loops []mainLoop
	for _, r := range all {
		for _, l := range loopsOf(r) {
			loops = append(loops, l)
			counts[l.title], byName[l.title] = l.Count, l.Rule
		}
	}
	busy := func(u unit) string { return show(u.cycles) + " " + u.name }
	var b bytes.Buffer
	t := template.Must(template.New("counts").Funcs(template.FuncMap{
		"names": func() (names []string) {
			for _, k := range cores {
				names = append(names, k.name)
			}
			return names
		},
		"counts": func() string {
			return grid(loops, func(l mainLoop) []string {
				c, least := l.Count, bound(l.Rule)
				elements := strconv.Itoa(c.Elements)
				if c.Side > 1 {
					elements = fmt.Sprintf("%d × %d", c.Side, c.Elements)
				}
				row := []string{l.title, elements}
				for _, n := range []float64{c.Loads, least.Loads, least.Loaded, c.Stores, least.Stores, least.Stored,
					c.Float, least.Float, c.Vector, least.Vector, c.Scalar, c.Total(), least.Total(), c.Steps} {
					row = append(row, show(n))
				}
				return row
			})
		},
		"cores": func() string {
			return grid(cores, func(k core) []string {
				row := []string{k.name}
				for _, n := range []float64{k.vectors, k.loads, k.stores, k.widenings, k.add, k.multiply, k.fma,
					k.divided, k.divide / k.dividers, k.rooted, k.root / k.dividers, k.estimate / k.dividers, k.window} {
					row = append(row, show(n))
				}
				return row
			})
		},
		"cycles": func() string {
			return grid(loops, func(l mainLoop) []string {
				row := []string{l.title}
				for _, k := range cores {
					row = append(row, busy(k.slowest(l.Count, 0)))
				}
				return row
			})
		},
		"units": func(name string) string {
			return grid(cores, func(k core) []string {
				row := []string{k.name}
				for _, u := range k.units(counts[name], 0) {
					if u.name != "conversions" {
						row = append(row, show(u.cycles))
					}
				}
				return append(row, show(28*16/k.slowest(counts[name], 0).cycles))
			})
		},
		"roots": func(name string) string {
			return grid(cores, func(k core) []string {
				row := []string{k.name}
				none := k.slowest(counts[name], 0).cycles
				best := none
				for newton := range 5 {
					u := k.slowest(counts[name], newton)
					row, best = append(row, busy(u)), min(best, u.cycles)
				}
				return append(row, show(none/best))
			})
		},
		"windows": func(names ...string) string {
			return grid(names, func(name string) []string {
				row := []string{name}
				for _, k := range cores {
					path := k.path(byName[name])
					needed := path / k.slowest(counts[name], 0).cycles * counts[name].Total()
					row = append(row, fmt.Sprintf("%s cycles, %.0f of %s", show(path), needed, show(k.window)))
				}
				return row
			})
		},
		"newton": func() int { return newtonRoot },
	}).Parse(prose))
	if err := t.Execute(&b, nil); err != nil {
		panic(fmt.Errorf("arm64: %w", err))
	}
	return b.Bytes()
}

// show writes at most two digits behind the point.
func show(x float64) string {
	return strconv.FormatFloat(math.Round(100*x)/100, 'f', -1, 64)
}

// grid writes the rows of a table.
func grid[T any](list []T, row func(T) []string) string {
	var lines []string
	for _, x := range list {
		lines = append(lines, "| "+strings.Join(row(x), " | ")+" |")
	}
	return strings.Join(lines, "\n")
}
