package c11

import (
	"go/ast"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/names"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"Adam": "adam", "SumSquares": "sum_squares", "BCEWithLogits": "bce_with_logits", "AMSGradProx": "amsgrad_prox",
		"RMSpropCenteredMomentum": "rmsprop_centered_momentum", "LAMBMove": "lamb_move", "MSE": "mse", "Log1p": "log1p",
		"epsIn": "eps_in", "proxL1": "prox_l1", "p": "p", "AdaGrad": "adagrad",
	} {
		if got := names.C(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// TestReference reads the reference that there is, and refuses scalars that are others
// than a rule's.
func TestReference(t *testing.T) {
	ref, err := Read("../../fallback")
	if err != nil {
		t.Fatal(err)
	}
	var s rule.Set
	flush := s.Define("Flush", "", func(r *rule.Rule) { r.Scalar("small") })
	if fields := ref.Fields(flush); len(fields) != 1 || fields[0].Type != "uint32_t" || fields[0].Doc == "" {
		t.Errorf("the scalars of Flush are %v", fields)
	}
	for name, r := range map[string]*rule.Rule{
		"another name": s.Define("Shrink", "", func(r *rule.Rule) { r.Scalar("threshold"); r.Scalar("grow") }),
		"too few":      s.Define("MSE", "", func(r *rule.Rule) {}),
		"no struct":    s.Define("Nothing", "", func(r *rule.Rule) { r.Scalar("x") }),
	} {
		if name == "too few" {
			r.Scalars = []string{"scale", "more"}
		}
		refused(t, name, func() { ref.Fields(r) })
	}
	refused(t, "another type", func() {
		ref.field(&ast.Field{Names: []*ast.Ident{{Name: "X"}}, Type: &ast.Ident{Name: "float64"}})
	})
}

func refused(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s went through", what)
		}
	}()
	f()
}

// TestBits has a value that is bits handled as such, whatever reads it.
func TestBits(t *testing.T) {
	var s rule.Set
	r := s.Define("Exp", "\n\ty ← …", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(x.AddInt(r.Bits(0x7f800001)).ShiftArith(3).Add(r.Bits(0x80000000)).Max(x.Neg()))
	})
	ref, err := Read("../../fallback")
	if err != nil {
		t.Fatal(err)
	}
	text := string(ref.Portable(r))
	for _, want := range []string{
		"uint32_t x3 = bits(x1) + UINT32_C(0x7f800001);", "uint32_t x4 = shift(x3, 3);",
		"float x6 = number(x4) + number(UINT32_C(0x80000000));", "uint32_t x7 = bits(x1) ^ SIGN;", "larger(x6, number(x7));",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
