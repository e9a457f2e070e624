package fallback

// MuonScalars are the numbers of Muon.
type MuonScalars struct {
	Scale   float32 // the gradient's factor
	Drop    Mask    // the gradients that are taken for 0
	Weight1 float32 // of the gradient in m: see Weight
	Ahead   float32 // what m counts in u
	Direct  float32 // and the gradient
}

// Muon is the first pass of Muon (Jordan et al. 2024): it moves the mean of gradients and
// makes the direction u, whose squares it adds up.
//
//	m ← lerp(m, x, weight1)
//	u ← x·direct + m·ahead
func Muon(g, m, u []float32, c *MuonScalars, squares *[Lanes]float64) {
	for i := range g {
		x := drop(float32(g[i]*c.Scale), c.Drop)
		m[i] = lerp(m[i], x, c.Weight1)
		u[i] = float32(x*c.Direct) + float32(m[i]*c.Ahead)
		squares[i%Lanes] += float64(u[i]) * float64(u[i])
	}
}
