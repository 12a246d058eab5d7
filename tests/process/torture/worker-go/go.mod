module github.com/weft-kv/weft/tests/torture

go 1.22

require github.com/weft-kv/weft/sdk-go v0.1.0

replace github.com/weft-kv/weft/sdk-go => ../../../../sdk-go
