package kernels_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	. "github.com/lockstep-go/lockstep/kernels"
)

// TestLinks builds a program that uses AdamW, which must link the kernels of Adam's
// family and of the engine's stages, and no others: but more where gradients are of BF16, or state of 8 bits.
func TestLinks(t *testing.T) {
	if testing.Short() || len(native()) == 0 {
		t.Skip("builds a program of assembly")
	}
	wantLinked(t, "adamw")
	wantLinked(t, "adamw_float8", "AdamGradBF16StateFloat8", "AdamStateFloat8", "Dequantize", "Quantize", "QuantizeBF16", "QuantizePair", "RowMost")
	wantLinked(t, "adamw_bf16", "AdamBF16", "AdamGradBF16", "AdamSplitBF16", "AdamStateBF16")
}

// wantLinked builds a program of AdamW that links further kernels.
func wantLinked(t *testing.T, name string, further ...string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	symbols, err := exec.Command("go", "tool", "nm", program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, symbols)
	}
	want := []string{"AMSGrad", "AMSGradCorrected", "AMSGradProx", "Accumulate", "Adam", "AdamProx", "Add2", "Add3", "Add4", "Agree", "Average", "Cautious", "Center", "Clip", "CountBeyond", "Fade", "Flush", "NarrowBF16", "NarrowF16", "Noise", "Regularize", "Shrink", "Sum", "SumSquares", "WidenBF16", "WidenF16"}
	want = append(want, further...)
	linked := map[string]bool{}
	for _, m := range regexp.MustCompile(`kernels/asm/\w+\.(\w+)\.abi0\b|kernels/asm/\w+\.(\w+)\n`).FindAllStringSubmatch(string(symbols), -1) {
		linked[m[1]+m[2]] = true
	}
	if !linked["Adam"] {
		t.Fatalf("no kernel of Adam among the symbols: %v", linked)
	}
	for _, k := range All() {
		if linked[k.Name] != slices.Contains(want, k.Name) {
			t.Errorf("%s: %s: linked is %v", name, k.Name, linked[k.Name])
		}
	}
}
