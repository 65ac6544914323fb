package tlsa_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/coredns-tlsa/coredns-tlsa"

// layers holds every package of the plugin, the top first. A package may import packages of lower layers only, so
// packages of one layer do not know each other. A new package must be given its place here.
var layers = [][]string{
	{"plugin/tlsa"},
	{"plugin/tlsa/corefile"},
	{"plugin/tlsa/publish"},
	{"plugin/tlsa/certdir", "plugin/tlsa/ledger", "plugin/tlsa/zone", "plugin/tlsa/denial", "plugin/tlsa/control"},
	{"plugin/tlsa/rollover"},
	{"plugin/tlsa/dane"},
	{"plugin/tlsa/control/schematest", "plugin/tlsa/certdir/hostiletest"}, // for tests
}

// only names the one package that may import a library.
var only = map[string]string{
	"github.com/fsnotify/fsnotify": "plugin/tlsa/certdir",
	"go.etcd.io/bbolt":             "plugin/tlsa/ledger",
}

// The pure packages compute from what they are given: nothing of the system, the clock or chance.
var (
	pure         = []string{"plugin/tlsa/dane", "plugin/tlsa/rollover"}
	impureImport = []string{
		"os", "io/fs", "io/ioutil", "path/filepath", "net", "syscall", "golang.org/x/sys", "runtime", "context", "sync",
		"log", "log/slog", "math/rand", "crypto/rand", "unsafe", "embed", "plugin", "testing",
		"github.com/coredns/coredns", "github.com/coredns/caddy", "github.com/prometheus/client_golang",
	}
	// The addresses of net/netip are values, not connections.
	pureImport = []string{"net/netip"}
	clockCalls = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"}
)

// goFile is what the rules need to know of one source file.
type goFile struct {
	pkg     string // directory, relative to the module
	name    string // path, relative to the module
	test    bool
	syntax  *ast.File
	imports []string
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range moduleFiles(t) {
		for _, imp := range f.imports {
			target, ours := strings.CutPrefix(imp, modulePath+"/")
			if ours && target != f.pkg && !mayImport(f.pkg, target) {
				t.Errorf("%s: %s must not import %s", f.name, f.pkg, target)
			}
			if owner, ok := only[imp]; ok && owner != f.pkg && !f.test {
				t.Errorf("%s: only %s may import %s", f.name, owner, imp)
			}
		}
	}
}

func TestEveryPackageHasALayer(t *testing.T) {
	for _, f := range moduleFiles(t) {
		if strings.HasPrefix(f.pkg, "plugin/") && layerOf(f.pkg) < 0 {
			t.Errorf("%s: package %s has no layer in this test", f.name, f.pkg)
		}
	}
}

func TestPurePackagesTouchNoSystemAndNoClock(t *testing.T) {
	for _, f := range moduleFiles(t) {
		if f.test || !slices.Contains(pure, f.pkg) {
			continue
		}
		for _, imp := range f.imports {
			if !slices.Contains(pureImport, imp) && slices.ContainsFunc(impureImport, func(p string) bool { return within(imp, p) }) {
				t.Errorf("%s: %s is pure and must not import %s", f.name, f.pkg, imp)
			}
		}
		for _, use := range clockUses(f.syntax) {
			t.Errorf("%s: %s is pure and must not use time.%s", f.name, f.pkg, use)
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: %s is pure and must not start a goroutine", f.name, f.pkg)
			}
			return true
		})
	}
}

// mayImport says whether a package of the module may import another one.
func mayImport(from, to string) bool {
	if strings.HasPrefix(from, "cmd/") || strings.HasPrefix(from, "contrib/") {
		return strings.HasPrefix(to, "plugin/") || strings.Contains(to, "/internal/") // the compiler says whose
	}
	lower := layerOf(to)
	return lower >= 0 && layerOf(from) < lower
}

// layerOf returns the index of a package's layer, -1 where it has none.
func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, pkg) })
}

func within(imp, prefix string) bool {
	return imp == prefix || strings.HasPrefix(imp, prefix+"/")
}

// clockUses returns the functions of package time that read or wait for a clock and that the file names, called or not.
func clockUses(f *ast.File) []string {
	local := "time"
	for _, spec := range f.Imports {
		if spec.Path.Value == `"time"` && spec.Name != nil {
			local = spec.Name.Name
		}
	}
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && slices.Contains(clockCalls, sel.Sel.Name) {
				found = append(found, sel.Sel.Name)
			}
		}
		return true
	})
	return found
}

// moduleFiles parses all Go files of the module, whatever their build tags.
func moduleFiles(t *testing.T) []goFile {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	var files []goFile
	walk := func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		syntax, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := goFile{
			pkg:    filepath.ToSlash(filepath.Dir(rel)),
			name:   filepath.ToSlash(rel),
			test:   strings.HasSuffix(path, "_test.go"),
			syntax: syntax,
		}
		for _, spec := range syntax.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imp)
		}
		files = append(files, f)
		return nil
	}
	if err := filepath.WalkDir(root, walk); err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}
