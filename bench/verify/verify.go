// Package verify trains real data with every rule and hashes what comes out: the proof
// that all machines compute the same bits.
package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

// A Sum is what a rule has come to: the SHA-256 of its parameters and state, as
// little-endian float32, after Steps steps of logistic regression on the breast cancer
// data.
type Sum struct {
	Rule   string
	SHA256 string
}

// Steps is the number of steps of each rule.
const Steps = 200

// A rule is one of those that are verified, by its preset.
type rule struct {
	name string
	rule update.Rule
}

// rules are one of every kernel that a step has, and of the stages around it.
func rules() []rule {
	nesterov := torch.Momentum(.9)
	nesterov.Nesterov, nesterov.L2 = true, 1e-4
	lasso := torch.SGD()
	lasso.L1, lasso.Proximal = 1e-3, true
	elastic := torch.Adagrad()
	elastic.L1, elastic.L2, elastic.Proximal = 1e-3, 1e-3, true
	amsGrad := torch.Adam()
	amsGrad.AMSGrad, amsGrad.L1 = true, 1e-4
	root := optax.Adam(1e-2)
	root.EpsRoot = 1e-8
	amsProx := torch.Adam()
	amsProx.AMSGrad, amsProx.L1, amsProx.Proximal = true, 1e-3, true
	centered := torch.RMSprop()
	centered.Centered = true
	both := keras.RMSprop()
	both.Centered, both.Momentum = true, .9
	heavy := torch.RMSprop()
	heavy.Momentum = .9
	lamb := optax.Lamb(1e-2)
	lamb.Decay = 1e-2
	return []rule{
		{"torch SGD", torch.SGD()}, {"SGD, proximal L1", lasso},
		{"torch SGD, momentum", torch.Momentum(.9)}, {"torch SGD, Nesterov, L2", nesterov}, {"keras SGD, momentum", keras.Momentum(.9)},
		{"torch Adagrad", torch.Adagrad()}, {"Adagrad, proximal elastic net", elastic},
		{"torch Adam", torch.Adam()}, {"torch AdamW", torch.AdamW()}, {"keras AdamW", keras.AdamW()},
		{"torch Adam, AMSGrad, L1", amsGrad}, {"optax Adam, eps_root", root}, {"AMSGrad, proximal L1", amsProx},
		{"torch RMSprop", torch.RMSprop()}, {"torch RMSprop, centered", centered}, {"torch RMSprop, momentum", heavy}, {"keras RMSprop, centered, momentum", both},
		{"optax Lion", optax.Lion(1e-3)}, {"optax LAMB", lamb},
	}
}

// Run trains with every rule.
func Run() ([]Sum, error) {
	d := data.Load("breast_cancer")
	var list []Sum
	for _, r := range rules() {
		hash, err := train(d, r.rule)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		list = append(list, Sum{r.name, hash})
	}
	return list, nil
}

// train takes the steps of one rule, with a rate that falls, a gradient that is scaled
// and clipped half of the time, and a small tensor beside the weights.
func train(d data.Set, r update.Rule) (string, error) {
	model, err := loss.NewLinear(loss.Logistic, d.Columns, true)
	if err != nil {
		return "", err
	}
	o, err := update.NewSet([]update.Tensor{{Name: "weights", Size: d.Columns}, {Name: "intercept", Size: 1}}, r)
	if err != nil {
		return "", err
	}
	w, grad := make([]float32, d.Columns+1), make([]float32, d.Columns+1)
	rate := o.LR()
	for step := range Steps {
		if _, err := model.Gradient(d.X, d.Y, w, grad); err != nil {
			return "", err
		}
		if step == Steps/2 {
			if err := o.SetMaxNorm(.05); err != nil {
				return "", err
			}
			if err := o.SetGradScale(.5); err != nil {
				return "", err
			}
		}
		if err := o.SetLR(rate / (1 + float64(step)/Steps)); err != nil {
			return "", err
		}
		if err := o.StepSet([][]float32{w[:d.Columns], w[d.Columns:]}, [][]float32{grad[:d.Columns], grad[d.Columns:]}); err != nil {
			return "", err
		}
	}
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, w); err != nil {
		return "", err
	}
	for k := range 2 {
		for _, name := range o.Buffers(k) {
			if err := binary.Write(h, binary.LittleEndian, o.Buffer(k, name)); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
