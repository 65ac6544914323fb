package hostiletest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// placeKinds are what stands in a directory and is no certificate file, or no longer one, whatever it holds.
func placeKinds() []Kind {
	var kinds []Kind
	for name, p := range foreignFiles() {
		kinds = append(kinds, Kind{Name: "file: " + name, Fresh: p.reason, Gives: p.gives, Skipped: p.skipped, Make: p.make})
	}
	for _, name := range producersOwn {
		kinds = append(kinds, Kind{Name: "name: " + name, Skipped: true, Make: func(c *Case) error {
			return write(filepath.Join(c.Certs, strings.ReplaceAll(name, "HOST", c.Host)), chain(c, c.Evil))
		}})
	}
	for what, name := range oddNames {
		kinds = append(kinds, Kind{Name: "name with " + what, Gives: ItsKey, Make: func(c *Case) error {
			return write(filepath.Join(c.Certs, name), chain(c, c.Evil))
		}}, Kind{Name: "garbage in a name with " + what, Fresh: malformed, Make: func(c *Case) error {
			return write(filepath.Join(c.Certs, name), []byte("garbage\n"))
		}})
	}
	return kinds
}

// producersOwn are names that clients keep for themselves: certificates in them were replaced, revoked or never deployed.
var producersOwn = []string{
	"HOST.pem~", "HOST.pem.bak", "HOST.pem.old", "HOST.old.pem", "HOST.pem.old-1", "HOST.pem.tmp", "HOST.pem.tmpX1", "HOST.crt.new",
	"HOST.cer.alt", "previous_fullchain.pem", "cert.pem-revoked", "HOST.key.compromised", "HOST.crt.compromised", ".HOST.pem",
	".pem", "..pem", "...", "1234567890", "CuAbCdEf", "HOST1234567890", "HOST.lock", "README", "README.pem", "HOST.conf", "HOST.json",
	"HOST.pfx", "HOST.p12", "HOST.jks", "HOST.zip", "HOST.tar.gz", "HOST.crl", "HOST.ocsp", "ocsp.der", "HOST.sctl", "HOST.txt",
	"HOST.log", "account.key", "account.pem", "account_key.pem", "acme_account+key", "HOST+token", "HOST+http-01", "tls.validation.HOST.pem",
	"cert-1700000000.pem", "fullchain-1700000000.pem", "HOST.sync-conflict-20260101-1.pem", "0000_csr-certbot.pem", "0000_key-certbot.pem",
	"privkey.pem", "HOST.key", "key.pem", "ssl_private_key.pem", "archive/HOST/fullchain1.pem", "backup/HOST.pem", "accounts/x/HOST.pem",
	"alpn-certs/HOST.pem", "renewal/HOST.pem", "users/HOST.pem", "locks/HOST.pem", ".hidden/HOST.pem", "..2026_01/tls.crt",
	"HOST/ca.crt", "HOST/root_ca.crt", "HOST/ca.pem",
}

// oddNames are names of certificate files that are hard to show.
var oddNames = map[string]string{
	"a line feed":             "a\nb.pem",
	"a carriage return":       "a\rb.pem",
	"a terminal escape":       "\x1b[31mred\x1b[0m.pem",
	"a title of the terminal": "\x1b]0;owned\x07.pem",
	"a bell":                  "\a.pem",
	"a delete":                "a\x7fb.pem",
	"a control of C1":         "a\u009b31mb.pem",
	"octets that are no text": "a\xff\xfe.pem",
	"text from right to left": "a\u202egpj.pem",
	"a line separator":        "a\u2028b.pem",
	"no width":                "a\u200bb.pem",
	"verbs of printf":         "%s%n%d%!v.pem",
	"a log line":              "x\n[INFO] plugin/tlsa: all is well.pem",
	"quotes":                  `a"b'c.pem`,
	"a backslash":             `a\nb.pem`,
	"a shell's characters":    "$(reboot);`id`|&.pem",
	"a dash in front":         "-rf.pem",
	"a space at its ends":     " a .pem",
	"255 octets":              strings.Repeat("n", 251) + ".pem",
	"an emoji":                "\U0001f512.pem",
	"brackets of a glob":      "[a-z]*?{b}.pem",
	"a record":                "_25._tcp.x IN TLSA 3 1 1 00.pem",
}

