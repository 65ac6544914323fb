package control

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// handler answers requests from the blocks of the moment.
type handler struct {
	blocks  func() *[]Block
	actions bool
	// local: a request must name this host by address or as localhost. A web page whose name suddenly leads to 127.0.0.1 could
	// read the status in a browser otherwise.
	local bool
	// busy is held while a document is made, so that many clients together cost the memory of one at a time; acting while an
	// action is tried and done.
	busy, acting sync.Mutex
}

// answer is the envelope of all that is not a status.
type answer struct {
	Version int     `json:"version"`
	Done    []Done  `json:"done,omitempty"`
	Safety  *Safety `json:"safety,omitempty"`
	Error   *Error  `json:"error,omitempty"`
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	document, err := h.answer(w, r)
	code := http.StatusOK
	if err != nil {
		e := asError(err)
		document, code = answer{Version: Version, Error: e}, e.status()
	}
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // a client that has gone cannot be told
}

func (h *handler) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	verb, isVerb := strings.CutPrefix(r.URL.Path, "/v1/")
	switch {
	case h.local && !isOwnName(r.Host):
		return nil, &Error{CodeRequest, fmt.Sprintf("this is no host %.80q; ask by address, or for localhost", r.Host)}
	case r.URL.Path == "/v1/status" && read:
		return h.status(r.URL)
	case r.URL.Path == "/v1/safe" && read:
		return h.safe(r.URL)
	case r.URL.Path == "/v1/status" || r.URL.Path == "/v1/safe":
		return nil, &Error{CodeMethod, r.URL.Path + " is read by GET"}
	case !isVerb || !slices.Contains([]Verb{Revoke, Withdraw, Restore}, Verb(verb)):
		return nil, &Error{CodeNothing, fmt.Sprintf("there is no %.80q; ask for /v1/status or /v1/safe", r.URL.Path)}
	case !h.actions:
		return nil, &Error{CodeMethod, "this address is read-only; use the control socket"}
	case r.Method != http.MethodPost:
		return nil, &Error{CodeMethod, r.URL.Path + " takes POST"}
	}
	return h.act(w, r, Verb(verb))
}

// isOwnName tells of a Host that no stranger's DNS can make.
func isOwnName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")) != nil
}

// query gives the parameters, of which nothing but those named may be there.
func query(u *url.URL, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, &Error{CodeRequest, "the query is malformed"}
	}
	for name := range q {
		if !slices.Contains(known, name) {
			return nil, &Error{CodeRequest, fmt.Sprintf("unknown parameter %.80q; there is %s", name, strings.Join(known, ", "))}
		}
	}
	return q, nil
}

func (h *handler) status(u *url.URL) (any, error) {
	q, err := query(u, "owner")
	if err != nil {
		return nil, err
	}
	owner := canonicalName(q.Get("owner"))
	h.busy.Lock()
	defer h.busy.Unlock()
	s := Status{Version: Version, Software: Software(), Now: time.Now().UTC().Truncate(time.Second), Blocks: []BlockStatus{}}
	for _, b := range *h.blocks() {
		block := b.Status(owner)
		if owner == "" || len(block.Owners) > 0 {
			s.Blocks = append(s.Blocks, block)
		}
	}
	if owner != "" && len(s.Blocks) == 0 {
		return nil, &Error{CodeNothing, fmt.Sprintf("no block has the owner %.300q", owner)}
	}
	body, err := json.Marshal(s)
	return json.RawMessage(body), err
}

// maxNames is how many names of a certificate are looked at: more than its URL can hold.
const maxNames = 1000

func (h *handler) safe(u *url.URL) (any, error) {
	q, err := query(u, "spki", "sha256", "name")
	if err != nil {
		return nil, err
	}
	c := Certificate{Names: q["name"]}
	for i, name := range c.Names {
		c.Names[i] = strings.TrimSuffix(strings.ToLower(name), ".")
	}
	for _, d := range []struct {
		name string
		to   *string
		must bool
	}{{"spki", &c.SPKI, true}, {"sha256", &c.SHA256, false}} {
		raw, err := hex.DecodeString(q.Get(d.name))
		if err != nil || len(raw) != 32 && (d.must || len(raw) > 0) {
			return nil, &Error{CodeRequest, fmt.Sprintf("%s %.80q is not a SHA2-256 digest in hexadecimal", d.name, q.Get(d.name))}
		}
		*d.to = string(raw)
	}
	if len(c.Names) > maxNames {
		return nil, &Error{CodeRequest, "too many names"}
	}
	all := Safety{Owners: []string{}, Why: "no name of the Corefile takes it, as far as the watched directories tell"}
	for _, b := range *h.blocks() {
		all = all.add(b.Safe(c))
	}
	return answer{Version: Version, Safety: &all}, nil
}

func (h *handler) act(w http.ResponseWriter, r *http.Request, verb Verb) (any, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &Error{CodeRequest, "the request must be application/json"}
	}
	a := Action{Verb: verb}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	body.DisallowUnknownFields()
	err := body.Decode(&a)
	if err == nil {
		if _, more := body.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err == nil {
		err = a.check()
	}
	if err != nil {
		return nil, &Error{CodeRequest, fmt.Sprintf("%.300s", err)}
	}
	h.acting.Lock()
	defer h.acting.Unlock()
	blocks := *h.blocks()
	concerned, err := try(blocks, a)
	if err != nil {
		return nil, err
	}
	done := []Done{}
	for _, b := range concerned {
		d, err := b.Act(a, false)
		if err != nil && len(done) > 0 {
			e := asError(err)
			return nil, &Error{e.Code, fmt.Sprintf("%s; done before that: %s", e.Text, done[len(done)-1].Text)}
		}
		if err != nil {
			return nil, err
		}
		done = append(done, d...)
	}
	return answer{Version: Version, Done: done}, nil
}

// try asks all blocks whether they would do it: either all that it concerns, or none.
func try(blocks []Block, a Action) (concerned []Block, err error) {
	var texts []string
	code := CodeNothing
	for _, b := range blocks {
		_, err := b.Act(a, true)
		if err == nil {
			concerned = append(concerned, b)
			continue
		}
		e := asError(err)
		switch {
		case e.Code == CodeNothing && code == CodeNothing:
			texts = append(texts, e.Text)
		case e.Code == CodeNothing:
		case code == CodeNothing:
			code, texts = e.Code, []string{e.Text}
		default:
			texts = append(texts, e.Text)
		}
	}
	slices.Sort(texts)
	switch {
	case code != CodeNothing || len(concerned) == 0 && len(texts) > 0:
		return nil, &Error{code, strings.Join(slices.Compact(texts), "; ")}
	case len(concerned) == 0:
		return nil, &Error{CodeStarting, "no block has started yet; ask again"}
	}
	return concerned, nil
}
