//go:build referee

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The pages of contrib/tutorials are run as they stand, in a namespace where /etc, /var, /usr/local and /root are copies on
// write, and /run is empty: an operator's commands at an operator's paths. Of a page only times change; see tutorial.shorten.

// tutorialTTL is that of the records; hold and grace are twice as long.
const tutorialTTL = 2 * time.Second

// tutorialEnv names the environment variable with the directory of what the pages run.
const tutorialEnv = "TUTORIAL_BIN"

const tutorialNamespace = `mkdir -p "$MAIL_DIR/layers" && mount -t tmpfs tmpfs "$MAIL_DIR/layers" &&
for d in etc var usr/local root; do
	l=$MAIL_DIR/layers/$d && mkdir -p $l/up $l/work &&
	mount -t overlay overlay -o lowerdir=/$d,upperdir=$l/up,workdir=$l/work /$d || exit
done && mount -t tmpfs tmpfs /run && ip link set lo up && ip addr add 127.0.0.5/8 dev lo && ip addr add 127.0.0.6/8 dev lo && exec "$0" "$@"`

// A tutorial is one page, and what its test has to know of it.
type tutorial struct {
	host, service string
	// cert is the client's certificate, next the file of its next key's public half; empty: it has none.
	cert, next string
	prepare    func(t *testing.T, ca authority) // what the page takes for granted
}

var tutorials = map[string]tutorial{
	"postfix-certbot":    {"mail.example.org", "postfix", "/etc/letsencrypt/live/mail.example.org/cert.pem", "", certbotReady},
	"postfix-dehydrated": {"mail.example.org", "postfix", "/var/lib/dehydrated/certs/mail.example.org/cert.pem", "mail.example.org.pub", dehydratedReady},
	"postfix-lego":       {"mail.example.org", "postfix", "/var/lib/lego/certificates/mail.example.org.crt", "", legoReady},
	"postfix-acme.sh":    {"mail.example.org", "postfix", "/root/.acme.sh/mail.example.org_ecc/mail.example.org.cer", "mail.example.org_ecc.pub", acmeShReady},
	"nginx":              {"www.example.org", "nginx", "/etc/letsencrypt/live/www.example.org/cert.pem", "", certbotReady},
}

func TestTutorialsRunAsTheyStand(t *testing.T) {
	t.Parallel()
	outside := os.Getenv(mailEnv) == ""
	if outside {
		tutorialTools(t)
	}
	pages, err := filepath.Glob("../../contrib/tutorials/*.md")
	if err != nil || len(pages) != len(tutorials) {
		t.Errorf("%d pages and %d tests of them: %v", len(pages), len(tutorials), err)
	}
	// They wait more than they work, so all of them run side by side.
	var all sync.WaitGroup
	for name, tut := range tutorials {
		t.Run(name, func(sub *testing.T) {
			if outside {
				cmd := enterTutorial(sub.Name(), t.TempDir())
				all.Go(func() { tutorialEnd(t, name, cmd) })
				return
			}
			r := &tutorialRun{tutorial: tut, t: sub, page: read(sub, "../../contrib/tutorials/"+name+".md")}
			r.start()
			r.follow()
		})
	}
	all.Wait()
}

func tutorialEnd(t *testing.T, name string, cmd *exec.Cmd) {
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+"/"+name) {
		t.Errorf("%s: %v\n%s", name, err, out)
		return
	}
	t.Logf("%s took %s, and the processor %s", name, time.Since(began).Round(time.Second),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Second))
}

// tutorialBin is where tutorialTools builds once what all pages run.
var tutorialBin string

func tutorialTools(t *testing.T) {
	t.Helper()
	tutorialBin = t.TempDir()
	coredns, err := build()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, coredns, filepath.Join(tutorialBin, "coredns"))
	execute(t, ".", nil, "go", "build", "-o", filepath.Join(tutorialBin, "tlsactl"), "../tlsactl")
	buildPebble(t, tutorialBin)
	execute(t, tutorialBin, nil, "chmod", "755", "coredns")
}

