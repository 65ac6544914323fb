package ledger

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// The last part of a zone's serial that was given out (see CommitSerial) lies beside the heartbeat. Files of before have none.
// One that is damaged is left out and condemns nothing: the clock stands in for it, but nothing for a timeline.
const (
	serialKey    = "serial"
	serialOctets = 1 + 4 + 4
)

// Serial gives the last part of a serial that was recorded; 0 if there is none.
func (s *Store) Serial() (uint32, error) {
	if s.closed.Load() {
		return 0, ErrClosed
	}
	return s.shared.keep.serial()
}

func encodeSerial(part uint32) []byte {
	b := append(make([]byte, 0, serialOctets), recordVersion)
	b = binary.BigEndian.AppendUint32(b, part)
	return binary.BigEndian.AppendUint32(b, checksum("", serialKey, b))
}

// decodeSerial gives 0 for what is missing or damaged.
func decodeSerial(b []byte) uint32 {
	const n = serialOctets - 4
	if len(b) != serialOctets || b[0] != recordVersion || binary.BigEndian.Uint32(b[n:]) != checksum("", serialKey, b[:n]) {
		return 0
	}
	return binary.BigEndian.Uint32(b[1:])
}

// isSerial knows the record by its size: a damaged key must not make it another part of the file.
func isSerial(e element) bool { return !e.bucket && len(e.value) == serialOctets }

// putSerial never lowers what is there: several blocks use one file.
func putSerial(top *bolt.Bucket, part uint32) error {
	if part <= decodeSerial(top.Get([]byte(serialKey))) {
		return nil
	}
	return top.Put([]byte(serialKey), encodeSerial(part))
}

func (f *file) serial() (part uint32, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		part = decodeSerial(tx.Bucket([]byte(bucketName)).Get([]byte(serialKey)))
		return nil
	})
	return part, err
}

func (m *memory) serial() (uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.part, nil
}
