//go:build !purego && !noasm

package yardstick

import "github.com/lockstep-go/lockstep/bench/yardstick/neon"

var tables = map[string]*Table{
	"neon": {
		Flip: neon.Flip, Copy: neon.Copy, Join: neon.Join, JoinTwo: neon.JoinTwo,
		Update1: neon.Update1, Update2: neon.Update2, Update3: neon.Update3, Update4: neon.Update4,
		Read: neon.Read, Rows: neon.Rows,
		Adam: neon.Adam, AdaGrad: neon.AdaGrad,
	},
}
