//go:build !purego && !noasm

package kernels

import (
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// TestInOrder has the tables of CPUs with slow dividers and with fast ones.
func TestInOrder(t *testing.T) {
	for _, c := range []struct {
		vendor cpuid.Vendor
		model  int
		first  Table
	}{
		{cpuid.Intel, 143, avx512newtonTable}, // Sapphire Rapids
		{cpuid.Intel, 85, avx512Table},        // Cascade Lake
		{cpuid.Intel, 158, avx512Table},       // Coffee Lake
		{cpuid.AMD, 17, avx512Table},
		{cpuid.VendorUnknown, 0, avx512Table},
	} {
		list := inOrder(c.vendor, c.model)
		if list[0].table != c.first || len(list) != 4 {
			t.Errorf("%v, model %d: %v comes first of %d", c.vendor, c.model, list[0].table, len(list))
		}
		if wide := list[0].table == avx512newtonTable; wide != (list[2].table == avx2newtonTable) {
			t.Errorf("%v, model %d: the AVX2 tables are in another order", c.vendor, c.model)
		}
	}
}
