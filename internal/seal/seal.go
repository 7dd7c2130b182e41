// Package seal keeps secrets at rest: values sealed with a key that is not in
// the database, and hashes of secrets that we only need to recognise.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/ocm"
)

// KeySize is the length of a sealing key in bytes.
const KeySize = 32

// version is the first byte of everything sealed, so that the way of sealing
// can change.
const version = 1

// Box seals and opens with one key: AES-256-GCM with random nonces.
type Box struct{ aead cipher.AEAD }

// New makes a Box from a key of KeySize bytes.
func New(key []byte) (*Box, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a sealing key has %d bytes, this one has %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Box{aead}, nil
}

// Parse makes a Box from a key in base64, as it is given by environment.
func Parse(key string) (*Box, error) {
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, errors.New("the sealing key is not base64; make one with: openssl rand -base64 32")
	}
	return New(b)
}

// Open reads the key file at path, making it at the first start. The file must
// be readable by its owner alone.
func Open(path string) (*Box, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the key file cannot be read: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key file %s can be read by others; run: chmod 600 %s", path, path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the key file cannot be read: %w", err)
	}
	box, err := New(key)
	if err != nil {
		return nil, fmt.Errorf("the key file %s is damaged (%w); restore it from a backup: without it the secrets in the database cannot be read", path, err)
	}
	return box, nil
}

func create(path string) (*Box, error) {
	key := make([]byte, KeySize)
	rand.Read(key)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the key file cannot be made: %w", err)
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("the key file cannot be written: %w", err)
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		dir.Sync()
		dir.Close()
	}
	return New(key)
}

// Seal encrypts plaintext for a context: what is sealed for one row or use
// cannot be opened as another's.
func (b *Box) Seal(plaintext []byte, context string) []byte {
	return b.aead.Seal([]byte{version}, nil, plaintext, []byte(context))
}

// ErrDamaged says that sealed bytes are not what this key sealed for the context.
var ErrDamaged = errors.New("sealed data is damaged, or was sealed with another key")

// Open decrypts what Seal made for the same context.
func (b *Box) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return nil, ErrDamaged
	}
	plain, err := b.aead.Open(nil, nil, sealed[1:], []byte(context))
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// HashHex is the SHA-256 of a secret of high entropy, in hex: enough to
// recognise it and of no use to who reads the database.
func HashHex(s ocm.Secret) string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:])
}

// Token makes a secret of n random bytes, in base64url.
func Token(n int) ocm.Secret {
	b := make([]byte, n)
	rand.Read(b)
	return ocm.Secret(base64.RawURLEncoding.EncodeToString(b))
}
