package certdir

import (
	"context"
	"path/filepath"
	"reflect"
	"testing"
)

// What a scan remembers of the way of the link before changes nothing: neither where a link leads nor whose changes are heard.
func TestLinksLeadWhereTheyLeadAlone(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	for _, name := range []string{"a", "b"} {
		write(t, base+"/archive/v1/"+name, name)
		write(t, base+"/archive/v2/"+name, name)
		write(t, base+"/live/archive/v1/"+name, name)
		write(t, base+"/archive/"+name, name)
	}
	link(t, "v1", base+"/archive/current")
	write(t, base+"/live/sub/x", "")
	var names []string
	for i, to := range []string{
		"../archive/v1/a", "../archive/v1/b", "../archive/v2/a", "../archive/v2/b", "../archive/current/a", "../archive/current/b",
		base + "/archive/v1/a", base + "/archive/v1/b", "../archive/v1/", "../archive/v1/a", "../archive/v1/..", "../archive/v1/b",
		"../archive/v1/missing", "../archive/v1/a", "missing/a", "missing/b", "archive/v1/a", "archive/v1/b", "sub", "sub/x",
		"../live/1", "../live/2", "2", "../archive/v1/../a", "../archive/v1/../b", "/", "..", "../archive//v1/a", "../archive//v1/b",
	} {
		names = append(names, string(rune('A'+i)))
		link(t, to, base+"/live/"+names[i])
		link(t, to, base+"/live/sub/"+names[i])
	}
	w := New(Config{})
	together := w.scan(context.Background())
	for _, at := range []string{base + "/live", base + "/live/sub", base + "/live"} {
		for _, name := range names {
			follow := func(s *scan) target { return s.followName(&dir{path: at, real: at}, name, join(at, name), true) }
			if got, want := follow(together), follow(w.scan(context.Background())); !reflect.DeepEqual(got, want) {
				t.Errorf("%s/%s: %+v\nalone: %+v", at, name, got, want)
			}
		}
	}
}