// enterTutorial is the test of that name in a namespace of its own, with its files in dir.
func enterTutorial(name, dir string) *exec.Cmd {
	run := "^" + strings.ReplaceAll(regexp.QuoteMeta(name), "/", "$/^") + "$"
	cmd := exec.Command("unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", tutorialNamespace,
		os.Args[0], "-test.run="+run, "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), mailEnv+"="+dir, tutorialEnv+"="+tutorialBin, "HOME=/root")
	return cmd
}

// A tutorialRun is one page at work.
type tutorialRun struct {
	tutorial
	t    *testing.T
	page string
	cron sync.Once
	log  *journal // of the DNS server
}

// start makes the machine that the page takes for granted: a resolver, the server that is to be secured, the ACME client and its
// CA, and the zone.
func (r *tutorialRun) start() {
	t, dir := r.t, os.Getenv(mailEnv)
	bin := os.Getenv(tutorialEnv)
	build = func() (string, error) { return filepath.Join(bin, "coredns"), nil }
	copyFile(t, filepath.Join(bin, "tlsactl"), "/usr/local/bin/tlsactl")
	script(t, "/usr/local/sbin/logger", "cat >>/var/log/tlsactl.log\n")
	execute(t, dir, nil, "chmod", "755", "/usr/local/bin/tlsactl")
	write(t, "/etc/resolv.conf", "nameserver 127.0.0.1\noptions edns0 trust-ad\n")
	resolver := filepath.Join(t.TempDir(), "unbound")
	write(t, filepath.Join(resolver, "anchor"), anchor(t)+"\n")
	write(t, filepath.Join(resolver, "conf"), unboundConf(resolver, "53", "127.0.0.3"))
	for _, ext := range []string{".key", ".private"} {
		copyFile(t, "../../testdata/demo/"+demoKey+ext, "/etc/coredns/Kexample.org.+013+12345"+ext)
	}
	zone := strings.NewReplacer("     IN NS  ns2\n", "", "ns2  IN A   127.0.0.4\n", "www  IN A   127.0.0.6\n").Replace(mailZone)
	write(t, "/etc/coredns/db.example.org", zone)
	r.corefile()
	daemon(t, "unbound", "-d", "-c", filepath.Join(resolver, "conf"))
	r.prepare(t, startPebble(t, filepath.Join(bin, "pebble")))
	if r.service == "nginx" {
		write(t, "/etc/nginx/sites-enabled/default", "server {\n listen 127.0.0.6:80;\n root /var/www/html;\n}\n")
		execute(t, dir, nil, "nginx")
		return
	}
	// postfix, with Debian's places for everything.
	conf := strings.NewReplacer("queue_directory = DIR/NAME/queue\n", "", "data_directory = DIR/NAME/data\n", "",
		"DIR/NAME/log", "/var/log/mail.log", "maillog_file_prefixes = DIR\n", "").Replace(postfixMain)
	receiver, _, _ := strings.Cut(postfixReceiver, "smtpd_tls_security_level")
	write(t, "/etc/postfix/main.cf", conf+receiver+"max_use = 100000\nmax_idle = 1000s\n")
	write(t, "/etc/postfix/master.cf", postfixMaster)
	execute(t, dir, nil, "postfix", "start")
}

// corefile starts the server with the page's Corefile, at an address of its own and with a short ttl.
func (r *tutorialRun) corefile() {
	corefile := r.shorten(r.fences("corefile")[0])
	write(r.t, "/etc/coredns/Corefile", strings.Replace(corefile, "{\n", "{\n    bind 127.0.0.3\n", 1))
	for _, dir := range []string{"/var/lib/coredns", "/var/lib/dane/certs", "/var/lib/dane/next"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	s := &server{t: r.t, dir: "/etc/coredns", conf: "/etc/coredns/Corefile", port: "53", log: &journal{}}
	r.log = s.log
	s.start()
	r.t.Cleanup(func() {
		s.kill()
		if r.t.Failed() {
			log, _ := os.ReadFile("/var/log/tlsactl.log")
			r.t.Logf("the server said:\n%s\ncron said:\n%s", s.log, log)
		}
	})
}

// shorten is all that the test changes in a page.
func (r *tutorialRun) shorten(text string) string {
	text = strings.Replace(text, "    tlsa {\n", fmt.Sprintf("    tlsa {\n        ttl %s\n        hold %s\n        grace %[2]s\n        rescan 1s\n",
		tutorialTTL, 2*tutorialTTL), 1)
	return strings.Replace(text, "--combined", fmt.Sprintf("--combined --hold %s", 2*tutorialTTL), 1)
}

func (r *tutorialRun) fences(language string) (out []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(r.page, -1) {
		out = append(out, m[1])
	}
	return out
}

var awaited = regexp.MustCompile("(?m)^Once `(/[^`]+)` is there")

// follow does what the page says from its top to its end. While its last block renews, what it says to see is looked at all the
// time.
func (r *tutorialRun) follow() {
	t := r.t
	const fence = "```sh\n"
	parts := strings.Split(r.page, fence)
	var see string
	for i, part := range parts[1:] {
		if m := awaited.FindStringSubmatch(parts[i]); m != nil {
			poll(t, m[1], func() (bool, string) {
				_, err := os.Stat(m[1])
				return err == nil, fmt.Sprint(err)
			})
		}
		block, _, _ := strings.Cut(part, "```")
		if i == len(parts)-2 {
			r.renewal(see, block)
			return
		}
		see = block
		if strings.Contains(block, "tlsactl check") { // the resolver may hold a denial for as long as the zone says
			poll(t, "what the page says to see", func() (bool, string) {
				out, err := r.shell(block)
				return err == nil, out
			})
			continue
		}
		if out, err := r.shell(r.shorten(block)); err != nil {
			t.Fatalf("%s%v\n%s", block, err, out)
		}
		if _, err := os.Stat("/etc/cron.d/tlsa"); err == nil {
			r.cron.Do(r.startCron)
		}
	}
}

func (r *tutorialRun) shell(block string) (string, error) {
	return attempt(r.t, "/root", nil, "bash", "-e", "-o", "pipefail", "-c", block)
}

// startCron runs the line of /etc/cron.d every half second, with cron's environment.
func (r *tutorialRun) startCron() {
	path, command, ok := strings.Cut(strings.TrimSpace(read(r.t, "/etc/cron.d/tlsa")), "\n* * * * * root ")
	if !ok {
		r.t.Fatal("the page's cron line is not one for each minute")
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			cmd := exec.Command("/bin/sh", "-c", command)
			cmd.Env = []string{path, "HOME=/root", "SHELL=/bin/sh"}
			_ = cmd.Run()
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	r.t.Cleanup(func() { close(stop); all.Wait() })
}

// renewal renews, and wants what see says at every moment until the old key has left the records.
func (r *tutorialRun) renewal(see, renew string) {
	t := r.t
	old := leafDigest(t, r.cert)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var seen int
	var wrong []string
	all.Go(func() {
		for {
			if out, err := r.shell(see); err != nil {
				wrong = append(wrong, fmt.Sprintf("%v: %s", err, out))
			}
			seen++
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	var announced []string
	if r.next != "" {
		announced = []string{publicDigest(t, filepath.Join("/var/lib/dane/next", r.next))}
	}
	said, err := r.shell(renew)
	if err != nil {
		t.Errorf("%s%v\n%s", renew, err, said)
	}
	renewed := leafDigest(t, r.cert)
	if renewed == old || r.next != "" && !slices.Contains(announced, renewed) {
		t.Errorf("the new key is %.8s, the old one %.8s, announced were %s", renewed, old, announced)
	}
	if want := " is staged: not-yet"; !strings.Contains(said, want) {
		t.Errorf("the hook did not say %q:\n%s", want, said)
	}
	poll(t, "the installation", func() (bool, string) { return r.installed(renewed) != "", "another key" })
	digests := []string{renewed}
	if r.next != "" {
		digests = append(digests, publicDigest(t, filepath.Join("/var/lib/dane/next", r.next)))
	}
	slices.Sort(digests)
	r.settled(digests)
	close(stop)
	all.Wait()
	t.Logf("seen %d times, %d times wrong", seen, len(wrong))
	if len(wrong) > 0 || seen < 10 {
		t.Errorf("seen %d times, %d times wrong: %s", seen, len(wrong), strings.Join(wrong, "\n"))
	}
	r.noPrivateKeys()
	if log := r.log.String(); !strings.Contains(log, " is active ") || strings.Contains(log, "ungated") {
		t.Error("the server says that a key was in use before it was ready")
	}
}

// installed gives the path of the combined file that has a certificate of that key; "": there is none.
func (r *tutorialRun) installed(digest string) string {
	paths, _ := filepath.Glob("/etc/" + r.service + "/tls/[^.]*.pem") // not those of tlsactl itself
	for _, path := range paths {
		if leafDigest(r.t, path) == digest {
			return path
		}
	}
	return ""
}

// settled waits until the records are those of these keys.
func (r *tutorialRun) settled(want []string) {
	owner := map[string]string{"nginx": "_443._tcp.www", "postfix": "_25._tcp.mail"}[r.service] + ".example.org"
	poll(r.t, "the records of the keys that remain", func() (bool, string) {
		out := execute(r.t, "/", nil, "dig", "+short", "+nosplit", "@127.0.0.3", owner, "TLSA")
		var got []string
		for line := range strings.Lines(strings.ToLower(out)) {
			if f := strings.Fields(line); len(f) == 4 && f[0] == "3" {
				got = append(got, f[3])
			}
		}
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprintf("%s, want %s", got, want)
	})
}

// noPrivateKeys looks at all that the DNS server may read.
func (r *tutorialRun) noPrivateKeys() {
	certs, _ := filepath.Glob("/var/lib/dane/certs/*")
	next, _ := filepath.Glob("/var/lib/dane/next/*")
	files := slices.Concat(certs, next)
	if len(files) == 0 {
		r.t.Error("the DNS server has no files")
	}
	for _, path := range files {
		if bytes.Contains([]byte(read(r.t, path)), []byte("PRIVATE")) {
			r.t.Errorf("%s has a private key", path)
		}
	}
}
