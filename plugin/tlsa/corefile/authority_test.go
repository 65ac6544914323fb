package corefile

import "testing"

func TestDifferenceInAuthorityIsNamed(t *testing.T) {
	const ns = "authority ns.elsewhere.test."
	for sentence, row := range map[string]struct{ a, b, want string }{
		"one has none": {ns + "\n", "", `authority is "ns.elsewhere.test." here and "" there: make them equal`},
		"the order of the servers": {ns + " ns2.elsewhere.test.\n", "authority ns2.elsewhere.test. ns.elsewhere.test.\n",
			`authority is "ns.elsewhere.test. ns2.elsewhere.test." here and "ns2.elsewhere.test. ns.elsewhere.test." there: make them equal`},
		"the mailbox": {ns + " mbox a@b.test\n", ns + "\n", `mbox of authority is "a.b.test." here and "" there: make them equal`},
		"fallthrough": {ns + "\nfallthrough\n", ns + "\n", `fallthrough is "." here and "" there: make them equal`},
	} {
		t.Run(sentence, func(t *testing.T) {
			a, b := must(t, plain+row.a+"}"), must(t, plain+row.b+"}")
			if err := sameAuthority(a.Authority, b.Authority); err == nil || err.Error() != row.want {
				t.Errorf("got %v\nwant %s", err, row.want)
			}
			if sameAuthority(b.Authority, a.Authority) == nil || sameAuthority(a.Authority, a.Authority) != nil {
				t.Error("not so the other way round, or a block differs from itself")
			}
		})
	}
}
