package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// replace puts the new files in place, all at once where that can be, and runs the command.
func (i *installation) replace(ctx context.Context) error {
	switch i.to.shape {
	case asLink:
		s, err := i.newLinkSwap()
		if err != nil {
			return err
		}
		if err := i.perform(ctx, &journal{Link: s}, i.work); err != nil {
			return err
		}
		if old := s.resolve(s.Old); !s.made(old) {
			i.app.talk("%s stays, because tlsactl did not make it: remove it when nothing uses it; while it lies where the DNS "+
				"server looks for certificates, its key stays published", old)
		}
		return nil
	case asDirectory:
		err := i.perform(ctx, &journal{Dir: i.newDirSwap()}, i.beside)
		if !errors.Is(err, errNoExchange) {
			return err
		}
		i.app.talk("%v: replacing the files one by one", err)
	}
	return i.perform(ctx, &journal{Files: &fileSwap{Dir: i.to.dir, Work: i.work + ".d"}}, i.work)
}

func (i *installation) newDirSwap() *dirSwap {
	return &dirSwap{Dir: i.to.dir, Spare: i.beside + ".d", Ours: make(map[string]string), Kept: make(map[string]uint64)}
}

// newLinkSwap names the new directory. It is hidden, so that a DNS server that watches the directories around it sees the
// files by the link alone: what the link no longer leads to is replaced, and its key retires.
func (i *installation) newLinkSwap() (*linkSwap, error) {
	old, err := os.Readlink(i.to.path)
	if err != nil {
		return nil, err
	}
	s := &linkSwap{Path: i.to.path, Old: old}
	name := "." + filepath.Base(i.to.path) + "-" + i.app.now().UTC().Format("20060102T150405Z")
	for n := 0; ; n++ {
		s.New = filepath.Join(filepath.Dir(strings.TrimRight(old, "/")), name)
		if n > 0 {
			s.New += fmt.Sprintf("-%d", n)
		}
		if _, err := os.Lstat(s.resolve(s.New)); err != nil {
			return s, nil
		}
	}
}
