package loss

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// MAE is the absolute error |pred - target|, whose gradient is 0 where it is: l1_loss of
// PyTorch, MeanAbsoluteError of Keras.
type MAE struct {
	Reduction Reduction
	Scaling
	Workers
}

// Eval implements Loss.
func (l MAE) Eval(pred, target, grad, each []float32) (float64, error) {
	return evalHuber(l.Reduction, &l.Scaling, l.Workers, pred, target, grad, each, fallback.HuberScalars{Ceiling: 1, Up: 1, Down: 1})
}

// Huber is half of the squared error up to a difference of Delta, and beyond it grows with
// the difference: ½d² or Delta·(|d| - ½Delta). It is huber_loss of PyTorch, Huber of Keras
// and huber_loss of Optax, whose Delta is 1 by default. (Huber 1964)
type Huber struct {
	Reduction Reduction
	Delta     float64 // more than 0
	Scaling
	Workers
}

// Eval implements Loss.
func (l Huber) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := checkDelta("Delta", l.Delta); err != nil {
		return 0, err
	}
	return evalHuber(l.Reduction, &l.Scaling, l.Workers, pred, target, grad, each, huberScalars(float32(l.Delta)))
}

func checkDelta(arg string, x float64) error {
	if delta := float32(x); delta > 0 && delta <= math.MaxFloat32 {
		return nil
	}
	return &ArgError{arg, x, "a finite float32 above 0"}
}

func huberScalars(delta float32) fallback.HuberScalars {
	return fallback.HuberScalars{Limit: delta, Slope: 1, Ceiling: delta, Up: 1, Down: 1}
}

// SmoothL1 is Huber's loss divided by its limit: ½d²/Beta, or |d| - ½Beta from |d| = Beta on;
// with a Beta of 0 MAE. It is smooth_l1_loss of PyTorch, whose Beta is 1 by default. (Girshick
// 2015)
type SmoothL1 struct {
	Reduction Reduction
	Beta      float64 // 0, or at least 2⁻¹²⁶
	Scaling
	Workers
}

// Eval implements Loss.
func (l SmoothL1) Eval(pred, target, grad, each []float32) (float64, error) {
	if !(l.Beta == 0 || l.Beta >= 0x1p-126 && l.Beta <= math.MaxFloat32) {
		return 0, &ArgError{"Beta", l.Beta, "0 or a finite float32 of at least 2⁻¹²⁶"}
	}
	c := fallback.HuberScalars{Limit: float32(l.Beta), Ceiling: 1, Up: 1, Down: 1}
	if l.Beta > 0 {
		c.Slope = float32(1 / l.Beta)
	}
	return evalHuber(l.Reduction, &l.Scaling, l.Workers, pred, target, grad, each, c)
}

// Quantile is the pinball loss, which the quantile Level of the targets makes least: Level·d
// for d = target - pred of at least 0, (Level-1)·d below. Its gradient is 0 where the loss
// is. (Koenker and Bassett 1978)
type Quantile struct {
	Reduction Reduction
	Level     float64 // above 0 and below 1
	Scaling
	Workers
}

// Eval implements Loss.
func (l Quantile) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := checkLevel("Level", l.Level); err != nil {
		return 0, err
	}
	return evalHuber(l.Reduction, &l.Scaling, l.Workers, pred, target, grad, each, quantileScalars(l.Level))
}

func checkLevel(arg string, x float64) error {
	if x > 0 && x < 1 {
		return nil
	}
	return &ArgError{arg, x, "a number between 0 and 1"}
}

func quantileScalars(level float64) fallback.HuberScalars {
	return fallback.HuberScalars{Ceiling: 1, Up: float32(1 - level), Down: float32(level)}
}

func evalHuber(r Reduction, s *Scaling, w Workers, pred, target, grad, each []float32, c fallback.HuberScalars) (float64, error) {
	return eval(r, s, w, data{pred: pred, target: target, grad: grad, each: each}, form{run: (*call).huber, huber: c})
}

func (c *call) huber(p part) {
	p.huber = c.form.huber
	p.huber.Scale = c.scale
	kernels.Huber(p.table, &p.list, &p.huber, &p.sum)
}

// LogCosh is log(cosh(pred - target)), which is like half of the squared error for small
// differences and like the absolute error for large ones; its gradient is their tanh. Both are
// right to a few units in the last place, where LogCosh of Keras and log_cosh of Optax cancel.
type LogCosh struct {
	Reduction Reduction
	Scaling
	Workers
}

// Eval implements Loss.
func (l LogCosh) Eval(pred, target, grad, each []float32) (float64, error) {
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, form{run: (*call).logCosh})
}

func (c *call) logCosh(p part) {
	p.logCosh.Scale = c.scale
	kernels.LogCosh(p.table, &p.list, &p.logCosh, &p.sum)
}
