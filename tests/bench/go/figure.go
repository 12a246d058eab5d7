package main

// Figures: samples of ours and of the reference, taken in turns, and the line that report.py reads.
// Invariant: what failed, or read a wrong byte, ends the program; it is no figure.

import (
	"encoding/json"
	"log"
	"os"
	"slices"
	"time"
)

// pair is samples in ns.
type pair struct{ ours, reference []float64 }

// inTurns takes both, rounds times after some turns that warm.
func inTurns(rounds int, reference, ours func() float64) (p pair) {
	for turn := range rounds + rounds/20 + 1 {
		r, o := reference(), ours()
		if turn > rounds/20 {
			p.reference, p.ours = append(p.reference, r), append(p.ours, o)
		}
	}
	return p
}

func quantile(samples []float64, part float64) float64 {
	sorted := slices.Clone(samples)
	slices.Sort(sorted)
	return sorted[int(part*float64(len(sorted)-1))]
}

func timed(act func()) float64 {
	begin := time.Now()
	act()
	return float64(time.Since(begin).Nanoseconds())
}

func require(holds bool, what string) {
	if !holds {
		log.Fatalln("go: not as expected:", what)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatalln("go:", err)
	}
	return value
}

// figure is one row. unit scales ns: "ns", "us", or "GB/s" of bytes.
type figure struct {
	name, unit, target, against string
	bytes                       float64
	met                         func(ratio float64) bool // nil: printed only
}

func (f figure) print(p pair) {
	of := func(ns float64) float64 {
		switch f.unit {
		case "GB/s":
			return f.bytes / ns
		case "us":
			return ns / 1000
		}
		return ns
	}
	value, reference := of(quantile(p.ours, 0.5)), of(quantile(p.reference, 0.5))
	row := map[string]any{
		"name": f.name, "value": value, "unit": f.unit, "reference": reference,
		"ratio": value / reference, "target": nil, "met": nil, "against": f.against,
		"low":  min(of(quantile(p.ours, 0.1)), of(quantile(p.ours, 0.9))),
		"high": max(of(quantile(p.ours, 0.1)), of(quantile(p.ours, 0.9))),
	}
	if f.met != nil {
		row["target"], row["met"] = f.target, f.met(value/reference)
	}
	if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
		log.Fatalln("go:", err)
	}
}
