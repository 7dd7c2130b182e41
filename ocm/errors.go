package ocm

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Code is the stable, machine-readable name of a refusal: UPPER_SNAKE, part of
// the wire. Peers, clients and tests compare codes, never sentences.
type Code string

// The codes of the federation endpoints. Other packages add codes of their own
// for things that never cross to a peer.
const (
	CodeInvalidJSON          Code = "INVALID_JSON"
	CodeInvalidPayload       Code = "INVALID_PAYLOAD"
	CodeUnsupportedMedia     Code = "UNSUPPORTED_MEDIA_TYPE"
	CodeTooLarge             Code = "PAYLOAD_TOO_LARGE"
	CodeRateLimited          Code = "RATE_LIMITED"
	CodeSignatureRequired    Code = "SIGNATURE_REQUIRED"
	CodeSignatureInvalid     Code = "SIGNATURE_INVALID"
	CodeSignatureStale       Code = "SIGNATURE_STALE"
	CodeSignatureAmbiguous   Code = "SIGNATURE_AMBIGUOUS"
	CodeSignatureReplayed    Code = "SIGNATURE_REPLAYED"
	CodeDigestMismatch       Code = "DIGEST_MISMATCH"
	CodeKeyUnknown           Code = "KEY_UNKNOWN"
	CodeKeyUnacceptable      Code = "KEY_UNACCEPTABLE"
	CodeKeyUnreachable       Code = "KEY_UNREACHABLE"
	CodeSenderMismatch       Code = "SENDER_MISMATCH"
	CodePeerDenied           Code = "PEER_DENIED"
	CodeInviteRequired       Code = "INVITE_REQUIRED"
	CodeRecipientNotFound    Code = "RECIPIENT_NOT_FOUND"
	CodeShareNotFound        Code = "SHARE_NOT_FOUND"
	CodeProviderIDTaken      Code = "PROVIDER_ID_TAKEN"
	CodeShareTypeUnsupported Code = "SHARE_TYPE_NOT_SUPPORTED"
	CodeResourceUnsupported  Code = "RESOURCE_TYPE_NOT_SUPPORTED"
	CodeProtocolUnsupported  Code = "PROTOCOL_NOT_SUPPORTED"
	CodeSchemeUnsupported    Code = "ENCRYPTION_NOT_SUPPORTED"
	CodeExchangeRequired     Code = "TOKEN_EXCHANGE_REQUIRED"
	CodeMFAUnsupported       Code = "MFA_NOT_SUPPORTED"
	CodeNotificationUnknown  Code = "NOTIFICATION_TYPE_NOT_SUPPORTED"
	CodeUnavailable          Code = "TEMPORARILY_UNAVAILABLE"
	CodeInternal             Code = "INTERNAL_ERROR"
)

// FieldError names one member of a payload and what is wrong with it: an entry
// of validationErrors (OCM OpenAPI 1.4, schema 400).
type FieldError struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// Error is a refusal: an HTTP status, a stable code, a sentence for people, and
// the cause for the log. Only Code, Fields and RetryAfter reach a peer.
//
// Two Errors with the same Code match under errors.Is, so a package declares
// `var ErrGone = ocm.NewError(410, "GONE", "…")` and callers compare with it.
type Error struct {
	Status     int
	Code       Code
	Message    string
	Fields     []FieldError
	RetryAfter time.Duration
	Err        error
}

// NewError makes an Error without a cause.
func NewError(status int, code Code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

// Invalid is the 400 for one member of a payload.
func Invalid(name, message string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: CodeInvalidPayload,
		Message: name + ": " + message,
		Fields:  []FieldError{{Name: name, Message: message}},
	}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", strings.TrimSuffix(e.Message, "."), e.Err)
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := errors.AsType[*Error](target)
	return ok && t.Code == e.Code
}

// With returns a copy of e that carries the cause for the log.
func (e *Error) With(cause error) *Error {
	c := *e
	c.Err = cause
	return &c
}

// Saying returns a copy of e with another sentence.
func (e *Error) Saying(format string, args ...any) *Error {
	c := *e
	c.Message = fmt.Sprintf(format, args...)
	return &c
}

// RetryIn returns a copy of e that asks to be tried again after d.
func (e *Error) RetryIn(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}
