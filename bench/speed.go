package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/kernels"
)

// Speed is how fast the kernels are.
type Speed struct {
	Rounds  int
	Figures []Figure
	Claims  []Claim
	Pause   *Pause
}

// OK reports whether the figures that have a bound keep it.
func (s *Speed) OK() bool { return s.Pause == nil || s.Pause.OK }

// A Figure is the speed of one kernel at one size.
type Figure struct {
	Kernel, Table string
	Size          string // the place that the working set fits
	N             int    // elements
	Bytes         int    // moved by a call
	Time          Time
	Limit         Time // the fastest that the same loads and stores were seen to be
	Go            Time // of the tuned loop, or of the reference where there is none
	Tuned         bool // Go is of the tuned loop
	GBps          float64
	GParamps      float64
	OfLimit       float64 // at most 1; 0 where there is none
	TimesGo       float64
}

// A size is a working set: so many bytes, or so many elements of each stream.
type size struct {
	name     string
	bytes, n int
}

// elements is how many elements of each stream are of this size.
func (s size) elements(buffers int) int {
	n := s.n
	if n == 0 {
		n = s.bytes / (4 * buffers)
	}
	return max(rowLen, n/rowLen*rowLen)
}

// memoryLen is the number of elements of a stream that no cache is to hold.
const memoryLen = 16 << 20

// parseSizes reads -sizes: places, or numbers of elements such as 4Ki and 1Mi.
// The working set is half of a cache, of L3 a quarter and no more than 16 MiB:
// it is shared, and on a server more of it than this program's share.
func parseSizes(text string, m *Machine) ([]size, error) {
	l1, l2, l3 := m.caches()
	places := map[string]size{
		"L1":     {"L1", l1 / 2, 0},
		"L2":     {"L2", l2 / 2, 0},
		"L3":     {"L3", max(min(l3/4, 16<<20), 2*l2), 0},
		"memory": {"memory", 0, memoryLen},
	}
	var list []size
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		if s, ok := places[word]; ok {
			list = append(list, s)
			continue
		}
		unit := 1
		number := word
		for suffix, size := range map[string]int{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30} {
			if n, ok := strings.CutSuffix(word, suffix); ok {
				number, unit = n, size
			}
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 1<<30/unit {
			return nil, fmt.Errorf("size %q: want L1, L2, L3, memory or a number of elements up to 1Gi, such as 64Ki", word)
		}
		list = append(list, size{word, 0, n * unit})
	}
	return list, nil
}

// stagger is how far each stream begins from the one before, beyond a multiple
// of 4 KiB: streams at the same place of a page get in each other's way.
const stagger = 1088 / 4

// An arena is room for the streams of any op, all pages touched.
type arena []float32

func newArena(n int) arena {
	a := make(arena, (last+1)*(n+stagger+1024)+1024)
	rng := rand.New(rand.NewPCG(1, 1))
	var values [1009]float32 // a prime: streams differ
	for i := range values {
		values[i] = .05 + .9*rng.Float32()
	}
	for i := range a {
		a[i] = values[i%len(values)]
	}
	return a
}

// streams cuts the arena for n elements each. The numbers are in (0, 1), which
// every kernel takes.
func (a arena) streams(n int) streams {
	pages := (n + 1023) / 1024 * 1024
	var b streams
	at := 0
	for range last + 1 {
		b = append(b, a[at:][:n])
		at += pages + stagger
	}
	b[last] = a[len(a)-pages-1024:][:n]
	return append(b, make(streams, last)...)
}

// A measurement is a figure to come.
type measurement struct {
	op    *op
	table kernels.Table
	size  size
}

// plan lists what is measured: the main kernels of the table in use and AdamW
// of every table, or with full every kernel of every table.
func plan(tables []kernels.Table, sizes []size, full bool, only *regexp.Regexp) []measurement {
	var list []measurement
	for _, s := range sizes {
		for k := range ops {
			o := &ops[k]
			for j, t := range tables {
				if only.MatchString(o.name) && (full || j == 0 && o.main || o.name == adamW) {
					list = append(list, measurement{o, t, s})
				}
			}
		}
	}
	return list
}

// speed measures the plan in so many rounds.
func speed(list []measurement, rounds int) *Speed {
	s := &Speed{Rounds: rounds}
	longest := 0
	for _, m := range list {
		longest = max(longest, m.size.elements(m.op.buffers))
	}
	a := newArena(longest)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	bar := progress(len(list), "speed")
	for _, m := range list {
		s.Figures = append(s.Figures, m.measure(a, rounds))
		bar.Add(1)
	}
	bar.Finish()
	s.limits(list)
	return s
}

