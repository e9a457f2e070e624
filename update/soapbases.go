package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/eigen"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// A basesStep is the scalars of SOAP's second pass.
type basesStep struct {
	weight1, beta2, root2, eps float32
	drop, small, flush         fallback.Mask
	shampooBeta                float64
	t                          int64 // of the steps without the first
	frequency                  int
	most                       int  // the longest side with a preconditioner
	looks                      bool // for small state
	often                      bool // in every step
	normalizes                 bool
}

// follows reports whether the bases follow their preconditioners.
func (c *basesStep) follows() bool { return c.t > 0 && c.t%int64(c.frequency) == 0 }

// fades reports whether small state is looked at.
func (c *basesStep) fades() bool {
	return c.looks && (c.often || (c.t+1)%engine.FlushEvery == 0)
}

func (s *soap) basesStep(in *engine.StepInput) basesStep {
	return basesStep{
		weight1: s.weight1, beta2: float32(s.Beta2), root2: s.root2, eps: float32(s.Eps),
		drop: in.Drop, small: s.small, flush: s.flush, shampooBeta: s.ShampooBeta,
		t: in.T - 1, frequency: s.PreconditionFrequency, most: s.MaxPrecondDim, looks: !s.KeepSubnormals, often: s.Beta1 < .5, normalizes: s.NormalizeGrads,
	}
}

// soapRoom is the room for two matrices, a preconditioner's product with its basis, and what
// products take: those of sides that have a preconditioner, which are none that is longer.
func soapRoom(t kernels.Table, rows, columns, longest int) int {
	most := 0
	for _, n := range [...]int{rows, columns} {
		if n <= longest {
			most = max(most, kernels.MatMulRoom(t, rows, columns, n), kernels.MatMulRoom(t, n, n, max(rows, columns)))
		}
	}
	return 2*rows*columns + longest*longest + most
}

// A turner turns a matrix to the bases of its preconditioners and back.
type turner struct {
	t           kernels.Table
	team        *engine.Team
	left, right side
	m, v, g     fallback.Matrix
	x, y        fallback.Matrix
	square      []float32 // of the longer side
	room        []float32 // of products
}

// A side is the preconditioner of rows or columns, and its basis, which may have no elements.
type side struct{ of, basis fallback.Matrix }

func (s *side) there() bool { return s.of.Rows > 0 }

// isNew reports whether there is no basis yet: in one that there is no row is 0.
func (s *side) isNew() bool {
	for _, x := range s.basis.Data[:s.basis.Columns] {
		if x != 0 {
			return false
		}
	}
	return s.there()
}

// sideOf are slots of so many rows, unless that is more than the most.
func sideOf(of, basis []float32, n, most int) side {
	if n > most {
		return side{}
	}
	return side{fallback.RowMajor(n, n, of), fallback.RowMajor(n, n, basis)}
}

// soapDirection is the second pass, which makes D of the gradient in its place.
func soapDirection(t kernels.Table, m *engine.Matrix, c *basesStep) {
	n, room, s := m.Rows*m.Columns, m.Room, turner{t: t, team: m.Team}
	of := func(data []float32) fallback.Matrix { return fallback.RowMajor(m.Rows, m.Columns, data) }
	if len(m.State) > 3 {
		s.left, s.right = sideOf(m.State[2], m.State[4], m.Rows, c.most), sideOf(m.State[3], m.State[5], m.Columns, c.most)
	}
	s.m, s.v, s.g = of(m.State[0]), of(m.State[1]), of(m.State[len(m.State)-1])
	s.x, s.y = of(room[:n:n]), of(room[n:2*n:2*n])
	side := max(s.left.of.Rows, s.right.of.Rows)
	s.square, s.room = room[2*n:][:side*side], room[2*n+side*side:]
	m.Team.Flush(t, s.g.Data[:n], &fallback.FlushScalars{Small: c.drop})
	if c.t == 0 || s.left.isNew() || s.right.isNew() {
		s.begin(c)
		return
	}
	s.adam(c)
	s.learn(c)
	s.back(s.g, s.y, -1)
	if c.normalizes {
		s.normalize()
	}
	if c.follows() {
		s.follow()
	}
}

// multiply is C ← α·A·B.
func (s *turner) multiply(c, a, b fallback.Matrix, alpha float32) {
	s.team.Multiply(s.t, kernels.MatMul{C: c, D: c, A: a, B: b, MatMulScalars: fallback.MatMulScalars{Alpha: alpha}}, s.room)
}

// turn makes to = α·Aᵀ·from·B of the bases A and B, or α·A·from·Bᵀ, by way of room that is
// neither.
func (s *turner) turn(to, from, room, a, b fallback.Matrix, alpha float32) {
	hasLeft, hasRight := s.left.there(), s.right.there()
	switch {
	case hasLeft && hasRight:
		s.multiply(room, a, from, 1)
		s.multiply(to, room, b, alpha)
	case hasLeft:
		s.multiply(to, a, from, alpha)
	case hasRight:
		s.multiply(to, from, b, alpha)
	default:
		s.team.Scale(to.Data, from.Data, float64(alpha))
	}
}

