//go:build !purego && !noasm

package yardstick

import (
	"github.com/lockstep-go/lockstep/bench/yardstick/avx2"
	"github.com/lockstep-go/lockstep/bench/yardstick/avx512"
)

var tables = map[string]*Table{
	"avx512": &wide, "avx512newton": &wide,
	"avx2": &narrow, "avx2newton": &narrow,
}

// The yardsticks are also those of the tables that differ in their square roots
// alone.
var (
	wide = Table{
		Flip: avx512.Flip, Copy: avx512.Copy, Join: avx512.Join, JoinTwo: avx512.JoinTwo,
		Update1: avx512.Update1, Update2: avx512.Update2, Update3: avx512.Update3, Update4: avx512.Update4,
		Read: avx512.Read, Rows: avx512.Rows,
		Adam: avx512.Adam, AdaGrad: avx512.AdaGrad,
	}
	narrow = Table{
		Flip: avx2.Flip, Copy: avx2.Copy, Join: avx2.Join, JoinTwo: avx2.JoinTwo,
		Update1: avx2.Update1, Update2: avx2.Update2, Update3: avx2.Update3, Update4: avx2.Update4,
		Read: avx2.Read, Rows: avx2.Rows,
		Adam: avx2.Adam, AdaGrad: avx2.AdaGrad,
	}
)
