package tlsa

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestReadmeListsEveryReasonOfAProblem(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	for _, file := range []string{"certdir/problem.go", "publish/ports.go", "rollover/problem.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Reason\s+= "([a-z-]+)"`).FindAllSubmatch(source, -1) {
			reasons++
			if !strings.Contains(string(readme), "`"+string(m[1])+"`") {
				t.Errorf("README.md does not explain %s of %s", m[1], file)
			}
		}
	}
	if reasons < 30 {
		t.Errorf("only %d reasons were found", reasons)
	}
}
