package registry

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

var _ = register(&Entry{
	Name: "Muon",
	Apart: "its tensors are matrices, and a bound that follows rounding through five iterations says nothing: " +
		"see muon_test.go of package update",
	Refused: []Refused{
		{"L1", "1", muonWith(func(r *update.Muon) { r.L1 = 1 })},
		{"L2", "1", muonWith(func(r *update.Muon) { r.L2 = 1 })},
		{"Proximal", "true", muonWith(func(r *update.Muon) { r.Proximal = true })},
		{"Momentum", "1", muonWith(func(r *update.Muon) { r.Momentum = 1 })},
		{"A", "+Inf", muonWith(func(r *update.Muon) { r.A = inf })},
		{"B", "NaN", muonWith(func(r *update.Muon) { r.B = nan })},
		{"C", "-Inf", muonWith(func(r *update.Muon) { r.C = -inf })},
		{"Iterations", "0", muonWith(func(r *update.Muon) { r.Iterations = 0 })},
		{"Iterations", "100", muonWith(func(r *update.Muon) { r.Iterations = 100 })},
		{"Eps", "0", muonWith(func(r *update.Muon) { r.EpsFloor = 0 })},
		{"Eps", "-1", muonWith(func(r *update.Muon) { r.Eps = -1 })},
		{"EpsFloor", "NaN", muonWith(func(r *update.Muon) { r.EpsFloor = nan })},
		{"RMS", "-1", muonWith(func(r *update.Muon) { r.RMS = -1 })},
		{"Spectral", "true", muonWith(func(r *update.Muon) { r.RMS = .2 })},
		{"Spectral", "false", muonWith(func(r *update.Muon) { r.Spectral, r.Unclamped = false, true })},
		{"Spectral", "false", muonWith(func(r *update.Muon) { r.Spectral, r.Transposed = false, true })},
		{"Dion", "true", muonWith(func(r *update.Muon) { r.Dion = true })},
		{"Dion", "true", muonWith(func(r *update.Muon) { r.Dion, r.A, r.B, r.C, r.Iterations = true, 0, 0, 0, 6 })},
		{"SchattenNorm", "true", muonWith(func(r *update.Muon) { r.SchattenNorm, r.SpectralNorm = true, true })},
		{"SchattenNorm", "true", muonWith(func(r *update.Muon) { r.SchattenNorm, r.AOL = true, true })},
		{"SpectralNorm", "true", muonWith(func(r *update.Muon) { r.SpectralNorm, r.AOL = true, true })},
		{"Beta2", "1", muonWith(func(r *update.Muon) { r.Beta2, r.EpsRow = 1, 1e-10 })},
		{"EpsRow", "0", muonWith(func(r *update.Muon) { r.Beta2 = .95 })},
		{"EpsRow", "1e-10", muonWith(func(r *update.Muon) { r.EpsRow = 1e-10 })},
		{"ExactRMS", "true", muonWith(func(r *update.Muon) { r.Spectral, r.RMS, r.ExactRMS = false, .2, true })},
		{"ExactRMS", "true", muonWith(func(r *update.Muon) { r.Beta2, r.EpsRow, r.ExactRMS = .95, 1e-10, true })},
	},
	Presets: []Preset{
		{"torch", "Muon", torch.Muon()},
		{"keras", "Muon", keras.Muon()},
		{"optax", "Muon", optax.Muon(0)},
		{Textbook, "NorMuon", textbook.NorMuon(0)},
	},
	Verified: []Sample{{Name: "torch Muon", Rule: torch.Muon()}, {Name: "NorMuon", Rule: textbook.NorMuon(.02)}},
	Timed: []Timed{
		timedSum("Muon", 3, kernels.Muon, fallback.MuonScalars{Scale: 1, Drop: fallback.DropSubnormal, Weight1: .05, Ahead: .95, Direct: .05}),
	},
})

func muonWith(change func(r *update.Muon)) update.Rule {
	r := torch.Muon()
	change(&r)
	return r
}
