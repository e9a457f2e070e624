// Package draws has the random numbers and the hashes that tests of Go and of C share, draw
// by draw: c/test/random.c is the same.
package draws

import "math"

// A Source makes random numbers: splitmix64 (Steele, Lea, Flood 2014).
type Source struct{ state uint64 }

// NewSource is the source of a name and a number.
func NewSource(name string, number int) Source {
	h := NewHash()
	h.Text(name)
	return Source{h.state + uint64(number)}
}

// Next is 32 random bits.
func (s *Source) Next() uint32 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32((z ^ z>>31) >> 32)
}

// Below is a random number below n.
func (s *Source) Below(n uint32) int { return int(s.Next() % n) }

// Ordinary is a number between -4 and 4.
func (s *Source) Ordinary() float32 { return float32(int32(s.Next()>>8)-1<<23) * 0x1p-21 }

// A Hash is FNV-1a over words, in which every NaN is the same.
type Hash struct{ state uint64 }

// NewHash is a hash of nothing.
func NewHash() *Hash { return &Hash{0xcbf29ce484222325} }

// Word adds 64 bits.
func (h *Hash) Word(w uint64) { h.state = (h.state ^ w) * 0x100000001b3 }

// Text adds the bytes of a text.
func (h *Hash) Text(s string) {
	for _, c := range []byte(s) {
		h.Word(uint64(c))
	}
}

// Floats adds numbers.
func (h *Hash) Floats(list ...float32) {
	for _, x := range list {
		if x != x {
			h.Word(0x7fc00000)
		} else {
			h.Word(uint64(math.Float32bits(x)))
		}
	}
}

// Doubles adds numbers.
func (h *Hash) Doubles(list ...float64) {
	for _, x := range list {
		bits := math.Float64bits(x)
		if x != x {
			bits = 0x7ff8 << 48
		}
		h.Word(bits & (1<<32 - 1))
		h.Word(bits >> 32)
	}
}

// Sum is the hash in 32 bits.
func (h *Hash) Sum() uint32 { return uint32(h.state>>32 ^ h.state) }
