package fallback

// Dots multiplies a matrix, row-major with len(w) columns, by a vector:
// z = x·w. A row is summed in 32 lanes, and these in the order of Total.
func Dots(z, x, w []float32) {
	for i := range z {
		row := x[i*len(w):][:len(w)]
		var lanes [Lanes]float32
		for j := range w {
			lanes[j%Lanes] += float32(row[j] * w[j])
		}
		z[i] = total(&lanes)
	}
}

// total is Total of the lanes of a row.
func total(lanes *[Lanes]float32) float32 {
	for half := Lanes / 2; half > 0; half /= 2 {
		for j := range half {
			lanes[j] += lanes[j+half]
		}
	}
	return lanes[0]
}

// RankOne adds the rows of a matrix, row-major with len(g) columns, each times
// its number: g += xᵀ·z, one row after the other.
func RankOne(g, x, z []float32) {
	for i := range z {
		row := x[i*len(g):][:len(g)]
		for j := range g {
			g[j] += float32(row[j] * z[i])
		}
	}
}
