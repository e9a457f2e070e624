// Package loss computes losses and their gradients in one pass over flat float32
// buffers: squared and absolute errors and what is between them, cross-entropies,
// likelihoods and hinge losses of predictions, cross-entropies, margins and likelihoods of rows,
// L1 and L2 penalties of parameters, and the gradients of linear models and of softmax
// regression.
//
// Losses are added in float64 in a fixed order. The bits of a result depend on
// the inputs alone, not on the instruction set or the number of workers. An
// error means that nothing was written.
//
// Calls allocate nothing but what they need at first and keep for the next call:
// a Linear, a CrossEntropy, a RowLoss and a SoftmaxLinear for themselves, the others some 43 KB
// for each goroutine at work, which a garbage collection may take back.
package loss

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Reduction says what becomes of the losses of the elements.
type Reduction uint8

const (
	Mean         Reduction = iota // their mean; the mean of no elements is NaN
	Sum                           // their sum
	None                          // themselves, one by one; the gradient is that of Sum
	BatchMean                     // their sum divided by Rows, or how many rows there are: PyTorch's "batchmean"
	WeightedMean                  // their sum divided by that of the weights: see Scaling
)

// Scaling says how much the losses of elements count, and by what their gradient is
// multiplied. The zero value changes nothing.
//
// Frameworks divide weighted losses by different numbers. Mean, whose divisor is the
// number of elements, is the mean of PyTorch's binary cross-entropies and huber_loss, and
// sum_over_batch_size of Keras; WeightedMean that of PyTorch's mse_loss and l1_loss, and
// mean_with_sample_weight of Keras. A sum of weights that is 0 makes the value NaN and the
// gradient 0.
type Scaling struct {
	// Weight multiplies the loss of each element, or if it has Rows elements the losses of
	// each row. What has the weight 0 counts for nothing, even NaN. Nil stands for 1.
	Weight []float32

	// Rows is how many rows pred has, which are equally long: for BatchMean, and for
	// weights of rows.
	Rows int

	// GradScale multiplies the gradient and not the value: what comes from later
	// operations, or the scale of a LossScaler. See Weight for how to write it; nil stands
	// for 1.
	GradScale *float64
}

// Workers is how many goroutines at most share a call, which has the same bits for any number of
// them: 0 stands for runtime.GOMAXPROCS. Predictions of less than 1 MiB are left to one, as are
// those of less than 2 MiB that do not come soon after others. A panic of a worker, such as
// debug.SetPanicOnFault asks for, is the caller's once none is at work any more.
type Workers int

// limit is how many may be at work.
func (w Workers) limit() (int, error) {
	const most = 1 << 12
	switch {
	case w < 0 || w > most:
		return 0, &ArgError{"Workers", int(w), fmt.Sprintf("from 0 to %d", most)}
	case w == 0:
		return min(runtime.GOMAXPROCS(0), most), nil
	}
	return int(w), nil
}

// A Loss is a loss of predictions, given targets. All losses of this package are but
// GaussianNLL, which wants variances too.
type Loss interface {
	// Eval returns the loss of pred, of which it stores the gradient in grad.
	// With the reduction None the result is the sum, and the losses of the
	// elements are stored in each; with the others each may be nil. All slices
	// have one length, and grad and each overlap nothing. Where grad is nil
	// the gradient is not stored.
	//
	// Numbers are not looked at: a NaN reaches the value and its own loss and
	// gradient, and a target that the loss is not made for goes through the
	// formula like any other.
	Eval(pred, target, grad, each []float32) (float64, error)
}

// MSE is the squared error (pred - target)². The value is of squares in float64; the
// loss of an element is +Inf where float32 does not hold it, beyond differences of
// 1.8e19.
//
// It is mse_loss of PyTorch and MeanSquaredError of Keras. With weights the value is of
// losses in float32. Optax' l2_loss is half of it.
type MSE struct {
	Reduction Reduction
	Scaling
	Workers
}

// Eval implements Loss.
func (l MSE) Eval(pred, target, grad, each []float32) (float64, error) {
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, form{run: (*call).mse})
}

func (c *call) mse(p part) {
	p.mse.Scale = c.scale
	kernels.MSE(p.table, &p.list, &p.mse, &p.sum)
}

