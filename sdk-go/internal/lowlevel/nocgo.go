//go:build !cgo

package lowlevel

// Without cgo there is no libweft: that this does not compile is how the compiler says so.
var _ int = "Weft needs CGO_ENABLED=1, a C compiler and an installed libweft-dev"
