package arm64

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A laneRun runs the loops of a kernel for one element, in one lane of the registers, as
// Arm's manual defines the instructions. It needs no emulator, and knows no address: a
// loop's loads and stores are told apart by their pointers alone.
type laneRun struct {
	*testing.T
	registers [32]uint32
	constants map[string]uint32 // by place
	base      string            // the register with their address
	buffers   map[string]*uint32
	sum       uint32 // the lane of the reduction
}

var (
	constantData = regexp.MustCompile(`(?m)^DATA \w+<>\+(\d+)\(SB\)/8, \$0x([0-9a-f]{8})`)
	constantBase = regexp.MustCompile(`(?m)^\tMOVD \$\w+<>\(SB\), (R\d+)$`)
	constantLoad = regexp.MustCompile(`^FMOVQ (\d+)\((R\d+)\), F(\d+)$`)
	pointerLoad  = regexp.MustCompile(`(?m)^\tMOVD (\d+)\(R\d+\), (R\d+)$`)
	element      = regexp.MustCompile(`^F(?:MOVS|MOVQ|LDPQ)(?:\.P)? -?\d+\((R\d+)\), \(?F(\d+)(?:, F(\d+)\))?$`)
	result       = regexp.MustCompile(`^F(?:MOVS|MOVQ|STPQ)(?:\.P)? \(?F(\d+)(?:, F(\d+)\))?, -?\d+\((R\d+)\)$`)
	laneMacro    = regexp.MustCompile(`^V(\w+)\((?:v?(\d+), )??v(\d+), v(\d+)\)$`)
	counting     = regexp.MustCompile(`^(SUBS|ADD|AND|BGE) `)
)

// newLane has the constants of a kernel, those that stay in registers too, and the
// buffers by their pointers. Without a pointer of their own are the lanes of a reduction.
func newLane(t *testing.T, text string, buffers []uint32) *laneRun {
	l := &laneRun{T: t, constants: map[string]uint32{}, buffers: map[string]*uint32{}}
	for _, m := range constantData.FindAllStringSubmatch(text, -1) {
		x, _ := strconv.ParseUint(m[2], 16, 32)
		l.constants[m[1]] = uint32(x)
	}
	if m := constantBase.FindStringSubmatch(text); m != nil {
		l.base = m[1]
	}
	before, loops, _ := strings.Cut(text, "\nnear:\n")
	for line := range strings.Lines(before) {
		l.constant(strings.TrimSpace(line))
	}
	for _, m := range pointerLoad.FindAllStringSubmatch(loops, -1) {
		if at, _ := strconv.Atoi(m[1]); at%24 == 0 {
			l.buffers[m[2]] = &buffers[at/24]
		}
	}
	return l
}

// constant reports whether a line loads one.
func (l *laneRun) constant(line string) bool {
	m := constantLoad.FindStringSubmatch(line)
	if m == nil || m[2] != l.base {
		return false
	}
	l.registers[number32(m[3])] = l.constants[m[1]]
	return true
}

func number32(s string) uint32 {
	x, _ := strconv.ParseUint(s, 10, 32)
	return uint32(x)
}

// place is what a pointer points to.
func (l *laneRun) place(pointer string) *uint32 {
	if p, ok := l.buffers[pointer]; ok {
		return p
	}
	return &l.sum
}

// run runs an iteration of a loop.
func (l *laneRun) run(code string) {
	for line := range strings.Lines(code) {
		line = strings.TrimSpace(line)
		if l.constant(line) || line == "" || counting.MatchString(line) {
			continue
		}
		if m := element.FindStringSubmatch(line); m != nil {
			l.registers[number32(m[2])] = *l.place(m[1])
			if m[3] != "" {
				l.registers[number32(m[3])] = *l.place(m[1])
			}
		} else if m := result.FindStringSubmatch(line); m != nil {
			x := l.registers[number32(m[1])]
			if m[2] != "" && l.registers[number32(m[2])] != x {
				l.Errorf("%s: the vectors differ", line)
			}
			*l.place(m[3]) = x
		} else if m := laneMacro.FindStringSubmatch(line); m != nil {
			l.macro(strings.ToLower(m[1]), number32(m[4]), number32(m[3]), number32(m[2]))
		} else {
			l.Fatalf("%q is no instruction of a loop", line)
		}
	}
}