// A Clamp says how a cross-entropy keeps the logarithm of 0 finite.
type Clamp uint8

const (
	// ClampLog keeps logarithms above -100 and the gradient's divisor above
	// 1e-12, as PyTorch does.
	ClampLog Clamp = iota
	// ClampProbability clips probabilities to [1e-7, 1-1e-7], outside which the
	// gradient is 0, as Keras and TensorFlow do.
	ClampProbability
)

// BCE is the binary cross-entropy of probabilities,
// -target·log pred - (1-target)·log(1-pred).
//
// A prediction outside [0, 1] makes the value, its own loss and its own gradient
// NaN, where PyTorch raises an error; with ClampProbability it counts as the
// nearer of 0 and 1 and has the gradient 0. With a target outside [0, 1] this is
// no longer a cross-entropy: the loss may be negative and has no least value.
type BCE struct {
	Reduction Reduction
	Clamp     Clamp

	// Smoothing, from 0 to 1, pulls targets towards ½: target·(1-Smoothing) + ½Smoothing, as
	// label_smoothing of Keras does.
	Smoothing float64
	Scaling
	Workers
}

// Eval implements Loss.
func (l BCE) Eval(pred, target, grad, each []float32) (float64, error) {
	if l.Clamp > ClampProbability {
		return 0, &ArgError{"Clamp", l.Clamp, "ClampLog or ClampProbability"}
	}
	if err := checkPart("Smoothing", l.Smoothing); err != nil {
		return 0, err
	}
	f := form{run: (*call).bce, bce: fallback.BCEScalars{LabelScale: float32(1 - l.Smoothing), LabelShift: float32(l.Smoothing / 2)}}
	if l.Clamp == ClampProbability {
		f.run = (*call).bceClip
	}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

func (c *call) bce(p part) {
	p.bce = c.form.bce
	p.bce.Scale = c.scale
	kernels.BCE(p.table, &p.list, &p.bce, &p.sum)
	spoil(p)
}

func (c *call) bceClip(p part) {
	p.bce = c.form.bce
	p.bce.Scale = c.scale
	kernels.BCEClip(p.table, &p.list, &p.bce, &p.sum)
}

// spoil makes the gradient NaN where the prediction is no probability. There the
// kernel divides by its least divisor, and the gradient would be some 1e12: a
// finite number that destroys the parameters and that no check for NaN finds.
// The losses are NaN already, and so there is nothing to look for if their sum
// is not.
func spoil(p part) {
	if sum := fallback.Total(&p.sum); sum == sum {
		return
	}
	for i, x := range p.pred {
		if x < 0 || x > 1 {
			p.grad[i] = float32(math.NaN())
		}
	}
}

// BCEWithLogits is the binary cross-entropy of σ(pred), without the cancellation that
// it has where the probability is rounded first: value and gradient are right to a few
// units in the last place for any prediction. An infinite prediction on the target's
// side costs nothing; nor does any prediction whose target has no weight, and of NaN
// only the gradient tells then. What BCE says about targets holds here too.
type BCEWithLogits struct {
	Reduction Reduction

	// PosWeight multiplies the loss of positive targets, at least 0: see Weight. Nil
	// stands for 1.
	PosWeight *float64

	// PosWeights are PosWeight of each class, as many as a row of predictions has columns,
	// finite and at least 0. Targets are from 0 to 1 then, and losses of those between may be
	// off by some pred units of the weight. Nil stands for PosWeight, which is nil beside them.
	PosWeights []float32

	// Smoothing is that of BCE.
	Smoothing float64
	Scaling
	Workers
}

// Weight is a number for an option that points to it, such as PosWeight of BCEWithLogits.
func Weight(x float64) *float64 { return &x }

// Eval implements Loss.
func (l BCEWithLogits) Eval(pred, target, grad, each []float32) (float64, error) {
	weight := 1.0
	if l.PosWeight != nil {
		weight = *l.PosWeight
	}
	if err := checkCoefficient("PosWeight", weight); err != nil {
		return 0, err
	}
	if err := checkPart("Smoothing", l.Smoothing); err != nil {
		return 0, err
	}
	if l.PosWeights != nil {
		return l.evalClasses(pred, target, grad, each)
	}
	f := form{run: (*call).logits, logits: fallback.BCEWithLogitsScalars{Positive: float32(weight), LabelScale: float32(1 - l.Smoothing), LabelShift: float32(l.Smoothing / 2)}}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

func (c *call) logits(p part) {
	p.logits = c.form.logits
	p.logits.Scale = c.scale
	kernels.BCEWithLogits(p.table, &p.list, &p.logits, &p.sum)
}

// evalClasses has a weight for each class: with v = 1-y + weight·y, where y is the target, the loss
// is v times that of the target weight·y/v.
func (l BCEWithLogits) evalClasses(pred, target, grad, each []float32) (float64, error) {
	n := len(l.PosWeights)
	switch {
	case l.PosWeight != nil:
		return 0, &ArgError{"PosWeight", *l.PosWeight, "nil beside PosWeights"}
	case n == 0 || len(pred)%n != 0:
		return 0, &ArgError{"len(PosWeights)", n, fmt.Sprintf("a number that divides len(pred) = %d", len(pred))}
	}
	for i, w := range l.PosWeights {
		if err := checkWeight("PosWeights", i, w); err != nil {
			return 0, err
		}
	}
	for _, out := range [][]float32{grad, each} {
		if buffers.Overlap(out, l.PosWeights) {
			return 0, &ArgError{"PosWeights", fmt.Sprintf("%d elements at %p", n, l.PosWeights), "a buffer apart from what is written"}
		}
	}
	f := form{run: (*call).classLogits, inParts: true, posWeights: l.PosWeights,
		logits: fallback.BCEWithLogitsScalars{Positive: 1, LabelScale: float32(1 - l.Smoothing), LabelShift: float32(l.Smoothing / 2)}}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, f)
}

func (c *call) classLogits(p part) {
	factors, targets := p.scratch[0], p.scratch[1]
	for i, y := range p.target {
		y = float32(y*c.form.logits.LabelScale) + c.form.logits.LabelShift
		positive := float32(c.posWeights[(p.at+i)%len(c.posWeights)] * y)
		factors[i], targets[i] = (1-y)+positive, y
		if factors[i] != 0 {
			targets[i] = positive / factors[i]
		}
	}
	p.logits = fallback.BCEWithLogitsScalars{Scale: c.scale, Positive: 1, LabelScale: 1}
	p.list.Set(p.grad, p.each, p.pred, targets)
	kernels.BCEWithLogits(p.table, &p.list, &p.logits, &p.squares)
	p.list.Set(p.grad, p.each, factors)
	kernels.Weigh(p.table, &p.list, &p.sum)
}

// Labels says which numbers stand for the two classes of a hinge loss. Keras
// guesses it from the batch.
//
// Hinge and SquaredHinge do not look whether the targets are such numbers: where
// a label is 0 and ±1 was promised, the loss is 1 and the gradient 0, whatever
// is predicted. Linear does look.
type Labels uint8

const (
	PlusMinus Labels = iota // 1 and -1
	ZeroOne                 // 1 and 0
)

func (l Labels) check(arg string) error {
	if l > ZeroOne {
		return &ArgError{arg, l, "PlusMinus or ZeroOne"}
	}
	return nil
}

// scalars are the numbers that map labels to ±1.
func (l Labels) scalars(scale float32) fallback.HingeScalars {
	if l == ZeroOne {
		return fallback.HingeScalars{Scale: scale, LabelScale: 2, LabelShift: -1}
	}
	return fallback.HingeScalars{Scale: scale, LabelScale: 1}
}

// Hinge is max(1 - label·pred, 0). At the kink its gradient is 0.
type Hinge struct {
	Reduction Reduction
	Labels    Labels
	Scaling
	Workers
}

// Eval implements Loss.
func (l Hinge) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := l.Labels.check("Labels"); err != nil {
		return 0, err
	}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, form{run: (*call).hinge, labels: l.Labels})
}

