package main

// What the gateway is told, how it begins and how it ends: with SIGTERM or SIGINT it takes no new
// requests, answers those that it has, lets its engines end and closes its store.

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof" // for -pprof; the gateway's own paths are not on the default mux
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weft-kv/weft/sdk-go"
)

// heapGrowth is what the heap may grow between collections, %: little lives long here, a few MiB,
// and with Go's 100 a collection every hundred look-ups takes a tenth of their time.
const heapGrowth = 800

type settings struct {
	listen, store, namespace, keys, model string
	profile                               string
	engines                               []string
	context, slice, tries, blocks, spill  int
	bytesMax, requestsMax                 int64
	timeout, start, silence, grace        time.Duration
	level                                 slog.Level
	version                               uint64
}

func settingsOf(arguments []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.StringVar(&s.listen, "listen", "127.0.0.1:8000", "where it listens; on any port with :0")
	f.StringVar(&s.store, "store", "unix:/run/weft/weft.sock", "the node")
	f.StringVar(&s.namespace, "namespace", "quickstart/bytes", "of the engines' blocks")
	f.Uint64Var(&s.version, "version", 1, "of the blocks; the floor where that is higher")
	f.StringVar(&s.keys, "keys", "", "options of weft.Keys with which the engines make keys")
	f.StringVar(&s.model, "model", "quickstart", "the model's name for clients")
	f.Func("engine", "an engine by `NAME=COMMAND`; again for another. The shell runs it; {now} in "+
		"it is the version of its blocks", func(value string) error {
		s.engines = append(s.engines, value)
		return nil
	})
	f.IntVar(&s.context, "context", 2304, "tokens of a prompt with its answer, at most")
	f.IntVar(&s.slice, "slice", 16, "tokens asked of an engine at once")
	f.IntVar(&s.tries, "tries", 2, "engines that may die of one prompt before it is given up")
	f.IntVar(&s.blocks, "blocks", 1<<18, "blocks remembered with the engines that have them")
	f.IntVar(&s.spill, "spill", 4,
		"requests that an engine with the prompt may have more than another")
	f.Int64Var(&s.bytesMax, "body", 1<<20, "bytes of a request's body, at most")
	f.Int64Var(&s.requestsMax, "requests", 1024, "completions in flight, at most")
	f.DurationVar(&s.timeout, "timeout", 2*time.Minute, "for a completion")
	f.DurationVar(&s.start, "start", time.Minute, "for an engine to be ready")
	f.DurationVar(&s.silence, "silence", 2*time.Minute,
		"of an engine that computes, until it is killed")
	f.DurationVar(&s.grace, "grace", 30*time.Second, "for requests in flight when it is to end")
	f.StringVar(&s.profile, "pprof", "",
		"where Go's profiles are served, for developers; else nowhere")
	f.TextVar(&s.level, "log", slog.LevelInfo, "debug, info, warn or error, on stderr")
	if err := f.Parse(arguments); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is no flag", f.Arg(0))
	case len(s.engines) < 1 || len(s.engines) > enginesMax:
		return nil, fmt.Errorf("%d engines: give -engine 1 to %d times", len(s.engines), enginesMax)
	case min(s.context, s.slice, s.tries, s.blocks, s.spill) < 1:
		return nil, errors.New("-context, -slice, -tries, -blocks and -spill are at least 1")
	}
	return s, nil
}

// gateway is all of it, running.
type gateway struct {
	*settings
	server  *server
	store   *weft.Store
	address string
	http    *http.Server
	stop    context.CancelFunc // of flights
	quit    context.CancelFunc // of engines
	failed  chan error         // why it no longer listens
}

// start returns when all engines are ready and it listens.
func start(ctx context.Context, s *settings) (*gateway, error) {
	store, err := weft.Open("connect=" + s.store)
	if err != nil {
		return nil, err
	}
	g := &gateway{settings: s, store: store, failed: make(chan error, 1)}
	if err := g.open(ctx); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) open(ctx context.Context) error {
	flying, stop := context.WithCancel(context.Background())
	living, quit := context.WithCancel(context.Background())
	g.stop, g.quit = stop, quit
	counted := newMetrics()
	cache := &prefixes{store: g.store, name: g.namespace, version: g.version, options: g.keys}
	var engines []*engine
	var routed atomic.Pointer[router]
	for bit, words := range g.engines {
		name, command, found := strings.Cut(words, "=")
		if !found || name == "" || command == "" {
			return fmt.Errorf("-engine %q: it is NAME=COMMAND", words)
		}
		e := &engine{
			name: name, bit: bit, command: command, start: g.settings.start, silence: g.silence,
			version: cache.now,
		}
		e.changed = func(up bool) {
			counted.came(e, up)
			if r := routed.Load(); r != nil {
				r.came(e, up)
			}
		}
		engines = append(engines, e)
	}
	g.server = &server{
		model: g.model, context: g.context, bytesMax: g.bytesMax, requestsMax: g.requestsMax,
		began: time.Now(), cache: cache, router: newRouter(engines, g.blocks, g.spill),
		metrics: counted,
	}
	routed.Store(g.server.router)
	g.server.flights = &flights{
		ctx: flying, router: g.server.router, slice: g.slice, timeout: g.timeout, tries: g.tries,
		metrics: counted, byPrompt: map[string]*flight{},
	}
	for _, e := range engines {
		if err := e.open(ctx, living); err != nil {
			return err
		}
	}
	if err := cache.open(); err != nil {
		return fmt.Errorf("namespace %s, which engines make: %w", g.namespace, err)
	}
	return g.serve()
}

func (g *gateway) serve() error {
	listener, err := net.Listen("tcp", g.listen)
	if err != nil {
		return err
	}
	g.address = listener.Addr().String()
	g.http = &http.Server{
		Handler: g.server.handler(), MaxHeaderBytes: 1 << 14,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute,
		ErrorLog:    slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	go func() {
		if err := g.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			g.failed <- err
		}
	}()
	return nil
}

// close ends it: first what it does, then what it needs.
func (g *gateway) close() {
	if g.http != nil {
		g.server.stopping.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), g.grace)
		defer cancel()
		if err := g.http.Shutdown(ctx); err != nil {
			slog.Warn("requests in flight are broken off", "after", g.grace)
			g.stop() // they are told
			late, cancel := context.WithTimeout(context.Background(), writePatience)
			defer cancel()
			_ = g.http.Shutdown(late)
			_ = g.http.Close()
		}
	}
	if g.stop != nil {
		g.stop()
		g.quit()
	}
	if g.server != nil {
		g.server.flights.running.Wait()
		for _, e := range g.server.router.engines {
			if e.gone != nil {
				<-e.gone
			}
		}
	}
	if err := g.store.Close(); err != nil {
		slog.Warn("the store is not closed", "error", err)
	}
}

func run(arguments []string) error {
	debug.SetGCPercent(heapGrowth)
	s, err := settingsOf(arguments)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: s.level})))
	ctx, ignore := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer ignore()
	g, err := start(ctx, s)
	if err != nil {
		return err
	}
	defer g.close()
	ready := map[string]string{"event": "ready", "address": g.address}
	err = json.NewEncoder(os.Stdout).Encode(ready)
	if err != nil {
		return err
	}
	if s.profile != "" {
		go func() { slog.Error("no profiles", "error", http.ListenAndServe(s.profile, nil)) }()
	}
	slog.Info("serving", "address", g.address, "engines", len(g.engines))
	select {
	case err = <-g.failed:
	case <-ctx.Done():
		slog.Info("stopping")
	}
	return err
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "gateway: %v\n", err)
		os.Exit(1)
	}
}