// begin makes the bases, and a step of 0.
func (s *turner) begin(c *basesStep) {
	s.learn(c)
	for _, side := range [...]*side{&s.left, &s.right} {
		if !side.there() {
			continue
		}
		n, bases := side.of.Rows, s.team.Bases()
		a := bases.Matrix(n)
		for i, x := range side.of.Data[:n*n] {
			a[i] = float64(x)
		}
		bases.Eigenvectors()
		for k, place := range bases.Places() {
			side.put(bases, k, int(place))
		}
	}
	clear(s.m.Data)
	clear(s.v.Data)
	clear(s.g.Data)
}

// put makes a column of a basis.
func (s *side) put(bases *eigen.Bases, column, of int) {
	n := s.basis.Columns
	for i, x := range bases.Column(of) {
		s.basis.Data[i*n+column] = float32(x)
	}
}

// learn moves the preconditioners by the gradient.
func (s *turner) learn(c *basesStep) {
	scalars := fallback.MatMulScalars{Alpha: float32(1 - c.shampooBeta), Beta: float32(c.shampooBeta)}
	for _, p := range [...]kernels.MatMul{
		{C: s.left.of, A: s.g, B: s.g.T()},
		{C: s.right.of, A: s.g.T(), B: s.g},
	} {
		if p.C.Rows == 0 {
			continue
		}
		p.D, p.MatMulScalars, p.Symmetric = p.C, scalars, true
		s.team.Multiply(s.t, p, s.room)
		if c.fades() {
			s.team.Flush(s.t, p.C.Data, &fallback.FlushScalars{Small: c.flush})
		}
	}
}

// adam makes -m/(√v + eps) in the bases, in y.
func (s *turner) adam(c *basesStep) {
	s.turn(s.x, s.g, s.y, s.left.basis.T(), s.right.basis, 1)
	clear(s.y.Data)
	s.team.Adam(s.t, s.y.Data, s.x.Data, s.m.Data, s.v.Data, &fallback.AdamScalars{
		Common: fallback.Common{Scale: 1, Drop: c.drop, First: c.drop}, Weight1: c.weight1, Beta2: c.beta2, Root2: c.root2, Small: c.small, Eps: c.eps, Step: 1,
	})
	if c.fades() {
		s.team.Fade(s.t, s.m.Data, s.x.Data, &fallback.FadeScalars{Scale: 1, Drop: c.drop, Small: fallback.DropSmall})
	}
}

// back turns a matrix back, times α, by way of x.
func (s *turner) back(to, from fallback.Matrix, alpha float32) {
	s.turn(to, from, s.x, s.left.basis, s.right.basis.T(), alpha)
}

// normalize makes the root mean square of D 1.
func (s *turner) normalize() {
	sums := s.x.Data[:s.g.Rows]
	s.team.Dots(sums, s.g, s.g)
	mean := total(sums) / float64(len(s.g.Data))
	s.team.Scale(s.g.Data, s.g.Data, 1/(math.Sqrt(mean)+1e-30))
}

// follow makes a step of the iteration of both bases, with what is in them.
func (s *turner) follow() {
	s.back(s.y, s.m, 1)
	if s.left.there() {
		places := s.iterate(&s.left)
		copy(s.x.Data, s.v.Data)
		for i, place := range places {
			copy(s.v.Data[i*s.v.Columns:][:s.v.Columns], s.x.Data[int(place)*s.v.Columns:])
		}
	}
	if s.right.there() {
		places := s.iterate(&s.right)
		for i := range s.v.Rows {
			row, room := s.v.Data[i*s.v.Columns:][:s.v.Columns], s.x.Data[:s.v.Columns]
			copy(room, row)
			for j, place := range places {
				row[j] = room[int(place)]
			}
		}
	}
	s.turn(s.m, s.y, s.x, s.left.basis.T(), s.right.basis, 1)
}

// iterate makes a step of a basis, and says where its columns were.
func (s *turner) iterate(of *side) []float64 {
	n, bases := of.of.Rows, s.team.Bases()
	product := fallback.RowMajor(n, n, s.square[:n*n])
	s.multiply(product, of.of, of.basis, 1)
	a, values := bases.Matrix(n), bases.Values()
	clear(values)
	for i := range n {
		row, q := product.Data[i*n:][:n], of.basis.Data[i*n:][:n]
		for j, x := range row {
			values[j] += float64(float64(q[j]) * float64(x))
		}
	}
	bases.Sort()
	for k, place := range bases.Places() {
		for i := range n {
			a[k*n+i] = float64(product.Data[i*n+int(place)])
		}
	}
	bases.Orthonormalize()
	for k := range n {
		of.put(bases, k, k)
	}
	return bases.Places()
}