func (c *call) hinge(p part) {
	p.hinge = c.labels.scalars(c.scale)
	kernels.Hinge(p.table, &p.list, &p.hinge, &p.sum)
}

// SquaredHinge is max(1 - label·pred, 0)².
type SquaredHinge struct {
	Reduction Reduction
	Labels    Labels
	Scaling
	Workers
}

// Eval implements Loss.
func (l SquaredHinge) Eval(pred, target, grad, each []float32) (float64, error) {
	if err := l.Labels.check("Labels"); err != nil {
		return 0, err
	}
	return eval(l.Reduction, &l.Scaling, l.Workers, data{pred: pred, target: target, grad: grad, each: each}, form{run: (*call).squaredHinge, labels: l.Labels})
}

func (c *call) squaredHinge(p part) {
	p.hinge = c.labels.scalars(c.scale)
	kernels.SquaredHinge(p.table, &p.list, &p.hinge, &p.sum)
}

// data are the buffers of a call.
type data struct {
	pred, target, grad, each []float32
	variance, gradVariance   []float32 // of GaussianNLL alone
}

// A form is what a loss makes of its options: what is run for each part, and the numbers for it.
type form struct {
	run     func(*call, part)
	inParts bool // whether it wants the room's scratch

	labels     Labels
	posWeights []float32
	rates      bool
	full       bool
	logTarget  bool

	bce      fallback.BCEScalars
	logits   fallback.BCEWithLogitsScalars
	huber    fallback.HuberScalars
	poisson  fallback.PoissonNLLScalars
	gaussian fallback.GaussianNLLScalars
	focal    fallback.FocalScalars
	smooths  bool
}

