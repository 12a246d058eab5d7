module github.com/weft-kv/weft/sdk-go

go 1.22
