// Command parrot is an engine without a model: it speaks the lines of the quickstart's engines and
// keeps real blocks in Weft, so that the gateway can be tried, tested and measured where there are
// no weights.
//
// Its next byte is a checksum of all bytes before it, as a letter: what it writes depends on the
// whole text and on nothing else, like the likeliest bytes of a model. A block's bytes are the
// checksum of the text up to its end, again and again, and are checked when the block is reused.
// A text may ask for trouble: -die, -hang and -garble name what it must have in it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

type parrot struct {
	store             *weft.Store
	name              string
	space             *weft.Namespace
	block, blockBytes int
	page, token       time.Duration // that a block, a byte takes
	die, hang, garble string
}

type request struct {
	Prompt   string `json:"prompt"` // Latin-1
	Generate int    `json:"generate"`
}

func say(event string, fields map[string]any) {
	fields["event"] = event
	if err := json.NewEncoder(os.Stdout).Encode(fields); err != nil {
		os.Exit(1) // nobody listens
	}
}

// next is the letter behind a text.
func next(text []byte) byte { return 'a' + byte(crc32.ChecksumIEEE(text)%26) }

// content is what the block that ends a text holds.
func (p *parrot) content(text []byte) []byte {
	sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(text))
	return bytes.Repeat(sum, p.blockBytes/len(sum))
}

// attach reads the text's full blocks where they are and saves those that are not.
func (p *parrot) attach(ctx context.Context, text []byte) (reused, made int, err error) {
	tokens := make([]uint32, len(text))
	for at, value := range text {
		tokens[at] = uint32(value)
	}
	full := max(len(text)-1, 0) / p.block
	keys, err := weft.Keys(tokens[:full*p.block], p.block, "")
	if err != nil {
		return 0, 0, err
	}
	views, err := p.space.ViewList(ctx, keys)
	if err != nil {
		return 0, 0, err
	}
	defer views.Release()
	reused = views.Len()
	for at := range reused {
		if end := (at + 1) * p.block; !bytes.Equal(views.Bytes(at), p.content(text[:end])) {
			return 0, 0, fmt.Errorf("block %d of %d is another text's", at, full)
		}
	}
	for at := reused; at < full; at++ {
		time.Sleep(p.page)
		if _, err := p.space.Save(ctx, keys[at], p.content(text[:(at+1)*p.block])); err != nil {
			return 0, 0, err
		}
		say("computed", map[string]any{"pages": at + 1, "of": full})
	}
	return reused * p.block, (full - reused) * p.block, nil
}

// open opens the namespace at a version, "" for its floor.
func (p *parrot) open(version string) (err error) {
	layout := fmt.Sprintf("block_tokens=%d,part_bytes=%d", p.block, p.blockBytes)
	p.space, err = p.store.Namespace(p.name, layout+version)
	return err
}

func (p *parrot) answer(ctx context.Context, asked request) error {
	text := make([]byte, 0, len(asked.Prompt)+asked.Generate)
	for _, letter := range asked.Prompt {
		text = append(text, byte(letter))
	}
	begin := len(text)
	reused, made, err := p.attach(ctx, text)
	if errors.Is(err, weft.ErrFenced) {
		say("fenced", map[string]any{"message": err.Error()})
		if err = p.open(""); err == nil {
			reused, made, err = p.attach(ctx, text)
		}
	}
	if err != nil {
		return err
	}
	for range asked.Generate {
		time.Sleep(p.token)
		p.trouble(text)
		text = append(text, next(text))
	}
	tail := begin - reused - made
	say("done", map[string]any{
		"text": string(text[begin:]), "reused": reused, "prefilled": made + tail,
		"bytes_copied": made / p.block * p.blockBytes, "misses": map[string]int{},
		"bytes_in_place": reused / p.block * p.blockBytes,
	})
	return nil
}

// trouble does what a text asks for.
func (p *parrot) trouble(text []byte) {
	has := func(words string) bool { return words != "" && bytes.Contains(text, []byte(words)) }
	switch {
	case has(p.die):
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case has(p.hang):
		select {}
	case has(p.garble):
		fmt.Println("no event")
	}
}

func run() error {
	p := &parrot{}
	store := flag.String("store", "", "the node")
	flag.StringVar(&p.name, "namespace", "gateway/parrot", "of its blocks")
	version := flag.Uint64("version", 1, "of its blocks")
	flag.IntVar(&p.block, "block", 32, "tokens of a block")
	flag.IntVar(&p.blockBytes, "bytes", 256, "bytes of a block, a multiple of 4")
	flag.DurationVar(&p.page, "page", 0, "that a block takes")
	flag.DurationVar(&p.token, "token", 0, "that a token takes")
	flag.StringVar(&p.die, "die", "", "a text with this in it ends the process by SIGKILL")
	flag.StringVar(&p.hang, "hang", "", "a text with this in it is never answered")
	flag.StringVar(&p.garble, "garble", "", "a text with this in it is answered with no event")
	flag.Parse()
	var err error
	if p.store, err = weft.Open("connect=" + *store); err != nil {
		return err
	}
	defer p.store.Close()
	if err := p.open(fmt.Sprintf(",version=%d", *version)); err != nil {
		return err
	}
	say("ready", map[string]any{})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		if err := p.answer(context.Background(), asked); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatalf("parrot: %v", err)
	}
}