// A part is what a kernel is called with.
type part struct {
	data
	at      int // its first element in them
	scratch [3][]float32
	*room
}

// A room is what kernels reach by pointer, kept for the next call.
type room struct {
	table        kernels.Table
	list         kernels.List
	sum, squares [fallback.Lanes]float64
	weighted     [fallback.Lanes]float64

	mse      fallback.MSEScalars
	bce      fallback.BCEScalars
	logits   fallback.BCEWithLogitsScalars
	hinge    fallback.HingeScalars
	penalty  fallback.PenaltyScalars
	huber    fallback.HuberScalars
	logCosh  fallback.LogCoshScalars
	poisson  fallback.PoissonNLLScalars
	center   fallback.CenterScalars
	gaussian fallback.GaussianNLLScalars
	kl       fallback.KLDivergenceScalars
	focal    fallback.FocalScalars

	// What nobody wants, what is between kernels, and the weights of rows go to blocks that
	// stay in the cache.
	unwanted [3][]float32
	alone    []float32 // what nobody wants if all else is wanted, and nothing is between
	scratch  [3][]float32
	weights  []float32
	space    [blocks*tune.LossBlock + tune.Line/4]float32
}

// blocks is how many a room has: the third that is unwanted is the second gradient of
// GaussianNLL, which leaves two of the scratch alone, and weights come when nobody wants the third
// of these any more.
const blocks = 5

var rooms = sync.Pool{New: func() any { return newRoom() }}

// newRoom has blocks that begin with a line of the cache: stores across two lines made
// a loss take 1.25 times as long.
func newRoom() *room {
	own := new(room)
	rest := own.space[-buffers.Address(own.space[:])%tune.Line/4:]
	block := func(k int) []float32 { return rest[k*tune.LossBlock:][:tune.LossBlock] }
	own.unwanted = [3][]float32{block(0), block(1), block(3)}
	own.alone = rest[:tune.LossAlone]
	own.scratch = [3][]float32{block(2), block(3), block(4)}
	own.weights = block(4)
	return own
}

// A call is an evaluation at work, kept for the next one.
type call struct {
	form
	data
	weight []float32
	rows   int
	scale  float32 // of the gradient
	step   int     // elements of a part

	crew[*room]
	table kernels.Table
	block func(c *call, own *room, lo, end int) float64
	n     int // elements whose blocks are added up
	first int // block of those at work
	sums  [tune.LossBlocks]float64
}

var calls = sync.Pool{New: func() any { return &call{crew: crew[*room]{pool: newPool()}} }}

