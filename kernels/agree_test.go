package kernels_test

import (
	"flag"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	. "github.com/lockstep-go/lockstep/kernels"
)

// reference is the table that all others are compared with.
var reference Table

// native are the tables of assembly that this CPU can run.
func native() []Table {
	tables := Available()
	return tables[:len(tables)-1]
}

// TestAgree runs every kernel against the reference on every short length.
func TestAgree(t *testing.T) {
	for _, table := range native() {
		for _, kernel := range All() {
			t.Run(table.ISA()+"/"+kernel.Name, func(t *testing.T) {
				lengths := 301
				if agree.IsMatrix(kernel.Buffers) || testing.Short() {
					lengths = 101
				}
				for n := range lengths {
					for offset := range 2 {
						compare(t, table, kernel, agree.Case{N: n, Rows: n % 7, Offset: (n + 7*offset) % 16, Seed: uint64(n), Random: offset > 0})
					}
				}
			})
		}
	}
}

// TestLists runs lists of tensors of all kinds of lengths.
func TestLists(t *testing.T) {
	lists := [][]int{{0}, {0, 0, 0, 1}, {1, 15, 16, 17, 63, 64, 65, 130, 7, 300, 0, 1}, {31, 32, 33, 500, 8, 4}}
	for _, table := range native() {
		for _, kernel := range All() {
			if agree.IsApart(kernel.Buffers) {
				continue
			}
			t.Run(table.ISA()+"/"+kernel.Name, func(t *testing.T) {
				for seed := range uint64(24) {
					more := lists[seed%uint64(len(lists))]
					compare(t, table, kernel, agree.Case{N: int(seed * 5), More: more, Offset: int(seed % 16), Seed: seed, Random: seed%3 > 0})
				}
			})
		}
	}
}

func compare(t *testing.T, table Table, kernel Kernel, c agree.Case) {
	t.Helper()
	if _, err := agree.Compare(kernel.Bare(table), kernel.Bare(reference), kernel.Buffers, c); err != nil {
		t.Fatal(err)
	}
}

// FuzzAgree looks for lengths, an offset and values on which a kernel differs.
func FuzzAgree(f *testing.F) {
	f.Add(uint8(0), uint16(33), uint8(3), uint64(1), true)
	f.Add(uint8(7), uint16(1000), uint8(0), uint64(2), false)
	f.Fuzz(func(t *testing.T, which uint8, n uint16, offset uint8, seed uint64, random bool) {
		kernel := All()[int(which)%len(All())]
		c := agree.Case{N: int(n % 2048), More: []int{int(offset), int(seed % 200)}, Rows: int(n % 5), Offset: int(offset % 16), Seed: seed, Random: random}
		for _, table := range native() {
			compare(t, table, kernel, c)
		}
	})
}

// numbers are so many that are exact in float32 and not all alike.
func numbers(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%1013) - 500.25
	}
	return x
}

// TestParts runs lists that are more than one call of assembly, whose lanes must go on
// where those of the last one stopped.
func TestParts(t *testing.T) {
	for _, table := range Available() {
		x, y := numbers(2*MaxLen+77), numbers(30000)
		var whole, parts [fallback.Lanes]float64
		fallback.SumSquares(x, &whole)
		fallback.SumSquares(y, &whole)
		fallback.SumSquares(y, &whole)
		SumSquares(table, NewList(1, [][]float32{x, y, y, nil}), &parts)
		if whole != parts {
			t.Errorf("%v: sums differ between one call and parts", table)
		}

		moved, want := numbers(2*MaxLen+77), numbers(2*MaxLen+77)
		c := fallback.SGDScalars{Common: fallback.Common{Scale: 1}, Step: .25}
		var list List
		list.Set(moved, x)
		SGD(table, &list, &c)
		fallback.SGD(want, x, &c)
		if !slices.Equal(moved, want) {
			t.Errorf("%v: a long tensor comes out otherwise in parts", table)
		}
	}
}

// TestRows compares a matrix whose rows are walked one by one, because rows side by side
// would be slow, with its halves, whose rows are not.
func TestRows(t *testing.T) {
	const rows, columns = 33_000, 130
	if testing.Short() {
		t.Skip("the matrix is large")
	}
	if !tune.RowsApart(rows*columns, columns) || tune.RowsApart(rows/2*columns, columns) {
		t.Fatal("the sizes do not suit")
	}
	x, z, y := numbers(rows*columns), make([]float32, rows), make([]float32, rows)
	for _, table := range native() {
		w, g, h := x[:columns], make([]float32, columns), make([]float32, columns)
		Dots(table, z, x, w)
		RankOne(table, g, x, z)
		for _, half := range [][2]int{{0, rows / 2}, {rows / 2, rows}} {
			part := x[half[0]*columns : half[1]*columns]
			Dots(table, y[half[0]:half[1]], part, w)
			RankOne(table, h, part, z[half[0]:half[1]])
		}
		if !slices.Equal(z, y) || !slices.Equal(g, h) {
			t.Errorf("%v: the rows of a large matrix come out otherwise", table)
		}
	}
}

