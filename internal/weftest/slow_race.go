//go:build race

package weftest

// Slow is how many times longer things take with the race detector, for tests that
// hold them to a time.
const Slow = 10