// eval adds up the losses block by block. A block is kernels.MaxLen elements,
// whatever runs, so that the order of the sum is always the same.
func eval(r Reduction, s *Scaling, w Workers, d data, f form) (float64, error) {
	n := len(d.pred)
	if err := check(r, s, &d); err != nil {
		return 0, err
	}
	limit, err := w.limit()
	if err != nil {
		return 0, err
	}
	c := calls.Get().(*call)
	defer c.end()
	c.form, c.data, c.weight, c.rows = f, d, s.Weight, s.Rows
	c.table, c.step = kernels.Active(), kernels.MaxLen
	switch {
	case d.grad == nil && d.each == nil || f.inParts || s.Weight != nil:
		c.step = tune.LossBlock
	case d.grad == nil || d.each == nil:
		c.step = tune.LossAlone
	}
	c.begin(min(limit, (n+kernels.MaxLen-1)/kernels.MaxLen))
	factor := c.factor(r, n)
	c.scale = float32(s.gradScale(factor))
	total := c.total(n, (*call).losses, false)

	// Where weights of both signs cancel, the sum is not 0.
	if math.IsInf(factor, 0) {
		return math.NaN(), nil
	}
	return total * factor, nil
}

// end keeps nothing alive that is the caller's.
func (c *call) end() {
	c.form, c.data, c.weight = form{}, data{}, nil
	c.crew.end()
	calls.Put(c)
}

func (own *room) free() {
	own.list.Forget()
	rooms.Put(own)
}

// total is the sum of what block has for each block of n elements. more says that another
// follows.
func (c *call) total(n int, block func(c *call, own *room, lo, end int) float64, more bool) float64 {
	c.n, c.block = n, block
	blocks, total := (n+kernels.MaxLen-1)/kernels.MaxLen, 0.0
	for c.first = 0; c.first < blocks; c.first += len(c.sums) {
		units := min(blocks-c.first, len(c.sums))
		c.pool.Run(c, units, n, more || c.first+units < blocks)
		for _, s := range c.sums[:units] {
			total += s
		}
	}
	return total
}

// Do is a block.
func (c *call) Do(unit, worker int) {
	if c.rooms[worker] == nil {
		c.rooms[worker] = rooms.Get().(*room)
		c.rooms[worker].table = c.table
	}
	lo := (c.first + unit) * kernels.MaxLen
	c.sums[unit] = c.block(c, c.rooms[worker], lo, min(lo+kernels.MaxLen, c.n))
}

// losses is what the elements from lo to end cost.
func (c *call) losses(own *room, lo, end int) float64 {
	clear(own.sum[:])
	clear(own.weighted[:])
	for ; lo < end; lo += c.step {
		p := own.part(c, lo, min(lo+c.step, end))
		own.list.Set(p.grad, p.each, p.pred, p.target)
		c.run(c, p)
		if c.weight != nil {
			own.weigh(p, c.weights(own.weights, lo, len(p.pred)))
		}
	}
	if c.weight != nil {
		return fallback.Total(&own.weighted)
	}
	return fallback.Total(&own.sum)
}

// part is a range of the buffers of a call.
func (own *room) part(c *call, lo, hi int) part {
	p := part{room: own, at: lo}
	p.pred, p.target = c.pred[lo:hi], c.target[lo:hi]
	p.grad, p.each = own.wanted(0, c.grad, lo, hi), own.wanted(1, c.each, lo, hi)
	if c.inParts {
		for k, block := range own.scratch {
			p.scratch[k] = block[:hi-lo]
		}
	}
	if c.variance != nil {
		p.variance, p.gradVariance = c.variance[lo:hi], own.wanted(2, c.gradVariance, lo, hi)
	}
	return p
}

// weigh multiplies what a kernel has stored by weights, and adds the losses to a sum of
// their own.
func (own *room) weigh(p part, w []float32) {
	if p.variance != nil {
		own.list.Set(p.gradVariance, p.scratch[0], w) // scratch has the logarithms, which are done with
		kernels.Weigh(own.table, &own.list, &own.squares)
	}
	own.list.Set(p.grad, p.each, w)
	kernels.Weigh(own.table, &own.list, &own.weighted)
}

// weights are those of the n elements from lo on: a range of Weight, or those of rows in a
// block.
func (c *call) weights(block []float32, lo, n int) []float32 {
	if len(c.weight) == len(c.pred) {
		return c.weight[lo : lo+n]
	}
	columns := len(c.pred) / c.rows
	for i := 0; i < n; {
		row := (lo + i) / columns
		for end := min(n, (row+1)*columns-lo); i < end; i++ {
			block[i] = c.weight[row]
		}
	}
	return block[:n]
}

