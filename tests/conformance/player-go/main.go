// The player in Go: as player.c, through package weft wherever it has a call, so that this is what
// is tested.
//
// Invariants: it decides nothing and compares nothing. Handles that it did not give itself
// (garbage, closed), queues, regions and the ABI's own lifetimes go to lowlevel. An unknown verb
// ends it with status 2.
package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/weft-kv/weft/sdk-go"
	"github.com/weft-kv/weft/sdk-go/internal/lowlevel"
)

// request is the words of a line. What is not there is 0, or the empty text.
type request map[string]string

func (r request) number(name string) uint64 {
	if word := r[name]; strings.HasPrefix(word, "-") {
		value, _ := strconv.ParseInt(word, 0, 64)
		return uint64(value)
	}
	value, _ := strconv.ParseUint(r[name], 0, 64)
	return value
}

func (r request) number32(name string) uint32 { return uint32(r.number(name)) }

func (r request) bytes(name string) []byte {
	content, _ := hex.DecodeString(strings.ReplaceAll(r[name], "-", ""))
	return content
}

func (r request) text(name string) string { return string(r.bytes(name)) }

func (r request) list(name string) []string {
	if r[name] == "" {
		return nil
	}
	return strings.Split(r[name], ",")
}

func (r request) items() []lowlevel.Item {
	items := []lowlevel.Item{}
	for _, row := range r.list("items") {
		var item lowlevel.Item
		fmt.Sscanf(row, "%d:%d:%d:%d", &item.KeyHi, &item.KeyLo, &item.Offset, &item.Size)
		items = append(items, item)
	}
	return items
}

func (r request) keys() []weft.Key {
	keys := []weft.Key{}
	for _, item := range r.items() {
		keys = append(keys, weft.Key{Hi: item.KeyHi, Lo: item.KeyLo})
	}
	return keys
}

func hexed(text string) string { return hex.EncodeToString([]byte(text)) }

func itemRow(item lowlevel.Item) string {
	return fmt.Sprintf("%d:%d:%d:%d:%d",
		item.KeyHi, item.KeyLo, item.Offset, item.Size, item.Status)
}

// told is the answer of a call that failed: its code and the library's words.
func told(err error) string {
	var failure *weft.Error
	if !errors.As(err, &failure) {
		fmt.Fprintln(os.Stderr, "player:", err)
		os.Exit(3)
	}
	return fmt.Sprintf("code=%d store=0 queue=0 region=0 message=%s",
		-int32(failure.Code), hexed(failure.Words))
}

func answer(line string) string {
	words := strings.Fields(line)
	forked := len(words) > 0 && words[0] == "fork"
	if forked {
		words = words[1:]
	}
	if len(words) == 0 {
		os.Exit(2)
	}
	r := request{}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		r[name] = value
	}
	if forked {
		return inChild(words[0], r)
	}
	verb, known := verbs[words[0]]
	if !known {
		os.Exit(2)
	}
	return verb(r)
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		if _, err := fmt.Println(answer(line)); err != nil {
			break
		}
	}
}
