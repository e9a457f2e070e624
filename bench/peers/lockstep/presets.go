package main

import (
	"strings"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

// presets are the rules that few systems have, with the options that the named framework has
// by default: where two have a rule of one name, their steps are not the same. Optax has no
// default learning rate.
var presets = map[string]func() update.Rule{
	"torch.adadelta":  func() update.Rule { return torch.Adadelta() },
	"torch.adafactor": func() update.Rule { return torch.Adafactor() },
	"torch.adamax":    func() update.Rule { return torch.Adamax() },
	"torch.amsgrad":   func() update.Rule { r := torch.Adam(); r.AMSGrad = true; return r },
	"torch.nadam":     func() update.Rule { return torch.NAdam() },
	"torch.radam":     func() update.Rule { return torch.RAdam() },
	"torch.rmsprop":   func() update.Rule { return torch.RMSprop() },

	"optax.adabelief": func() update.Rule { return optax.AdaBelief(worker.PresetLR) },
	"optax.adadelta":  func() update.Rule { return optax.Adadelta(worker.PresetLR) },
	"optax.adafactor": func() update.Rule { return optax.Adafactor(worker.PresetLR) },
	"optax.adamax":    func() update.Rule { return optax.Adamax(worker.PresetLR) },
	"optax.adan":      func() update.Rule { return optax.Adan(worker.PresetLR) },
	"optax.amsgrad":   func() update.Rule { return optax.AMSGrad(worker.PresetLR) },
	"optax.lamb":      func() update.Rule { return optax.Lamb(worker.PresetLR) },
	"optax.lion":      func() update.Rule { return optax.Lion(worker.PresetLR) },
	"optax.nadam":     func() update.Rule { return optax.NAdam(worker.PresetLR) },
	"optax.radam":     func() update.Rule { return optax.RAdam(worker.PresetLR) },
	"optax.rmsprop":   func() update.Rule { return optax.RMSprop(worker.PresetLR) },
	"optax.yogi":      func() update.Rule { return optax.Yogi(worker.PresetLR) },
}

// columns is the width of a rule's tensor: a matrix to Adafactor, of which it keeps rows and
// columns, and to others none.
func columns(t worker.Task) int {
	if strings.HasSuffix(t.Rule, ".adafactor") {
		return worker.MatrixColumns
	}
	return 0
}
