//go:build tools

// Package tools names the programs that check Weft's Go, so that go.mod keeps them.
package tools

import _ "honnef.co/go/tools/cmd/staticcheck"
