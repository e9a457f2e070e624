package kernels_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	. "github.com/lockstep-go/lockstep/kernels"
)

// A format is a type of 16 bits by the number of its bits, with the kernels that convert it.
type format struct {
	name               string
	exponent, fraction int
	quiets             bool // widened NaN
	widen              func(t Table, x []float32, h []uint16)
	narrow             func(t Table, h []uint16, x []float32)
	values             []float64 // those that are not negative and finite, and what would be the next
}

var formats = []*format{
	{name: "bfloat16", exponent: 8, fraction: 7, widen: widening(WidenBF16), narrow: narrowing(NarrowBF16)},
	{name: "float16", exponent: 5, fraction: 10, quiets: true, widen: widening(WidenF16), narrow: narrowing(NarrowF16)},
}

func init() {
	for _, f := range formats {
		for h := range f.infinity() + 1 {
			f.values = append(f.values, f.value(h))
		}
	}
}

func widening[T ~uint16](kernel func(Table, []float32, []T)) func(Table, []float32, []uint16) {
	return func(t Table, x []float32, h []uint16) { kernel(t, x, like[T](h)) }
}

func narrowing[T ~uint16](kernel func(Table, []T, []float32)) func(Table, []uint16, []float32) {
	return func(t Table, h []uint16, x []float32) {
		list := like[T](h)
		kernel(t, list, x)
		for i, v := range list {
			h[i] = uint16(v)
		}
	}
}

// like is a copy of another type.
func like[T ~uint16](h []uint16) []T {
	list := make([]T, len(h))
	for i, v := range h {
		list[i] = T(v)
	}
	return list
}

// infinity is the infinite one without a sign.
func (f *format) infinity() uint16 { return (1<<f.exponent - 1) << f.fraction }

// value is a number as its fields say; of the infinite one it is what would be the next.
func (f *format) value(h uint16) float64 {
	exponent, fraction, bias := int(h>>f.fraction), float64(h&(1<<f.fraction-1)), 1<<(f.exponent-1)-1
	if exponent == 0 {
		return math.Ldexp(fraction, 1-bias-f.fraction)
	}
	return math.Ldexp(fraction+math.Ldexp(1, f.fraction), exponent-bias-f.fraction)
}

// widened is the bits of a number as a float32.
func (f *format) widened(h uint16) uint32 {
	sign, size := uint32(h>>15)<<31, h&(1<<15-1)
	switch {
	case size == f.infinity():
		return sign | 0xff<<23
	case size > f.infinity():
		bits := sign | 0xff<<23 | uint32(size-f.infinity())<<(23-f.fraction)
		if f.quiets {
			bits |= 1 << 22
		}
		return bits
	}
	return sign | math.Float32bits(float32(f.value(size)))
}

// narrowed is the number nearest to a float32 of these bits, the even one of two. below is
// where to look first: the largest that is no larger.
func (f *format) narrowed(bits uint32, below *int) uint16 {
	sign, x := uint16(bits>>31)<<15, math.Float32frombits(bits&(1<<31-1))
	switch {
	case x != x:
		return sign | f.infinity() | 1<<(f.fraction-1) | uint16(bits&(1<<23-1)>>(23-f.fraction))
	case math.IsInf(float64(x), 0):
		return sign | f.infinity()
	}
	size, last := float64(x), len(f.values)-1
	if !(f.values[*below] <= size) {
		*below = sort.Search(last, func(k int) bool { return f.values[k+1] > size })
	}
	for *below < last && f.values[*below+1] <= size {
		*below++
	}
	if *below == last {
		return sign | f.infinity()
	}
	down, up := size-f.values[*below], f.values[*below+1]-size
	if up < down || up == down && *below%2 == 1 {
		return sign | uint16(*below+1)
	}
	return sign | uint16(*below)
}

// TestWiden widens all that there are, at all places of a register.
func TestWiden(t *testing.T) {
	const n = 1 << 16
	h, want, got := make([]uint16, n+31), make([]uint32, n), make([]float32, n+31)
	for _, f := range formats {
		for offset := range 31 {
			for i := range n {
				h[offset+i] = uint16(i)
			}
			for i := range want {
				want[i] = f.widened(uint16(i))
			}
			for _, table := range Available() {
				clear(got)
				f.widen(table, got[30-offset:][:n], h[offset:][:n])
				for i, bits := range want {
					if x := math.Float32bits(got[30-offset+i]); x != bits {
						t.Fatalf("%v: %s %#x is %#x, want %#x", table, f.name, i, x, bits)
					}
				}
			}
		}
	}
}

// TestNarrow narrows every 4093rd float32, or all of them with -all.
func TestNarrow(t *testing.T) {
	stride := uint64(4093)
	if *all {
		stride = 1
	}
	const chunk = 1 << 14
	for _, f := range formats {
		var next atomic.Uint64
		var running sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			running.Go(func() {
				n := newNarrowing(f, chunk)
				for {
					first := (next.Add(chunk) - chunk) * stride
					if first >= 1<<32 || t.Failed() {
						return
					}
					for i := range n.x {
						n.x[i] = math.Float32frombits(uint32(min(first+uint64(i)*stride, 1<<32-1)))
					}
					n.compare(t)
				}
			})
		}
		running.Wait()
	}
}

