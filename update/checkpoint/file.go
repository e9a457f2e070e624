package checkpoint

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lockstep-go/lockstep/update"
)

// A File is what a file has.
type File struct {
	Groups    []Group
	Tensors   []Tensor
	Steps     int64           // the optimizer's: at least those of each tensor
	GradScale float64         // the factor of all gradients
	MaxNorm   float64         // that gradients are clipped to; 0 is for none
	Averages  int64           // that the running ones of the parameters are of, if there are any
	Extra     json.RawMessage // an object, for the caller
}

// A Group is a rule.
type Group struct {
	Rule    string         // its type: "Adam"
	State   string         // its Name, which says what its state is: "amsgrad"
	Options map[string]any // all options by their names in C, "lr" among them: float64 and bool

	// Framework has the group in the words of a framework: {"torch": {"betas": [.9, .999]}}.
	Framework map[string]json.RawMessage
}

// A Tensor is the state of one tensor of parameters.
type Tensor struct {
	Name    string
	Group   int // index
	Steps   int64
	Shape   []int    // of the parameters, row-major
	Buffers []Buffer // in the rule's order, none if it has taken no step; then what steps keep beside them
}

// A Buffer is a state buffer: in a file it has the shape of its tensor if it has as many
// elements, and one dimension if not.
type Buffer struct {
	Slot  string
	Data  []float32         // of float32
	Typed update.TypedState // or of another type, of the tensor's shape
}

// An Error says why a file cannot be read.
type Error struct{ Why string }

func (e *Error) Error() string { return "no checkpoint that can be read: " + e.Why }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

const (
	version = "1"
	key     = "lockstep"
	meta    = "__metadata__"

	// maxHeader is the longest header that the format's own library reads.
	maxHeader = 100_000_000
)

// described is the description in the metadata.
type described struct {
	Groups    []group         `json:"groups"`
	Tensors   []listed        `json:"tensors"`
	Steps     *int64          `json:"steps"`
	GradScale *float64        `json:"grad_scale"`
	MaxNorm   *float64        `json:"max_norm"`
	Averages  int64           `json:"averages,omitempty"`
	Extra     json.RawMessage `json:"extra"`
}

type group = map[string]json.RawMessage

type listed struct {
	Name    *string  `json:"name"`
	Group   *int     `json:"group"`
	Steps   *int64   `json:"steps"`
	Shape   []int    `json:"shape"`
	Buffers []string `json:"buffers"`

	Types map[string]string `json:"types,omitempty"` // of buffers that are not float32
}

