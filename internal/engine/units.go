package engine

import (
	"slices"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A unit is work for one goroutine: a range of one tensor, or some of a group's
// small tensors.
type unit struct {
	group  int
	tensor int // -1 for small tensors
	lo, hi int // elements of the tensor, or the places of tensors among the small
	list   *kernels.List
	listed bool // list has the tensors' buffers
	alike  bool // its small tensors take this step together, all with one count
	*flushed
}

// unitsOf cuts the tensors into units.
func unitsOf(tensors []tensor, groups []group) []unit {
	var units []unit
	for k := range tensors {
		t := &tensors[k]
		if t.listed >= 0 {
			continue
		}
		t.units[0] = len(units)
		length := groups[t.Rule].unitLen(t)
		for lo := 0; lo < t.Size; lo += length {
			hi := min(lo+length, t.Size)
			units = append(units, unit{group: t.Rule, tensor: k, lo: lo, hi: hi})
		}
		t.units[1] = len(units)
	}
	for g := range groups {
		u, size := unit{group: g, tensor: -1}, 0
		for at, k := range groups[g].shared {
			u.hi = at + 1
			size += tensors[k].Size
			if size >= tune.UnitLen || at == len(groups[g].shared)-1 {
				u.list = new(kernels.List)
				units = append(units, u)
				u, size = unit{group: g, tensor: -1, lo: u.hi, hi: u.hi}, 0
			}
		}
	}
	return units
}

// unitLen is the number of elements of a tensor's units: of whole rows if a pass is by
// rows, and then of so many that sums by column are small beside the tensor.
func (g *group) unitLen(t *tensor) int {
	if !slices.ContainsFunc(g.passes, func(p pass) bool { return p.walk == rows }) {
		if g.clipping.byRows(t) {
			return rowsOf(tune.UnitLen, t.columns())
		}
		return tune.UnitLen
	}
	columns := max(1, t.columns())
	n := max(tune.UnitLen/columns, tune.UnitRows, (t.rows()+tune.RowUnits-1)/tune.RowUnits)
	return n * columns
}