// limits makes the limit of each figure the fastest of all that were measured of its
// loads and stores at its size, the kernels themselves among them: what a kernel has
// done was possible, and one sample of a yardstick that was held up is no limit.
func (s *Speed) limits(list []measurement) {
	type loads struct{ pattern, isa, size string }
	fastest := map[loads]Time{}
	of := func(m measurement) loads { return loads{m.op.pattern.name, baseISA(m.table), m.size.name} }
	for k, m := range list {
		f, key := &s.Figures[k], of(m)
		if f.Limit.Median == 0 {
			continue
		}
		for _, t := range []Time{f.Limit, f.Time} {
			if best, ok := fastest[key]; !ok || t.Median < best.Median {
				fastest[key] = t
			}
		}
	}
	for k, m := range list {
		f := &s.Figures[k]
		f.Limit = fastest[of(m)]
		f.OfLimit = f.Limit.Median / f.Time.Median
	}
}

// baseISA is the table without the variant of its roots, which loads and stores as it
// does.
func baseISA(t kernels.Table) string { return strings.TrimSuffix(t.ISA(), "newton") }

func (m measurement) measure(a arena, rounds int) Figure {
	n := m.size.elements(m.op.buffers)
	b := a.streams(n)
	f := Figure{Kernel: m.op.name, Table: m.table.ISA(), Size: m.size.name, N: n, Bytes: n * m.op.moved, Tuned: m.op.tuned != nil}

	kernel := &candidate{call: m.op.call(m.table, b)}
	list := []*candidate{kernel}
	var limit candidate
	if y := yardstick.For(m.table.ISA()); y != nil && m.op.limit != nil {
		limit = candidate{call: func() { m.op.limit(y, b) }, even: true}
		list = append(list, &limit)
	}
	plain := candidate{call: func() { m.op.tuned(b) }, every: 3}
	if m.op.tuned == nil {
		plain.call = m.op.call(kernels.Table(0), b)
	}
	list = append(list, &plain)
	measure(rounds, list...)

	f.Time, f.Limit, f.Go = kernel.result(), limit.result(), plain.result()
	f.GBps = float64(f.Bytes) / f.Time.Median / 1e9
	f.GParamps = float64(n) / f.Time.Median / 1e9
	f.TimesGo = f.Go.Median / f.Time.Median
	return f
}

func (s *Speed) print(w *screen) {
	w.heading("Speed")
	w.paragraph("%s Without -full it is a choice of kernels of the table in use, and AdamW of all tables.", s.legend())
	for _, list := range groups(s.Figures, func(f Figure) string { return f.Size }) {
		w.printFigures(list)
	}
	w.printClaims(s.Claims)
	if len(s.Claims) > 0 {
		w.paragraph("\n%s", claimsText(s.Claims))
	}
	if s.Pause != nil {
		s.Pause.print(w)
	}
}

// legend says what the columns are.
func (s *Speed) legend() string {
	return fmt.Sprintf("Medians of %d rounds on one goroutine. GB/s counts the bytes that a kernel must load and store. "+
		"\"of limit\" is its speed beside the fastest that its loads and stores were seen to be, with arithmetic or without, "+
		"measured in turn; where nothing has just its loads and stores there is none. "+
		"\"x Go\" is its speed beside the tuned Go loop, or beside the reference where that is marked r. "+
		"\"spread\" is the distance of the quartiles.", s.Rounds)
}

func (w *screen) printFigures(list []Figure) {
	w.paragraph("\n%s\n", list[0].Size)
	g := newGrid("kernel", "table", "GB/s", "Gparam/s", "spread", "of limit", "x Go")
	g.numbers = []int{2, 3, 4, 5, 6}
	for _, f := range list {
		g.add(f.Kernel, f.Table, fmt.Sprintf("%.1f", f.GBps), fmt.Sprintf("%.2f", f.GParamps), percent(f.Time.Spread()), f.ofLimit(), f.timesGo())
	}
	w.print(g)
}

func percent(part float64) string { return fmt.Sprintf("%.0f %%", 100*part) }

func (f *Figure) ofLimit() string {
	if f.OfLimit == 0 {
		return "-"
	}
	return percent(f.OfLimit)
}

func (f *Figure) timesGo() string {
	mark := " r"
	if f.Tuned {
		mark = "  "
	}
	return fmt.Sprintf("%.1f%s", f.TimesGo, mark)
}
