package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control/schematest"
)

// told is a server that says the same to all.
type told struct {
	code int
	body []byte
}

func (s told) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: s.code, Status: http.StatusText(s.code), ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(s.body)), ContentLength: -1, Request: r,
	}, nil
}

// FuzzDocument has a client read any document. It must give one of its own version or an error that its callers know.
func FuzzDocument(f *testing.F) {
	body, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(200, body)
	f.Add(200, []byte(`{"version":1,"safety":{"safe":true,"owners":["a."],"why":""}}`))
	f.Add(404, []byte(`{"version":1,"error":{"code":"nothing","text":"no"}}`))
	f.Add(200, []byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		c := &Client{path: "s", http: http.Client{Transport: told{code, body}}}
		ctx := context.Background()
		status, err := c.Status(ctx, "")
		if known(t, err) && status.Version != Version {
			t.Errorf("version %d is taken", status.Version)
		}
		document, err := c.Document(ctx, "a.")
		if known(t, err) && !json.Valid(document) {
			t.Errorf("no JSON: %q", document)
		}
		safety, err := c.Safe(ctx, Certificate{SPKI: strings.Repeat("a", 32)})
		if known(t, err) && safety == nil {
			t.Error("neither a verdict nor an error")
		}
		_, err = c.Act(ctx, Action{Verb: Revoke})
		known(t, err)
	})
}

// known tells whether there is no error; any there is must be one that the client promises.
func known(t *testing.T, err error) bool {
	t.Helper()
	if refused := (*Error)(nil); err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrUnreachable) {
		t.Errorf("an error of no kind: %v", err)
	}
	return err == nil
}

// FuzzRequest sends any request to the server. It must answer with a document, and act only on what it was asked in full.
func FuzzRequest(f *testing.F) {
	data := strings.Repeat("ab", 32)
	f.Add("POST", "/v1/revoke", "", "application/json", []byte(`{"owner":"_25._tcp.a.","data":"`+data+`"}`))
	f.Add("POST", "/v1/withdraw", "", "application/json; charset=utf-8", []byte(`{"lineage":"a"}`))
	f.Add("POST", "/v1/restore", "", "application/json", []byte(`{"owner":"_25._tcp.a."} {}`))
	f.Add("GET", "/v1/status", "owner=_25._TCP.a", "", []byte(nil))
	f.Add("GET", "/v1/safe", "spki="+data+"&name=a&name=b.", "", []byte(nil))
	f.Add("HEAD", "/v1/safe", "spki=zz", "", []byte(nil))
	schema, err := os.ReadFile("status.schema.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query, kind string, body []byte) {
		block := &fake{owner: "_25._tcp.a."}
		h := &handler{blocks: func() *[]Block { return &[]Block{block} }, actions: true}
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Content-Type": {kind}},
			Body: io.NopCloser(bytes.NewReader(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var document answer
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || document.Version != Version {
			t.Fatalf("%d with no document: %q, %v", w.Code, w.Body, err)
		}
		if (w.Code == http.StatusOK) != (document.Error == nil) {
			t.Errorf("%d with %+v", w.Code, document.Error)
		}
		if w.Code == http.StatusOK && path == "/v1/status" {
			if err := schematest.Check(schema, w.Body.Bytes()); err != nil {
				t.Error(err)
			}
		}
		if acted := block.acted(); len(acted) > 0 && (method != http.MethodPost || w.Code != http.StatusOK || "/v1/"+string(acted[0].Verb) != path) {
			t.Errorf("%s %s has done %+v and answered %d", method, path, acted, w.Code)
		}
	})
}
