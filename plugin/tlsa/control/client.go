package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ErrUnreachable: nothing answers at the socket, or not in time.
var ErrUnreachable = errors.New("the DNS server's control socket does not answer")

// ErrVersion: the server's documents are of a version that this client does not know.
var ErrVersion = errors.New("the DNS server speaks another version")

// A Client asks the server of one socket. Its methods are safe for concurrent use.
type Client struct {
	path string
	http http.Client
}

// The bounds of a client.
const (
	patience    = 30 * time.Second
	maxDocument = 1 << 30
)

// Dial gives a client of the socket at path, if something answers there. Errors: ErrUnreachable.
func Dial(path string) (*Client, error) {
	c := &Client{path: path}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", path)
	}
	conn, err := dial(context.Background(), "", "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	conn.Close()
	c.http = http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return c, nil
}

// Status gets the document; with an owner, that one alone. Errors: *Error with CodeNothing if no block has the owner,
// ErrUnreachable, ErrVersion.
func (c *Client) Status(ctx context.Context, owner string) (*Status, error) {
	q := url.Values{}
	if owner != "" {
		q.Set("owner", owner)
	}
	var s Status
	if err := c.do(ctx, http.MethodGet, "/v1/status?"+q.Encode(), nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Document is Status with the document as the server has written it, with fields that this program may not know.
func (c *Client) Document(ctx context.Context, owner string) (json.RawMessage, error) {
	var document json.RawMessage
	err := c.do(ctx, http.MethodGet, "/v1/status?"+url.Values{"owner": {owner}}.Encode(), nil, &document)
	return document, err
}

// Safe asks whether a certificate or bare key is safe to install. Errors: *Error, ErrUnreachable, ErrVersion.
func (c *Client) Safe(ctx context.Context, cert Certificate) (*Safety, error) {
	q := url.Values{"spki": {hex.EncodeToString([]byte(cert.SPKI))}, "name": cert.Names}
	if cert.SHA256 != "" {
		q.Set("sha256", hex.EncodeToString([]byte(cert.SHA256)))
	}
	var a answer
	if err := c.do(ctx, http.MethodGet, "/v1/safe?"+q.Encode(), nil, &a); err != nil {
		return nil, err
	}
	if a.Safety == nil {
		return nil, fmt.Errorf("%w: no verdict in its answer", ErrVersion)
	}
	return a.Safety, nil
}

// Act does what the operator wants. Errors: *Error, ErrUnreachable, ErrVersion.
func (c *Client) Act(ctx context.Context, a Action) ([]Done, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	var got answer
	if err := c.do(ctx, http.MethodPost, "/v1/"+string(a.Verb), body, &got); err != nil {
		return nil, err
	}
	return got.Done, nil
}

// do sends one request and reads the document of its answer.
func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.path, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	reply, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, maxDocument))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	var head answer
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("%w: %s gives %s and no document", ErrVersion, c.path, reply.Status)
	}
	switch {
	case head.Version != Version:
		return fmt.Errorf("%w: %s has version %d of its documents, this program knows %d; use the two of one release",
			ErrVersion, c.path, head.Version, Version)
	case head.Error != nil:
		return head.Error
	case reply.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: %s gives %s", ErrVersion, c.path, reply.Status)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: reading the document of %s: %w", ErrVersion, c.path, err)
	}
	return nil
}
