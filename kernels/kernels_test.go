package kernels

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestAgree runs every kernel against the reference on every short length.
func TestAgree(t *testing.T) {
	tables := Available()
	want := portable.Kernels()
	for _, table := range tables[:len(tables)-1] {
		for k, kernel := range table.Kernels() {
			t.Run(table.isa+"/"+kernel.Name, func(t *testing.T) {
				shapes := agree.Of(kernel.Name)
				lengths := 301
				if shapes.IsMatrix() || testing.Short() {
					lengths = 101
				}
				for n := range lengths {
					for offset := range 2 {
						c := agree.Case{N: n, Rows: n % 7, Offset: (n + 7*offset) % 16, Seed: uint64(n), Random: offset > 0}
						if _, err := agree.Compare(kernel.Func, want[k].Func, shapes, c); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// TestMethods runs the safe calls on more than one part, where a part's lanes
// must go on where the last one stopped.
func TestMethods(t *testing.T) {
	for _, table := range Available() {
		x := make([]float32, 2*MaxLen+77)
		for i := range x {
			x[i] = float32(i%1013) - 500.25
		}
		if table.isa != portable.isa && !testing.Short() {
			rowsApart(t, table)
		}
		var whole, parts [32]float64
		table.sumSquares(x, &whole)
		table.SumSquares(x, &parts)
		if whole != parts {
			t.Errorf("%s: sums differ between one call and parts", table.isa)
		}

		w := x[:3000]
		rows := len(x) / len(w)
		z := make([]float32, rows)
		table.Dots(z, x, w)
		for i := range rows {
			var one [1]float32
			table.dots(one[:], x[i*len(w):][:len(w)], w)
			if one[0] != z[i] {
				t.Fatalf("%s: row %d is %g, want %g", table.isa, i, z[i], one[0])
			}
		}
	}
}

// rowsApart compares a matrix whose rows are walked one by one with its halves,
// whose rows are not.
func rowsApart(t *testing.T, table *Table) {
	t.Helper()
	const rows, columns = 33_000, 130
	if !tune.RowsApart(rows*columns, columns) || tune.RowsApart(rows/2*columns, columns) {
		t.Fatal("the sizes do not suit")
	}
	x, z, y := make([]float32, rows*columns), make([]float32, rows), make([]float32, rows)
	for i := range x {
		x[i] = float32(i%1013) - 500.25
	}
	w, g, h := x[:columns], make([]float32, columns), make([]float32, columns)
	table.Dots(z, x, w)
	table.RankOne(g, x, z)
	for _, half := range [][2]int{{0, rows / 2}, {rows / 2, rows}} {
		part := x[half[0]*columns : half[1]*columns]
		table.Dots(y[half[0]:half[1]], part, w)
		table.RankOne(h, part, z[half[0]:half[1]])
	}
	if !slices.Equal(z, y) || !slices.Equal(g, h) {
		t.Errorf("%s: the rows of a large matrix come out otherwise", table.isa)
	}
}

// TestMany compares lists of tensors of all lengths, among them one that is too
// long for a call, with the reference for each tensor.
func TestMany(t *testing.T) {
	want := portable.Kernels()
	for _, table := range Available() {
		steps := 0
		for k, kernel := range table.Kernels() {
			method := reflect.ValueOf(table).MethodByName(kernel.Name + "Many")
			if !method.IsValid() {
				continue
			}
			steps++
			for seed := range uint64(64) {
				lengths := []int{0, 1, 15, 16, 17, 63, 64, 65, 130, 7, 300, 0, 1}
				if seed == 0 {
					lengths = append(lengths, MaxLen+3, 30000, 30000, 30000, 2)
				}
				many(t, table.isa+"/"+kernel.Name, method, reflect.ValueOf(want[k].Func), lengths, seed)
			}
		}
		if steps < 8 {
			t.Errorf("%s has %d kernels for many tensors", table.isa, steps)
		}
	}
}

// many compares a list of tensors of these lengths.
func many(t *testing.T, name string, method, reference reflect.Value, lengths []int, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	random := seed%2 != 0
	buffers := reference.Type().NumIn() - 1
	scalars := reflect.New(reference.Type().In(buffers).Elem())
	agree.Fill(rng, scalars.Elem(), random)
	var list, same [][]float32
	for _, n := range lengths {
		for range buffers {
			b := make([]float32, n, n+1)
			for i := range b {
				b[i] = agree.Value(rng, random)
			}
			list, same = append(list, b), append(same, append(slices.Clone(b), 7)[:n])
		}
	}
	method.Call([]reflect.Value{reflect.ValueOf(NewList(buffers, list)), scalars})
	for at := 0; at < len(same); at += buffers {
		var args []reflect.Value
		for _, b := range same[at : at+buffers] {
			args = append(args, reflect.ValueOf(b))
		}
		reference.Call(append(args, scalars))
	}
	for at, b := range list {
		for i, x := range b[:len(b):len(b)] {
			if y := same[at][i]; math.Float32bits(x) != math.Float32bits(y) && (x == x || y == y) {
				t.Fatalf("%s, seed %d: buffer %d of tensor %d is %g at %d, want %g", name, seed, at%buffers, at/buffers, x, i, y)
			}
		}
		if b[:len(b)+1][len(b)] != 0 {
			t.Fatalf("%s: buffer %d of tensor %d is written behind its end", name, at%buffers, at/buffers)
		}
	}
}

func TestListRefuses(t *testing.T) {
	two := [][]float32{make([]float32, 2), make([]float32, 2)}
	for name, call := range map[string]func(){
		"a short buffer":   func() { NewList(2, [][]float32{make([]float32, 2), make([]float32, 1, 2)}) },
		"a missing buffer": func() { NewList(3, two) },
		"no buffers":       func() { NewList(0, nil) },
		"another kernel":   func() { Active().MomentumMany(NewList(2, two), new(fallback.MomentumScalars)) },
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

// TestMethodsRejectShortBuffers has buffers whose capacity would be enough.
func TestMethodsRejectShortBuffers(t *testing.T) {
	long, k := make([]float32, 16), Active()
	for name, call := range map[string]func(){
		"SGD":     func() { k.SGD(long[:8], long[8:10], new(fallback.SGDScalars)) },
		"Exp":     func() { k.Exp(long[:8], nil) },
		"Dots":    func() { k.Dots(long[:2], long[2:5], long[8:10]) },
		"RankOne": func() { k.RankOne(long[:4], long[4:11], long[12:14]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("a short buffer went through")
				}
			}()
			call()
		})
	}
}

var all = flag.Bool("all", false, "compare square roots on all 2³² inputs")

// TestRoots compares square roots with the reference, by default on every 509th
// input: those of Sqrt, and those of numbers that Adam has flushed, which take
// less care. With m = factor·1 and a decay of 0, Adam leaves -factor/√v. The
// quotient may hide a last bit of the root, but not for both factors.
func TestRoots(t *testing.T) {
	const n = 1 << 14
	stride := uint64(509)
	if *all {
		stride = 1
	}
	small, keepAll := fallback.FlushSmall, fallback.KeepAll
	tables := Available()
	for _, table := range tables[:len(tables)-1] {
		var running sync.WaitGroup
		var differ atomic.Int64
		var next atomic.Uint64
		for range runtime.GOMAXPROCS(0) {
			running.Go(func() {
				x, got, want := make([]float32, n), make([]float32, n), make([]float32, n)
				zero, one, v := make([]float32, n), make([]float32, n), make([]float32, n)
				same := func(what string) {
					for i := range got {
						if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) && differ.Add(1) < 10 {
							t.Errorf("%s: %s of %g (%#x) is %g, want %g", table.isa, what, x[i], math.Float32bits(x[i]), got[i], want[i])
						}
					}
				}
				for {
					first := (next.Add(n) - n) * stride
					if first >= 1<<32 {
						return
					}
					for i := range x {
						x[i] = math.Float32frombits(uint32(min(first+uint64(i)*stride, 1<<32-1)))
					}
					table.Sqrt(got, x)
					portable.Sqrt(want, x)
					same("root")
					for k, keep := range [][2]float32{{small, small}, {keepAll, small}, {keepAll, keepAll}} {
						turn := int(first/stride/n) + k // each combination comes to every kind of number
						step, scale, decay := []float32{1, 1.9}[turn/4%2], []float32{1, .5}[turn/2%2], float32(turn%2)
						adam := fallback.AdamScalars{Scale: scale, Beta2: 1, Decay: decay, Step: step, Keep: keep[0], Lasts: keep[1]}
						for k, to := range [][]float32{got, want} {
							clear(to)
							for i := range one {
								one[i], v[i] = 1, x[i]
							}
							if table := []*Table{table, &portable}[k]; turn/8%2 == 0 {
								table.Adam(to, zero, one, v, &adam)
							} else {
								table.AdamMany(NewList(4, [][]float32{to, zero, one, v}), &adam)
							}
						}
						same("Adam's root")
						adaGrad := fallback.AdaGradScalars{Scale: scale, Decay: decay, Step: step, Lasts: keep[1], Counts: keepAll}
						for k, to := range [][]float32{got, want} {
							clear(to)
							for i := range one {
								one[i], v[i] = 0x1p-76, x[i] // whose square is 0
							}
							if table := []*Table{table, &portable}[k]; turn/8%2 == 0 {
								table.AdaGrad(to, one, v, &adaGrad)
							} else {
								table.AdaGradMany(NewList(3, [][]float32{to, one, v}), &adaGrad)
							}
						}
						same("AdaGrad's root")
					}
				}
			})
		}
		running.Wait()
		if differ.Load() > 0 {
			t.Errorf("%s: %d roots differ", table.isa, differ.Load())
		}
	}
}

// FuzzAgree looks for a length, an offset and values on which a kernel differs.
func FuzzAgree(f *testing.F) {
	f.Add(uint8(0), uint16(33), uint8(3), uint64(1), true)
	f.Add(uint8(7), uint16(1000), uint8(0), uint64(2), false)
	f.Fuzz(func(t *testing.T, which uint8, n uint16, offset uint8, seed uint64, random bool) {
		tables := Available()
		for _, table := range tables[:len(tables)-1] {
			kernels := table.Kernels()
			k := int(which) % len(kernels)
			shapes := agree.Of(kernels[k].Name)
			c := agree.Case{N: int(n % 2048), Rows: int(n % 5), Offset: int(offset % 16), Seed: seed, Random: random}
			if _, err := agree.Compare(kernels[k].Func, portable.Kernels()[k].Func, shapes, c); err != nil {
				t.Errorf("%s/%s: %v", table.isa, kernels[k].Name, err)
			}
		}
	})
}

// TestRequired fails when a table named in LOCKSTEP_REQUIRE cannot run here, or
// one of it is forced and another one is in use.
func TestRequired(t *testing.T) {
	var have []string
	for _, table := range Available() {
		have = append(have, table.isa)
	}
	for _, isa := range strings.Fields(os.Getenv("LOCKSTEP_REQUIRE")) {
		if !slices.Contains(have, isa) {
			t.Errorf("%s is required and not available: %s", isa, Info())
		}
	}
	if forced := os.Getenv(Variable); forced != "" && forced != Active().isa {
		t.Errorf("%s=%s and %s is in use", Variable, forced, Active().isa)
	}
}

func TestPickRefuses(t *testing.T) {
	for _, isa := range []string{"sse9", "AVX2", " "} {
		if table, err := pick(isa); err == nil || !strings.Contains(err.Error(), isa) {
			t.Errorf("pick(%q) = %v, %v", isa, table, err)
		}
	}
	candidates := candidates
	for _, c := range candidates {
		if missing := c.missing(); len(missing) > 0 {
			if _, err := pick(c.table.isa); err == nil || !strings.Contains(err.Error(), missing[0]) {
				t.Errorf("pick(%q) does not name %s: %v", c.table.isa, missing[0], err)
			}
		}
	}
}

func TestInfo(t *testing.T) {
	if info := Info(); !strings.Contains(info, Active().ISA()) {
		t.Errorf("%q does not name the table in use", info)
	}
	active := 0
	for _, s := range Explain() {
		if s.Active {
			active++
		}
	}
	if active != 1 {
		t.Errorf("%d tables are active", active)
	}
}

// TestGuarded holds every table to its CPU check: no kernel may use an
// instruction beyond the features that its table asks for.
func TestGuarded(t *testing.T) {
	requires := regexp.MustCompile(`(?m)^// Requires: (.*)$`)
	for _, c := range candidates {
		files, err := filepath.Glob(filepath.Join("asm", c.table.isa, "*.s"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files of assembly (%v)", c.table.isa, len(files), err)
		}
		var asked []string
		for _, f := range c.features {
			asked = append(asked, f.name)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			m := requires.FindSubmatch(text)
			if m == nil {
				t.Errorf("%s does not say what it requires", name)
				continue
			}
			for _, f := range strings.Split(string(m[1]), ", ") {
				if !slices.Contains(asked, f) {
					t.Errorf("%s requires %s, which the table %s does not ask for", name, f, c.table.isa)
				}
			}
		}
	}
}

// BenchmarkKernel times every kernel of every table at sizes for L1, L2 and
// memory; compare the tables with benchstat -col /isa.
func BenchmarkKernel(b *testing.B) {
	for _, table := range Available() {
		for _, kernel := range table.Kernels() {
			shapes := agree.Of(kernel.Name)
			for _, size := range []struct {
				name string
				n    int
			}{{"1Ki", 1 << 10}, {"16Ki", 16 << 10}, {"4Mi", 4 << 20}} {
				c := agree.Case{N: size.n, Rows: 1}
				call, bytes := agree.Call(kernel.Func, shapes, c)
				b.Run("op="+kernel.Name+"/isa="+table.isa+"/n="+size.name, func(b *testing.B) {
					b.SetBytes(int64(bytes))
					for b.Loop() {
						call()
					}
				})
			}
		}
	}
}
