//go:build full

package main

import (
	_ "github.com/coredns/coredns/core/plugin" // Every plugin of CoreDNS.
)
