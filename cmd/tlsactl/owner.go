package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	"github.com/spf13/pflag"
)

// naming is the choice of owners, from --owner and --port.
type naming struct {
	owners []string
	ports  []string
}

func (n *naming) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&n.owners, "owner", nil,
		"owner `NAME` of the records, such as _25._tcp.mail.example.org, or a host for --port (default: the SANs); repeatable")
	flags.StringArrayVar(&n.ports, "port", nil, "port `N` of the owners made from hosts (default 25); repeatable")
}

// fixed gives the owners that the flags name: fully qualified, in lower case, each once; none without --owner.
func (n *naming) fixed() ([]string, error) {
	if err := n.checkPorts(); err != nil {
		return nil, err
	}
	var out []string
	whole := 0
	for _, raw := range n.owners {
		if !isOwner(raw) {
			made, err := n.at(raw)
			if err != nil {
				return nil, fmt.Errorf("--owner %q: %w", raw, err)
			}
			out = append(out, made...)
			continue
		}
		whole++
		name, err := parseOwner(raw)
		if err != nil {
			return nil, fmt.Errorf("--owner %q: %w", raw, err)
		}
		out = append(out, name)
	}
	if whole > 0 && whole == len(n.owners) && len(n.ports) > 0 {
		return nil, errors.New("--port is for hosts, and every --owner here is a whole owner name already: drop --port")
	}
	return unique(out), nil
}

// at gives the owners of one host.
func (n *naming) at(host string) ([]string, error) {
	ports := n.ports
	if len(ports) == 0 {
		ports = []string{"25"}
	}
	var out []string
	for _, port := range ports {
		name, err := parseOwner("_" + port + "._tcp." + host)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

func (n *naming) checkPorts() error {
	for _, p := range n.ports {
		if !isPort(p) {
			return fmt.Errorf("--port %q: want 1 to 65535, without a leading zero", p)
		}
	}
	return nil
}

// isOwner tells a whole owner name from a host: it starts with an underscore or lies under a _dane label (RFC 7671 7).
func isOwner(name string) bool {
	return strings.HasPrefix(name, "_") || strings.Contains(strings.ToLower(name), "._dane.")
}

// parseOwner checks an owner by the rules of the plugin: _PORT._PROTO and a host, or a name under _dane.
func parseOwner(raw string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(raw, "."))
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("label %q: want 1 to 63 letters, digits, hyphens and underscores; "+
				"other scripts as xn-- labels, wildcards as the names they stand for", label)
		}
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return "", errors.New("a name has at most 255 octets")
	}
	if len(labels[0]) > 1 && strings.Trim(labels[0][1:], "0123456789") == "" && labels[0][0] == '_' {
		switch {
		case !isPort(labels[0][1:]):
			return "", fmt.Errorf("port %q: want 1 to 65535, without a leading zero", labels[0][1:])
		case len(labels) < 3 || !slices.Contains([]string{"_tcp", "_udp", "_sctp"}, labels[1]):
			return "", fmt.Errorf("%s must be followed by _tcp, _udp or _sctp, and a host", labels[0])
		}
		return name + ".", nil
	}
	if !slices.Contains(labels[1:], "_dane") {
		return "", errors.New("an owner starts with _PORT._PROTO, such as _25._tcp, or lies under a _dane label")
	}
	return name + ".", nil
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535 && strconv.Itoa(n) == s
}

// hostOf is the TLSA base domain (RFC 7671 10.2): the owner without its leading underscore labels and last dot.
func hostOf(owner string) string {
	labels := strings.Split(strings.TrimSuffix(owner, "."), ".")
	for len(labels) > 1 && strings.HasPrefix(labels[0], "_") {
		labels = labels[1:]
	}
	return strings.Join(labels, ".")
}

// portOf is the owner's first label without its underscore.
func portOf(owner string) string {
	first, _, _ := strings.Cut(owner, ".")
	return strings.TrimPrefix(first, "_")
}

// unique drops repeated values and keeps the order.
func unique[T comparable](in []T) []T {
	var out []T
	for _, v := range in {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
