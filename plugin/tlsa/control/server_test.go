package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control/schematest"
)

// TestMain finds what servers and clients leave behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a block that has one owner and does what it is told.
type fake struct {
	owner  string
	refuse string // code of the Error of each action

	mu   sync.Mutex // guards acts
	acts []Action
}

func (f *fake) Status(owner string) BlockStatus {
	b := full().Blocks[0]
	b.Owners[0].Name = f.owner
	if owner != "" && owner != f.owner {
		b.Owners = []OwnerStatus{}
	}
	return b
}

func (f *fake) Safe(Certificate) Safety {
	if f.refuse != "" {
		return Safety{Owners: []string{f.owner}, HeldBy: f.owner, Why: "waits"}
	}
	return Safety{Safe: true, Owners: []string{f.owner}}
}

func (f *fake) Act(a Action, only bool) ([]Done, error) {
	if f.refuse != "" {
		return nil, &Error{f.refuse, f.owner + " refuses"}
	}
	if a.Owner != "" && a.Owner != f.owner {
		return nil, &Error{CodeNothing, "no such owner"}
	}
	if only {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts = append(f.acts, a)
	return []Done{{Owner: f.owner, Zone: "a.", Text: "done", CachedUntil: &noon}}, nil
}

func (f *fake) acted() []Action {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.acts
}

// socketDir is a directory of a path that is short enough, and that nobody else may write in.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsa") //nolint:usetesting // a test's own directory has too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// warnings fail the test: net/http has nothing to complain about.
func warnings(t *testing.T) func(string) { return func(w string) { t.Errorf("warning: %s", w) } }

func claimed(t *testing.T, path string, blocks ...Block) *Use {
	t.Helper()
	u, err := ClaimSocket(path, warnings(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	for _, b := range blocks {
		u.Add(b)
	}
	return u
}

func served(t *testing.T, blocks ...Block) (*Client, string) {
	t.Helper()
	path := filepath.Join(socketDir(t), "s")
	if err := claimed(t, path, blocks...).Serve(); err != nil {
		t.Fatal(err)
	}
	return dialed(t, path), path
}

func dialed(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientGetsTheDocumentOfAllBlocks(t *testing.T) {
	c, _ := served(t, &fake{owner: "_25._tcp.a."}, &fake{owner: "_25._tcp.b."})
	s, err := c.Status(t.Context(), "")
	if err != nil || len(s.Blocks) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if diff := cmp.Diff(full().Blocks[0].Lineages, s.Blocks[1].Lineages); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	body, err := json.Marshal(s)
	if err == nil {
		err = schematest.Check(schema(t), body)
	}
	if err != nil {
		t.Error(err)
	}
	s, err = c.Status(t.Context(), "_25._TCP.B")
	if err != nil || len(s.Blocks) != 1 || s.Blocks[0].Owners[0].Name != "_25._tcp.b." {
		t.Errorf("one owner: %+v, %v", s, err)
	}
	var e *Error
	if _, err = c.Status(t.Context(), "_25._tcp.c."); !errors.As(err, &e) || e.Code != CodeNothing {
		t.Errorf("an owner that nobody has: %v", err)
	}
}

func TestBlocksJudgeACertificateTogether(t *testing.T) {
	good, bad := &fake{owner: "_25._tcp.a."}, &fake{owner: "_25._tcp.b.", refuse: CodeRefused}
	other := &fake{owner: "_25._tcp.c."}
	for claim, tc := range map[string]struct {
		blocks []Block
		want   Safety
	}{
		"all":       {[]Block{good, other}, Safety{Safe: true, Owners: []string{good.owner, other.owner}}},
		"not all":   {[]Block{good, bad}, Safety{Owners: []string{good.owner, bad.owner}, HeldBy: bad.owner, Why: "waits"}},
		"nor first": {[]Block{bad, good}, Safety{Owners: []string{bad.owner, good.owner}, HeldBy: bad.owner, Why: "waits"}},
	} {
		t.Run(claim, func(t *testing.T) {
			c, _ := served(t, tc.blocks...)
			got, err := c.Safe(t.Context(), Certificate{SPKI: strings.Repeat("x", 32), SHA256: strings.Repeat("y", 32), Names: []string{"a"}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	later := noon.Add(time.Hour)
	waits := Safety{Owners: []string{"a."}, SafeAt: &noon, HeldBy: "a.", Why: "waits"}
	longer := Safety{Owners: []string{"b."}, SafeAt: &later, HeldBy: "b.", Why: "waits longer"}
	for _, got := range []Safety{waits.add(longer), longer.add(waits)} {
		if got.HeldBy != "b." || !got.SafeAt.Equal(later) {
			t.Errorf("the longest wait does not speak: %+v", got)
		}
	}
	if got := (Safety{Owners: []string{}}).add(Safety{Owners: []string{}}); got.Safe {
		t.Errorf("safe without owners: %+v", got)
	}
}

func TestActionIsDoneByAllThatItConcernsOrNone(t *testing.T) {
	a, b := &fake{owner: "_25._tcp.a."}, &fake{owner: "_25._tcp.b."}
	c, _ := served(t, a, b)
	act := func(action Action) error {
		t.Helper()
		_, err := c.Act(t.Context(), action)
		return err
	}
	digest := strings.Repeat("0f", 32)
	if err := act(Action{Verb: Revoke, Owner: "_25._TCP.b", Data: digest}); err != nil || len(a.acted()) != 0 || len(b.acted()) != 1 {
		t.Errorf("at one owner: %v, %v, %v", err, a.acted(), b.acted())
	}
	if err := act(Action{Verb: Revoke, SPKI: digest}); err != nil || len(a.acted()) != 1 || len(b.acted()) != 2 {
		t.Errorf("everywhere: %v, %v, %v", err, a.acted(), b.acted())
	}
	var e *Error
	if err := act(Action{Verb: Withdraw, Owner: "_25._tcp.c."}); !errors.As(err, &e) || e.Code != CodeNothing {
		t.Errorf("nowhere: %v", err)
	}
	b.refuse = CodeRefused
	if err := act(Action{Verb: Revoke, SPKI: digest}); !errors.As(err, &e) || e.Code != CodeRefused || len(a.acted()) != 1 {
		t.Errorf("one refuses: %v, and the other has done %v", err, a.acted())
	}
}

// send gives the status code and the body of a request as it stands.
func send(t *testing.T, path, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }() // the server may hang up before it has read all
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return 0, err.Error()
	}
	return reply.StatusCode, string(body)
}

func post(path, kind, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, kind, len(body), body)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func TestBadRequestIsRefusedAndDoesNothing(t *testing.T) {
	f := &fake{owner: "_25._tcp.a."}
	_, path := served(t, f)
	const jsonType, digest = "application/json", "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"
	for claim, tc := range map[string]struct {
		request string
		code    int
	}{
		"another path":             {get("/"), 404},
		"another version":          {get("/v2/status"), 404},
		"an unknown verb":          {post("/v1/destroy", jsonType, "{}"), 404},
		"a verb by GET":            {get("/v1/revoke"), 405},
		"a status by POST":         {post("/v1/status", jsonType, "{}"), 405},
		"an unknown parameter":     {get("/v1/status?name=a"), 400},
		"a broken query":           {get("/v1/status?owner=%zz"), 400},
		"no digest":                {get("/v1/safe"), 400},
		"half a digest":            {get("/v1/safe?spki=0f0f"), 400},
		"a bad second digest":      {get("/v1/safe?spki=" + digest + "&sha256=zz"), 400},
		"another type":             {post("/v1/revoke", "application/x-www-form-urlencoded", `{"spki":"`+digest+`"}`), 400},
		"no JSON":                  {post("/v1/revoke", jsonType, "spki"), 400},
		"nothing":                  {post("/v1/revoke", jsonType, ""), 400},
		"two values":               {post("/v1/revoke", jsonType, `{"spki":"`+digest+`"}{}`), 400},
		"an unknown field":         {post("/v1/revoke", jsonType, `{"spki":"`+digest+`","force":true}`), 400},
		"a digest too short":       {post("/v1/revoke", jsonType, `{"spki":"0f"}`), 400},
		"data without an owner":    {post("/v1/revoke", jsonType, `{"data":"0f"}`), 400},
		"an owner without data":    {post("/v1/revoke", jsonType, `{"owner":"_25._tcp.a."}`), 400},
		"revoke of a lineage":      {post("/v1/revoke", jsonType, `{"lineage":"a"}`), 400},
		"withdraw of data":         {post("/v1/withdraw", jsonType, `{"owner":"_25._tcp.a.","data":"0f"}`), 400},
		"two ways at once":         {post("/v1/restore", jsonType, `{"owner":"_25._tcp.a.","lineage":"a"}`), 400},
		"a body that is too large": {post("/v1/revoke", jsonType, `{"owner":"`+strings.Repeat("a", maxBody)+`","data":"0f"}`), 400},
		"a header that is too large": {"GET /v1/status HTTP/1.1\r\nHost: a\r\nX: " +
			strings.Repeat("a", 2*maxHeader) + "\r\n\r\n", 431},
		"not even HTTP": {"\x16\x03\x01\x02\x00\r\n\r\n", 400},
	} {
		t.Run(claim, func(t *testing.T) {
			code, body := send(t, path, tc.request)
			if code != tc.code && (tc.code != 431 || code != 0) { // it hangs up on who goes on talking
				t.Errorf("got %d %s", code, body)
			}
		})
	}
	if len(f.acted()) > 0 {
		t.Errorf("done: %v", f.acted())
	}
}

func TestTCPIsReadOnly(t *testing.T) {
	f := &fake{owner: "_25._tcp.a."}
	u, err := ClaimAddress("127.0.0.1:0", warnings(t))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.Add(f)
	if err := u.Serve(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/v1/status": 200, "/v1/status?owner=_25._tcp.a.": 200, "/v1/safe?spki=" + strings.Repeat("ab", 32): 200, "/v1/revoke": 405} {
		reply, err := client.Get("http://" + u.Address() + path)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != want || reply.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s, %v", path, reply.Status, reply.Header)
		}
	}
	reply, err := client.Post("http://"+u.Address()+"/v1/revoke", "application/json", bytes.NewBufferString(`{"spki":"`+strings.Repeat("ab", 32)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusMethodNotAllowed || len(f.acted()) > 0 {
		t.Errorf("%s, done %v", reply.Status, f.acted())
	}
	page, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+u.Address()+"/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	page.Host = "evil.example"
	if reply, err = client.Do(page); err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusBadRequest {
		t.Errorf("a request for another host: %s", reply.Status)
	}
	if other, err := ClaimAddress(u.Address(), warnings(t)); err == nil {
		other.Close()
		t.Error("an address that is in use was claimed")
	}
}

// The page of a stranger may have its name lead here, but not another Host in its requests.
func TestStatusOfThisHostIsNotForWebPages(t *testing.T) {
	h := &handler{blocks: func() *[]Block { return &[]Block{} }, local: true}
	for host, want := range map[string]int{
		"127.0.0.1:8053": 200, "127.0.0.1": 200, "[::1]:8053": 200, "[::1]": 200, "localhost:8053": 200, "LocalHost": 200,
		"evil.example:8053": 400, "localhost.evil.example": 400, "127.0.0.1.evil.example:8053": 400, "": 400,
	} {
		for _, local := range []bool{true, false} {
			h.local = local
			r := httptest.NewRequest(http.MethodGet, "/v1/status", nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if local && w.Code != want || !local && w.Code != 200 {
				t.Errorf("%q, local %v: %d", host, local, w.Code)
			}
		}
	}
	for addr, want := range map[net.Addr]bool{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}: true, &net.TCPAddr{IP: net.IPv6loopback}: true,
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}: false, &net.TCPAddr{IP: net.IPv6zero}: false, &net.UnixAddr{Name: "s"}: false,
	} {
		if isLocal(addr) != want {
			t.Errorf("%s is local: %v", addr, !want)
		}
	}
}

// TestStalledClientsCostASlotForSeconds fills every slot in several ways, and asks.
func TestStalledClientsCostASlotForSeconds(t *testing.T) {
	for claim, begin := range map[string]string{
		"says nothing":          "",
		"stalls in the header":  "GET /v1/status HTTP/1.1\r\nHost:",
		"stalls in the body":    "POST /v1/revoke HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"keeps its connection":  get("/v1/status"),
		"asks for more than it": strings.Repeat(get("/v1/status"), 100),
	} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			c, path := served(t, &fake{owner: "_25._tcp.a."})
			for range maxConnections {
				conn, err := net.Dial("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, begin); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*(readTimeout+writeTimeout))
			defer cancel()
			if _, err := c.Status(ctx, ""); err != nil {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			t.Logf("answered after %s", time.Since(began))
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	hold := &slow{fake: fake{owner: "_25._tcp.a."}, gate: make(chan struct{})}
	_, path := served(t, hold)
	const clients = 3 * maxConnections
	for range clients {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := "GET /v1/safe?spki=" + strings.Repeat("ab", 32) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	tick, end := time.NewTicker(5*time.Millisecond), time.After(500*time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting && hold.most.Load() <= maxConnections; { // one too many comes soon, or never
		select {
		case <-tick.C:
		case <-end:
			waiting = false
		}
	}
	for range clients {
		hold.gate <- struct{}{}
	}
	if n := hold.most.Load(); n > maxConnections {
		t.Errorf("%d requests at once", n)
	}
}

// slow is a block whose verdicts wait.
type slow struct {
	fake
	gate      chan struct{}
	now, most atomic.Int32
}

func (s *slow) Safe(c Certificate) Safety {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	<-s.gate
	return s.fake.Safe(c)
}