// TestRefuses calls kernels and lists with what they cannot take. Buffers that are too
// short have a capacity that would be enough.
func TestRefuses(t *testing.T) {
	long, k := make([]float32, 16), Active()
	two := [][]float32{long[:2], long[2:4]}
	for name, call := range map[string]func(){
		"a short buffer":     func() { NewList(2, [][]float32{long[:2], long[2:3]}) },
		"a missing buffer":   func() { NewList(3, two) },
		"no buffers":         func() { NewList(0, nil) },
		"too many buffers":   func() { new(List).Set(long, long, long, long, long, long, long, long, long) },
		"another kernel":     func() { Momentum(k, NewList(2, two), new(fallback.MomentumScalars)) },
		"a short matrix":     func() { Dots(k, long[:2], long[2:5], long[8:10]) },
		"a short row of sum": func() { RankOne(k, long[:4], long[4:11], long[12:14]) },
		"a long row":         func() { Dots(k, make([]float32, 1), make([]float32, MaxLen+1), make([]float32, MaxLen+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("went through")
				}
			}()
			call()
		})
	}
}

// TestListAllocs lists and calls without allocating, long tensors and short ones in turn.
func TestListAllocs(t *testing.T) {
	p, g := make([]float32, 10*MaxLen), make([]float32, 10*MaxLen)
	var list List
	c := new(fallback.SGDScalars)
	if n := allocs.PerRun(10, func() {
		list.Set(p, g)
		list.Set(p[:100], g[:100])
		SGD(Active(), &list, c)
		list.Forget()
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

var all = flag.Bool("all", false, "compare square roots on all 2³² inputs")

// TestRoots compares square roots with the reference, by default on every 4093rd
// input: those of Sqrt and those that Adam and AdaGrad divide by. With a momentum of 1
// Adam leaves -step/√v. The quotient may hide a last bit of the root, but not for both
// step sizes.
func TestRoots(t *testing.T) {
	stride := uint64(4093)
	if *all {
		stride = 1
	}
	for _, table := range native() {
		var running sync.WaitGroup
		var next atomic.Uint64
		for range runtime.GOMAXPROCS(0) {
			running.Go(func() {
				r := newRoots(t, table)
				for {
					first := (next.Add(rootsLen) - rootsLen) * stride
					if first >= 1<<32 || r.differ > 5 {
						return
					}
					r.compare(first, stride)
				}
			})
		}
		running.Wait()
	}
}

const rootsLen = 1 << 14

// roots is room for the roots of one goroutine.
type roots struct {
	t                  *testing.T
	table              Table
	x, got, want       []float32
	zero, one, tiny, v []float32
	differ             int
}

func newRoots(t *testing.T, table Table) *roots {
	r := &roots{t: t, table: table}
	for _, b := range []*[]float32{&r.x, &r.got, &r.want, &r.zero, &r.one, &r.tiny, &r.v} {
		*b = make([]float32, rootsLen)
	}
	for i := range r.tiny {
		r.tiny[i] = 0x1p-76 // whose square is 0
	}
	return r
}

// compare compares the roots of numbers that are so far apart, as bits.
func (r *roots) compare(first, stride uint64) {
	for i := range r.x {
		r.x[i] = math.Float32frombits(uint32(min(first+uint64(i)*stride, 1<<32-1)))
	}
	r.both("Sqrt", func(t Table, to []float32) { Sqrt(t, NewList(2, [][]float32{to, r.x})) })
	common := fallback.Common{Scale: 1}
	for _, scale := range []float32{1, 2} { // the usual loop and the other one
		common.Scale = scale
		for _, step := range []float32{1, 1.9} {
			adam := fallback.AdamScalars{Common: common, Weight1: 0x1p-100, Beta2: 1, Step: step}
			r.both("Adam", func(t Table, to []float32) {
				for i := range r.one {
					r.one[i] = 1
				}
				copy(r.v, r.x)
				clear(to)
				Adam(t, NewList(4, [][]float32{to, r.zero, r.one, r.v}), &adam)
			})
			adaGrad := fallback.AdaGradScalars{Common: common, Step: step}
			r.both("AdaGrad", func(t Table, to []float32) {
				copy(r.v, r.x)
				clear(to)
				AdaGrad(t, NewList(3, [][]float32{to, r.tiny, r.v}), &adaGrad)
			})
		}
	}
}

// both runs a kernel of the table and of the reference and compares what they leave.
func (r *roots) both(name string, run func(t Table, to []float32)) {
	run(r.table, r.got)
	run(reference, r.want)
	for i, x := range r.got {
		y := r.want[i]
		if math.Float32bits(x) == math.Float32bits(y) || x != x && y != y {
			continue
		}
		if r.differ++; r.differ < 5 {
			r.t.Errorf("%v: %s of %g (%#x) is %g, want %g", r.table, name, r.x[i], math.Float32bits(r.x[i]), x, y)
		}
	}
}

// BenchmarkKernel times every kernel of every table at sizes for L1, L2 and
// memory; compare the tables with benchstat -col /isa.
func BenchmarkKernel(b *testing.B) {
	for _, table := range Available() {
		for _, kernel := range All() {
			for _, size := range []struct {
				name string
				n    int
			}{{"1Ki", 1 << 10}, {"16Ki", 16 << 10}, {"4Mi", 4 << 20}} {
				call, bytes := agree.Call(kernel.Bare(table), kernel.Buffers, agree.Case{N: size.n, Rows: 1})
				b.Run("op="+kernel.Name+"/isa="+table.ISA()+"/n="+size.name, func(b *testing.B) {
					b.SetBytes(int64(bytes))
					for b.Loop() {
						call()
					}
				})
			}
		}
	}
}
