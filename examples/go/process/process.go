// Package process is what the examples need beside Weft: this program once more as a second
// process, and a check that ends the example where something is not as it says. A store does not
// cross fork, so the second process is started anew, as engines' workers are; what it prints, the
// first one reads.
package process

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

// Expect ends the program where what it says does not hold.
func Expect(holds bool, what string) {
	if !holds {
		log.Fatalln("not as expected:", what)
	}
}

// Must gives the value, and ends the program where there is an error.
func Must[T any](value T, err error) T {
	if err != nil {
		log.Fatalln(err)
	}
	return value
}

// NewAddress is unix:PATH, the path new to this process.
func NewAddress() string {
	return "unix:" + filepath.Join(os.TempDir(), fmt.Sprintf("weft-example-%d.sock", os.Getpid()))
}

// Process is this program again.
type Process struct {
	command *exec.Cmd
	output  *bufio.Scanner
}

// Start starts it with these arguments.
func Start(arguments ...string) *Process {
	command := exec.Command("/proc/self/exe", arguments...)
	command.Stderr = os.Stderr
	output := Must(command.StdoutPipe())
	Expect(command.Start() == nil, "a second process")
	return &Process{command, bufio.NewScanner(output)}
}

// Line is the next line it prints, which is printed here too; false when there are no more.
func (p *Process) Line() bool {
	if !p.output.Scan() {
		return false
	}
	fmt.Printf("  %d: %s\n", p.command.Process.Pid, p.output.Text())
	return true
}

// Finish prints the rest, and expects it to end well.
func (p *Process) Finish() {
	for p.Line() {
	}
	Expect(p.command.Wait() == nil, "the second process ends with status 0")
}
