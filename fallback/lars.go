package fallback

// TensorNormsScalars are the numbers of TensorNorms, of which Scale and L2 count.
type TensorNormsScalars struct{ Common }

// TensorNorms adds up the squares of the parameters and of the gradient, whose norms are
// the layer's trust ratio in LARS (You, Gitman, Ginsburg 2017).
//
//	params += p², grads += x²
func TensorNorms(p, g []float32, c *TensorNormsScalars, params, grads *[Lanes]float64) {
	for i := range p {
		x := c.wholeGradient(g[i], p[i])
		params[i%Lanes] += float64(p[i]) * float64(p[i])
		grads[i%Lanes] += float64(x) * float64(x)
	}
}

// GradNormScalars are the numbers of GradNorm, of which Scale and L2 count.
type GradNormScalars struct{ Common }

// GradNorm adds up the squares of the gradient: NovoGrad's second moment (Ginsburg et al.
// 2019) is of these.
//
//	grads += x²
func GradNorm(p, g []float32, c *GradNormScalars, grads *[Lanes]float64) {
	for i := range p {
		x := c.wholeGradient(g[i], p[i])
		grads[i%Lanes] += float64(x) * float64(x)
	}
}
