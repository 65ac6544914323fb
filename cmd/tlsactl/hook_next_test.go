package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// dehydrated's next key becomes the current one, and another one the next. At whatever step the hook dies, the DNS server sees
// the key of the certificate to come.
func TestNextKeyIsPublishedAtEveryStepOfItsRenewal(t *testing.T) {
	dns := serve(t, &authority{apex: "example.org.", ttl: time.Hour, signed: true})
	steps := 0
	for killed := true; killed; steps++ {
		r := &renewal{t: t, dir: t.TempDir(), dns: dns}
		key := newKey(t)
		r.old, r.new = newLineage(t, "mail.example.org", newKey(t)), newLineage(t, "mail.example.org", key)
		for _, dir := range []string{"next", "certs", "installed"} {
			must(t, 0, os.MkdirAll(filepath.Join(r.dir, dir), 0o755))
		}
		roll := r.path("live", "mail", "privkey.roll.pem")
		hook := func(stop int) bool {
			t.Helper()
			args := []string{"hook", "dehydrated", "--next", r.path("next"), "--certs", r.path("certs"), "--install", r.path("installed"),
				"--server", r.dns.addr, "--hold", "0", "--combined", "deploy_cert", "mail.example.org"}
			for _, name := range []string{keyFile, certFile, fullFile, chainFile} {
				args = append(args, r.path("live", "mail", name))
			}
			killed, err := r.run(stop, append(args, "1")...)
			return must(t, killed, err)
		}
		r.publish(r.old, r.new)
		r.renew(r.old)
		must(t, 0, os.WriteFile(roll, r.new[keyFile], 0o600))
		hook(0)
		public := r.read("next", "mail.pub")
		if !bytes.Contains(public, []byte("PUBLIC KEY")) || !r.presents(r.old) {
			t.Fatalf("the first run: %s", public)
		}
		r.renew(r.new)
		must(t, 0, os.WriteFile(roll, newLineage(t, "mail.example.org", newKey(t))[keyFile], 0o600))
		killed = hook(steps + 1)
		staged, copied, next := r.read("next", "mail.pem"), r.read("certs", "mail.pem"), r.read("next", "mail.pub")
		if !bytes.Equal(next, public) && !bytes.Contains(staged, r.new[certFile]) && !bytes.Contains(copied, r.new[certFile]) {
			t.Errorf("step %d: the new key is nowhere", steps+1)
		}
		if bytes.Contains(next, []byte("PRIVATE")) {
			t.Errorf("step %d: a private key where the DNS server reads", steps+1)
		}
		if _, err := r.run(0, "hook", "dehydrated", "--next", r.path("next"), "--resume"); err != nil || !r.presents(r.new) ||
			r.read("next", "mail.pem") != nil || bytes.Equal(r.read("next", "mail.pub"), public) {
			t.Errorf("step %d: the next run did not finish: %v", steps+1, err)
		}
	}
	t.Logf("%d steps", steps)
	if steps < 12 {
		t.Errorf("%d steps were tried", steps)
	}
}
