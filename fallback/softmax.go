package fallback

import "math"

// The kernels of losses of rows take pieces of rows as a matrix, row-major with len(w)
// columns. Of RowMax and RowExp w is no more than that length; what x has of RowExp may be
// the buffer of e itself.

// RowMax stores the largest element of each row, or the least finite number if none is
// above it. NaN counts as nothing.
func RowMax(most, x, w []float32) {
	for k := range most {
		row := x[k*len(w):][:len(w)]
		var lanes [Lanes]float32
		for j := range lanes {
			lanes[j] = -math.MaxFloat32
		}
		for i := range w {
			if row[i] > lanes[i%Lanes] {
				lanes[i%Lanes] = row[i]
			}
		}
		for half := Lanes / 2; half > 0; half /= 2 {
			for j := range half {
				if !(lanes[j] > lanes[j+half]) {
					lanes[j] = lanes[j+half]
				}
			}
		}
		most[k] = lanes[0]
	}
}

// RowExp stores e^(x - most), of numbers none of which is above their row's most, and adds
// each row as Dots does.
func RowExp(e, x, most, sum, w []float32) {
	for k := range sum {
		from, to := x[k*len(w):][:len(w)], e[k*len(w):][:len(w)]
		var lanes [Lanes]float32
		for i := range w {
			to[i] = fading(from[i] - most[k])
			lanes[i%Lanes] += to[i]
		}
		sum[k] = total(&lanes)
	}
}

// fading is e^x for x ≤ 0, at most 0.8904 ulp off, and 0 where it would be subnormal: the
// exponent of 2⁻¹²⁷ is that of 0.
func fading(x float32) float32 {
	shifted, high, k := quotient(atLeast(-88, x), 127)
	y := 1 + (high + fma(-k, ln2Low, series(fma(-k, ln2Low, high))))
	return y * power(shifted)
}

// RowScale makes the gradient of a row's exponentials, each less its column's part.
func RowScale(g, a, b, w []float32) {
	for k := range a {
		row := g[k*len(w):][:len(w)]
		for i := range w {
			row[i] = float32(row[i]*a[k]) - float32(w[i]*b[k])
		}
	}
}

// RowTargetsScalars are the numbers of RowTargets.
type RowTargetsScalars struct {
	Keep   float32 // the targets' factor; 0 leaves them out
	Spread float32 // what is added to each
}

// RowTargets adds the weights u = w·(y·keep + spread) of each row and what they cost below
// the row's most, u·(most - x), as Dots does. What has no weight costs nothing.
func RowTargets(weight, cost, x, y, most, w []float32, c *RowTargetsScalars) {
	for k := range weight {
		logits, targets := x[k*len(w):][:len(w)], y[k*len(w):][:len(w)]
		var weights, costs [Lanes]float32
		for i := range w {
			u := float32(w[i] * (weighted(c.Keep, targets[i]) + c.Spread))
			weights[i%Lanes] += u
			costs[i%Lanes] += weighted(u, most[k]-logits[i])
		}
		weight[k], cost[k] = total(&weights), total(&costs)
	}
}

// RowTargetsScale is RowScale for a loss whose columns' parts follow from targets.
func RowTargetsScale(g, y, a, b, d, w []float32) {
	for k := range a {
		row, targets := g[k*len(w):][:len(w)], y[k*len(w):][:len(w)]
		for i := range w {
			row[i] = float32(row[i]*a[k]) - float32(w[i]*(float32(targets[i]*b[k])+d[k]))
		}
	}
}
