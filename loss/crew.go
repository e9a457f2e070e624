package loss

import (
	"sync"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A crew is the workers of a call, each of which has a room for as long as the call.
type crew[R interface {
	comparable
	free()
}] struct {
	pool  *workers.Pool
	rooms []R // of each worker, nil where it has none yet
}

func newPool() *workers.Pool { return workers.New(tune.ParallelLen, tune.ApartLen) }

// begin has a number of workers, at least one. There is a place for the room of any that may
// come late from an earlier call.
func (c *crew[R]) begin(workers int) {
	workers = max(1, workers)
	c.pool.SetLimit(workers)
	for len(c.rooms) < workers {
		var none R
		c.rooms = append(c.rooms, none)
	}
}

// end gives the rooms back.
func (c *crew[R]) end() {
	var none R
	for k, r := range c.rooms {
		if r != none {
			r.free()
			c.rooms[k] = none
		}
	}
}

// A rowCrew has rows, of which a worker takes a unit at a time.
type rowCrew struct {
	crew[*rowRoom]
	g       grid
	k       kernels.Table
	rows    int
	columns int
	unit    int // rows of one
}

func newRowCrew() rowCrew { return rowCrew{crew: crew[*rowRoom]{pool: newPool()}} }

// begin has so many rows, and at most a number of workers. It returns how many units there are.
func (c *rowCrew) begin(rows, columns, workers int) (units int) {
	c.g, c.k, c.rows, c.columns, c.unit = newGrid(columns), kernels.Active(), rows, columns, rowUnit(rows, columns)
	units = (rows + c.unit - 1) / c.unit
	c.crew.begin(min(workers, units))
	return units
}

// rowUnit is how many rows a worker takes at a time.
func rowUnit(rows, columns int) int {
	return max(1, tune.RowUnit/columns, (rows+tune.RowParts-1)/tune.RowParts)
}

// endOf is the row behind the last one of a unit.
func (c *rowCrew) endOf(unit int) int { return min((unit+1)*c.unit, c.rows) }

var rowRooms sync.Pool

// room is a worker's, an earlier one if it is large enough, and whether it is new to the call.
func (c *rowCrew) room(worker int) (r *rowRoom, fresh bool) {
	if r = c.rooms[worker]; r != nil {
		return r, false
	}
	if r, _ = rowRooms.Get().(*rowRoom); r == nil || len(r.most) < c.g.cells() {
		r = makeRoom(max(tune.RowGroup, c.g.cells()), tune.RowGroup, tune.RowBlock)
	}
	c.rooms[worker] = r
	return r, true
}

// free keeps nothing alive that is the caller's.
func (r *rowRoom) free() {
	r.forget()
	rowRooms.Put(r)
}
