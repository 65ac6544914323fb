package doctor

import (
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/go-cmp/cmp"
)

func TestOrderIsThatOfTheServer(t *testing.T) {
	want := slices.Clone(dnsserver.Directives)
	want = slices.Insert(want, slices.Index(want, "transfer")+1, "tlsa")
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSmallBuildHasWhatIsNotSaidToBeOfTheFullOneOnly(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../../coredns/plugins.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	built := map[string]bool{"tlsa": true}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		name = path.Base(name)
		if name == "metrics" {
			name = "prometheus"
		}
		built[name] = true
	}
	for _, name := range order {
		if built[name] == slices.Contains(full, name) {
			t.Errorf("%s is built in: %v, and said to be of the full build only: %v", name, built[name], !built[name])
		}
	}
}
