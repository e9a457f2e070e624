package kernels

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// tensorsOf makes tensors of two buffers each, whose elements count from 0 over all of
// them.
func tensorsOf(lengths []int) (list [][]float32) {
	at := 0
	for _, n := range lengths {
		b := make([]float32, 2*n)
		for i := range n {
			b[i], b[n+i] = float32(at), float32(-at)
			at++
		}
		list = append(list, b[:n], b[n:])
	}
	return list
}

// TestCalls looks at what lists are cut into: calls of at most MaxLen elements, of which
// none had room for the first tensor of the next, and which together are every element
// once and in order.
func TestCalls(t *testing.T) {
	for _, lengths := range [][]int{
		{}, {0}, {0, 0, 5}, {MaxLen}, {MaxLen - 1, 1}, {MaxLen, 1}, {1, MaxLen}, {MaxLen - 1, 2, MaxLen - 2, 1, 1},
		{MaxLen + 1}, {2 * MaxLen}, {2*MaxLen + 77, 3}, {7, 3*MaxLen + 5, MaxLen - 5}, {MaxLen / 2, MaxLen / 2, MaxLen / 2, MaxLen/2 + 1},
	} {
		list := tensorsOf(lengths)
		wantCalls(t, fmt.Sprint("list of ", lengths), NewList(2, list), list)
		if len(lengths) == 1 {
			var one List
			one.Set(list...)
			wantCalls(t, fmt.Sprint("one of ", lengths), &one, list)
		}
	}
}

func wantCalls(t *testing.T, what string, l *List, list [][]float32) {
	t.Helper()
	var got, want [2][]float32
	for k, b := range list {
		want[k%2] = append(want[k%2], b...)
	}
	room := 0 // of the call before
	for k, part := range l.of(2) {
		if k > 0 && max(len(part[0]), tune.TensorLen) <= room {
			t.Errorf("%s: call %d begins with %d elements, for which the one before had room", what, k, len(part[0]))
		}
		room = MaxLen
		for j, b := range part {
			got[j%2] = append(got[j%2], b...)
			room -= max(len(b), tune.TensorLen) * (1 - j%2)
		}
		if room < 0 {
			t.Errorf("%s: call %d has %d elements too many", what, k, -room)
		}
	}
	if !slices.Equal(got[0], want[0]) || !slices.Equal(got[1], want[1]) {
		t.Errorf("%s: the calls are not of the list's elements", what)
	}
}

// TestRowsPerCall is how many rows a call takes of a matrix: as many as MaxLen elements
// are, at least one, and one where rows side by side are slow.
func TestRowsPerCall(t *testing.T) {
	for _, c := range []struct{ elements, columns, want int }{
		{100, 10, MaxLen / 10}, {1 << 20, MaxLen/2 + 1, 1}, {1 << 20, MaxLen, 1}, {0, 0, MaxLen}, {5, 1, MaxLen},
		{4 << 20, 127, MaxLen / 127}, {4 << 20, 128, 1}, {4 << 20, 1023, 1}, {4 << 20, 1024, 64}, {4<<20 - 1, 128, 512},
	} {
		if got := rowsPerCall(c.elements, c.columns); got != c.want {
			t.Errorf("a matrix of %d elements and %d columns: %d rows a call, want %d", c.elements, c.columns, got, c.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Errorf("a row of %d elements is taken", MaxLen+1)
		}
	}()
	rowsPerCall(MaxLen+1, MaxLen+1)
}

// TestRefusesLists makes and uses lists that are not whole, or a kernel's.
func TestRefusesLists(t *testing.T) {
	two := tensorsOf([]int{3, 3})
	for name, call := range map[string]func(){
		"a buffer that lies behind the list": func() { NewList(2, two[:3]) },
		"one tensor of no buffers":           func() { new(List).Set() },
		"a buffer more than the kernel's":    func() { NewList(2, two).of(1) },
		"a buffer less":                      func() { NewList(2, two).of(4) },
		"a buffer that is one short":         func() { new(List).Set(two[0], two[1][:2]) },
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

// TestPick takes the best table if none is asked for, and the one that is.
func TestPick(t *testing.T) {
	available := Available()
	if best, err := begin(""); err != nil || best != available[0] {
		t.Errorf("of %v the best is %v (%v)", available, best, err)
	}
	for _, table := range available {
		if got, err := begin(table.ISA()); err != nil || got != table {
			t.Errorf("asked for %v, %v is taken (%v)", table, got, err)
		}
	}
	if _, err := begin("sse9"); err == nil || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("asked for a table that is none: %v", err)
	}
	if environment.isa == "" && Active() != available[0] {
		t.Errorf("%v is in use, and %v the best", Active(), available[0])
	}
}