// wanted is a range of an output, or if that is nil a block of our own.
func (own *room) wanted(k int, out []float32, lo, hi int) []float32 {
	switch {
	case out == nil && hi-lo > tune.LossBlock:
		return own.alone[:hi-lo]
	case out == nil:
		return own.unwanted[k][:hi-lo]
	}
	return out[lo:hi]
}

// factor turns the sum of n losses into the reduced one.
func (c *call) factor(r Reduction, n int) float64 {
	switch {
	case r == BatchMean:
		return 1 / float64(c.rows)
	case r == WeightedMean && c.weight != nil && n > 0:
		return 1 / (c.total(len(c.weight), (*call).weightsOf, true) * float64(n/len(c.weight)))
	case r == Mean || r == WeightedMean:
		return 1 / float64(n)
	}
	return 1
}

// weightsOf is the sum of the weights from lo to end.
func (c *call) weightsOf(own *room, lo, end int) float64 {
	clear(own.sum[:])
	own.list.Set(c.weight[lo:end])
	kernels.Sum(own.table, &own.list, &own.sum)
	return fallback.Total(&own.sum)
}

// gradScale is the gradient's factor, 0 where there is nothing to divide by.
func (s *Scaling) gradScale(factor float64) float64 {
	switch {
	case math.IsInf(factor, 0):
		return 0
	case s.GradScale != nil:
		return factor * *s.GradScale
	}
	return factor
}

func checkCoefficient(arg string, x float64) error {
	if x >= 0 && x <= math.MaxFloat32 {
		return nil
	}
	return &ArgError{arg, x, "a finite float32 of at least 0"}
}

func checkPart(arg string, x float64) error {
	if x >= 0 && x <= 1 {
		return nil
	}
	return &ArgError{arg, x, "a number from 0 to 1"}
}

func check(r Reduction, s *Scaling, d *data) error {
	n := len(d.pred)
	want := fmt.Sprintf
	switch {
	case r > WeightedMean:
		return &ArgError{"Reduction", r, "Mean, Sum, None, BatchMean or WeightedMean"}
	case len(d.target) != n:
		return &ArgError{"len(target)", len(d.target), want("len(pred) = %d", n)}
	case d.grad != nil && len(d.grad) != n:
		return &ArgError{"len(grad)", len(d.grad), want("len(pred) = %d", n)}
	case d.each != nil && len(d.each) != n:
		return &ArgError{"len(each)", len(d.each), want("len(pred) = %d", n)}
	case r == None && d.each == nil && n > 0:
		return &ArgError{"each", "nil", "a buffer for the losses"}
	}
	if err := s.check(r, n); err != nil {
		return err
	}
	names := [...]string{"each", "grad", "gradVariance", "pred", "target", "variance", "Weight"}
	all := [...][]float32{d.each, d.grad, d.gradVariance, d.pred, d.target, d.variance, s.Weight}
	for k, out := range all[:3] {
		for j := k + 1; j < len(all); j++ {
			if buffers.Overlap(out, all[j]) {
				return &ArgError{names[k], want("%d elements at %p", n, out), "a buffer apart from " + names[j]}
			}
		}
	}
	return nil
}

// check looks at the scaling of n losses.
func (s *Scaling) check(r Reduction, n int) error {
	rows := len(s.Weight) != n && s.Weight != nil || r == BatchMean
	switch {
	case s.Rows < 0:
		return &ArgError{"Rows", s.Rows, "at least 0"}
	case s.Rows > 0 && n%s.Rows != 0, s.Rows == 0 && rows && n > 0:
		return &ArgError{"Rows", s.Rows, fmt.Sprintf("a number that divides len(pred) = %d", n)}
	case s.Weight != nil && len(s.Weight) != n && len(s.Weight) != s.Rows:
		return &ArgError{"len(Weight)", len(s.Weight), fmt.Sprintf("len(pred) = %d or Rows = %d", n, s.Rows)}
	case s.GradScale != nil && !(math.Abs(*s.GradScale) <= math.MaxFloat32):
		return &ArgError{"GradScale", *s.GradScale, "a finite float32"}
	}
	return nil
}

// An ArgError is bad input: which argument, its value, and what it must be.
type ArgError struct {
	Arg   string
	Value any
	Want  string
}

func (e *ArgError) Error() string {
	return fmt.Sprintf("loss: %s is %v, want %s", e.Arg, e.Value, e.Want)
}