// macro carries out an instruction; m is a register or a shift.
func (l *laneRun) macro(name string, d, n, m uint32) {
	to, x, y := &l.registers[d], l.registers[n], l.registers[m%32]
	a, b := math.Float32frombits(x), math.Float32frombits(y)
	all := func(yes bool) uint32 {
		if yes {
			return math.MaxUint32
		}
		return 0
	}
	switch name {
	case "fadd":
		*to = math.Float32bits(a + b)
	case "fsub":
		*to = math.Float32bits(a - b)
	case "fmul":
		*to = math.Float32bits(a * b)
	case "fmla":
		*to = math.Float32bits(float32(math.FMA(float64(a), float64(b), float64(math.Float32frombits(*to)))))
	case "fmls":
		*to = math.Float32bits(float32(math.FMA(-float64(a), float64(b), float64(math.Float32frombits(*to)))))
	case "fdiv":
		*to = math.Float32bits(a / b)
	case "fsqrt":
		*to = math.Float32bits(float32(math.Sqrt(float64(a))))
	case "fabs":
		*to = x &^ (1 << 31)
	case "fneg":
		*to = x ^ 1<<31
	case "scvtf":
		*to = math.Float32bits(float32(int32(x)))
	case "fcmgt":
		*to = all(a > b)
	case "fcmge":
		*to = all(a >= b)
	case "fcmeq":
		*to = all(a == b)
	case "cmtst":
		*to = all(x&y != 0)
	case "bsl":
		*to = *to&x | ^*to&y
	case "bit":
		*to = *to&^y | x&y
	case "bif":
		*to = *to&y | x&^y
	case "and":
		*to = x & y
	case "orr":
		*to = x | y
	case "eor":
		*to = x ^ y
	case "add":
		*to = x + y
	case "sub":
		*to = x - y
	case "mul":
		*to = x * y
	case "shl":
		*to = x << m
	case "ushr":
		*to = x >> m
	case "sshr":
		*to = uint32(int32(x) >> m)
	default:
		l.Fatalf("no meaning for %s", name)
	}
}

// operations are all that Value has, of three values.
var operations = []func(r *rule.Rule, x, y, z rule.Value) rule.Value{
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Add(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Sub(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Mul(y) },
	func(_ *rule.Rule, x, y, z rule.Value) rule.Value { return x.FMA(y, z) },
	func(_ *rule.Rule, x, y, z rule.Value) rule.Value { return z.FNMA(x, y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.FMA(y, x) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Div(y) },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.Sqrt() },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Max(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Min(y) },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.Abs() },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.Neg() },
	func(_ *rule.Rule, x, y, z rule.Value) rule.Value { return x.Less(y).Select(z, y) },
	func(_ *rule.Rule, x, y, z rule.Value) rule.Value { return x.LessEqual(y).Select(x, z) },
	func(_ *rule.Rule, x, y, z rule.Value) rule.Value { return x.Equal(y).Select(z, x) },
	func(r *rule.Rule, x, y, z rule.Value) rule.Value { return x.Less(y).Select(r.Const(1), r.Const(0)) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.And(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Or(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Xor(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.AddInt(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.SubInt(y) },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.MulInt(y) },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.ShiftLeft(3) },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.ShiftRight(5) },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.ShiftArith(7) },
	func(_ *rule.Rule, x, _, _ rule.Value) rule.Value { return x.FromInt() },
	func(_ *rule.Rule, x, y, _ rule.Value) rule.Value { return x.Flush(y) },
}

// awkward are values in which instruction sets differ.
var awkward = []uint32{0, 1 << 31, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x80000001, 0x7f7fffff, 0x4b800001, 0x70000000}

