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
		return i.perform(ctx, &journal{Link: s}, i.work)
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

// newLinkSwap names the new directory.
func (i *installation) newLinkSwap() (*linkSwap, error) {
	old, err := os.Readlink(i.to.path)
	if err != nil {
		return nil, err
	}
	s := &linkSwap{Path: i.to.path, Old: old}
	name := filepath.Base(i.to.path) + "-" + i.app.now().UTC().Format("20060102T150405Z")
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
