// The path lies below the SDK's, so that the player may use its internal/lowlevel, as raw calls need.
module github.com/weft-kv/weft/sdk-go/player

go 1.22

require github.com/weft-kv/weft/sdk-go v0.1.0

replace github.com/weft-kv/weft/sdk-go => ../../../sdk-go