// TestNarrowEdges narrows each number of a format, what lies half way to the next, and what
// is beside these; and NaN of all payloads that differ by a bit.
func TestNarrowEdges(t *testing.T) {
	for _, f := range formats {
		var list []float32
		add := func(bits uint32) {
			for _, b := range []uint32{bits - 1, bits, bits + 1} {
				list = append(list, math.Float32frombits(b), math.Float32frombits(b^1<<31))
			}
		}
		for k, v := range f.values[:len(f.values)-1] {
			add(math.Float32bits(float32(v)))
			add(math.Float32bits(float32((v + f.values[k+1]) / 2)))
		}
		for bit := range 23 {
			add(0xff<<23 | 1<<bit)
			add(1 << bit)
		}
		for _, offset := range []int{0, 1, 2, 3, 5, 7, 11, 15} {
			n := newNarrowing(f, len(list)-offset)
			copy(n.x, list[offset:])
			n.compare(t)
		}
	}
}

// A narrow is room to narrow so many numbers on every table.
type narrow struct {
	*format
	x         []float32
	got, want []uint16
	below     int
}

func newNarrowing(f *format, n int) *narrow {
	return &narrow{f, make([]float32, n), make([]uint16, n), make([]uint16, n), 0}
}

func (n *narrow) compare(t *testing.T) {
	for i, x := range n.x {
		n.want[i] = n.narrowed(math.Float32bits(x), &n.below)
	}
	for _, table := range Available() {
		n.narrow(table, n.got, n.x)
		if slices.Equal(n.got, n.want) {
			continue
		}
		for i, x := range n.x {
			if n.got[i] != n.want[i] {
				t.Errorf("%v: %s of %g (%#x) is %#x, want %#x", table, n.name, x, math.Float32bits(x), n.got[i], n.want[i])
				return
			}
		}
	}
}

// casts are hashes of what PyTorch's casts make of all numbers but NaN, if there are such, and
// of every 4093rd: see testdata/casts/casts.py.
type casts struct {
	Torch       string
	Widened     map[string]string
	All, Stride map[string]string
}

// TestTorchCasts compares with PyTorch's casts: with -all all of them, if their hash is known.
func TestTorchCasts(t *testing.T) {
	text, err := os.ReadFile("testdata/casts/torch.json")
	if err != nil {
		t.Fatal(err)
	}
	var want casts
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	table := Active()
	for _, f := range formats {
		stride, narrowed := uint64(4093), want.Stride
		if *all && want.All != nil {
			stride, narrowed = 1, want.All
		}
		wantHash(t, f.name+" of float32", narrowed[f.name], func(add func(b []byte)) {
			x, h := make([]float32, 0, 1<<16), make([]uint16, 1<<16)
			var b []byte
			flush := func() {
				f.narrow(table, h[:len(x)], x)
				b = b[:0]
				for _, v := range h[:len(x)] {
					b = binary.LittleEndian.AppendUint16(b, v)
				}
				add(b)
				x = x[:0]
			}
			for bits := uint64(0); bits < 1<<32; bits += stride {
				if v := math.Float32frombits(uint32(bits)); v == v {
					x = append(x, v)
				}
				if len(x) == cap(x) {
					flush()
				}
			}
			flush()
		})
		wantHash(t, "float32 of "+f.name, want.Widened[f.name], func(add func(b []byte)) {
			x, h := make([]float32, 1<<16), make([]uint16, 1<<16)
			for i := range h {
				h[i] = uint16(i)
			}
			f.widen(table, x, h)
			for _, v := range x {
				if v == v {
					add(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
				}
			}
		})
	}
}

func wantHash(t *testing.T, what, want string, all func(add func(b []byte))) {
	t.Helper()
	h := sha256.New()
	all(func(b []byte) { h.Write(b) })
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("%s: the hash is %s, want %s", what, got, want)
	}
}

// TestConvertsLong converts more than a call of assembly is given, between elements that
// stay as they are.
func TestConvertsLong(t *testing.T) {
	for _, table := range Available() {
		for _, n := range []int{MaxLen, MaxLen + 1, 2*MaxLen + 77} {
			x, h, back := numbers(n), make([]fallback.BF16, n+2), make([]float32, n+2)
			NarrowBF16(table, h[1:1+n], x)
			WidenBF16(table, back[1:1+n], h[1:])
			for i, v := range x {
				if back[1+i] != fallback.ToBF16(v).Float32() {
					t.Fatalf("%v: element %d of %d is %g, of %g", table, i, n, back[1+i], v)
				}
			}
			if h[0] != 0 || h[n+1] != 0 || back[0] != 0 || back[n+1] != 0 {
				t.Errorf("%v: elements around %d are others", table, n)
			}
		}
	}
}

// TestConvertsRefuses has buffers that are too short, with a capacity that would be enough.
func TestConvertsRefuses(t *testing.T) {
	x, b, h := make([]float32, 8), make([]fallback.BF16, 8), make([]fallback.F16, 8)
	for name, call := range map[string]func(){
		"WidenBF16":  func() { WidenBF16(Active(), x, b[:7]) },
		"WidenF16":   func() { WidenF16(Active(), x, h[:7]) },
		"NarrowBF16": func() { NarrowBF16(Active(), b, x[:7]) },
		"NarrowF16":  func() { NarrowF16(Active(), h, x[:7]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil {
					t.Error("went through")
				} else if _, ok := r.(runtime.Error); !ok {
					t.Error(fmt.Sprint(r))
				}
			}()
			call()
		})
	}
}

// TestConvertsAllocs converts without allocating.
func TestConvertsAllocs(t *testing.T) {
	x, b, h := make([]float32, 100), make([]fallback.BF16, 100), make([]fallback.F16, 100)
	if n := allocs.PerRun(10, func() {
		NarrowBF16(Active(), b, x)
		WidenBF16(Active(), x, b)
		NarrowF16(Active(), h, x)
		WidenF16(Active(), x, h)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
