// Package data holds the real data sets: see the README beside it.
package data

import (
	"bytes"
	"embed"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
)

//go:embed diabetes.csv breast_cancer.csv digits.csv
var files embed.FS

// A Set is a matrix, row-major, with a target for each row.
type Set struct {
	Rows, Columns int
	X, Y          []float32
}

// Load reads a data set by its name and standardises its columns: mean 0, variance 1, but
// for a column of one value, which becomes 0. The bits are the same on every machine. A fault
// in it is one of this program.
func Load(name string) Set {
	raw, err := files.ReadFile(name + ".csv")
	if err != nil {
		panic(err)
	}
	records, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	records = records[1:]
	d := Set{Rows: len(records), Columns: len(records[0]) - 1}
	d.X, d.Y = make([]float32, d.Rows*d.Columns), make([]float32, d.Rows)
	column := make([]float64, d.Rows)
	for j := range d.Columns + 1 {
		for i, r := range records {
			if column[i], err = strconv.ParseFloat(r[j], 64); err != nil {
				panic(fmt.Sprintf("%s: row %d: %v", name, i+1, err))
			}
		}
		if j == d.Columns {
			for i, v := range column {
				d.Y[i] = float32(v)
			}
			continue
		}
		mean, deviation := Moments(column)
		if deviation == 0 {
			deviation = 1
		}
		for i, v := range column {
			d.X[i*d.Columns+j] = float32((v - mean) / deviation)
		}
	}
	return d
}

// Moments are the mean and the standard deviation. Nothing is fused.
func Moments(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		deviation += float64((v - mean) * (v - mean))
	}
	return mean, math.Sqrt(deviation / float64(len(x)))
}
