package kernels

import (
	"fmt"
	"unsafe"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
)

// BF16 and F16 are numbers of 16 bits: see package fallback, whose ToBF16 and ToF16 make them.
type (
	BF16 = fallback.BF16
	F16  = fallback.F16
)

// A Number is a type that the elements of a Typed may have.
type Number interface{ float32 | BF16 | F16 }

// A Typed is a buffer of elements of one of several types. The zero Typed is none, as a nil
// slice is.
type Typed struct {
	at   unsafe.Pointer
	n    int
	kind Element
}

// TypedOf is the buffer that a slice is, not a copy.
func TypedOf[T Number](x []T) Typed {
	var element T
	kind := Float32
	switch any(element).(type) {
	case BF16:
		kind = Bfloat16
	case F16:
		kind = Float16
	}
	return Typed{unsafe.Pointer(unsafe.SliceData(x)), len(x), kind}
}

// TypedList are the buffers that slices are, nil ones too.
func TypedList[T Number](list [][]T) []Typed {
	typed := make([]Typed, len(list))
	for k, x := range list {
		typed[k] = TypedOf(x)
	}
	return typed
}

// IsNil reports whether the buffer is none: that of a nil slice, or the zero Typed.
func (x Typed) IsNil() bool { return x.at == nil }

// Len is the number of elements.
func (x Typed) Len() int { return x.n }

// Element is the type of the elements.
func (x Typed) Element() Element { return x.kind }

// Address is where the buffer begins.
func (x Typed) Address() uintptr { return uintptr(x.at) }

// Slice is the elements from lo on and before hi.
func (x Typed) Slice(lo, hi int) Typed {
	if lo < 0 || hi < lo || hi > x.n {
		panic(fmt.Sprintf("kernels: elements %d to %d of %d", lo, hi, x.n))
	}
	if lo < hi { // or there would be a pointer behind the memory
		x.at = unsafe.Add(x.at, lo*x.kind.Bytes())
	}
	x.n = hi - lo
	return x
}

// Float32 is a buffer of float32 as a slice, and panics for another.
func (x Typed) Float32() []float32 { return as[float32](x, Float32) }

// BF16 is a buffer of BF16 as a slice, and panics for another.
func (x Typed) BF16() []BF16 { return as[BF16](x, Bfloat16) }

// as is a buffer as a slice of its type.
func as[T Number](x Typed, kind Element) []T {
	if x.kind != kind {
		panic(fmt.Sprintf("kernels: a buffer of %v, want %v", x.kind, kind))
	}
	return unsafe.Slice((*T)(x.at), x.n)
}

// Widen copies the buffer to one of float32, which has as many elements: see
// fallback.WidenBF16.
func (x Typed) Widen(t Table, to []float32) {
	switch to = to[:len(to):len(to)][:x.n]; x.kind {
	case Bfloat16:
		WidenBF16(t, to, x.BF16())
	case Float16:
		WidenF16(t, to, as[F16](x, Float16))
	default:
		buffers.Copy(to, x.Float32())
	}
}

// Narrow makes the buffer a copy of one of float32, which has as many elements, rounded to
// its type: see fallback.NarrowBF16.
func (x Typed) Narrow(t Table, from []float32) {
	switch from = from[:len(from):len(from)][:x.n]; x.kind {
	case Bfloat16:
		NarrowBF16(t, x.BF16(), from)
	case Float16:
		NarrowF16(t, as[F16](x, Float16), from)
	default:
		buffers.Copy(x.Float32(), from)
	}
}

// Clear makes zeros of the elements.
func (x Typed) Clear() {
	switch x.kind {
	case Bfloat16:
		buffers.Clear(x.BF16())
	case Float16:
		buffers.Clear(as[F16](x, Float16))
	default:
		buffers.Clear(x.Float32())
	}
}
