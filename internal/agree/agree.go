// Package agree calls two kernels of one signature with the same arguments and
// compares what they leave behind, bit for bit.
package agree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// Guard is the number of elements around a buffer that no kernel may touch.
const Guard = 32

// A Case says what to call the kernels with.
type Case struct {
	N      int    // elements of each buffer; of a matrix, columns
	More   []int  // elements of further tensors in the list
	Rows   int    // of a matrix
	Offset int    // where in its memory a buffer begins, in elements
	Seed   uint64 // of the values
	Random bool   // random bits rather than ordinary values
}

func (c Case) String() string {
	values := "ordinary values"
	if c.Random {
		values = "random bits"
	}
	return fmt.Sprintf("n=%d and %v rows=%d offset=%d seed=%d %s", c.N, c.More, c.Rows, c.Offset, c.Seed, values)
}

// Compare calls both kernels, bare functions of one type, and returns how many
// elements it compared, or what differs. A NaN equals a NaN, but where a kernel has no scalars
// and so converts elements of 16 bits alone, of which it promises every bit.
func Compare(got, want any, buffers []kernels.Buffer, c Case) (compared int, err error) {
	t := reflect.TypeOf(want)
	x, y := newArguments(t, buffers, c), newArguments(t, buffers, c)
	reflect.ValueOf(got).Call(x.values)
	reflect.ValueOf(want).Call(y.values)
	computes := t.NumIn() > len(buffers)
	for k, memory := range x.memory {
		n, err := equal(memory, y.memory[k], computes)
		compared += n
		if err != nil {
			return compared, fmt.Errorf("%v: %s: %w", c, x.names[k], err)
		}
	}
	return compared, nil
}

// IsMatrix reports whether a kernel with these buffers walks the rows of a matrix.
func IsMatrix(buffers []kernels.Buffer) bool {
	return slices.ContainsFunc(buffers, func(b kernels.Buffer) bool { return b.Shape == kernels.Matrix })
}

// IsApart reports whether a kernel takes these buffers as parameters of their own, of a
// matrix or of one tensor, and not as a list.
func IsApart(buffers []kernels.Buffer) bool {
	return slices.ContainsFunc(buffers, func(b kernels.Buffer) bool { return b.Shape == kernels.Matrix || b.Type != kernels.Float32 })
}

// arguments are those of a call, and what it might write to.
type arguments struct {
	values []reflect.Value
	memory []reflect.Value // all of it, guards included
	names  []string        // of the memory
}

// A source makes values.
type source struct {
	*rand.Rand
	Case
}

func newArguments(t reflect.Type, buffers []kernels.Buffer, c Case) *arguments {
	from := source{rand.New(rand.NewPCG(c.Seed, uint64(c.N))), c}
	a := new(arguments)
	if first := t.In(0); first.Kind() == reflect.Slice && first.Elem().Kind() == reflect.Slice {
		a.list(from, buffers)
	} else {
		a.apart(from, buffers)
	}
	for k := len(a.values); k < t.NumIn(); k++ {
		v := reflect.New(t.In(k).Elem())
		from.Fill(v.Elem())
		a.values = append(a.values, v)
		a.memory = append(a.memory, v.Elem())
		a.names = append(a.names, fmt.Sprintf("argument %d", k))
	}
	return a
}

// list makes the buffers of all tensors one argument.
func (a *arguments) list(from source, buffers []kernels.Buffer) {
	var list [][]float32
	for k, n := range append([]int{from.N}, from.More...) {
		for _, b := range buffers {
			list = append(list, a.buffer(from, fmt.Sprintf("%s of tensor %d", b.Name, k), n))
		}
	}
	a.values = append(a.values, reflect.ValueOf(list))
}

// apart makes each buffer an argument.
func (a *arguments) apart(from source, buffers []kernels.Buffer) {
	lengths := map[kernels.Shape]int{kernels.Stream: from.N, kernels.Matrix: from.N * from.Rows, kernels.PerRow: from.Rows}
	for _, b := range buffers {
		var v any
		switch n := lengths[b.Shape]; b.Type {
		case kernels.Bfloat16:
			v = halves(a, from, b.Name, n, func(x float32) fallback.BF16 { return fallback.BF16(math.Float32bits(x) >> 16) })
		case kernels.Float16:
			v = halves(a, from, b.Name, n, from.half)
		default:
			v = a.buffer(from, b.Name, n)
		}
		a.values = append(a.values, reflect.ValueOf(v))
	}
}

// halves makes a buffer of elements of 16 bits with guards around it.
func halves[T fallback.BF16 | fallback.F16](a *arguments, from source, name string, n int, of func(x float32) T) []T {
	memory := make([]T, from.Offset+Guard+n+Guard)
	for i := range memory {
		memory[i] = of(from.value())
	}
	a.memory = append(a.memory, reflect.ValueOf(memory))
	a.names = append(a.names, name)
	return memory[from.Offset+Guard:][:n]
}

// half is an F16: where values are random, any.
func (s source) half(x float32) fallback.F16 {
	if s.Random {
		return fallback.F16(s.Uint32())
	}
	return fallback.ToF16(x)
}

