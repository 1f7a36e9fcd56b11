// Command gnark-peer runs gnark and gnark-crypto for proofmill's benchmarks, in a process of its own.
//
// It reads one command a line and answers each with one line:
//
//	prepare WORK LOG   makes the input of a work of 2^LOG elements or constraints: msm-g1, msm-g2, ntt, prove
//	run                does it once: "MS CPU_MS PEAK_MIB", wall and processor time and the process's peak memory
//	threads N          how many threads to use
//	forget             gives the input's memory back
//	version            the versions of gnark and gnark-crypto
//
// An answer that begins with "error" says what was wrong.
//
// With arguments it does one thing and ends:
//
//	gnark-peer verify FOLDER   verifies proof.bin for vk.bin and public.bin there
//	gnark-peer export FOLDER   writes a proof of its own there, for others to verify
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		if err := once(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	serve()
}

func once(arguments []string) error {
	switch {
	case len(arguments) == 2 && arguments[0] == "verify":
		return verifyFolder(arguments[1])
	case len(arguments) == 2 && arguments[0] == "export":
		return exportFolder(arguments[1])
	}
	return fmt.Errorf("usage: gnark-peer [verify FOLDER | export FOLDER]")
}

func serve() {
	answer := bufio.NewWriter(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	var work func() error
	for lines.Scan() {
		reply, err := handle(strings.Fields(lines.Text()), &work)
		if err != nil {
			reply = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(answer, reply)
		answer.Flush()
	}
}

func handle(command []string, work *func() error) (string, error) {
	switch {
	case len(command) == 1 && command[0] == "version":
		return versions(), nil
	case len(command) == 2 && command[0] == "threads":
		threads, err := strconv.Atoi(command[1])
		if err != nil || threads < 1 {
			return "", fmt.Errorf("not a number of threads: %s", command[1])
		}
		runtime.GOMAXPROCS(threads)
		return "ok", nil
	case len(command) == 3 && command[0] == "prepare":
		log, err := strconv.Atoi(command[2])
		if err != nil || log < 4 || log > 26 {
			return "", fmt.Errorf("not a size: %s", command[2])
		}
		*work = nil
		runtime.GC()
		made, err := prepare(command[1], log)
		if err != nil {
			return "", err
		}
		*work = made
		return "ok", made()
	case len(command) == 1 && command[0] == "forget":
		*work = nil
		runtime.GC()
		return "ok", nil
	case len(command) == 1 && command[0] == "run" && *work != nil:
		return timed(*work)
	}
	return "", fmt.Errorf("not a command here: %v", command)
}

func timed(work func() error) (string, error) {
	runtime.GC()
	// Lets the high-water mark of memory begin anew, where the kernel can.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	start, before := time.Now(), usage()
	if err := work(); err != nil {
		return "", err
	}
	wall, after := time.Since(start), usage()
	cpu := cpuTime(after) - cpuTime(before)
	return fmt.Sprintf("%.3f %.3f %s", ms(wall), ms(cpu), peakMiB()), nil
}

// The high-water mark of memory, "-" where the kernel does not tell it.
func peakMiB() string {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			if kib, err := strconv.Atoi(fields[1]); err == nil {
				return strconv.Itoa(kib / 1024)
			}
		}
	}
	return "-"
}

func usage() syscall.Rusage {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage
}

func cpuTime(usage syscall.Rusage) time.Duration {
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func ms(duration time.Duration) float64 {
	return float64(duration.Nanoseconds()) / 1e6
}

func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	parts := []string{info.GoVersion}
	for _, module := range info.Deps {
		if strings.HasPrefix(module.Path, "github.com/consensys/gnark") {
			parts = append(parts, strings.TrimPrefix(module.Path, "github.com/consensys/")+" "+module.Version)
		}
	}
	return strings.Join(parts, ", ")
}
