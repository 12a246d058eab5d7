package main

// The gateway as a program: what it says, and how it ends.

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runProgram runs GATEWAY; what it gives ends it by a signal and tells whether its engines ended
// too. SIGTERM must end it with status 0.
func runProgram(t *testing.T, arguments []string) func(syscall.Signal) bool {
	t.Helper()
	cmd := exec.Command(os.Getenv("GATEWAY"), append(arguments, "-log", "error")...)
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ Event, Address string }
	if err := json.Unmarshal(line, &ready); err != nil || ready.Event != "ready" {
		t.Fatalf("it said %q: %v", line, err)
	}
	response, err := http.Get("http://" + ready.Address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	store := arguments[3]
	if n := runningWith(store, cmd.Process.Pid); n != 1 {
		t.Fatalf("%d engines run, and not one", n)
	}
	return func(how syscall.Signal) bool {
		if err := cmd.Process.Signal(how); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); how == syscall.SIGTERM && err != nil {
			t.Errorf("it ended with %v", err)
		}
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if runningWith(store, cmd.Process.Pid) == 0 {
				return true
			}
		}
		return false
	}
}

// runningWith counts processes with such an argument, but for this one and one more.
func runningWith(argument string, besides int) (count int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		words, err := os.ReadFile(line)
		process, _ := os.Readlink(filepath.Join(filepath.Dir(line), "exe"))
		if err == nil && strings.Contains(string(words), argument) && process != "" &&
			strings.Contains(filepath.Base(process), "parrot") {
			count++
		}
	}
	return count
}
