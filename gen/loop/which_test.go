package loop

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rules"
)

// TestWhichLoop has scalars at their usual values, all of them or all but one, and looks at
// the loop that is taken: the usual one, the general one, and of this its main part only
// where no scalar but the gradient's factor is another.
func TestWhichLoop(t *testing.T) {
	r, m := rules.Adam, machines["of 16"]
	plan := m.plans(r)[0]
	plan.resident = 99
	p := lower(roundStores(r), m, m.choice(r, 0, plan))
	slots := map[string]int{}
	for k, name := range r.Scalars {
		slots[name] = k
	}
	nan, negative0 := float32(math.NaN()), float32(math.Copysign(0, -1))
	for _, c := range []struct {
		scalar      string
		x           float32
		usual, main bool
	}{
		{"scale", 1, true, false}, {"l2", 0, true, false}, {"weight1", .1, true, false}, {"weight1", 0x1p-149, true, false},
		{"weight1", float32(math.Inf(1)), true, false}, {"eps", 7, true, false},
		{"scale", 2, false, true}, {"scale", -1, false, true}, {"scale", nan, false, true},
		{"l2", .1, false, false}, {"l2", negative0, false, false}, {"weight1", 0, false, false}, {"weight1", negative0, false, false},
		{"weight1", -.1, false, false}, {"weight1", float32(math.Inf(-1)), false, false},
	} {
		slot, ok := slots[c.scalar]
		if !ok {
			t.Fatalf("%s is none of %v", c.scalar, r.Scalars)
		}
		x := newRun(r, m, 2, rand.New(rand.NewPCG(1, 4))) // with the usual scalars, of some tensors
		at := x.params["c"][0]
		binary.LittleEndian.PutUint32(x.memory[at+4*int64(slot):], math.Float32bits(c.x))
		x.run(p)
		if got := x.visited["usualentry"]; got != c.usual || x.visited["entry"] == c.usual {
			t.Errorf("%s of %g: the usual loop is taken: %v, want %v", c.scalar, c.x, got, c.usual)
		}
		if got := x.visited["main"]; got != c.main {
			t.Errorf("%s of %g: the main part of the general loop is taken: %v, want %v", c.scalar, c.x, got, c.main)
		}
	}
}
