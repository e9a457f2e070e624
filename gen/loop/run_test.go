package loop

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// A computer runs programs, one instruction after the other, in one memory.
type computer struct {
	m       Machine
	memory  []byte
	params  map[string][2]int64 // address and length
	address map[Reg]int64
	vectors map[Reg][]byte // masks too
	fetched []int64        // addresses, in order
	visited map[string]bool
}

// place puts words into memory, a few bytes behind what is there, and returns where.
func (c *computer) place(words []uint32) int64 { return c.placeOf(words, rule.F32) }

// placeOf puts elements there, which stand for floats of these bits.
func (c *computer) placeOf(words []uint32, t rule.Type) int64 {
	const guard = 24
	c.memory = append(c.memory, make([]byte, guard+(-len(c.memory)&63))...)
	at := int64(len(c.memory))
	for _, w := range words {
		c.memory = append(c.memory, make([]byte, t.Bytes())...)
		store(c.memory[len(c.memory)-t.Bytes():], w, t)
	}
	return at
}

// element is an element of a buffer.
func (c *computer) element(at int64, i int, t rule.Type) float32 {
	return math.Float32frombits(load(c.memory[at+int64(t.Bytes()*i):], t))
}

// load is the bits of the float that an element stands for, and store makes it one that has
// the upper bits, or is the nearest of F16.
func load(memory []byte, t rule.Type) uint32 {
	switch t {
	case rule.BF16:
		return uint32(binary.LittleEndian.Uint16(memory)) << 16
	case rule.F16:
		return math.Float32bits(fallback.F16(binary.LittleEndian.Uint16(memory)).Float32())
	}
	return binary.LittleEndian.Uint32(memory)
}

func store(memory []byte, bits uint32, t rule.Type) {
	switch t {
	case rule.BF16:
		binary.LittleEndian.PutUint16(memory, uint16(bits>>16))
	case rule.F16:
		binary.LittleEndian.PutUint16(memory, uint16(fallback.ToF16(math.Float32frombits(bits))))
	default:
		binary.LittleEndian.PutUint32(memory, bits)
	}
}

func (c *computer) at(m Mem) int64 {
	return c.address[m.Base] + c.address[m.Index]*int64(m.Scale) + int64(m.Disp)
}

// run runs a program up to its return.
func (c *computer) run(p *Program) {
	c.address, c.vectors, c.visited = map[Reg]int64{}, map[Reg][]byte{}, map[string]bool{}
	for k, l := range p.Locals {
		c.address[Reg{Frame, k}] = c.place(make([]uint32, (l.Size+l.Align)/4))
	}
	labels := map[string]int{}
	for k, in := range p.Insts {
		if in.Op == Label {
			labels[in.Label] = k
		}
	}
	for k := 0; p.Insts[k].Op != Return; k++ {
		if in := p.Insts[k]; c.step(p, in) {
			k = labels[in.Label]
		}
	}
}

// step runs an instruction and reports whether it jumps.
func (c *computer) step(p *Program, in Inst) bool {
	switch in.Op {
	case Label:
		c.visited[in.Label] = true
	case Fetch:
		c.fetched = append(c.fetched, c.at(in.Mem))
	case Jump:
		return true
	case JumpIf:
		return holds(in.Cond, c.address[in.X], c.address[in.Y])
	case Unless:
		x := binary.LittleEndian.Uint32(c.memory[c.at(in.Mem):])
		if in.Cond == Greater {
			return int32(x) <= int32(in.Imm)
		}
		return x != uint32(in.Imm)
	case Constant, Spread, Helper, Zero, First, Only, Load, Store, Compute, Widen, AddWide, AddTimes, Fold:
		c.lanes(in)
	default:
		c.count(in)
		return in.Op == SubIf && holds(in.Cond, c.address[in.Dst], 0)
	}
	return false
}

func holds(c Cond, x, y int64) bool {
	return [...]bool{Equal: x == y, Less: x < y, LessEqual: x <= y, GreaterEqual: x >= y, Greater: x > y}[c]
}

// count runs what is done to addresses.
func (c *computer) count(in Inst) {
	x := in.Imm
	if in.X.Kind != None {
		x = c.address[in.X]
	}
	to := c.address[in.Dst]
	switch in.Op {
	case Param:
		to = c.params[in.Label][0]
		if in.Piece == Len {
			to = c.params[in.Label][1]
		}
	case Number, Copy:
		to = x
	case Word:
		to = int64(binary.LittleEndian.Uint64(c.memory[c.at(in.Mem):]))
	case Locate:
		to = c.at(in.Mem)
	case Add:
		to += x
	case And:
		to &= x
	case Sub, SubIf:
		to -= x
	case Times:
		to *= x
	default:
		panic(fmt.Sprintf("op %d", in.Op))
	}
	c.address[in.Dst] = to
}

// all is a vector of the same bits in every lane.
func (c *computer) all(bits uint32) []byte {
	var v []byte
	for range c.m.Lanes {
		v = binary.LittleEndian.AppendUint32(v, bits)
	}
	return v
}

