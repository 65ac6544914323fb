package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// checkLedgers looks at where the timeline is to be kept. The ledger itself is not opened.
func (f *facts) checkLedgers() (found []Finding) {
	for _, b := range f.blocks {
		if b.Ledger == "" || b.GuardOnly() {
			continue
		}
		place, dir := b.Written["ledger"].String(), filepath.Dir(b.Ledger)
		bad := func(code string, severity Severity, what, why, fix string) {
			found = append(found, Finding{Code: code, Severity: severity, Place: place, What: what, Why: why, Fix: fix})
		}
		info, err := os.Stat(dir)
		if err != nil || !info.IsDir() {
			bad("ledger-directory", Error,
				"there is no directory "+dir+" for the ledger", "the server does not start", "install -d -m 0750 -o USER "+dir)
			continue
		}
		if file, err := os.Stat(b.Ledger); err == nil && !file.Mode().IsRegular() {
			bad("ledger-directory", Error,
				b.Ledger+" is no regular file", "the server does not start",
				"write the path of a file: ledger "+filepath.Join(b.Ledger, "tlsa.ledger"))
			continue
		}
		if f.Volatile(dir) {
			bad("ledger-volatile", Warning, dir+" is in memory, and gone when the machine restarts",
				"without its timeline the server forgets which records caches may still hold, and nothing is Ready before hold has passed",
				"ledger /var/lib/coredns/tlsa.ledger")
		}
		if f.User != nil {
			w := f.User.stops(dir, toWrite|toSearch)
			if w == nil && exists(b.Ledger) {
				w = f.User.stops(b.Ledger, toRead|toWrite)
			}
			if w != nil {
				bad("ledger-unwritable", Error,
					fmt.Sprintf("%s cannot write the ledger: %s", f.User.Name, w), "the server does not start",
					fmt.Sprintf("chown %s %s", f.User.Name, w.path))
			}
		}
	}
	return found
}

// checkControl looks at where the control socket is to be.
func (f *facts) checkControl() (found []Finding) {
	for _, b := range f.blocks {
		if b.Control == "" {
			continue
		}
		dir := filepath.Dir(b.Control)
		info, err := os.Stat(dir)
		what, fix := "", ""
		switch {
		case err != nil || !info.IsDir():
			what = "there is no directory " + dir + " for the control socket"
			fix = "RuntimeDirectory=coredns in the systemd unit, or install -d -m 0750 -o USER " + dir
		case info.Mode().Perm()&0o002 != 0:
			what, fix = "everybody may write to "+dir+", where the control socket is to be", "chmod o-w "+dir+", or a directory of its own"
		case f.User != nil && f.User.stops(dir, toWrite|toSearch) != nil:
			what = fmt.Sprintf("%s cannot make the control socket: %s", f.User.Name, f.User.stops(dir, toWrite|toSearch))
			fix = fmt.Sprintf("chown %s %s", f.User.Name, dir)
		default:
			continue
		}
		found = append(found, Finding{
			Code: "control-directory", Severity: Error, Place: b.Written["control"].String(),
			What: what,
			Why:  "the server does not start",
			Fix:  fix,
		})
	}
	return found
}

// checkAccess finds what the server's user cannot read.
func (f *facts) checkAccess() (found []Finding) {
	if f.User == nil {
		return nil
	}
	told := map[string]bool{}
	look := func(path string, want uint32) {
		b := f.User.stops(path, want)
		if b == nil || told[b.path] {
			return
		}
		told[b.path] = true
		found = append(found, Finding{
			Code: "user-unreadable", Severity: Error, Place: path,
			What: fmt.Sprintf("%s cannot read it: %s", f.User.Name, b),
			Why:  "what it holds is not published, and its names are answered with SERVFAIL",
			Fix: fmt.Sprintf("setfacl -m u:%s:rx %s, or let a deploy hook copy fullchain.pem to a directory that the server may read",
				f.User.Name, b.path),
		})
	}
	for _, t := range f.trees() {
		if t == nil || t == f.extra {
			continue
		}
		for _, r := range t.found.Roots {
			look(r.Path, toRead)
		}
		for _, l := range t.lineages {
			if info, err := os.Stat(l.Dir); err == nil && info.IsDir() {
				look(l.Dir, toRead|toSearch)
			}
			for _, file := range l.Files {
				if slices.ContainsFunc(l.Leaves, func(leaf leaf) bool { return slices.Contains(leaf.Files, file.Path) }) {
					look(file.Path, toRead)
				}
			}
		}
	}
	return found
}
