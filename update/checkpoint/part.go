package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"slices"

	"github.com/lockstep-go/lockstep/update"
)

// A part of a buffer is what has a name of its own in a file: codes of 8 bits have their
// scales beside them.
type part struct {
	content
	suffix string // of its name
	dtype  string
	shape  []int
}

// A content is a list of numbers, little endian in a file.
type content interface {
	width() int // of a number in bytes
	len() int
	grow(n int)
	put(w io.Writer) error
	get(r io.Reader) error
}

// scaleBlock is how many elements of a tensor share a scale.
const scaleBlock = 256

// scalesOf ends the name of a buffer's scales.
const scalesOf = ".scales"

// parts are those of a buffer, whose tensor has a shape.
func (b *Buffer) parts(t *Tensor) []part {
	s := &b.Typed
	switch s.Type {
	case update.StateBF16:
		return []part{{&series[update.BF16]{&s.BF16, 2, appendBF16, readBF16}, "", "BF16", t.Shape}}
	case update.StateFloat8:
		return []part{{&series[uint8]{&s.Codes, 1, appendByte, readByte}, "", "U8", t.Shape}, {floats(&s.Scales), scalesOf, "F32", []int{t.blocks()}}}
	}
	return []part{{floats(&b.Data), "", "F32", t.shapeOf(len(b.Data))}}
}

// blocks is how many scales a buffer of codes has.
func (t *Tensor) blocks() int {
	n, _ := product(t.Shape)
	return n/scaleBlock + min(1, n%scaleBlock)
}

// wanted is the shape that a part has where it is one of an element each.
func (p *part) wanted(t *Tensor) []int {
	if p.suffix != "" {
		return p.shape
	}
	return t.Shape
}

// fits reports whether a part may be written.
func (p *part) fits(t *Tensor, b *Buffer) bool {
	if b.Typed.Type == update.StateFloat32 {
		return t.mayHave(b, p.shape)
	}
	n, ok := product(p.shape)
	return ok && n == p.len()
}

// place takes a part's place out of a header.
func (p part) place(header map[string]json.RawMessage, key string, t *Tensor, b *Buffer, size int64) (place, error) {
	at := place{part: p}
	raw, ok := header[key]
	if !ok {
		return at, refuse("damaged: it lacks the buffer %q", key)
	}
	delete(header, key)
	in := json.NewDecoder(bytes.NewReader(raw))
	in.DisallowUnknownFields()
	if err := in.Decode(&at.stored); err != nil {
		return at, refuse("damaged: %q: %v", key, err)
	}
	n, ok := product(at.Shape)
	may := slices.Equal(at.Shape, p.wanted(t)) || b.Typed.Type == update.StateFloat32 && t.mayHave(b, at.Shape)
	if at.DType != p.dtype || !ok || !may {
		return at, refuse("damaged: %q is %s %v, want %s %v", key, at.DType, at.Shape, p.dtype, p.wanted(t))
	}
	if width := int64(p.width()); at.Offsets[0] < 0 || at.Offsets[1]-at.Offsets[0] != width*int64(n) || at.Offsets[1] > size {
		return at, refuse("damaged: %q is at %v of %d bytes, want %d times the %d numbers", key, at.Offsets, size, width, n)
	}
	return at, nil
}

// typeOf is the type that a description names.
func typeOf(name string) (update.StateType, bool) {
	for _, s := range []update.StateType{update.StateBF16, update.StateFloat8} {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

// A series is a list of numbers of one type.
type series[T any] struct {
	list   *[]T
	bytes  int
	append func(room []byte, x T) []byte
	read   func(room []byte) T
}

// block is how many numbers are turned to bytes at a time.
const block = 16 << 10

func (c *series[T]) width() int { return c.bytes }
func (c *series[T]) len() int   { return len(*c.list) }
func (c *series[T]) grow(n int) { *c.list = make([]T, n) }

func (c *series[T]) put(w io.Writer) error {
	data := *c.list
	room := make([]byte, 0, c.bytes*min(len(data), block))
	for len(data) > 0 {
		n := min(len(data), block)
		room = room[:0]
		for _, x := range data[:n] {
			room = c.append(room, x)
		}
		if _, err := w.Write(room); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (c *series[T]) get(r io.Reader) error {
	data := *c.list
	room := make([]byte, c.bytes*min(len(data), block))
	for len(data) > 0 {
		n := min(len(data), block)
		if _, err := io.ReadFull(r, room[:c.bytes*n]); err != nil {
			return err
		}
		for i := range n {
			data[i] = c.read(room[c.bytes*i:])
		}
		data = data[n:]
	}
	return nil
}

func floats(list *[]float32) content {
	return &series[float32]{list, 4, func(room []byte, x float32) []byte {
		return binary.LittleEndian.AppendUint32(room, math.Float32bits(x))
	}, func(room []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(room)) }}
}

func appendBF16(room []byte, x update.BF16) []byte {
	return binary.LittleEndian.AppendUint16(room, uint16(x))
}
func readBF16(room []byte) update.BF16 { return update.BF16(binary.LittleEndian.Uint16(room)) }

func appendByte(room []byte, x uint8) []byte { return append(room, x) }
func readByte(room []byte) uint8             { return room[0] }
