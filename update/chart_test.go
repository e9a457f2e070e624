package update

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// scatter puts so many buffers of up to most bytes anywhere, apart from each other.
func scatter(rng *rand.Rand, from uintptr, n, most, align int) []block {
	var list []block
	for at := from; n > 0; n-- {
		at += uintptr(rng.IntN(2*most/align)+1) * uintptr(align)
		b := block{at, at + 4*uintptr(rng.IntN(most/4+1))}
		list = append(list, b)
		at = b.end + uintptr(align)
	}
	return list
}

// TestChart asks a chart of buffers anywhere. It shows of none that overlaps that it does not,
// and of all that are apart by 16 bytes and not long.
func TestChart(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	var c chart
	shown, overlapping := 0, 0
	for range 40 {
		most := []int{16, 256, 5000, 40_000}[rng.IntN(4)]
		blocks := scatter(rng, uintptr(rng.IntN(1<<30))&^3+16, chartLeast+rng.IntN(500), most, 4)
		c.draw(blocks)
		last := blocks[len(blocks)-1].end
		for range 4000 {
			at := blocks[0].at + uintptr(rng.IntN(int(last-blocks[0].at)))&^3 - 16
			end := at + 4*uintptr(rng.IntN(2*most/4))
			apart, wide := true, true
			for _, b := range blocks {
				apart = apart && (at >= b.end || end <= b.at || at == end || b.at == b.end)
				wide = wide && (at >= b.end+16 || end+16 <= b.at || at == end || b.at == b.end)
			}
			got := c.shows(at, end)
			if got && !apart || !got && wide && end-at <= chartMean {
				t.Fatalf("%#x to %#x, apart %v, wide %v: %v, of %d blocks of up to %d bytes", at, end, apart, wide, got, len(blocks), most)
			}
			if got {
				shown++
			} else {
				overlapping++
			}
		}
	}
	if shown < 10_000 || overlapping < 10_000 {
		t.Errorf("%d are shown to be apart, %d not", shown, overlapping)
	}
}

// TestNoChart has none of few blocks or of large ones.
func TestNoChart(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 2))
	var c chart
	some := scatter(rng, 1<<20, chartLeast, 4096, 16)
	large := slices.Clone(some)
	large[chartLeast-1].end += chartLeast * chartMean
	for name, list := range map[string][]block{"few": some[1:], "large": large} {
		c.draw(some)
		if c.draw(list); len(c.slots) > 0 || c.shows(8, 16) {
			t.Errorf("there is a chart of %s blocks", name)
		}
	}
}
