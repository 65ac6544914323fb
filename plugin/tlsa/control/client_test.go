package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// foreign answers every request on a socket with one text.
func foreign(t *testing.T, code int, text string) *Client {
	t.Helper()
	path := filepath.Join(socketDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text == "" {
			<-r.Context().Done()
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return dialed(t, path)
}

func TestClientTellsWhatIsNotItsServer(t *testing.T) {
	for claim, tc := range map[string]struct {
		code int
		text string
		want error
	}{
		"another version":        {200, `{"version":2,"blocks":[]}`, ErrVersion},
		"no version":             {200, `{}`, ErrVersion},
		"no document":            {200, `<html>`, ErrVersion},
		"a failure of its own":   {500, `{"version":1}`, ErrVersion},
		"silence until too late": {200, "", ErrUnreachable},
	} {
		t.Run(claim, func(t *testing.T) {
			c := foreign(t, tc.code, tc.text)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if s, err := c.Status(ctx, ""); !errors.Is(err, tc.want) {
				t.Errorf("status: %+v, %v", s, err)
			}
			if s, err := c.Safe(ctx, Certificate{}); !errors.Is(err, tc.want) {
				t.Errorf("safe: %+v, %v", s, err)
			}
			if s, err := c.Act(ctx, Action{Verb: Withdraw, Owner: "a."}); !errors.Is(err, tc.want) {
				t.Errorf("act: %+v, %v", s, err)
			}
		})
	}
	if _, err := Dial(filepath.Join(socketDir(t), "s")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no socket: %v", err)
	}
}
