package registry

import (
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var _ = register(&Entry{
	Name: "SOAP",
	Apart: "eigenvectors of equal eigenvalues are anybody's, and a bound that follows rounding through QR says nothing: " +
		"see soap_test.go of package update",
	Refused: []Refused{
		{"L1", "1", soapWith(func(r *update.SOAP) { r.L1 = 1 })},
		{"L2", "1", soapWith(func(r *update.SOAP) { r.L2 = 1 })},
		{"Proximal", "true", soapWith(func(r *update.SOAP) { r.Proximal = true })},
		{"CautiousUpdate", "true", soapWith(func(r *update.SOAP) { r.CautiousUpdate = true })},
		{"CautiousDecay", "true", soapWith(func(r *update.SOAP) { r.CautiousDecay = true })},
		{"Beta1", "1", soapWith(func(r *update.SOAP) { r.Beta1 = 1 })},
		{"Beta2", "-1", soapWith(func(r *update.SOAP) { r.Beta2 = -1 })},
		{"ShampooBeta", "-1", soapWith(func(r *update.SOAP) { r.ShampooBeta = -1 })},
		{"ShampooBeta", "NaN", soapWith(func(r *update.SOAP) { r.ShampooBeta = nan })},
		{"Eps", "0", soapWith(func(r *update.SOAP) { r.Eps = 0 })},
		{"Eps", "1e-46", soapWith(func(r *update.SOAP) { r.Eps = 1e-46 })},
		{"PreconditionFrequency", "0", soapWith(func(r *update.SOAP) { r.PreconditionFrequency = 0 })},
		{"MaxPrecondDim", "-1", soapWith(func(r *update.SOAP) { r.MaxPrecondDim = -1 })},
		{"MaxPrecondDim", "32769", soapWith(func(r *update.SOAP) { r.MaxPrecondDim = 32769 })},
		{"LR", "3e+37", soapWith(func(r *update.SOAP) { r.LR, r.WeightDecay = 3e37, 0 })},
	},
	Presets:  []Preset{{Textbook, "SOAP", textbook.SOAP()}},
	Verified: []Sample{{Name: "SOAP", Rule: textbook.SOAP()}},
})

func soapWith(change func(r *update.SOAP)) update.Rule {
	r := textbook.SOAP()
	change(&r)
	return r
}