// lanes runs what is done to vectors.
func (c *computer) lanes(in Inst) {
	var to []byte
	x, y := c.vectors[in.X], c.vectors[in.Y]
	switch in.Op {
	case Constant, Helper:
		to = c.all(uint32(in.Imm))
	case Spread:
		to = c.all(binary.LittleEndian.Uint32(c.memory[c.at(in.Mem):]))
	case Zero:
		to = c.all(0)
	case First:
		c.address[in.Dst] = c.address[in.X]
		return
	case Only:
		to = append([]byte(nil), y...)
		if in.X.Kind == None {
			clear(to[4:])
		} else {
			clear(to[4*c.address[in.X]:])
		}
	case Load, Store:
		c.move(in)
		return
	case Compute:
		to = c.compute(in)
	case Widen:
		for lane := range c.m.Lanes / 2 {
			to = binary.LittleEndian.AppendUint64(to, math.Float64bits(float64(float(x, lane+int(in.Imm)*c.m.Lanes/2))))
		}
	case AddWide, AddTimes:
		for lane := range c.m.Lanes / 2 {
			part := double(x, lane)
			if in.Op == AddTimes {
				part *= double(y, lane)
			}
			to = binary.LittleEndian.AppendUint64(to, math.Float64bits(double(c.vectors[in.Dst], lane)+part))
		}
	case Fold:
		c.fold(in)
		return
	}
	c.vectors[in.Dst] = to
}

func float(v []byte, lane int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(v[4*lane:]))
}

func double(v []byte, lane int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(v[8*lane:]))
}

// move loads or stores vectors or a part of one.
func (c *computer) move(in Inst) {
	size, at := in.Type.Bytes(), c.at(in.Mem)
	n := c.m.Lanes * size
	switch {
	case in.X.Kind != None:
		n = int(c.address[in.X]) * size
	case in.Bytes > 0:
		n = in.Bytes
	}
	regs := [...]Reg{in.Dst, in.Dst2}
	if in.Op == Store {
		regs = [...]Reg{in.Y, in.Z}
	}
	for k, r := range regs {
		if r.Kind != None {
			c.moveOne(in.Op, r, c.memory[at+int64(n*k):][:n], in.Type)
		}
	}
	c.address[in.Mem.Base] += int64(in.Step)
}

// moveOne moves some elements.
func (c *computer) moveOne(op Op, r Reg, memory []byte, t rule.Type) {
	if op == Load {
		c.vectors[r] = c.all(0)
	}
	for k := 0; k < len(memory)/t.Bytes(); k++ {
		element, lane := memory[k*t.Bytes():], c.vectors[r][4*k:]
		if op == Load {
			binary.LittleEndian.PutUint32(lane, load(element, t))
		} else {
			store(element, binary.LittleEndian.Uint32(lane), t)
		}
	}
}

// compute has an operation done by a rule of that operation alone.
func (c *computer) compute(in Inst) []byte {
	var operands [3][]float32
	for k, r := range []Reg{in.X, in.Y, in.Z} {
		operands[k] = make([]float32, c.m.Lanes)
		if v := c.vectors[r]; r.Kind != None {
			for lane := range operands[k] {
				operands[k][lane] = float(v, lane)
			}
		}
	}
	to := make([]byte, 0, 4*c.m.Lanes)
	for _, x := range results(in.Node, operands) {
		to = binary.LittleEndian.AppendUint32(to, math.Float32bits(x))
	}
	return to
}

// results are those of an operation; a mask is all bits or none.
func results(n rule.Node, operands [3][]float32) []float32 {
	n.X, n.Y, n.Z = 0, 1, 2
	if operations[n] == nil {
		operations[n] = operation(n)
	}
	to := make([]float32, len(operands[0]))
	operations[n].Eval(rule.Args{Buffers: append([][]float32{to}, operands[:]...)})
	return to
}

// operations are the rules of one operation each.
var operations = map[rule.Node]*rule.Rule{}

func operation(n rule.Node) *rule.Rule {
	r := &rule.Rule{Buffers: []rule.Buffer{{Name: "to"}, {Name: "x"}, {Name: "y"}, {Name: "z"}}}
	load := func(buffer int) rule.Node { return rule.Node{Op: rule.Load, X: buffer} }
	none, ones := rule.Node{Op: rule.Const}, rule.Node{Op: rule.Const, Imm: math.MaxUint32}
	r.Nodes = []rule.Node{load(1), load(2), load(3), none, ones, n}
	switch {
	case n.Op.IsMask():
		r.Nodes = append(r.Nodes, rule.Node{Op: rule.Select, X: 5, Y: 4, Z: 3})
	case n.Op == rule.Select: // its mask is a number that is 0 or not: NaN
		r.Nodes[5] = rule.Node{Op: rule.Equal, X: 0, Y: 3}
		r.Nodes = append(r.Nodes, rule.Node{Op: rule.Select, X: 5, Y: 2, Z: 1})
	}
	r.Effects = []rule.Effect{{X: len(r.Nodes) - 1}}
	return r
}

// fold adds the lanes of a row.
func (c *computer) fold(in Inst) {
	var lanes [rule.Lanes]float32
	for j := range c.m.Lanes {
		if in.Y.Kind != None {
			lanes[j] = float(c.vectors[in.Y], j)
		}
	}
	for j := 0; j < rule.Lanes && in.Y.Kind == None; j++ {
		lanes[j] = float(c.memory[c.at(in.Lanes):], j)
	}
	for half := rule.Lanes / 2; half > 0; half /= 2 {
		for j := range half {
			x, y := lanes[j], lanes[j+half]
			if lanes[j] = x + y; in.Node.Op == rule.Max {
				lanes[j] = max(x, y)
			}
		}
	}
	binary.LittleEndian.PutUint32(c.memory[c.at(in.Mem):], math.Float32bits(lanes[0]))
}
