package main

import (
	"bytes"
	"embed"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
)

//go:embed data/diabetes.csv data/breast_cancer.csv
var files embed.FS

// A dataset is a matrix, row-major, with a target for each row.
type dataset struct {
	rows, columns int
	x, y          []float32
}

// load reads a data set and standardises its columns: mean 0, variance 1. A
// fault in it is one of this program.
func load(name string) dataset {
	raw, err := files.ReadFile("data/" + name + ".csv")
	if err != nil {
		panic(err)
	}
	records, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	records = records[1:]
	d := dataset{rows: len(records), columns: len(records[0]) - 1}
	d.x, d.y = make([]float32, d.rows*d.columns), make([]float32, d.rows)
	column := make([]float64, d.rows)
	for j := range d.columns + 1 {
		for i, r := range records {
			if column[i], err = strconv.ParseFloat(r[j], 64); err != nil {
				panic(fmt.Sprintf("%s: row %d: %v", name, i+1, err))
			}
		}
		if j == d.columns {
			for i, v := range column {
				d.y[i] = float32(v)
			}
			continue
		}
		mean, deviation := moments(column)
		for i, v := range column {
			d.x[i*d.columns+j] = float32((v - mean) / deviation)
		}
	}
	return d
}

// moments are the mean and the standard deviation.
func moments(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)))
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
