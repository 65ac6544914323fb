package publish

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// forest makes a certbot tree of n lineages, each with a certificate of its own, and the block that serves an owner for each.
func forest(b *testing.B, lineages, hosts int) Config {
	b.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // b.TempDir gives long paths, which cost memory
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := config()
	cfg.Owners, cfg.Next = nil, nil
	cfg.Certs = []string{filepath.Join(dir, "live")}
	cfg.Ledger = filepath.Join(dir, "ledger")
	for i := range lineages {
		var names []string
		for at := i * hosts / lineages; at < (i+1)*hosts/lineages; at++ {
			names = append(names, fmt.Sprintf("h%06d.example.org", at))
		}
		live, archive := filepath.Join(dir, "live", names[0]), filepath.Join(dir, "archive", names[0])
		for _, d := range []string{live, archive} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(archive, "fullchain1.pem"), selfSigned(b, names), 0o644); err != nil {
			b.Fatal(err)
		}
		if err := os.Symlink("../../archive/"+names[0]+"/fullchain1.pem", filepath.Join(live, "fullchain.pem")); err != nil {
			b.Fatal(err)
		}
		for _, host := range names {
			cfg.Owners = append(cfg.Owners, Owner{Name: "_25._tcp." + host + ".", Host: host + ".", Policy: policy()})
		}
	}
	return cfg
}

func selfSigned(b *testing.B, names []string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// BenchmarkSite reports, for a tree of lineages: the time from nothing to the first answers (cold), the same with a ledger
// (warm), and the heap that a serving publisher holds for each lineage.
func BenchmarkSite(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cfg := forest(b, n, n)
			for b.Loop() {
				before := heapInUse()
				cold := prepareTime(b, cfg)
				p := New(cfg, &zoneData{view: ZoneView{Known: true}}, &journal{}, &journal{})
				start := time.Now()
				if err := p.Prepare(); err != nil {
					b.Fatal(err)
				}
				warm := time.Since(start)
				p.Start()
				b.ReportMetric(cold.Seconds()*1000, "cold-ms")
				b.ReportMetric(warm.Seconds()*1000, "warm-ms")
				b.ReportMetric(float64(heapInUse()-before)/float64(n), "heap-B/lineage")
				if size, err := os.Stat(cfg.Ledger); err == nil {
					b.ReportMetric(float64(size.Size())/float64(n), "ledger-B/lineage")
				}
				runtime.KeepAlive(p)
				p.Stop()
				if err := os.Remove(cfg.Ledger); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func prepareTime(b *testing.B, cfg Config) time.Duration {
	b.Helper()
	p := New(cfg, &zoneData{view: ZoneView{Known: true}}, &journal{}, &journal{})
	start := time.Now()
	if err := p.Prepare(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if e, ok := p.Table().Lookup(cfg.Owners[len(cfg.Owners)-1].Name); !ok || e.Set.Len() != 1 {
		b.Fatalf("the last owner is %+v", e)
	}
	p.Start()
	p.Stop()
	return took
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStatus tells what the whole document costs the writer, which waits meanwhile.
func BenchmarkStatus(b *testing.B) {
	cfg := forest(b, 10000, 10000)
	p := New(cfg, &zoneData{view: ZoneView{Known: true}}, &journal{}, &journal{})
	if err := p.Prepare(); err != nil {
		b.Fatal(err)
	}
	p.Start()
	defer p.Stop()
	for b.Loop() {
		p.Status("")
	}
	document, err := json.Marshal(p.Status(""))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(document))/float64(len(cfg.Owners)), "octets/owner")
}