// buffer makes a buffer with guards around it.
func (a *arguments) buffer(from source, name string, n int) []float32 {
	memory := make([]float32, from.Offset+Guard+n+Guard)
	for i := range memory {
		memory[i] = from.value()
	}
	a.memory = append(a.memory, reflect.ValueOf(memory))
	a.names = append(a.names, name)
	return memory[from.Offset+Guard:][:n]
}

func (s source) value() float32 { return Value(s.Rand, s.Random) }

// masks are those that kernels are called with to drop small numbers. Others could
// tell one NaN from another.
var masks = []fallback.Mask{0, fallback.DropSubnormal, fallback.DropSmall, fallback.DropSquare}

// Fill gives values to scalars and to lanes. Kernels have loops for scalars that are
// usual, and so are these, all of them or each for itself. Lanes stay ordinary: what a
// sum begins with is never NaN or -0.
func (s source) Fill(v reflect.Value) {
	if v.Kind() == reflect.Struct {
		s.scalars(v, s.IntN(3) == 0)
		return
	}
	for k := range v.Len() {
		v.Index(k).SetFloat(float64(s.Float32()))
	}
}

func (s source) scalars(v reflect.Value, usual bool) {
	for k := range v.NumField() {
		f := v.Field(k)
		switch f.Kind() {
		case reflect.Struct:
			s.scalars(f, usual)
			continue
		case reflect.Uint32:
			f.SetUint(uint64(masks[s.IntN(len(masks))]))
			continue
		}
		x := s.value()
		if usual || s.IntN(2) == 0 {
			x = usually(v.Type().Field(k).Name, x)
		}
		f.SetFloat(float64(x))
	}
}

// usually is what a scalar mostly is.
func usually(name string, x float32) float32 {
	switch name {
	case "Scale", "Input":
		return 1
	case "L2", "Decay":
		return 0
	case "Weight1", "Weight2":
		return max(math.Float32frombits(math.Float32bits(x)&^(1<<31)), math.SmallestNonzeroFloat32)
	}
	return x
}

// Value is an ordinary number, or random bits among which NaN, infinities,
// zeros and subnormals are frequent.
func Value(rng *rand.Rand, random bool) float32 {
	if !random {
		return float32(rng.NormFloat64())
	}
	bits := rng.Uint32()
	sign, mantissa := bits&(1<<31), bits&(1<<23-1)
	switch rng.IntN(16) {
	case 0:
		return math.Float32frombits(sign)
	case 1:
		return math.Float32frombits(sign | 0xff<<23)
	case 2:
		return math.Float32frombits(sign | 0xff<<23 | 1<<22 | mantissa)
	case 3:
		return math.Float32frombits(sign | mantissa)
	case 4:
		return math.Float32frombits(sign | 32<<23)
	case 5, 6, 7:
		return float32(rng.NormFloat64())
	}
	return math.Float32frombits(bits)
}

// equal compares two slices, arrays or structs of floats, which may have been computed.
func equal(got, want reflect.Value, computed bool) (compared int, err error) {
	if got.Kind() == reflect.Struct {
		if x, y := fmt.Sprintf("%x", got.Interface()), fmt.Sprintf("%x", want.Interface()); x != y {
			return 0, fmt.Errorf("a scalar was written: %s, want %s", x, y)
		}
		return 0, nil
	}
	if x, ok := got.Interface().([]float32); ok {
		y := want.Interface().([]float32)
		for i := range x {
			if math.Float32bits(x[i]) != math.Float32bits(y[i]) && (x[i] == x[i] || y[i] == y[i]) {
				return i, fmt.Errorf("element %d of memory is %x (%g), want %x (%g)", i,
					math.Float32bits(x[i]), x[i], math.Float32bits(y[i]), y[i])
			}
		}
		return len(x), nil
	}
	switch x := got.Interface().(type) {
	case []fallback.BF16:
		return equalHalves(x, want.Interface().([]fallback.BF16), computed)
	case []fallback.F16:
		return equalHalves(x, want.Interface().([]fallback.F16), computed)
	}
	for i := range got.Len() {
		if !same(got.Index(i), want.Index(i)) {
			return i, fmt.Errorf("lane %d is %g, want %g", i, got.Index(i).Float(), want.Index(i).Float())
		}
	}
	return got.Len(), nil
}

// equalHalves compares elements of 16 bits.
func equalHalves[T interface {
	fallback.BF16 | fallback.F16
	Float32() float32
}](got, want []T, computed bool) (compared int, err error) {
	isNaN := func(x T) bool { return x.Float32() != x.Float32() }
	for i, x := range got {
		if y := want[i]; x != y && !(computed && isNaN(x) && isNaN(y)) {
			return i, fmt.Errorf("element %d of memory is %#x, want %#x", i, uint16(x), uint16(y))
		}
	}
	return len(got), nil
}

func same(x, y reflect.Value) bool {
	a, b := x.Float(), y.Float()
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}

// Call binds a bare kernel to arguments of its own, for timing, and tells how many
// bytes its buffers have.
func Call(kernel any, buffers []kernels.Buffer, c Case) (call func(), bytes int) {
	a := newArguments(reflect.TypeOf(kernel), buffers, c)
	for _, m := range a.memory[:len(buffers)] {
		bytes += int(m.Type().Elem().Size()) * (m.Len() - c.Offset - 2*Guard)
	}
	f := reflect.ValueOf(kernel)
	return func() { f.Call(a.values) }, bytes
}