// TestLanes runs each operation alone, and rules that are made of some at random, so that
// operands live on or not and lie in any order, and compares with what the rules mean.
func TestLanes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for k, op := range operations {
		wantLanes(t, fmt.Sprint("operation ", k), rng, func(r *rule.Rule, x, y, z rule.Value) rule.Value { return op(r, x, y, z) })
	}
	for k := range 60 {
		wantLanes(t, fmt.Sprint("rule ", k), rng, func(r *rule.Rule, x, y, z rule.Value) rule.Value {
			values := []rule.Value{r.Const(1), r.Bits(0x70000000), x, y, z}
			pick := func(from int) rule.Value { return values[from+rng.IntN(len(values)-from)] }
			for range 2 + rng.IntN(10) { // the first operand is none of the constants
				values = append(values, operations[rng.IntN(len(operations))](r, pick(2), pick(0), pick(0)))
			}
			return values[len(values)-1]
		})
	}
}

// printed is the text of a rule's kernel.
func printed(r *rule.Rule) string { return string(Print([]*rule.Rule{r}, []*Kernel{Compile(r)})) }

func wantLanes(t *testing.T, what string, rng *rand.Rand, build func(r *rule.Rule, x, y, z rule.Value) rule.Value) {
	t.Helper()
	r := new(rule.Set).Define("Hand", "", func(r *rule.Rule) {
		x, y, z, to := r.Buffer("x"), r.Buffer("y"), r.Buffer("z"), r.Buffer("to")
		to.Set(build(r, x, y, z))
	})
	text := printed(r)
	for range 40 {
		in := make([]uint32, 4)
		for k := range in {
			if in[k] = awkward[rng.IntN(len(awkward))]; rng.IntN(4) == 0 {
				in[k] = rng.Uint32()
			}
		}
		want := evaluated(r, in, nil)
		for _, label := range labels(t, text) {
			buffers := append([]uint32(nil), in...)
			l := newLane(t, text, buffers)
			if l.run(iteration(text, label)); buffers[3] != want && !(isNaN(buffers[3]) && isNaN(want)) {
				t.Fatalf("%s, %s: %#x become %#x, want %#x\n%s", what, label, in, buffers[3], want, text)
			}
		}
	}
}

var loopLabel = regexp.MustCompile(`(?m)^(main|loop|single):$`)

// labels are those of a kernel's loops, of which there is more than one.
func labels(t *testing.T, text string) (list []string) {
	for _, m := range loopLabel.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	if len(list) < 2 {
		t.Fatalf("the loops are %v", list)
	}
	return list
}

// iteration is the code of a loop.
func iteration(text, label string) string {
	_, code, _ := strings.Cut(text, "\n"+label+":\n")
	code, _, _ = strings.Cut(code, "\tBGE ")
	return code
}

// evaluated runs the rule for one element and returns what it leaves in the last buffer.
func evaluated(r *rule.Rule, in []uint32, most *[rule.Lanes]float32) uint32 {
	a := rule.Args{Maxima: map[int]*[rule.Lanes]float32{0: most}}
	for _, x := range in {
		a.Buffers = append(a.Buffers, []float32{math.Float32frombits(x)})
	}
	r.Eval(a)
	return math.Float32bits(a.Buffers[len(in)-1][0])
}

func isNaN(x uint32) bool { return x&^(1<<31) > 0x7f800000 }

// TestMaxAbsLanes runs the reduction that keeps the largest magnitude.
func TestMaxAbsLanes(t *testing.T) {
	r := new(rule.Set).Define("Most", "", func(r *rule.Rule) { r.MaxAbs("most", r.Buffer("x")) })
	text := printed(r)
	for _, before := range awkward {
		if isNaN(before) || before>>31 > 0 { // no lane becomes that
			continue
		}
		for _, x := range awkward {
			want := [rule.Lanes]float32{math.Float32frombits(before)}
			evaluated(r, []uint32{x}, &want)
			for _, label := range []string{"loop", "single"} { // the main loop has the lanes in registers
				l := newLane(t, text, []uint32{x})
				l.sum = before
				if l.run(iteration(text, label)); l.sum != math.Float32bits(want[0]) {
					t.Errorf("%s: %#x and %#x leave %#x, want %g", label, before, x, l.sum, want[0])
				}
			}
		}
	}
}
