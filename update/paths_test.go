package update_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// called are the kernels that this package's source calls or hands over.
func called(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), "_test.go") || !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bkernels\.(\w+)`).FindAllSubmatch(text, -1) {
			found[string(m[1])] = true
		}
	}
	return found
}

// TestEveryPath holds the samples of the registry, which so many tests go through, to the
// step kernels that there are: every kernel with the scalars of a step is one of a
// rule's, and every pass of another kind than the last one's is a sample's.
func TestEveryPath(t *testing.T) {
	passes := map[string]bool{}
	for _, s := range registry.Samples() {
		for _, p := range update.Passes(s.Rule) {
			passes[p] = true
		}
	}
	uses, steps := called(t), 0
	for _, k := range kernels.All() {
		f := reflect.TypeOf(k.Func)
		for j := range f.NumIn() {
			if in := f.In(j); in.Kind() == reflect.Pointer && in.Elem().Kind() == reflect.Struct {
				if _, ok := in.Elem().FieldByName("Common"); ok {
					steps++
					if !uses[k.Name] {
						t.Errorf("no rule has the kernel %s", k.Name)
					}
					c := in.Elem().Name()
					if of, ok := more[c]; ok {
						c = of
					}
					if !hasPass(passes, c) {
						t.Errorf("no sample has the scalars %s", c)
					}
				}
			}
		}
	}
	if steps < 14 {
		t.Errorf("%d kernels of steps", steps)
	}
}

// more are scalars of fused kernels that have more than those of the pass for which they stand.
var more = map[string]string{"AdamStateBF16Scalars": "AdamScalars"}

// hasPass reports whether a pass has these scalars.
func hasPass(passes map[string]bool, scalars string) bool {
	for p := range passes {
		if strings.Contains(p, "fallback."+scalars+"]") {
			return true
		}
	}
	return false
}
