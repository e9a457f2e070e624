// Command empty shows whether a program can be built with a sanitizer.
package main

import "C"

func main() {}