// stored is where a buffer is.
type stored struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// setExtra takes over what encoding/json makes of x.
func (f *File) setExtra(x any) error {
	f.Extra = json.RawMessage("{}")
	if x == nil {
		return nil
	}
	b, err := marshal(x)
	if err != nil {
		return fmt.Errorf("extra: %w", err)
	}
	if !bytes.HasPrefix(b, []byte("{")) {
		return fmt.Errorf("extra is %.40s, want an object of JSON", b)
	}
	f.Extra = b
	return nil
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(x any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(x)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// product is the number of elements of a shape, if it is one that memory can have.
func product(shape []int) (n int, ok bool) {
	n = 1
	empty := slices.Contains(shape, 0)
	for _, m := range shape {
		if m < 0 || !empty && n > math.MaxInt/4/m {
			return 0, false
		}
		n *= m
		if empty {
			n = 0
		}
	}
	return n, true
}

// check refuses what nobody can read back.
func (f *File) check() error {
	seen := map[string]bool{}
	keys := map[string]bool{meta: true}
	for k := range f.Groups {
		if _, ok := f.Groups[k].Options["lr"].(float64); !ok {
			return refuse("rule %d, %q, has no learning rate among its options", k, f.Groups[k].Rule)
		}
	}
	if f.Averages < 0 {
		return refuse("it has %d averages", f.Averages)
	}
	for _, t := range f.Tensors {
		averaged := t.has(update.AverageName)
		switch _, ok := product(t.Shape); {
		case seen[t.Name]:
			return refuse("two tensors have the name %q", t.Name)
		case !utf8.ValidString(t.Name): // JSON would make another of it
			return refuse("the name %q is no UTF-8", t.Name)
		case t.Group < 0 || t.Group >= len(f.Groups):
			return refuse("%q is by rule %d of %d", t.Name, t.Group, len(f.Groups))
		case t.Steps < 0 || t.Steps > f.Steps:
			return refuse("%q has taken %d steps of %d", t.Name, t.Steps, f.Steps)
		case averaged != (f.Averages > 0):
			return refuse("%q has the average of the parameters: %v, of %d averages", t.Name, averaged, f.Averages)
		case t.has(update.SlowName) != f.Tensors[0].has(update.SlowName):
			return refuse("%q has slow parameters: %v, want them of all tensors or none", t.Name, t.has(update.SlowName))
		case !ok:
			return refuse("%q has the shape %v", t.Name, t.Shape)
		default:
			for _, b := range t.Buffers {
				for _, p := range b.parts(&t) {
					name := t.Name + "/" + b.Slot + p.suffix
					if keys[name] {
						return refuse("two buffers have the name %q", name)
					}
					keys[name] = true
				}
			}
		}
		seen[t.Name] = true
	}
	return nil
}

func (t *Tensor) has(slot string) bool {
	return slices.ContainsFunc(t.Buffers, func(b Buffer) bool { return b.Slot == slot })
}

// describe is the description in JSON.
func (f *File) describe() ([]byte, error) {
	d := described{Groups: []group{}, Tensors: []listed{}, Steps: &f.Steps, GradScale: &f.GradScale, MaxNorm: &f.MaxNorm, Averages: f.Averages, Extra: f.Extra}
	if len(d.Extra) == 0 {
		d.Extra = json.RawMessage("{}")
	}
	for k := range f.Groups {
		g := maps.Clone(f.Groups[k].Framework)
		if g == nil {
			g = group{}
		}
		for name, x := range map[string]any{"rule": f.Groups[k].Rule, "state": f.Groups[k].State, "options": f.Groups[k].Options} {
			b, err := marshal(x)
			if err != nil {
				return nil, fmt.Errorf("%s of rule %d: %w", name, k, err)
			}
			g[name] = b
		}
		d.Groups = append(d.Groups, g)
	}
	for k := range f.Tensors {
		t := &f.Tensors[k]
		l := listed{Name: &t.Name, Group: &t.Group, Steps: &t.Steps, Shape: append([]int{}, t.Shape...), Buffers: []string{}}
		for _, b := range t.Buffers {
			l.Buffers = append(l.Buffers, b.Slot)
			if b.Typed.Type != update.StateFloat32 {
				if l.Types == nil {
					l.Types = map[string]string{}
				}
				l.Types[b.Slot] = b.Typed.Type.String()
			}
		}
		d.Tensors = append(d.Tensors, l)
	}
	return marshal(d)
}

// parse takes a description, whose buffers are still to be read.
func (f *File) parse(text string) error {
	var d described
	in := json.NewDecoder(strings.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&d); err != nil {
		return refuse("its description is none: %v", err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return refuse("its description is followed by something")
	}
	if d.Steps == nil || *d.Steps < 0 || d.GradScale == nil || d.MaxNorm == nil || !bytes.HasPrefix(d.Extra, []byte("{")) {
		return refuse("its description lacks steps, grad_scale, max_norm or extra")
	}
	f.Steps, f.GradScale, f.MaxNorm, f.Averages, f.Extra = *d.Steps, *d.GradScale, *d.MaxNorm, d.Averages, d.Extra
	for k, g := range d.Groups {
		to, err := parseGroup(g)
		if err != nil {
			return refuse("rule %d: %v", k, err)
		}
		f.Groups = append(f.Groups, to)
	}
	for k, t := range d.Tensors {
		if t.Name == nil || t.Group == nil || t.Steps == nil || t.Shape == nil || t.Buffers == nil {
			return refuse("tensor %d lacks name, group, steps, shape or buffers", k)
		}
		to := Tensor{Name: *t.Name, Group: *t.Group, Steps: *t.Steps, Shape: t.Shape}
		for _, slot := range t.Buffers {
			b := Buffer{Slot: slot}
			if name, ok := t.Types[slot]; ok {
				if b.Typed.Type, ok = typeOf(name); !ok {
					return refuse("%q is of the type %q, want bfloat16 or float8", *t.Name+"/"+slot, name)
				}
			}
			to.Buffers = append(to.Buffers, b)
		}
		for slot := range t.Types {
			if !slices.Contains(t.Buffers, slot) {
				return refuse("%q has a type and is no buffer", *t.Name+"/"+slot)
			}
		}
		f.Tensors = append(f.Tensors, to)
	}
	return f.check()
}

func parseGroup(from group) (Group, error) {
	var g Group
	fields := map[string]any{"rule": &g.Rule, "state": &g.State, "options": &g.Options}
	for name, b := range from {
		to, ok := fields[name]
		if !ok {
			if g.Framework == nil {
				g.Framework = map[string]json.RawMessage{}
			}
			g.Framework[name] = b
			continue
		}
		if err := json.Unmarshal(b, to); err != nil {
			return g, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, x := range g.Options {
		switch x.(type) {
		case float64, bool:
		default:
			return g, fmt.Errorf("the option %s is %v, want a number or a boolean", name, x)
		}
	}
	return g, nil
}

// buffers goes through all buffers in the order in which the checksum has them.
func (f *File) buffers(do func(key string, t *Tensor, b *Buffer) error) error {
	for k := range f.Tensors {
		t := &f.Tensors[k]
		for j := range t.Buffers {
			if err := do(t.Name+"/"+t.Buffers[j].Slot, t, &t.Buffers[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// shapeOf is that of a buffer of n elements.
func (t *Tensor) shapeOf(n int) []int {
	if all, _ := product(t.Shape); n == all {
		return append([]int{}, t.Shape...)
	}
	return []int{n}
}

// mayHave reports whether a buffer may have a shape: the tensor's, or of a rule's state one
// dimension.
func (t *Tensor) mayHave(b *Buffer, shape []int) bool {
	beside := b.Slot == update.AverageName || b.Slot == update.SlowName
	return slices.Equal(shape, t.Shape) || len(shape) == 1 && !beside
}

// encode writes a file.
func (f *File) encode(w io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	text, err := f.describe()
	if err != nil {
		return err
	}
	sum := sha256.New()
	sum.Write(text)
	header := map[string]any{}
	offset := int64(0)
	err = f.buffers(func(key string, t *Tensor, b *Buffer) error {
		for _, p := range b.parts(t) {
			if !p.fits(t, b) {
				return refuse("%q has %d numbers, want them of the shape %v", key+p.suffix, p.len(), p.wanted(t))
			}
			end := offset + int64(p.width())*int64(p.len())
			header[key+p.suffix] = stored{p.dtype, p.shape, [2]int64{offset, end}}
			offset = end
			if err := p.put(sum); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	header[meta] = map[string]string{key: fmt.Sprintf("%s %x %s", version, sum.Sum(nil), text)}
	h, err := marshal(header)
	if err != nil {
		return err
	}
	h = append(h, strings.Repeat(" ", -len(h)&7)...) // numbers are aligned
	if len(h) > maxHeader {
		return refuse("its header would have %d bytes, more than %d", len(h), maxHeader)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(h)))); err != nil {
		return err
	}
	if _, err := w.Write(h); err != nil {
		return err
	}
	return f.hash(w)
}

// decode reads a file of so many bytes. It asks for no more memory than they can fill.
func decode(r io.Reader, size int64) (*File, error) {
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, refuse("it ends before its header")
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, refuse("its header would have %d bytes, of %d that may follow", n, min(size-8, maxHeader))
	}
	h := make([]byte, n)
	if _, err := io.ReadFull(r, h); err != nil {
		return nil, refuse("it ends within its header")
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(h, &header); err != nil {
		return nil, refuse("its header is no JSON: %v", err)
	}
	metadata := map[string]string{}
	if raw, ok := header[meta]; ok {
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return nil, refuse("its metadata: %v", err)
		}
		delete(header, meta)
	}
	checksum, text, err := split(metadata)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := f.parse(text); err != nil {
		return nil, err
	}
	places, err := f.places(header, size-8-int64(n))
	if err != nil {
		return nil, err
	}
	if err := f.fill(r, places); err != nil {
		return nil, err
	}
	sum := sha256.New()
	io.WriteString(sum, text)
	if err := f.hash(sum); err != nil {
		return nil, err
	}
	if hex.EncodeToString(sum.Sum(nil)) != checksum {
		return nil, refuse("damaged: the checksum of its content is another")
	}
	return f, nil
}

// hash writes the numbers of all buffers.
func (f *File) hash(to io.Writer) error {
	return f.buffers(func(_ string, t *Tensor, b *Buffer) error {
		for _, p := range b.parts(t) {
			if err := p.put(to); err != nil {
				return err
			}
		}
		return nil
	})
}

// split takes the metadata apart, of a version that is known.
func split(metadata map[string]string) (checksum, text string, err error) {
	whole, ok := metadata[key]
	if !ok {
		return "", "", refuse("it is of no optimizer: its metadata lacks %q", key)
	}
	v, rest, _ := strings.Cut(whole, " ")
	if v != version {
		return "", "", refuse("its version is %.20q, this package reads %q", v, version)
	}
	checksum, text, _ = strings.Cut(rest, " ")
	return checksum, text, nil
}

// A place is a part of a buffer in a file.
type place struct {
	stored
	part part
}

// places are those of all buffers, in the order of the file, which they fill without gaps.
func (f *File) places(header map[string]json.RawMessage, size int64) ([]place, error) {
	var list []place
	err := f.buffers(func(key string, t *Tensor, b *Buffer) error {
		for _, part := range b.parts(t) {
			p, err := part.place(header, key+part.suffix, t, b, size)
			if err != nil {
				return err
			}
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name := range header {
		return nil, refuse("damaged: the buffer %q is of no tensor", name)
	}
	slices.SortFunc(list, func(a, b place) int { return slices.Compare(a.Offsets[:], b.Offsets[:]) })
	at := int64(0)
	for _, p := range list {
		if p.Offsets[0] != at {
			return nil, refuse("damaged: a buffer is at %d, want it at %d", p.Offsets[0], at)
		}
		at = p.Offsets[1]
	}
	if at != size {
		return nil, refuse("damaged: its buffers end at %d of %d bytes", at, size)
	}
	return list, nil
}

func (f *File) fill(r io.Reader, places []place) error {
	for _, p := range places {
		p.part.grow(int(p.Offsets[1]-p.Offsets[0]) / p.part.width())
		if err := p.part.get(r); err != nil {
			return refuse("it ends within its buffers: %v", err)
		}
	}
	return nil
}

// Read reads a file, of which every byte that matters has been checked. What is no
// checkpoint, or a damaged one, is an *Error.
func Read(path string) (*File, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", path)
	}
	f, err := decode(bufio.NewReaderSize(in, 1<<16), info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Write writes a file in place of what is at path. A crash leaves the old file or the new
// one.
func Write(path string, f *File) error {
	return replace(path, func(to io.Writer) error {
		w := bufio.NewWriterSize(to, 1<<16)
		if err := f.encode(w); err != nil {
			return err
		}
		return w.Flush()
	})
}
