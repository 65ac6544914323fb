package main

import (
	"bytes"
	"encoding/pem"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

const pubkeyHelp = `pubkey prints the public half of a private key, certificate request or certificate as PEM PUBLIC
KEY: what the next directory of the DNS server takes before there is a certificate. Of a chain it is
the key of the server's certificate.

With --out it is written to a file with mode 0644, whole or not at all; a file that holds it already
is left alone.`

const pubkeyExample = `  tlsactl pubkey privkey.pem
  tlsactl pubkey --out next/mail.example.org.pub privkey.pem`

func (a *app) pubkeyCommand() *cobra.Command {
	var in source
	var out string
	cmd := &cobra.Command{
		Use:     "pubkey [--out FILE] FILE|-",
		Short:   "Print the public half of a key",
		Long:    pubkeyHelp + "\n\n" + exitHelp,
		Example: pubkeyExample,
		Args:    exactly(1, "one FILE, or - for standard input"),
		RunE: func(_ *cobra.Command, args []string) error {
			subjects, err := a.readSubjects(&in, args[0])
			if err != nil {
				return err
			}
			var text bytes.Buffer
			var keys []string
			for _, s := range subjects {
				keys = append(keys, s.Leaf.SPKI)
			}
			for _, spki := range unique(keys) {
				if err := pem.Encode(&text, &pem.Block{Type: "PUBLIC KEY", Bytes: []byte(spki)}); err != nil {
					return err
				}
			}
			if out == "" {
				_, err := a.stdout.Write(text.Bytes())
				return err
			}
			return publish(out, text.Bytes())
		},
	}
	in.register(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "write to `FILE` instead of standard output")
	return cmd
}

// publish writes what everybody may read, unless it is there already: a file that is not touched is no news to who watches.
func publish(path string, data []byte) error {
	const mode fs.FileMode = 0o644
	old, err := os.ReadFile(path)
	if info, statErr := os.Lstat(path); err == nil && statErr == nil && info.Mode() == mode && bytes.Equal(old, data) {
		return nil
	}
	return writeAtomic(path, data, mode)
}
