package main

import "github.com/lockstep-go/lockstep/bench/data"

// A dataset is a matrix, row-major, with a target for each row.
type dataset struct {
	rows, columns int
	x, y          []float32
}

// load is a data set whose columns are standardised.
func load(name string) dataset {
	d := data.Load(name)
	return dataset{d.Rows, d.Columns, d.X, d.Y}
}

// plusMinus has targets -1 and 1 for 0 and 1.
func (d dataset) plusMinus() dataset {
	y := make([]float32, len(d.y))
	for i, v := range d.y {
		y[i] = 2*v - 1
	}
	d.y = y
	return d
}