// A place is one thing in a directory.
type place struct {
	reason, gives string
	skipped       bool
	make          func(c *Case) error
}

func linked(to string) func(c *Case) error {
	return func(c *Case) error {
		return relink(strings.ReplaceAll(to, "HOST", c.Host), filepath.Join(c.Certs, c.Host+".pem"))
	}
}

func at(c *Case, name string) string { return filepath.Join(c.Certs, name) }

// hops makes a chain of n links that ends in a certificate.
func hops(n int) func(c *Case) error {
	return func(c *Case) error {
		to := "end.bak"
		for i := range n - 1 {
			if err := relink(to, at(c, fmt.Sprintf("hop%d.bak", i))); err != nil {
				return err
			}
			to = fmt.Sprintf("hop%d.bak", i)
		}
		return first(relink(to, at(c, c.Host+".pem")), write(at(c, "end.bak"), chain(c, c.Evil)))
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func foreignFiles() map[string]place {
	sized := func(size int64) func(c *Case) error {
		return func(c *Case) error {
			return first(write(at(c, c.Host+".pem"), chain(c, c.Evil)), os.Truncate(at(c, c.Host+".pem"), size))
		}
	}
	mode := func(name string, m os.FileMode) func(c *Case) error {
		return func(c *Case) error {
			file := at(c, "d/"+c.Host+".pem")
			return first(write(file, chain(c, c.Evil)), os.Chmod(filepath.Join(c.Certs, name, ""), m))
		}
	}
	file := func(m os.FileMode) func(c *Case) error {
		return func(c *Case) error {
			return first(write(at(c, c.Host+".pem"), chain(c, c.Evil)), os.Chmod(at(c, c.Host+".pem"), m))
		}
	}
	places := map[string]place{
		"a pipe":                        {reason: notRegular, skipped: true, make: func(c *Case) error { return unix.Mkfifo(at(c, c.Host+".pem"), 0o644) }},
		"a pipe that promises nothing":  {skipped: true, make: func(c *Case) error { return unix.Mkfifo(at(c, c.Host), 0o644) }},
		"a link to a pipe":              {reason: notRegular, skipped: true, make: func(c *Case) error { return first(unix.Mkfifo(at(c, "x.bak"), 0o644), linked("x.bak")(c)) }},
		"a socket":                      {reason: notRegular, skipped: true, make: func(c *Case) error { return unix.Mknod(at(c, c.Host+".pem"), unix.S_IFSOCK|0o644, 0) }},
		"10 GiB of nothing":             {reason: tooLarge, skipped: true, make: sized(10 << 30)},
		"8 EiB less one of nothing":     {reason: tooLarge, skipped: true, make: sized(1 << 43)},
		"1 MiB and an octet of nothing": {reason: tooLarge, skipped: true, make: sized(1<<20 + 1)},
		"1 MiB with a hole":             {reason: truncated, make: sized(1 << 20)},
		"cut by the file system":        {reason: truncated, make: sized(200)},
		"a device":                      {reason: notRegular, skipped: true, make: linked("/dev/zero")},
		"a device of chance":            {reason: notRegular, skipped: true, make: linked("/dev/urandom")},
		"a device that is always full":  {reason: notRegular, skipped: true, make: linked("/dev/full")},
		"a terminal":                    {reason: notRegular, skipped: true, make: linked("/dev/tty")},
		"its own environment":           {reason: "unstable", make: linked("/proc/self/environ")},
		"its own memory":                {reason: unreadable, make: linked("/proc/self/mem")},
		"a link to a directory":         {skipped: true, make: linked(".")},
		"a link to nothing":             {reason: unreadable, skipped: true, make: linked("nothing")},
		"a link to itself":              {reason: unreadable, skipped: true, make: linked("HOST.pem")},
		"a link to below itself":        {reason: unreadable, skipped: true, make: linked("HOST.pem/a")},
		"a link to a path of 4,000":     {reason: unreadable, skipped: true, make: linked(strings.Repeat("a/", 2_000))},
		"a link to an odd name":         {reason: unreadable, skipped: true, make: linked("\x1b[31m\n")},
		"16 links in a row":             {gives: ItsKey, make: hops(16)},
		"17 links in a row":             {reason: unreadable, skipped: true, make: hops(17)},
		"links in a circle": {reason: unreadable, skipped: true, make: func(c *Case) error {
			return first(relink("b.pem", at(c, c.Host+".pem")), relink(c.Host+".pem", at(c, "b.pem")))
		}},
		"writable for anyone":        {reason: "writable-file", skipped: true, make: file(0o646)},
		"executable":                 {gives: ItsKey, make: file(0o755)},
		"setuid":                     {gives: ItsKey, make: file(0o644 | os.ModeSetuid)},
		"in a directory for anyone":  {reason: "writable-directory", skipped: true, make: mode("d", 0o777)},
		"in a sticky directory":      {reason: "writable-directory", skipped: true, make: mode("d", 0o777|os.ModeSticky)},
		"a link into one for anyone": {reason: "writable-directory", skipped: true, make: throughOpen},
		"a hard link": {gives: ItsKey, make: func(c *Case) error {
			return first(write(at(c, "a.bak"), chain(c, c.Evil)), os.Link(at(c, "a.bak"), at(c, c.Host+".pem")))
		}},
		"a directory that is called .pem": {skipped: true, make: func(c *Case) error { return os.MkdirAll(at(c, c.Host+".pem"), 0o755) }},
		"too deep":                        {reason: "too-deep", skipped: true, make: func(c *Case) error { return write(at(c, "1/2/3/4/5/6/"+c.Host+".pem"), chain(c, c.Evil)) }},
		"a directory that links to above": {gives: ItsKey, make: func(c *Case) error {
			return first(write(at(c, "d/"+c.Host+".pem"), chain(c, c.Evil)), relink("..", at(c, "d/up")), relink(".", at(c, "d/here")))
		}},
		"100 links to one file": {gives: ItsKey, make: func(c *Case) error {
			err := write(at(c, "a.bak"), chain(c, c.Evil))
			for i := range 100 {
				err = first(err, relink("a.bak", at(c, fmt.Sprintf("%s.%d.pem", c.Host, i))))
			}
			return err
		}},
	}
	maps.Copy(places, crowds())
	return places
}

// crowds are many files.
func crowds() map[string]place {
	many := func(n int, name string, data func(c *Case) []byte) func(c *Case) error {
		return func(c *Case) (err error) {
			text := data(c)
			for i := range n {
				err = first(err, write(at(c, fmt.Sprintf(name, i)), text))
			}
			return err
		}
	}
	return map[string]place{
		"500 empty files":           {reason: empty, make: many(500, "e%d.pem", func(*Case) []byte { return nil })},
		"300 copies":                {gives: ItsKey, make: many(300, "c%d.pem", func(c *Case) []byte { return chain(c, c.Evil) })},
		"500 files of nobody":       {make: many(500, "notes%d", func(*Case) []byte { return []byte("buy milk\n") })},
		"300 directories":           {make: many(300, "d%d/x", func(*Case) []byte { return []byte("buy milk\n") })},
		"500 temporary files":       {skipped: true, make: many(500, ".tmp%d.pem", func(c *Case) []byte { return chain(c, c.Evil) })},
		"300 cut files of one name": {reason: truncated, make: many(300, "set/cert.%d.pem", func(c *Case) []byte { return chain(c, c.Evil)[:200] })},
	}
}

func throughOpen(c *Case) error {
	return first(write(at(c, ".open/a.pem"), chain(c, c.Evil)), os.Chmod(at(c, ".open"), 0o777), linked(".open/a.pem")(c))
}
