//go:build !purego && !noasm

package kernels

import (
	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/cpu"
)

var candidates = []candidate{
	{neonTable, []feature{{"ASIMD", cpuid.CPU.Supports(cpuid.ASIMD) && cpu.ARM64.HasASIMD}}},
}

func cpuName() string { return cpuid.CPU.BrandName }
