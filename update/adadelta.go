package update

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// Adadelta has for its step size the root of the mean square of its own steps, over that
// of gradients (Zeiler 2012). All frameworks agree on it.
//
//	v ← Rho·v + (1-Rho)·g²
//	u = g·√(delta + Eps) / √(v + Eps)
//	delta ← Rho·delta + (1-Rho)·u²
//	w ← w - lr·u
//
// Its state is "v" and "delta", which begin at 0.
type Adadelta struct {
	Options
	Rho float64 // in [0, 1 - 3e-8)
	Eps float64 // above 0, or nothing would ever move
}

// Name is "adadelta".
func (Adadelta) Name() string { return "adadelta" }

func (r Adadelta) check() error {
	return firstError(r.noProximal(), r.noCautiousUpdate(), decayRate("Rho", r.Rho), r.checkEps())
}

func (r Adadelta) checkEps() error {
	if !(float32(r.Eps) > 0 && r.Eps <= math.MaxFloat32) {
		return &ArgError{"Eps", r.Eps, "a finite number that float32 tells from 0"}
	}
	return nil
}

func (r Adadelta) plan() engine.Plan {
	_, flush := squareMasks(r.Options, r.Rho, math.Sqrt(r.Eps))
	return engine.Plan{
		State: []engine.Slot{
			{Name: "v", Fades: r.Rho, Square: true, Flushes: flush},
			{Name: "delta", Fades: r.Rho, Square: true, Flushes: flush},
		},
		Passes: engine.One(kernels.Adadelta, r.scalars),
	}
}

func (r Adadelta) scalars(in *engine.StepInput) fallback.AdadeltaScalars {
	small, _ := squareMasks(r.Options, r.Rho, math.Sqrt(r.Eps))
	return fallback.AdadeltaScalars{Common: in.Common, Beta2: float32(r.Rho), Root2: float32(math.Sqrt(1 - r.Rho)), Small: small, EpsIn: float32(r.Eps), Step: float32(in.LR)}
}
