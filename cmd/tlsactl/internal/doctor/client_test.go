package doctor

import "testing"

func TestAdviceNamesTheFileThatDehydratedReads(t *testing.T) {
	for dir, want := range map[string]string{
		"/var/lib/dehydrated/certs/mail.example.org": "/etc/dehydrated/config", // Debian
		"/etc/dehydrated/certs/mail.example.org":     "/etc/dehydrated/config",
		"/opt/dehydrated/certs/mail.example.org":     "/opt/dehydrated/config",
	} {
		if got := dehydratedConfig(dir); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}
