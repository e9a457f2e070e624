// Command asan reads memory of C that is too short, or that was freed: go build -asan.
package main

// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

func main() {
	const n = 1000
	memory := C.calloc(n, 4)
	length := n
	switch os.Args[1] {
	case "overflow":
		length++
	case "freed":
		C.free(memory)
	}
	var lanes [fallback.Lanes]float64
	list := kernels.NewList(1, [][]float32{unsafe.Slice((*float32)(memory), length)})
	kernels.SumSquares(kernels.Active(), list, &lanes)
	fmt.Println(fallback.Total(&lanes))
}
