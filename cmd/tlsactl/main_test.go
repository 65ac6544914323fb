package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// stopEnv names the environment variable that makes tlsactl kill itself with SIGKILL at its nth step, counted from one.
const stopEnv = "TLSACTL_TEST_STOP"

// noExchangeEnv names the environment variable that stands for a file system that cannot exchange directories.
const noExchangeEnv = "TLSACTL_TEST_NO_EXCHANGE"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tlsactl": child})
}

// child is tlsactl as a process of its own, which can be stopped at any step.
func child() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	at, _ := strconv.Atoi(os.Getenv(stopEnv))
	steps := 0
	a := newTestApp(os.Stdin, os.Stdout, os.Stderr, network{})
	if os.Getenv(noExchangeEnv) != "" {
		a.exchange = func(string, string) error { return syscall.EINVAL }
	}
	a.getenv = os.Getenv
	a.atStep = func(string) {
		if steps++; steps == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	os.Exit(a.run(ctx, os.Args[1:]))
}

// Each script is one verb at work: exit codes, both outputs, files.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			server := serve(t, &authority{apex: "example.org.", ttl: time.Hour, signed: true})
			env.Setenv("DNS", server.addr)
			env.Values["dns"] = server.authority
			env.Setenv("CONTROL", filepath.Join(socketDir(t), "s"))
			env.Values["control"] = &fakeBlock{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"cert":    scriptCert,
			"publish": scriptPublish,
			"control": func(ts *testscript.TestScript, _ bool, args []string) { scriptControl(t, ts, args) },
			"knows":   func(ts *testscript.TestScript, _ bool, args []string) { scriptKnows(t, ts, args) },
			"refuse":  scriptRefuse,
			"acted":   scriptActed,
			"sign":    scriptSign,
			"exits":   scriptExits,
			"mode":    scriptMode,
			"lego":    scriptLego, "acmesh": scriptAcmeSh, "dehydrated": scriptDehydrated, "roll": scriptRoll, "newline": scriptNewline,
		},
	})
}

// scriptCert makes the lineage "cert DIR NAME [KEYDIR]": a fresh certificate, with the key of another lineage if one is named.
func scriptCert(ts *testscript.TestScript, _ bool, args []string) {
	key := newKey(ts)
	if len(args) == 3 {
		key = readKey(ts, ts.ReadFile(filepath.Join(args[2], "privkey.pem")))
	}
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	for name, data := range newLineage(ts, args[1], key) {
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), name), data, 0o600))
	}
}

// scriptPublish is "publish OWNER [FILE...]": the server shows 3 1 1 of these files and nothing else.
func scriptPublish(ts *testscript.TestScript, _ bool, args []string) {
	var rrs []dns.RR
	for _, file := range args[1:] {
		rrs = append(rrs, recordsOf(ts, args[0], []byte(ts.ReadFile(file)))...)
	}
	ts.Value("dns").(*authority).set(args[0], rrs...)
}

// scriptSign is "sign on" or "sign off".
func scriptSign(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("dns").(*authority).sign(args[0] == "on")
}

// scriptExits is "exits CODE COMMAND...".
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// scriptMode is "mode 600 FILE".
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
