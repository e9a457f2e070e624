// Package neon holds the NEON yardsticks. All but this file is generated.
package neon
