package certdir

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// tree makes a certbot tree of n lineages below a short path, with one certificate for all or one for each.
func tree(b *testing.B, n int, distinct bool, kinds ...string) (dir string) {
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // b.TempDir gives long paths, which cost memory
	ok(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := withKeyIDs(newPKI(b))
	key := newKey(b)
	var c issued
	for i := range n {
		name := fmt.Sprintf("host%06d.example.org", i)
		if i == 0 || distinct {
			c = p.issueFor(key, name, name)
			clear(p.issued)
		}
		live, archive := dir+"/live/"+name, dir+"/archive/"+name
		ok(b, os.MkdirAll(live, 0o755))
		ok(b, os.MkdirAll(archive, 0o755))
		for _, kind := range kinds {
			data := map[string]string{"cert": c.cert, "privkey": c.key, "chain": p.chain, "fullchain": c.fullchain}[kind]
			ok(b, os.WriteFile(archive+"/"+kind+"1.pem", []byte(data), 0o600))
			ok(b, os.Symlink("../../archive/"+name+"/"+kind+"1.pem", live+"/"+kind+".pem"))
		}
	}
	return dir
}

// withKeyIDs has certificates name the key of their issuer, as those of public CAs do: no signature need be checked then.
func withKeyIDs(p *pki) *pki {
	block, _ := pem.Decode([]byte(p.chain))
	ca, err := x509.ParseCertificate(block.Bytes)
	ok(p.t, err)
	p.ca = ca
	return p
}

// BenchmarkHeapOfLineages reports what a lineage costs after the first sweep, and after one with watches, those of the
// event source not included.
func BenchmarkHeapOfLineages(b *testing.B) {
	const n = 25_000
	for _, kinds := range [][]string{{"fullchain"}, {"cert", "chain", "fullchain", "privkey"}} {
		b.Run(fmt.Sprint(len(kinds)), func(b *testing.B) {
			dir := tree(b, n, true, kinds...)
			for b.Loop() {
				before, busy, at := heapInUse(), cpu(b), time.Now()
				w := New(Config{Certs: []string{dir + "/live"}, Rescan: time.Minute, Quiet: time.Second, MaxQuiet: time.Second})
				w.rested = -time.Hour // what was made a moment ago counts as old
				if found := w.Sweep(context.Background()); len(found.Lineages) != n {
					b.Fatalf("%d lineages", len(found.Lineages))
				}
				b.ReportMetric((cpu(b)-busy).Seconds()/n*1e6, "cpu-us/lineage")
				b.ReportMetric(time.Since(at).Seconds()/n*1e6, "us/lineage")
				b.ReportMetric((heapInUse()-before)/n, "B/lineage")
				f := newFake()
				w.openSource = f.open
				r := runner{w: w, ctx: b.Context(), apply: func(Changes) {}}
				r.sweep(false)
				f.forget()
				b.ReportMetric((heapInUse()-before)/n, "B/watched")
				r.disconnect()
				runtime.KeepAlive(w)
			}
		})
	}
}
